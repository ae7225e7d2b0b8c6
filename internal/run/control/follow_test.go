package control_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"sluice"
	"sluice/internal/lab/fake"
)

// readCounted counts how often the events of a job are read from the log, and gives others one at a time once it is sparing.
type readCounted struct {
	*fake.Log
	jobs    atomic.Int32
	sparing atomic.Bool
}

func (l *readCounted) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if l.sparing.Load() {
		limit = 1
	}
	return l.Log.Read(ctx, ns, after, limit)
}

func (l *readCounted) ReadJob(ctx context.Context, ns sluice.Namespace, id sluice.JobID) ([]sluice.Event, error) {
	l.jobs.Add(1)
	return l.Log.ReadJob(ctx, ns, id)
}

// Whoever comes with what it has seen is told the rest, once each and without the past being read, while the job goes on; a
// halt that somebody undid since is no end. When the job is over, it is told so at once.
func TestFollowFromWhatWasSeen(t *testing.T) {
	d := newDesk(t)
	log := &readCounted{Log: d.Log.(*fake.Log)}
	d.Log = log
	id := d.submit(fleet(4))
	d.play(id, nil)
	all := func() []sluice.Event {
		events, err := log.Log.ReadJob(t.Context(), "test", id)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	seen := all()[len(all())-1].Seq
	if _, err := d.Halt(t.Context(), id, "wait"); err != nil {
		t.Fatal(err)
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded, "h1": sluice.Succeeded}) // it is halted now
	if _, err := d.Resume(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	d.play(id, nil)
	log.jobs.Store(0)
	log.sparing.Store(true)
	enough := errors.New("enough")
	ctx, stop := context.WithCancelCause(t.Context())
	var got []uint64
	want := all()
	_, err := d.Follow(ctx, string(id), seen, func(e sluice.Event) {
		if got = append(got, e.Seq); e.Seq == want[len(want)-1].Seq {
			stop(enough)
		}
	})
	if !errors.Is(context.Cause(ctx), enough) {
		t.Errorf("it ended with %v after %v", err, got)
	}
	if n := log.jobs.Load(); n != 0 {
		t.Errorf("the past was read %d times", n)
	}
	for i, e := range want[len(want)-len(got):] {
		if got[i] != e.Seq || e.Seq <= seen {
			t.Fatalf("told %v of %d events", got, len(want))
		}
	}
	if _, err := d.Cancel(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h2": sluice.Cancelled, "h3": sluice.Cancelled})
	last, err := d.Follow(t.Context(), string(id), all()[len(all())-1].Seq, func(e sluice.Event) { t.Errorf("told %d again", e.Seq) })
	if b, ok := last.Body.(sluice.JobFinished); err != nil || !ok || b.Outcome != sluice.Cancelled {
		t.Errorf("%#v, error %v", last.Body, err)
	}
}

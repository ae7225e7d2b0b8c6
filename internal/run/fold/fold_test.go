package fold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

const ns sluice.Namespace = "test"

// shelf is a log that keeps snapshots, and says what was asked of it.
type shelf struct {
	*fake.Log
	seq     uint64
	data    []byte
	saves   int
	reads   []uint64 // after which number was read
	failing error
}

func (s *shelf) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	s.reads = append(s.reads, after)
	return s.Log.Read(ctx, ns, after, limit)
}

func (s *shelf) Snapshot(context.Context, sluice.Namespace) (uint64, []byte, error) {
	return s.seq, s.data, s.failing
}

func (s *shelf) SaveSnapshot(_ context.Context, _ sluice.Namespace, seq uint64, data []byte) error {
	if s.failing != nil {
		return s.failing
	}
	s.seq, s.data, s.saves = seq, data, s.saves+1
	return nil
}

// job makes the events of a job on n hosts; every seventh fails, and it is finished or halted.
func job(number, n int, halted bool) (events []sluice.Event) {
	j := sluice.Job{ID: sluice.JobID(fmt.Sprintf("%012d", number)), Namespace: ns, Command: "true"}
	for i := range n {
		j.Targets = append(j.Targets, sluice.Host(fmt.Sprintf("h%04d", (i+number)%(2*n))))
	}
	j.Tracks = []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: j.Targets}}}}
	add := func(b sluice.Body) {
		events = append(events, sluice.Event{Time: time.Unix(1e9, 0).UTC(), Job: j.ID, Body: b})
	}
	add(sluice.JobSubmitted{Submitted: j})
	add(sluice.StageOpened{Track: "all", Stage: "all"})
	for i, h := range j.Targets {
		id := sluice.NewAttemptID(j.ID, i, 1)
		add(sluice.TaskStarted{Host: h, Attempt: id})
		add(sluice.TaskStep{Host: h, Attempt: id, Step: "command"})
		outcome := sluice.Succeeded
		if i%7 == 3 {
			outcome = sluice.Failed
		}
		add(sluice.TaskFinished{Host: h, Attempt: id, Outcome: outcome})
	}
	if halted {
		add(sluice.JobHalted{Rule: sluice.RuleOperator, Reason: "enough", Generation: 1})
	} else {
		add(sluice.JobFinished{Outcome: sluice.Failed})
	}
	return events
}

func appendTo(t *testing.T, l sluice.Log, events []sluice.Event) {
	t.Helper()
	head := uint64(0)
	for part := range slices.Chunk(events, 50) {
		var err error
		head, err = l.Update(t.Context(), ns, head, func([]sluice.Event) ([]sluice.Event, error) { return part, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func state(t *testing.T, l sluice.Log) []byte {
	t.Helper()
	s, err := fold.Namespace(t.Context(), l, ns)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestASnapshotIsLeftWhereMuchWasRead(t *testing.T) {
	l := &shelf{Log: fake.NewLog()}
	begins := func(at uint64, saves int) {
		t.Helper()
		l.reads = nil
		got, want := state(t, l), state(t, l.Log) // the log inside keeps none
		if !bytes.Equal(got, want) {
			t.Error("with and without a snapshot, the states differ")
		}
		if l.reads[0] != at || l.saves != saves {
			t.Errorf("it began after %d and there were %d snapshots; want %d, %d", l.reads[0], l.saves, at, saves)
		}
	}
	appendTo(t, l, job(1, 1600, false))
	begins(0, 0)
	appendTo(t, l, job(2, 100, true))
	begins(0, 1)
	first := l.seq
	begins(first, 1)
	appendTo(t, l, job(3, 1600, false))
	begins(first, 1)
	appendTo(t, l, job(4, 100, false))
	begins(first, 2)
	begins(l.seq, 2)
}

func TestTheEventsOfAJobAreWhole(t *testing.T) {
	l := &shelf{Log: fake.NewLog()}
	appendTo(t, l, job(1, 100, false))
	mine := job(2, 1700, true)
	appendTo(t, l, mine)
	state(t, l)
	more := []sluice.Event{{Time: time.Unix(1e9, 0).UTC(), Job: mine[0].Job, Body: sluice.JobResumed{Generation: 2}}}
	appendTo(t, l, more)
	appendTo(t, l, job(3, 10, false))
	if l.saves != 1 || l.seq == 0 {
		t.Fatalf("there are %d snapshots", l.saves)
	}
	s, got, err := fold.Job(t.Context(), l, ns, mine[0].Job)
	if err != nil {
		t.Fatal(err)
	}
	want, err := l.ReadJob(t.Context(), ns, mine[0].Job)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(mine)+1 || len(want) != len(got) {
		t.Fatalf("there are %d events, not %d", len(got), len(mine)+1)
	}
	for i, e := range got {
		if e.Seq != want[i].Seq || e.Body.Type() != want[i].Body.Type() {
			t.Fatalf("event %d of the job is %d (%s), not %d (%s)", i, e.Seq, e.Body.Type(), want[i].Seq, want[i].Body.Type())
		}
	}
	if info, ok := s.Job(mine[0].Job); !ok || info.State != schedule.Waiting {
		t.Errorf("the job is %s", info.State)
	}
}

// TestWhatCannotBeUsed: whatever is kept in place of a snapshot, the state is that of the log, and nobody hears of it.
func TestWhatCannotBeUsed(t *testing.T) {
	l := &shelf{Log: fake.NewLog()}
	appendTo(t, l, job(1, 1700, false))
	state(t, l)
	good, seq := l.data, l.seq
	appendTo(t, l, job(2, 10, false))
	want := state(t, l.Log)
	other := schedule.New() // of another log, with which the next events do not go together
	for range seq + 1 {
		if err := other.Apply(sluice.Event{Body: sluice.HostReleased{Host: "h"}}); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere, err := other.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(){
		"nothing":            func() { l.data = nil },
		"cut":                func() { l.data = good[:len(good)-1] },
		"text":               func() { l.data = []byte("hello") },
		"of another number":  func() { l.seq = seq - 1 },
		"of another log":     func() { l.seq, l.data = seq+1, elsewhere },
		"not to be read":     func() { l.failing = errors.New("no") },
		"whole, for a check": func() {},
	} {
		l.seq, l.data, l.failing = seq, good, nil
		set()
		if got := state(t, l); !bytes.Equal(got, want) {
			t.Errorf("%s: the state is another one", name)
		}
	}
}

// TestDamagedFile: whatever happens to the file, the journal says what is so.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	l, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	appendTo(t, l, job(1, 1700, false))
	appendTo(t, l, job(2, 10, true))
	want := state(t, l)
	path := filepath.Join(dir, "snapshots", string(ns)+".snapshot")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := state(t, l); !bytes.Equal(got, want) {
		t.Error("from the snapshot, the state is another one")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		bad := slices.Clone(file)
		if i%4 == 3 {
			bad = bad[:r.IntN(len(bad))]
		} else {
			bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := state(t, l); !bytes.Equal(got, want) {
			t.Fatalf("damaged in way %d, the state is another one", i)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, file) && !bytes.Equal(again, bad) {
			t.Fatalf("damaged in way %d, a snapshot of another content took its place: %v", i, err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil { // nothing can be kept there
		t.Fatal(err)
	}
	if got := state(t, l); !bytes.Equal(got, want) {
		t.Error("without a place for snapshots, the state is another one")
	}
}

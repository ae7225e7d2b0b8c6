package fold_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"sluice"
	"sluice/internal/core/view"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

func jobID(n int) sluice.JobID { return sluice.JobID(fmt.Sprintf("%012d", n)) }

// same reports whether two views say the same.
func same(t *testing.T, a, b *view.Job) bool {
	t.Helper()
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return string(one) == string(two)
}

// The view of a job that is kept is at every moment what its events say, and its past is read once, whatever comes after.
func TestViewsAreWhatTheLogSays(t *testing.T) {
	log := &countedLog{Log: fake.NewLog()}
	live := fold.NewLive(log)
	appendTo(t, log, job(0, 20, false))
	all := job(1, 12, false)
	for i := range all { // event by event, with those of another job between
		appendTo(t, log, all[i:i+1])
		if i%10 == 5 {
			appendTo(t, log, job(10+i, 3, false))
		}
		events, err := log.Log.ReadJob(t.Context(), ns, jobID(1))
		if err != nil {
			t.Fatal(err)
		}
		err = live.Job(t.Context(), ns, jobID(1), func(v *view.Job) error {
			if v == nil || !same(t, v, view.Fold(events)) {
				t.Errorf("after event %d the view is another one", i+1)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := log.jobs.Load(); n != 1 {
		t.Errorf("its past was read %d times", n)
	}
	if err := live.Job(t.Context(), ns, "zzzzzzzzzzzz", func(v *view.Job) error {
		if v != nil {
			t.Errorf("a job that is not there has a view: %+v", v)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// lateLog has more appended behind whoever reads a job.
type lateLog struct {
	*fake.Log
	t    *testing.T
	more []sluice.Event
}

func (l *lateLog) ReadJob(ctx context.Context, ns sluice.Namespace, id sluice.JobID) ([]sluice.Event, error) {
	events, err := l.Log.ReadJob(ctx, ns, id)
	appendTo(l.t, l.Log, l.more)
	l.more = nil
	return events, err
}

// What is appended while the past of a job is read is not lost.
func TestViewsWhileThePastIsRead(t *testing.T) {
	all := job(1, 12, false)
	log := &lateLog{Log: fake.NewLog(), t: t, more: all[20:]}
	appendTo(t, log.Log, all[:20])
	err := fold.NewLive(log).Job(t.Context(), ns, jobID(1), func(v *view.Job) error {
		if v.Finished == nil || v.Settled() != 12 {
			t.Errorf("%d hosts of 12, finished: %v", v.Settled(), v.Finished != nil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Many jobs are looked at while events come: what was read while others appended lacks nothing. Only some are kept.
func TestViewsWhileOthersAppend(t *testing.T) {
	log := &countedLog{Log: fake.NewLog()}
	live := fold.NewLive(log)
	const jobs = 9
	var all sync.WaitGroup
	for n := range jobs {
		all.Go(func() {
			for _, e := range job(n, 4, false) {
				appendTo(t, log, []sluice.Event{e})
				if err := live.Job(t.Context(), ns, jobID(n), func(*view.Job) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for n := range jobs {
		events, err := log.Log.ReadJob(t.Context(), ns, jobID(n))
		if err != nil {
			t.Fatal(err)
		}
		err = live.Job(t.Context(), ns, jobID(n), func(v *view.Job) error {
			if !same(t, v, view.Fold(events)) {
				t.Errorf("the view of job %d is another one", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/run/dispatch"
	"sluice/internal/run/work"
)

// driveWith is drive with more to say.
func (w *world) driveWith(ctx context.Context, worker dispatch.Worker, edit func(*dispatch.Config)) (sluice.Event, error) {
	var mu sync.Mutex
	cfg := dispatch.Config{Log: w.log, Namespace: ns, Drivers: w.drivers, Outputs: w.outputs, Worker: worker,
		Clock: time.Now, Driver: "test", Observe: func(e sluice.Event) { w.seen = append(w.seen, e) },
		Notice: func(s string) { mu.Lock(); defer mu.Unlock(); w.notices = append(w.notices, s) }}
	edit(&cfg)
	return dispatch.Drive(ctx, cfg, w.job)
}

// TestARightThatIsWithdrawnHaltsTheJob: from the turn on that would start the next attempt. What runs ends by itself, and
// nobody but a person resumes the job.
func TestARightThatIsWithdrawnHaltsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 9, nil)
		begin, asked := time.Now(), 0
		may := func(_ context.Context, j *sluice.Job) error {
			asked++
			if j.ID != w.job {
				t.Errorf("asked for job %s", j.ID)
			}
			if time.Since(begin) >= 90*time.Second {
				return sluice.Errorf(sluice.Denied, "ann is no operator any more")
			}
			return nil
		}
		hosts := takes(time.Minute)
		e, err := w.driveWith(t.Context(), hosts, func(c *dispatch.Config) { c.May = may })
		if err != nil {
			t.Fatal(err)
		}
		b, ok := e.Body.(sluice.JobHalted)
		if !ok || b.Rule != sluice.RuleRights || b.Reason != "ann is no operator any more" {
			t.Errorf("ends with %+v", e.Body)
		}
		if len(hosts.started) != 6 { // at 0 s and at 60 s; at 120 s no more
			t.Errorf("%d were started", len(hosts.started))
		}
		if asked == 0 || asked > 6 {
			t.Errorf("asked %d times", asked)
		}
		w.sound()
		w.add(w.job, sluice.JobResumed{By: "root", Generation: b.Generation + 1})
		w.seen = nil
		e, err = w.driveWith(t.Context(), hosts, func(*dispatch.Config) {})
		if o := outcome(t, e, err); o != sluice.Succeeded || len(hosts.started) != 9 {
			t.Errorf("resumed, the job %s with %d started", o, len(hosts.started))
		}
		w.sound()
	})
}

// TestARightThatCannotBeFoundOut starts nothing, tells somebody once, and is asked for again.
func TestARightThatCannotBeFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		begin := time.Now()
		hosts := takes(time.Minute)
		var during int
		time.AfterFunc(299*time.Second, func() { hosts.mu.Lock(); during = len(hosts.started); hosts.mu.Unlock() })
		e, err := w.driveWith(t.Context(), hosts, func(c *dispatch.Config) {
			c.May = func(context.Context, *sluice.Job) error {
				if d := time.Since(begin); d >= 30*time.Second && d < 5*time.Minute {
					return errors.New("no answer")
				}
				return nil
			}
		})
		if o := outcome(t, e, err); o != sluice.Succeeded {
			t.Errorf("the job %s", o)
		}
		if during != 3 {
			t.Errorf("%d were started before the right was known", during)
		}
		if took := time.Since(begin); took > 6*time.Minute+5*time.Second {
			t.Errorf("it took %v", took)
		}
		if len(w.notices) != 1 {
			t.Errorf("notices: %q", w.notices)
		}
		w.sound()
	})
}

// TestTheRightIsNotAskedForEveryStep: only turns that may start something cost a question.
func TestTheRightIsNotAskedForEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, nil)
		hosts := takes(time.Minute)
		asked := 0
		hosts.does = func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
			for i := range 50 {
				time.Sleep(time.Second)
				a.Step(sluice.TaskStep{Host: a.Host, Attempt: a.Attempt, Step: fmt.Sprintf("pre/%d", i)})
			}
			return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
		}
		e, err := w.driveWith(t.Context(), hosts, func(c *dispatch.Config) {
			c.May = func(context.Context, *sluice.Job) error { asked++; return nil }
		})
		if o := outcome(t, e, err); o != sluice.Succeeded || asked > 4 {
			t.Errorf("the job %s; asked %d times", o, asked)
		}
		w.sound()
	})
}

// lossy is a worker that goes away with what it has, a number of times for each host.
type lossy struct {
	*targets
	mu    sync.Mutex
	loses map[sluice.Host]int // -1: always
	modes map[sluice.Host][]work.Assignment
	err   error
}

func (l *lossy) Do(ctx context.Context, a work.Assignment) error {
	l.mu.Lock()
	l.modes[a.Host] = append(l.modes[a.Host], a)
	lose := l.loses[a.Host] != 0
	if lose {
		l.loses[a.Host]--
	}
	l.mu.Unlock()
	if !lose {
		return l.targets.Do(ctx, a)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return fmt.Errorf("worker w1: %w", l.err)
	}
}

func losing(d time.Duration, hosts map[sluice.Host]int) *lossy {
	return &lossy{targets: takes(d), loses: hosts, modes: map[sluice.Host][]work.Assignment{}, err: work.ErrHandOver}
}

// TestWhatAWorkerLosesIsHandedOn: the attempt is the same one, and the other worker knows that it may have begun.
func TestWhatAWorkerLosesIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, nil)
		hosts := losing(time.Minute, map[sluice.Host]int{"h01": 3})
		e, err := w.driveWith(t.Context(), hosts, func(*dispatch.Config) {})
		if o := outcome(t, e, err); o != sluice.Succeeded {
			t.Errorf("the job %s", o)
		}
		had := hosts.modes["h01"]
		if len(had) != 4 {
			t.Fatalf("handed out %d times", len(had))
		}
		for i, a := range had {
			if a.Attempt != had[0].Attempt || a.Mode != work.Run || a.Resumed != (i > 0) {
				t.Errorf("time %d: attempt %s, mode %v, resumed %v", i, a.Attempt, a.Mode, a.Resumed)
			}
		}
		w.sound()
	})
}

// TestWhatNobodyTakesUpIsUnknown after the time for reconnecting, and not before.
func TestWhatNobodyTakesUpIsUnknown(t *testing.T) {
	for _, why := range []error{work.ErrHandOver, work.ErrNoWorker} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 3, func(j *sluice.Job, _ *sluice.Fleet) { j.Options.Reconnect = time.Minute })
			begin := time.Now()
			hosts := losing(time.Minute, map[sluice.Host]int{"h01": -1})
			hosts.err = why
			e, err := w.driveWith(t.Context(), hosts, func(*dispatch.Config) {})
			if o := outcome(t, e, err); o != sluice.Failed {
				t.Errorf("the job %s", o)
			}
			if b, ok := e.Body.(sluice.JobFinished); !ok || b.Counts[sluice.Unknown] != 1 {
				t.Errorf("ends with %+v", e.Body)
			}
			if took := time.Since(begin); took < time.Minute || took > 80*time.Second {
				t.Errorf("it took %v", took)
			}
			w.sound()
		})
	}
}

// TestWhatIsLostDuringAHaltIsOnlySettled: a second worker must not begin what the first had not.
func TestWhatIsLostDuringAHaltIsOnlySettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, nil)
		time.AfterFunc(500*time.Millisecond, func() {
			w.add(w.job, sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "lunch", By: "somebody"})
		})
		hosts := losing(time.Minute, map[sluice.Host]int{"h01": 1})
		if _, err := w.driveWith(t.Context(), hosts, func(*dispatch.Config) {}); err != nil {
			t.Fatal(err)
		}
		if had := hosts.modes["h01"]; len(had) != 2 || had[1].Mode != work.Settle {
			t.Errorf("handed out as %+v", had)
		}
		w.sound()
	})
}

// TestACancelReachesWhatIsHandedOn: the kill is told to the worker that has the attempt now.
func TestACancelReachesWhatIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, nil)
		time.AfterFunc(500*time.Millisecond, func() { w.add(w.job, sluice.JobCancelling{By: "somebody"}) })
		hosts := losing(time.Hour, map[sluice.Host]int{"h00": 2})
		e, err := w.driveWith(t.Context(), hosts, func(*dispatch.Config) {})
		if o := outcome(t, e, err); o != sluice.Cancelled {
			t.Errorf("the job %s", o)
		}
		w.sound()
	})
}

// TestAnOutcomeBeforeTheLossCounts: the worker said how it ended, and went away before it heard that this is durable.
func TestAnOutcomeBeforeTheLossCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, why := range []error{work.ErrHandOver, errors.New("broken")} {
			w := newWorld(t, 2, nil)
			hosts := takes(0)
			hosts.does = func(ctx context.Context, a work.Assignment) (sluice.TaskFinished, error) {
				time.Sleep(time.Minute)
				if a.Host == "h01" {
					return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
				}
				gone, cancel := context.WithCancel(ctx)
				cancel()
				for a.Commit(gone, sluice.TaskFinished{Host: a.Host, Attempt: a.Attempt, Outcome: sluice.Failed}) == nil {
				}
				return sluice.TaskFinished{}, why
			}
			e, err := w.driveWith(t.Context(), hosts, func(*dispatch.Config) {})
			if o := outcome(t, e, err); o != sluice.Failed {
				t.Errorf("the job %s", o)
			}
			w.sound()
		}
	})
}

// TestOutputIsNumberedAsItIsShown: output has the number of the event that was shown before it, however many hosts print while
// events come.
func TestOutputIsNumberedAsItIsShown(t *testing.T) {
	w := newWorld(t, 20, func(j *sluice.Job, f *sluice.Fleet) { f.Constraints = nil })
	worker := &targets{started: map[sluice.Host]int{}, does: func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
		for i := range int64(200) {
			a.Output("stdout", i, []byte("x"))
			if i%20 == 0 {
				a.Step(sluice.TaskStep{Host: a.Host, Attempt: a.Attempt, Step: "pre/a"})
			}
		}
		return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
	}}
	_, err := dispatch.Drive(t.Context(), dispatch.Config{Log: w.log, Namespace: ns, Drivers: w.drivers, Outputs: w.outputs, Worker: worker,
		Clock: time.Now, Driver: "test", Observe: func(e sluice.Event) {
			runtime.Gosched() // who shows takes his time, and others come
			w.seen = append(w.seen, e)
		}}, w.job)
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	printed := 0
	for _, e := range w.seen {
		_, output := e.Body.(sluice.TaskOutput)
		switch {
		case output && e.Seq == last:
			printed++
		case output || e.Seq <= last:
			t.Fatalf("event %d of type %s is shown after %d", e.Seq, e.Body.Type(), last)
		}
		last = e.Seq
	}
	if printed != 20*200 {
		t.Errorf("%d pieces are shown", printed)
	}
}

// TestBalancersAreOnRecord: what a worker tells of balancers is in the log, once, however often who joins tells it again.
func TestBalancersAreOnRecord(t *testing.T) {
	w := newWorld(t, 3, func(j *sluice.Job, f *sluice.Fleet) { f.Constraints = nil })
	worker := &targets{started: map[sluice.Host]int{}, does: func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
		out := sluice.BalancerChanged{Host: a.Host, Attempt: a.Attempt, Balancer: "web", Pool: "shop", Server: string(a.Host), Wanted: sluice.ServerDraining, State: sluice.ServerDraining}
		back := out
		back.Wanted, back.State = sluice.ServerUp, sluice.ServerUp
		for _, b := range []sluice.BalancerChanged{out, back, out, back} {
			a.Balanced(b)
		}
		return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
	}}
	if _, err := w.driveWith(t.Context(), worker, func(*dispatch.Config) {}); err != nil {
		t.Fatal(err)
	}
	events, err := w.log.ReadJob(t.Context(), ns, w.job)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, e := range events {
		if b, ok := e.Body.(sluice.BalancerChanged); ok {
			got[string(b.Host)+" "+string(b.Wanted)]++
		}
	}
	if len(got) != 6 {
		t.Errorf("%v", got)
	}
	for what, n := range got {
		if n != 1 {
			t.Errorf("%s is in the log %d times", what, n)
		}
	}
}

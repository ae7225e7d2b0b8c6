package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/lab/check"
	"sluice/internal/lab/fake"
	"sluice/internal/run/dispatch"
	"sluice/internal/run/work"
)

const ns = sluice.Namespace("test")

// targets are hosts that do what a test says, and remember what was started on them.
type targets struct {
	mu      sync.Mutex
	started map[sluice.Host]int
	live    int
	most    int
	does    func(ctx context.Context, a work.Assignment) (sluice.TaskFinished, error)
}

func (w *targets) Do(ctx context.Context, a work.Assignment) error {
	w.mu.Lock()
	if a.Mode == work.Run && !a.Resumed {
		w.started[a.Host]++
	}
	w.live++
	w.most = max(w.most, w.live)
	w.mu.Unlock()
	if a.Kill == nil {
		a.Kill = context.Background()
	}
	r, err := w.does(ctx, a)
	w.mu.Lock()
	w.live--
	w.mu.Unlock()
	if err != nil {
		return err
	}
	r.Host, r.Attempt = a.Host, a.Attempt
	if r.Outcome == sluice.Succeeded || r.Outcome == sluice.Failed {
		a.Step(sluice.TaskStep{Host: a.Host, Attempt: a.Attempt, Step: "command"})
	}
	return a.Commit(ctx, r)
}

// takes makes a worker whose attempts take a time, and fail on some hosts.
func takes(d time.Duration, bad ...sluice.Host) *targets {
	return &targets{started: map[sluice.Host]int{}, does: func(ctx context.Context, a work.Assignment) (sluice.TaskFinished, error) {
		select {
		case <-ctx.Done():
			return sluice.TaskFinished{}, ctx.Err()
		case <-a.Kill.Done():
			return sluice.TaskFinished{Outcome: sluice.Cancelled}, nil
		case <-time.After(d):
		}
		if slices.Contains(bad, a.Host) {
			return sluice.TaskFinished{Outcome: sluice.Failed, Reason: "bad"}, nil
		}
		return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
	}}
}

// world is a journal with one submitted job.
type world struct {
	t       *testing.T
	log     *fake.Log
	drivers *fake.Drivers
	outputs *fake.Outputs
	job     sluice.JobID
	seen    []sluice.Event
	notices []string
}

func newWorld(t *testing.T, hosts int, edit func(*sluice.Job, *sluice.Fleet)) *world {
	w := &world{t: t, log: fake.NewLog(), drivers: fake.NewDrivers(), outputs: fake.NewOutputs(), job: "000000000001"}
	f := &sluice.Fleet{Namespace: ns}
	for i := range hosts {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("h%02d", i)))
	}
	f.Constraints = []sluice.Constraint{{Name: "$all", Groups: []sluice.Group{{Name: "$all", Limit: sluice.Count(3), Members: f.Hosts}}}}
	j := sluice.Job{ID: w.job, Namespace: ns, Command: "true"}
	if edit != nil {
		edit(&j, f)
	}
	p, ordered, err := plan.Make(f, f.Hosts)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := sluice.NewRules(f.Hosts, f.Constraints)
	if err != nil {
		t.Fatal(err)
	}
	j.Targets, j.Tracks, j.Rules = ordered, p.Tracks, rules.Digest
	w.add("", sluice.RulesApplied{Rules: rules})
	w.add(w.job, sluice.JobSubmitted{Submitted: j})
	return w
}

func (w *world) add(job sluice.JobID, b sluice.Body) {
	w.t.Helper()
	events := w.events()
	var after uint64
	if n := len(events); n > 0 {
		after = events[n-1].Seq
	}
	if _, err := w.log.Update(w.t.Context(), ns, after, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: time.Now(), Job: job, Body: b}}, nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) events() []sluice.Event {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), ns, 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

func (w *world) drive(ctx context.Context, worker dispatch.Worker) (sluice.Event, error) {
	var mu sync.Mutex
	return dispatch.Drive(ctx, dispatch.Config{Log: w.log, Namespace: ns, Drivers: w.drivers, Outputs: w.outputs, Worker: worker,
		Clock: time.Now, Driver: "test", Observe: func(e sluice.Event) { w.seen = append(w.seen, e) },
		Notice: func(s string) { mu.Lock(); defer mu.Unlock(); w.notices = append(w.notices, s) }}, w.job)
}

// sound checks the log against the rules, and that the observer saw what is in it, in order.
func (w *world) sound() {
	w.t.Helper()
	events := w.events()
	if bad := check.Log(events); len(bad) > 0 {
		w.t.Errorf("%v", bad)
	}
	for i := 1; i < len(w.seen); i++ {
		if w.seen[i].Seq <= w.seen[i-1].Seq {
			w.t.Errorf("event %d was shown after %d", w.seen[i].Seq, w.seen[i-1].Seq)
		}
	}
	if last := events[len(events)-1]; len(w.seen) > 0 && w.seen[len(w.seen)-1].Seq != last.Seq {
		w.t.Errorf("the last event shown is %d, the log ends with %d", w.seen[len(w.seen)-1].Seq, last.Seq)
	}
}

func outcome(t *testing.T, e sluice.Event, err error) sluice.Outcome {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := e.Body.(sluice.JobFinished); ok {
		return b.Outcome
	}
	return sluice.Outcome(e.Body.Type())
}

func TestRunsUnderTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10, nil)
		hosts := takes(time.Minute)
		e, err := w.drive(t.Context(), hosts)
		if o := outcome(t, e, err); o != sluice.Succeeded {
			t.Errorf("the job %s", o)
		}
		if hosts.most != 3 || len(hosts.started) != 10 {
			t.Errorf("%d at once, %d in all", hosts.most, len(hosts.started))
		}
		w.sound()
	})
}

// TestOutcomesWaitForCompany: outcomes that come close together go into the log as one step, but none waits for more
// than a small share of the time that its attempt took, nor for nobody.
func TestOutcomesWaitForCompany(t *testing.T) {
	for _, c := range []struct {
		name           string
		took, apart    time.Duration
		first, allHere time.Duration // when outcomes are in the log, after the first came
		steps          int
	}{
		{"close together", 10 * time.Second, 10 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 1},
		{"far apart", 10 * time.Second, 60 * time.Millisecond, 50 * time.Millisecond, 120 * time.Millisecond, 3},
		{"of quick attempts", 100 * time.Millisecond, 10 * time.Millisecond, 4 * time.Millisecond, 20 * time.Millisecond, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 3, nil)
				begin := time.Now()
				hosts := takes(0)
				hosts.does = func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
					_, index, _, _ := a.Attempt.Parse()
					time.Sleep(c.took + time.Duration(index)*c.apart)
					return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
				}
				e, err := w.drive(t.Context(), hosts)
				if o := outcome(t, e, err); o != sluice.Succeeded {
					t.Errorf("the job %s", o)
				}
				var at []time.Duration
				for _, e := range w.events() {
					if _, ok := e.Body.(sluice.TaskFinished); ok {
						at = append(at, e.Time.Sub(begin)-c.took)
					}
				}
				if n := len(slices.Compact(slices.Clone(at))); n != c.steps {
					t.Errorf("%d steps of the log have outcomes, want %d", n, c.steps)
				}
				if len(at) != 3 || at[0] != c.first || at[2] != c.allHere {
					t.Errorf("outcomes are in the log after %v; want the first after %v and all after %v", at, c.first, c.allHere)
				}
				w.sound()
			})
		})
	}
}

func TestFailuresHoldTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10, nil)
		e, err := w.drive(t.Context(), takes(time.Minute, "h01", "h03", "h05"))
		if err != nil {
			t.Fatal(err)
		}
		b, ok := e.Body.(sluice.JobHalted)
		if !ok || b.Rule != sluice.RuleConstraint || b.Constraint != "$all" || !slices.Equal(b.Holders, []sluice.Host{"h01", "h03", "h05"}) {
			t.Errorf("ends with %+v", e.Body)
		}
		w.sound()
	})
}

// TestResultOfAnAppendUnknown: the log may have taken what it said it had not. Nothing is started twice, nothing is
// forgotten.
func TestResultOfAnAppendUnknown(t *testing.T) {
	for _, point := range []string{fake.LogResult, fake.LogUpdate} {
		for n := 1; n <= 12; n++ {
			t.Run(fmt.Sprint(point, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 6, nil)
					w.log.Faults.Set(point, fake.Nth(n, sluice.Errorf(sluice.Contact, "no answer")))
					hosts := takes(time.Minute)
					e, err := w.drive(t.Context(), hosts)
					if o := outcome(t, e, err); o != sluice.Succeeded {
						t.Errorf("the job %s", o)
					}
					for h, times := range hosts.started {
						if times > 1 {
							t.Errorf("%s was started %d times", h, times)
						}
					}
					w.sound()
				})
			})
		}
	}
}

func TestDiskFullStopsStartsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		hosts := takes(time.Minute)
		var during int
		go func() {
			time.Sleep(30 * time.Second) // three run
			w.log.Faults.Set(fake.LogUpdate, fake.Always(sluice.Errorf(sluice.Contact, "no space left")))
			time.Sleep(10 * time.Minute)
			hosts.mu.Lock()
			during = len(hosts.started)
			hosts.mu.Unlock()
			w.log.Faults.Set(fake.LogUpdate, nil)
		}()
		e, err := w.drive(t.Context(), hosts)
		if o := outcome(t, e, err); o != sluice.Succeeded {
			t.Errorf("the job %s", o)
		}
		if during != 3 {
			t.Errorf("%d were started while the journal could not be written", during)
		}
		if len(w.notices) == 0 {
			t.Error("nobody was told")
		}
		w.sound()
	})
}

func TestCancelFromAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		go func() {
			time.Sleep(30 * time.Second)
			w.add(w.job, sluice.JobCancelling{By: "somebody"})
		}()
		e, err := w.drive(t.Context(), takes(time.Hour))
		if o := outcome(t, e, err); o != sluice.Cancelled {
			t.Errorf("the job %s", o)
		}
		w.sound()
	})
}

func TestHaltFromAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		go func() {
			time.Sleep(30 * time.Second)
			w.add(w.job, sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "lunch", By: "somebody"})
		}()
		hosts := takes(time.Minute)
		e, err := w.drive(t.Context(), hosts)
		if o := outcome(t, e, err); o != "job.halted" || len(hosts.started) != 3 {
			t.Errorf("%s with %d started", o, len(hosts.started))
		}
		w.sound()
	})
}

// TestAnotherProcessGoesOn: whoever drives the job next joins what runs and starts nothing twice.
func TestAnotherProcessGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 9, nil)
		started := map[sluice.Host]int{}
		for round := 0; ; round++ {
			hosts := takes(time.Minute)
			ctx, kill := context.WithTimeout(t.Context(), 90*time.Second)
			w.seen = nil
			e, err := w.drive(ctx, hosts)
			kill()
			for h, n := range hosts.started {
				started[h] += n
			}
			if err == nil {
				if o := outcome(t, e, err); o != sluice.Succeeded {
					t.Errorf("the job %s", o)
				}
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || round > 20 {
				t.Fatal(err)
			}
		}
		for h, n := range started {
			if n != 1 {
				t.Errorf("%s was started %d times", h, n)
			}
		}
		w.sound()
	})
}

func TestUnknownIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, nil)
		hosts := takes(time.Minute)
		hosts.does = func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
			if a.Host == "h01" && a.Mode == work.Run {
				return sluice.TaskFinished{Outcome: sluice.Unknown, Reason: "the link was lost"}, nil
			}
			return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
		}
		e, err := w.drive(t.Context(), hosts)
		if o := outcome(t, e, err); o != sluice.Failed {
			t.Errorf("with an unknown outcome the job %s", o)
		}
		w.add(w.job, sluice.JobResumed{By: "somebody", Generation: 1})
		e, err = w.drive(t.Context(), hosts) // asks
		if o := outcome(t, e, err); o != sluice.Succeeded || hosts.started["h01"] != 1 {
			t.Errorf("after the host was asked the job %s; it ran %d times", o, hosts.started["h01"])
		}
		w.sound()
	})
}

// TestAWorkerThatFails leaves an outcome that nobody knows, and no job that waits for ever.
func TestAWorkerThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, nil)
		hosts := takes(time.Minute)
		hosts.does = func(_ context.Context, a work.Assignment) (sluice.TaskFinished, error) {
			if a.Host == "h01" {
				return sluice.TaskFinished{}, errors.New("panic in the transport")
			}
			return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
		}
		e, err := w.drive(t.Context(), hosts)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(sluice.JobFinished); !ok || b.Counts[sluice.Unknown] != 1 {
			t.Errorf("ends with %+v", e.Body)
		}
		w.sound()
	})
}

func TestJobTimeLimitKillsAndHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 9, func(j *sluice.Job, _ *sluice.Fleet) { j.Options.JobTimeout = 90 * time.Second })
		hosts := takes(time.Minute)
		reason := make(chan error, 9)
		hosts.does = func(ctx context.Context, a work.Assignment) (sluice.TaskFinished, error) {
			select {
			case <-a.Kill.Done():
				reason <- context.Cause(a.Kill)
				return sluice.TaskFinished{Outcome: sluice.TimedOut}, nil
			case <-time.After(time.Minute):
				return sluice.TaskFinished{Outcome: sluice.Succeeded}, nil
			}
		}
		e, err := w.drive(t.Context(), hosts)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(sluice.JobHalted); !ok || b.Rule != sluice.RuleJobTimeout {
			t.Errorf("ends with %+v", e.Body)
		}
		if len(reason) != 3 || !errors.Is(<-reason, work.ErrTimeLimit) {
			t.Error("what ran was not ended for the time limit")
		}
		w.sound()
	})
}

func TestTwoProcessesShareALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10, nil)
		first, second := *w, *w
		second.job = "000000000002"
		events := w.events()
		spec := events[1].Body.(sluice.JobSubmitted).Submitted
		spec.ID = second.job
		w.add(second.job, sluice.JobSubmitted{Submitted: spec})
		var wg sync.WaitGroup
		hosts := takes(time.Minute)
		for _, p := range []*world{&first, &second} {
			release, err := w.drivers.Claim(p.job)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer release()
				e, err := p.drive(t.Context(), hosts)
				if o := outcome(t, e, err); o != sluice.Succeeded {
					t.Errorf("job %s %s", p.job, o)
				}
			})
		}
		wg.Wait()
		if hosts.most != 3 {
			t.Errorf("%d hosts at once under a limit of 3", hosts.most)
		}
		if bad := check.Log(w.events()); len(bad) > 0 {
			t.Errorf("%v", bad)
		}
	})
}

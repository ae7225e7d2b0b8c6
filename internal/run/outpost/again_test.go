package outpost

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/work"
)

// starter counts how often it would have started something.
type starter struct{ started chan struct{} }

func (s starter) Do(ctx context.Context, a work.Assignment) error {
	if err := a.MayStart(ctx); err != nil {
		return err
	}
	s.started <- struct{}{}
	return a.Commit(ctx, sluice.TaskFinished{Outcome: sluice.Succeeded})
}

// TestAnotherLineIsAnotherLeave: what was assigned on one line is not started under the lease of the next before the server
// has said that it is still this worker's. By then another one may have carried it out, and its host forgotten it.
func TestAnotherLineIsAnotherLeave(t *testing.T) {
	for name, committed := range map[string]bool{"it is over": true, "it is still its own": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const life = 15 * time.Second
				a := sluice.NewAttemptID("0123456789ab", 0, 1)
				worker := starter{make(chan struct{}, 2)}
				lines := []*talk{newTalk(), newTalk()}
				opened := 0
				o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(string) {},
					Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) { return worker, func() {}, nil },
					Open: func(ctx context.Context, _ sluice.WorkerHello) (Line, error) {
						if opened == len(lines) {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						opened++
						return lines[opened-1], nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- o.Run(ctx) }()
				assign := func(l *talk) {
					l.in <- sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a, Resumed: l == lines[1]}}
					synctest.Wait()
				}
				assign(lines[0]) // it has no lease yet
				lines[0].Close()
				time.Sleep(time.Second)
				synctest.Wait()
				lines[1].in <- sluice.ToWorker{Lease: &sluice.WorkerLease{Number: 1, For: life}}
				synctest.Wait()
				if len(worker.started) > 0 {
					t.Error("it is started before the server said anything of it")
				}
				if committed {
					lines[1].in <- sluice.ToWorker{Committed: a}
					synctest.Wait()
				} else {
					assign(lines[1])
				}
				if got, want := len(worker.started), map[bool]int{true: 0, false: 1}[committed]; got != want {
					t.Errorf("it is started %d times, want %d", got, want)
				}
				stop()
				lines[1].Close()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// dawdler finds an outcome when it is told to let go.
type dawdler struct{}

func (dawdler) Do(ctx context.Context, a work.Assignment) error {
	<-ctx.Done()
	return a.Commit(ctx, sluice.TaskFinished{Outcome: sluice.Unreachable, NotStarted: true})
}

// TestWhoLetGoKeepsNothing: an outcome that is found while the worker lets go is not kept. Another worker has the attempt,
// and nobody would ask for it here.
func TestWhoLetGoKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := sluice.NewAttemptID("0123456789ab", 0, 1)
		line, dir := newTalk(), t.TempDir()
		o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: dir, Limit: 1, Notice: func(string) {},
			Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) { return dawdler{}, func() {}, nil },
			Open:   func(context.Context, sluice.WorkerHello) (Line, error) { return line, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		line.in <- sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a, Resumed: true}}
		synctest.Wait()
		line.in <- sluice.ToWorker{Drop: a}
		synctest.Wait()
		if records, err := os.ReadDir(dir); err != nil || len(records) > 0 {
			t.Errorf("it keeps %v, error %v", records, err)
		}
		if held := o.hello().Held; len(held) > 0 {
			t.Errorf("it says that it has %v", held)
		}
		stop()
		line.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// drainer takes its host out of a balancer, and then waits.
type drainer struct{}

func (drainer) Do(ctx context.Context, a work.Assignment) error {
	a.Balanced(sluice.BalancerChanged{Host: a.Host, Attempt: a.Attempt, Balancer: "web", Wanted: sluice.ServerDraining, State: sluice.ServerDraining})
	<-ctx.Done()
	return ctx.Err()
}

// TestBalancersAreToldAgain: what was done at balancers while the line was away, or was perhaps lost with it, is told on the next one.
func TestBalancersAreToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := sluice.NewAttemptID("0123456789ab", 0, 1)
		lines := []*talk{newTalk(), newTalk()}
		opened := 0
		o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(string) {},
			Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) { return drainer{}, func() {}, nil },
			Open: func(ctx context.Context, _ sluice.WorkerHello) (Line, error) {
				if opened == len(lines) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				opened++
				return lines[opened-1], nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		for i, l := range lines {
			l.in <- sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a}}
			synctest.Wait()
			told := 0
			l.mu.Lock()
			for _, m := range l.got {
				if m.Balanced != nil && m.Balanced.Attempt == a && m.Balanced.State == sluice.ServerDraining {
					told++
				}
			}
			l.mu.Unlock()
			if told != 1 {
				t.Errorf("on line %d it is told %d times", i, told)
			}
			if i == 0 {
				l.Close()
				time.Sleep(time.Second)
			}
		}
		stop()
		lines[1].Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// finisher takes a step, takes its host out of a balancer, and ends well.
type finisher struct{}

func (finisher) Do(ctx context.Context, a work.Assignment) error {
	a.Step(sluice.TaskStep{Host: a.Host, Attempt: a.Attempt})
	a.Balanced(sluice.BalancerChanged{Host: a.Host, Attempt: a.Attempt, Balancer: "web", Wanted: sluice.ServerDraining, State: sluice.ServerDraining})
	return a.Commit(ctx, sluice.TaskFinished{Outcome: sluice.Succeeded})
}

// TestAllIsToldAfterTheEnd: steps, and what was done at balancers, are kept beside the outcome, and told again with it: by this process
// on the next line, and by the next process.
func TestAllIsToldAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := sluice.NewAttemptID("0123456789ab", 0, 1), t.TempDir()
		for _, process := range []string{"the first", "the next"} {
			lines := []*talk{newTalk(), newTalk()}
			opened := 0
			o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: dir, Limit: 1, Notice: func(string) {},
				Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) { return finisher{}, func() {}, nil },
				Open: func(ctx context.Context, _ sluice.WorkerHello) (Line, error) {
					if opened == len(lines) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					opened++
					return lines[opened-1], nil
				}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- o.Run(ctx) }()
			for i, l := range lines {
				l.in <- sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a}}
				synctest.Wait()
				var steps, balanced, outcomes int
				l.mu.Lock()
				for _, m := range l.got {
					switch {
					case m.Step != nil && m.Step.Attempt == a:
						steps++
					case m.Balanced != nil && m.Balanced.Attempt == a && m.Balanced.State == sluice.ServerDraining:
						balanced++
					case m.Outcome != nil && m.Outcome.Outcome == sluice.Succeeded:
						outcomes++
					}
				}
				l.mu.Unlock()
				if steps != 1 || balanced != 1 || outcomes != 1 {
					t.Errorf("%s process tells %d steps, %d changes of balancers and %d outcomes on line %d, want one of each", process, steps, balanced, outcomes, i)
				}
				l.Close()
				time.Sleep(time.Second)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/work"
)

// yard is a pool with one attempt, whose driver the test holds.
type yard struct {
	t       *testing.T
	p       *Pool
	ctx     context.Context
	all     sync.WaitGroup
	attempt sluice.AttemptID
	stopped atomic.Bool
	stall   chan struct{} // a step waits for it
	told    []sluice.BalancerChanged
	outputs *fake.Outputs

	mu   sync.Mutex
	ends []sluice.TaskFinished
}

func newYard(t *testing.T, lease time.Duration) *yard {
	y := &yard{t: t, ctx: t.Context(), attempt: "0123456789ab-0-1", stall: make(chan struct{}), outputs: fake.NewOutputs()}
	y.p = New(Config{Lease: lease, Outputs: y.outputs, Trouble: func(string) {},
		Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil }})
	return y
}

func (y *yard) run(ctx context.Context) {
	y.all.Go(func() { _ = y.p.Run(ctx) })
	y.all.Go(func() {
		_ = y.p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: y.attempt, Stopped: y.stopped.Load,
			Step:     func(sluice.TaskStep) { <-y.stall },
			Balanced: func(b sluice.BalancerChanged) { y.told = append(y.told, b) },
			Commit: func(_ context.Context, r sluice.TaskFinished) error {
				y.mu.Lock()
				defer y.mu.Unlock()
				y.ends = append(y.ends, r)
				return nil
			}})
	})
	y.ctx = ctx
	synctest.Wait()
}

func (y *yard) serve(name sluice.WorkerName, held ...sluice.WorkerHeld) *talk {
	return y.serveDraining(name, false, held...)
}

func (y *yard) serveDraining(name sluice.WorkerName, drain bool, held ...sluice.WorkerHeld) *talk {
	w := newTalk(held...)
	y.all.Go(func() { _ = y.p.Serve(y.ctx, name, []sluice.Pool{sluice.DefaultPool}, drain, w) })
	synctest.Wait()
	return w
}

func (s *talk) all(is func(sluice.ToWorker) bool) (out []sluice.ToWorker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if is(m) {
			out = append(out, m)
		}
	}
	return out
}

func (s *talk) assigned() []sluice.ToWorker {
	return s.all(func(m sluice.ToWorker) bool { return m.Assign != nil })
}

func stops(m sluice.ToWorker) bool { return m.Stop != "" }

// TestAHaltReachesTheWorker: the worker that has an attempt is told, once, that it is not to start any more; and again when
// it comes anew. Nothing is said of a job that goes on.
func TestAHaltReachesTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, time.Hour)
		ctx, stop := context.WithCancel(t.Context())
		y.run(ctx)
		w := y.serve("w1")
		time.Sleep(time.Minute)
		if len(w.assigned()) != 1 || len(w.all(stops)) != 0 {
			t.Errorf("it is given %v and told %v", w.assigned(), w.all(stops))
		}
		y.stopped.Store(true)
		time.Sleep(glance)
		synctest.Wait()
		if len(w.all(stops)) != 1 {
			t.Errorf("after %v it is told %v", glance, w.all(stops))
		}
		time.Sleep(time.Minute)
		if got := w.all(stops); len(got) != 1 || got[0].Stop != y.attempt {
			t.Errorf("it is told %v", got)
		}
		w.Close()
		synctest.Wait()
		w = y.serve("w1", sluice.WorkerHeld{Attempt: y.attempt})
		if len(w.all(stops)) != 1 {
			t.Errorf("when it comes anew it is told %v", w.all(stops))
		}
		y.stopped.Store(false) // resumed
		time.Sleep(time.Minute)
		y.stopped.Store(true)
		time.Sleep(time.Minute)
		if len(w.all(stops)) != 2 {
			t.Errorf("when it is halted again it is told %v", w.all(stops))
		}
		stop()
		w.Close()
		y.all.Wait()
	})
}

// TestTheInboxIsBounded: while nobody reads, what a worker sends does not fill the memory. It is asked for the rest when
// somebody reads again, and nothing is missing.
func TestTheInboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, time.Hour)
		ctx, stop := context.WithCancel(t.Context())
		y.run(ctx)
		w := y.serve("w1")
		w.in <- sluice.ToServer{Step: &sluice.TaskStep{Host: "h", Attempt: y.attempt, Step: "command"}}
		synctest.Wait()
		data := make([]byte, pieces)
		for i := range 1000 {
			w.in <- sluice.ToServer{Output: &sluice.WorkerOutput{Attempt: y.attempt, Stream: "stdout", Offset: int64(i) * pieces, Data: data}}
		}
		for range 5000 {
			w.in <- sluice.ToServer{Step: &sluice.TaskStep{Host: "h", Attempt: y.attempt, Step: "command"}}
			synctest.Wait()
		}
		end := sluice.ToServer{Outcome: &sluice.TaskFinished{Host: "h", Attempt: y.attempt, Outcome: sluice.Succeeded}}
		w.in <- end
		synctest.Wait()
		f := y.p.flight[y.attempt]
		f.mu.Lock()
		if len(f.inbox) > maxInbox || f.bytes > maxInboxBytes || !f.missed {
			t.Errorf("%d messages with %d bytes wait", len(f.inbox), f.bytes)
		}
		f.mu.Unlock()
		close(y.stall)
		synctest.Wait()
		got := w.assigned()
		size, err := y.outputs.Size("0123456789ab", y.attempt, "stdout")
		if err != nil || len(got) != 2 || !got[1].Assign.Settle || !got[1].Assign.Resumed || got[1].Assign.Stdout != size || size == 0 || len(y.ends) > 0 {
			t.Fatalf("then it is given %+v, with %d bytes here, error %v, ends %v", got, size, err, y.ends)
		}
		w.in <- sluice.ToServer{Output: &sluice.WorkerOutput{Attempt: y.attempt, Stream: "stdout", Offset: size, Data: data}}
		w.in <- end
		synctest.Wait()
		if len(y.ends) != 1 || y.ends[0].Outcome != sluice.Succeeded || len(y.ends[0].Truncated) > 0 {
			t.Errorf("it ends with %+v", y.ends)
		}
		stop()
		w.Close()
		y.all.Wait()
	})
}

const pieces = 64 << 10

// TestWhatWasDecidedBeforeIsNotDone: a worker that lost an attempt before anybody came to give it to them is not given it,
// and the one that has it is told that another one may have had it.
func TestWhatWasDecidedBeforeIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 10 * time.Second
		y := newYard(t, lease)
		ctx, stop := context.WithCancel(t.Context())
		y.run(ctx)
		w1 := y.serve("w1")
		w1.in <- sluice.ToServer{Step: &sluice.TaskStep{Host: "h", Attempt: y.attempt, Step: "command"}}
		synctest.Wait() // from here on nobody reads
		w2 := y.serve("w2")
		for range 4 { // w1 is lost, w2 has it
			w2.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{}}
			time.Sleep(lease / 3)
		}
		w1 = y.serve("w1") // without it
		w2.Close()
		synctest.Wait()
		y.serve("w2", sluice.WorkerHeld{Attempt: y.attempt}) // it has had it all the while, since w1
		for range 4 {                                        // w2 is lost, w1 has it
			w1.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{}}
			time.Sleep(lease / 3)
		}
		w1.Close()
		synctest.Wait()
		w1 = y.serve("w1", sluice.WorkerHeld{Attempt: y.attempt})
		w2 = y.serve("w2")
		close(y.stall)
		synctest.Wait()
		if got := w2.assigned(); len(got) > 0 {
			t.Errorf("w2 is given %+v, which it lost", got[0].Assign)
		}
		if got := w1.assigned(); len(got) != 1 || !got[0].Assign.Resumed {
			t.Errorf("w1 is given %+v", got)
		}
		stop()
		w1.Close()
		w2.Close()
		y.all.Wait()
	})
}

// TestWhoLostItIsNotGivenIt: nor where nobody else has it by now.
func TestWhoLostItIsNotGivenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 10 * time.Second
		y := newYard(t, lease)
		ctx, stop := context.WithCancel(t.Context())
		y.run(ctx)
		w1 := y.serve("w1")
		w1.in <- sluice.ToServer{Step: &sluice.TaskStep{Host: "h", Attempt: y.attempt, Step: "command"}}
		synctest.Wait() // from here on nobody reads
		w2 := y.serve("w2")
		for range 4 { // w1 is lost, w2 has it
			w2.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{}}
			time.Sleep(lease / 3)
		}
		time.Sleep(2 * lease) // w2 is lost
		w2 = y.serveDraining("w2", true)
		close(y.stall)
		synctest.Wait()
		if got := w2.assigned(); len(got) > 0 {
			t.Errorf("w2 is given %+v", got[0].Assign)
		}
		stop()
		w1.Close()
		w2.Close()
		y.all.Wait()
	})
}

// TestBalancersFromAWorker: what a worker did at a balancer is told, of the host that it was given and of no other; it is in nobody's name.
func TestBalancersFromAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, time.Hour)
		ctx, stop := context.WithCancel(t.Context())
		y.run(ctx)
		w := y.serve("w1")
		out := sluice.BalancerChanged{Host: "h", Attempt: y.attempt, Balancer: "web", Pool: "shop", Server: "h", Wanted: sluice.ServerDraining, State: sluice.ServerDraining}
		other, forged := out, out
		other.Host, forged.By = "other", "ann"
		for _, b := range []sluice.BalancerChanged{other, out, forged} {
			w.in <- sluice.ToServer{Balanced: &b}
		}
		synctest.Wait()
		if len(y.told) != 2 || y.told[0] != out || y.told[1] != out {
			t.Errorf("%+v", y.told)
		}
		stop()
		w.Close()
		y.all.Wait()
	})
}

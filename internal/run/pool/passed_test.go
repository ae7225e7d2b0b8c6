package pool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// talk is a line whose other end is the test.
type talk struct {
	in     chan sluice.ToServer
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	got    []sluice.ToWorker
}

func newTalk(held ...sluice.WorkerHeld) *talk {
	s := &talk{in: make(chan sluice.ToServer, 10000), closed: make(chan struct{})}
	s.in <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: 1, Held: held}}
	return s
}

func (s *talk) Send(m sluice.ToWorker) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, m)
	return nil
}

func (s *talk) Receive() (sluice.ToServer, error) {
	select {
	case m := <-s.in:
		return m, nil
	case <-s.closed:
		return sluice.ToServer{}, errors.New("closed")
	}
}

func (s *talk) Close() { s.once.Do(func() { close(s.closed) }) }

// told are the assignments that came: whether each says that somebody else may have had it.
func (s *talk) told() (resumed []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if m.Assign != nil {
			resumed = append(resumed, m.Assign.Resumed)
		}
	}
	return resumed
}

type sizes struct{ sluice.Outputs }

func (sizes) Size(sluice.JobID, sluice.AttemptID, string) (int64, error) { return 0, nil }

// TestWhoComesAnewIsToldThatItIsDurable: also where the line broke between the two, and somebody still waits for the host to
// be tidied up.
func TestWhoComesAnewIsToldThatItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Outputs: sizes{}, Settled: func(context.Context, sluice.AttemptID) (bool, error) { return true, nil }, Trouble: func(string) {}})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Run(ctx) })
		serve := func(l *talk) *talk {
			all.Go(func() { _ = p.Serve(ctx, "w1", []sluice.Pool{sluice.DefaultPool}, false, l) })
			synctest.Wait()
			return l
		}
		a := sluice.NewAttemptID("0123456789ab", 1, 1)
		first := serve(newTalk())
		all.Go(func() {
			_ = p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a, Mode: work.Run,
				Commit: func(context.Context, sluice.TaskFinished) error { return nil }})
		})
		synctest.Wait()
		first.in <- sluice.ToServer{Outcome: &sluice.TaskFinished{Host: "h", Attempt: a, Outcome: sluice.Succeeded}}
		synctest.Wait()
		first.Close()
		again := serve(newTalk(sluice.WorkerHeld{Attempt: a, Ended: true}))
		told := 0
		again.mu.Lock()
		for _, m := range again.got {
			if m.Committed == a {
				told++
			}
		}
		again.mu.Unlock()
		if told != 1 {
			t.Errorf("it is told %d times", told)
		}
		stop()
		again.Close()
		all.Wait()
	})
}

// TestWhoHadItIsTold: a worker whose line was cut for a moment keeps what it has, and what it knows of it counts. Once
// another one was given the attempt, it is told so, and must not go by what it knows itself.
func TestWhoHadItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 10 * time.Second
		p := New(Config{Lease: lease, Outputs: sizes{}, Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil }, Trouble: func(string) {}})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Run(ctx) })
		serve := func(name sluice.WorkerName, l *talk) *talk {
			all.Go(func() { _ = p.Serve(ctx, name, []sluice.Pool{sluice.DefaultPool}, false, l) })
			synctest.Wait()
			return l
		}
		says := func(what string, l *talk, want ...bool) {
			t.Helper()
			if got := l.told(); len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
				t.Errorf("%s: it is assigned with resumed %v, want %v", what, got, want)
			}
		}
		a := sluice.NewAttemptID("0123456789ab", 1, 1)
		held := sluice.WorkerHeld{Attempt: a, Ended: true}
		w1 := serve("w1", newTalk())
		all.Go(func() {
			_ = p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a, Mode: work.Run,
				Commit: func(context.Context, sluice.TaskFinished) error { return nil }})
		})
		synctest.Wait()
		says("the first", w1, false)
		w1.Close()
		w1 = serve("w1", newTalk(held))
		says("the same again, before its lease is over", w1, false)
		w1.Close()
		w2 := serve("w2", newTalk())
		says("another one, too early", w2)
		for range 6 { // until the lease of the first is over
			time.Sleep(2 * time.Second)
			w2.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 1}}
			synctest.Wait()
		}
		says("another one", w2, true)
		w2.Close()
		w2 = serve("w2", newTalk(held))
		says("the other one again: the first may have started it", w2, true)
		w1 = serve("w1", newTalk(held))
		says("the first, when it comes back, and the other one may still start it", w1)
		w2.Close()
		for range 6 {
			time.Sleep(2 * time.Second)
			w1.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 1}}
			synctest.Wait()
		}
		says("when the other one is lost", w1, true)
		stop()
		for _, l := range []*talk{w1, w2} {
			l.Close()
		}
		all.Wait()
	})
}

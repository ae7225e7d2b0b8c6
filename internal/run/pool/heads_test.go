package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

func seen(ns sluice.Namespace, seq uint64) sluice.SeenHead {
	return sluice.SeenHead{Head: sluice.Head{Namespace: ns, Seq: seq}}
}

// heads are the numbers that a worker was shown of a namespace.
func (s *talk) heads(ns sluice.Namespace) (out []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		for _, h := range m.Heads {
			if h.Namespace == ns {
				out = append(out, h.Seq)
			}
		}
	}
	return out
}

// TestHeadsAreShown: each worker sees where the log ends that it works for, once, however often it is heard of; and the log
// is asked no more often for many workers than for one.
func TestHeadsAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 15 * time.Second
		var asked int
		now := []sluice.SeenHead{seen(sluice.AccessNamespace, 1), seen("prod", 5), seen("secret", 7)}
		var alarm atomic.Bool
		p := New(Config{Lease: lease, Outputs: sizes{}, Trouble: func(string) {}, Alarm: func() error {
			if alarm.Load() {
				return errors.New("the log went backwards")
			}
			return nil
		},
			Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil },
			Heads:   func(context.Context) ([]sluice.SeenHead, error) { asked++; return now, nil }})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Run(ctx) })
		all.Go(func() {
			_ = p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab", Namespace: "prod"}, Host: "h", Attempt: "0123456789ab-0-1"})
		})
		time.Sleep(time.Minute)
		if asked > 0 {
			t.Error("the log is asked though nobody is heard of")
		}
		w1, w2 := newTalk(), newTalk()
		all.Go(func() { _ = p.Serve(ctx, "w1", []sluice.Pool{sluice.DefaultPool}, false, w1) })
		all.Go(func() { _ = p.Serve(ctx, "w2", []sluice.Pool{"other"}, false, w2) })
		synctest.Wait()
		beats := func(n int) {
			for range n {
				for _, w := range []*talk{w1, w2} {
					w.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 1}}
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		beats(30)
		if want := 1 + int(30*time.Second/(lease/3)); asked > want {
			t.Errorf("the log is asked %d times in 30 s", asked)
		}
		now = []sluice.SeenHead{seen(sluice.AccessNamespace, 1), seen("prod", 9), seen("secret", 8)}
		beats(10)
		alarm.Store(true)
		now = []sluice.SeenHead{seen("prod", 2)}
		beats(10)
		for _, c := range []struct {
			what string
			w    *talk
			ns   sluice.Namespace
			want []uint64
		}{
			{"what it works for", w1, "prod", []uint64{5, 9}}, {"what it does not work for", w1, "secret", nil}, {"what all may know", w1, sluice.AccessNamespace, []uint64{1}},
			{"another one's", w2, "prod", nil}, {"what all may know", w2, sluice.AccessNamespace, []uint64{1}},
		} {
			if got := c.w.heads(c.ns); !slices.Equal(got, c.want) {
				t.Errorf("%s: it is shown %v of %s, want %v", c.what, got, c.ns, c.want)
			}
		}
		stop()
		w1.Close()
		w2.Close()
		all.Wait()
	})
}

// TestWhatAWorkerHasSeenComesFirst: it is judged before the worker is given anything. If the log lost something, an attempt
// that the log held to be running is asked for on the host and not started; that the host knows nothing of it proves
// nothing, and what no worker was given ends there.
func TestWhatAWorkerHasSeenComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alarm atomic.Bool
		p := New(Config{Lease: 10 * time.Second, Outputs: sizes{}, Trouble: func(string) {}, Alarm: func() error {
			if alarm.Load() {
				return errors.New("the log went backwards")
			}
			return nil
		},
			Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil },
			Witness: func(_ context.Context, from string, heads []sluice.SeenHead) error {
				if from == "the worker w1" && len(heads) == 1 && heads[0] == seen("prod", 9) {
					alarm.Store(true)
				}
				return nil
			}})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Run(ctx) })
		old, fresh := sluice.AttemptID("0123456789ab-0-1"), sluice.AttemptID("0123456789ab-1-1")
		ends := map[sluice.AttemptID]sluice.TaskFinished{}
		var mu sync.Mutex
		for _, a := range []sluice.AttemptID{old, fresh} {
			all.Go(func() {
				_ = p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab", Namespace: "prod"}, Host: "h", Attempt: a, Resumed: a == old,
					Commit: func(_ context.Context, r sluice.TaskFinished) error {
						mu.Lock()
						defer mu.Unlock()
						ends[a] = r
						return nil
					}})
			})
		}
		w := &talk{in: make(chan sluice.ToServer, 100), closed: make(chan struct{})}
		w.in <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: 2, Heads: []sluice.SeenHead{seen("prod", 9)}}}
		all.Go(func() { _ = p.Serve(ctx, "w1", []sluice.Pool{sluice.DefaultPool}, false, w) })
		synctest.Wait()
		var given []sluice.WorkerAssign
		for _, m := range w.got {
			if m.Assign != nil {
				given = append(given, *m.Assign)
			}
		}
		if len(given) != 1 || given[0].Attempt != old || !given[0].Settle {
			t.Errorf("it is given %+v", given)
		}
		w.in <- sluice.ToServer{Outcome: &sluice.TaskFinished{Host: "h", Attempt: old, Outcome: sluice.Cancelled, NotStarted: true}}
		synctest.Wait()
		if r := ends[old]; r.Outcome != sluice.Unknown || r.NotStarted {
			t.Errorf("what the host has forgotten ends as %+v", r)
		}
		if r := ends[fresh]; r.Outcome != sluice.Cancelled || !r.NotStarted {
			t.Errorf("what nobody had ends as %+v", r)
		}
		stop()
		w.Close()
		all.Wait()
	})
}

package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/work"
)

// The world of the property: workers that keep the rules of docs/worker-protocol.md, hosts that start an attempt once and
// forget it when its outcome is durable, and a driver. It knows nothing of how the pool decides.

// trueHost is what is true of an attempt on its host.
type trueHost struct {
	started, revoked, forgotten bool
}

// hand is an attempt that a worker has.
type hand struct {
	settle, shared, bound bool
	outcome               *sluice.TaskFinished // it has ended
	proved                bool
}

// hireling is a worker of the world. It is also its line, as long as that is open.
type hireling struct {
	w       *world
	name    sluice.WorkerName
	pool    sluice.Pool
	line    *ply
	has     map[sluice.AttemptID]*hand
	beats   map[uint64]time.Time
	number  uint64
	lease   time.Time // its end, as the worker counts
	drained bool
	removed bool
}

// ply is one line of a worker.
type ply struct {
	h      *hireling
	in     chan sluice.ToServer
	closed chan struct{}
	once   sync.Once
}

func (l *ply) Close() { l.once.Do(func() { close(l.closed) }) }

func (l *ply) Receive() (sluice.ToServer, error) {
	select {
	case m := <-l.in:
		return m, nil
	case <-l.closed:
		return sluice.ToServer{}, errors.New("closed")
	}
}

func (l *ply) open() bool {
	select {
	case <-l.closed:
		return false
	default:
		return true
	}
}

func (l *ply) Send(m sluice.ToWorker) error {
	if !l.open() {
		return errors.New("closed")
	}
	l.h.w.mu.Lock()
	defer l.h.w.mu.Unlock()
	l.h.obey(l, m)
	return nil
}

const (
	worldLease     = 10 * time.Second
	worldReconnect = time.Minute
	worldLimit     = 3
)

type world struct {
	p       *Pool
	ctx     context.Context
	all     sync.WaitGroup
	stopped atomic.Bool

	mu     sync.Mutex
	hires  []*hireling
	hosts  map[sluice.AttemptID]*trueHost
	pools  map[sluice.AttemptID]sluice.Pool
	ends   map[sluice.AttemptID]sluice.TaskFinished
	over   map[sluice.AttemptID]bool
	given  map[sluice.AttemptID][]*hireling // to whom, in this order
	count  int
	broken []string
}

func (w *world) wrong(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// obey is what a worker does with a message. The world is locked.
func (h *hireling) obey(l *ply, m sluice.ToWorker) {
	w := h.w
	switch {
	case m.Lease != nil:
		sent, ok := h.beats[m.Lease.Number]
		if !ok || m.Lease.For != worldLease {
			w.wrong("%s gets a lease for beat %d, for %v", h.name, m.Lease.Number, m.Lease.For)
		}
		h.lease = sent.Add(worldLease)
	case m.Assign != nil:
		h.assigned(l, m.Assign)
	case m.Drop != "":
		delete(h.has, m.Drop)
	case m.Stop != "":
		if a := h.has[m.Stop]; a != nil && a.outcome == nil && !w.hosts[m.Stop].started {
			h.end(m.Stop, a, false)
		}
	case m.Committed != "":
		if _, ok := w.ends[m.Committed]; !ok {
			w.wrong("%s is told that %s is durable, which has no outcome", h.name, m.Committed)
		}
		w.hosts[m.Committed].forgotten = true
		delete(h.has, m.Committed)
		l.in <- sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: m.Committed}}
	}
}

func (h *hireling) assigned(l *ply, s *sluice.WorkerAssign) {
	w, a := h.w, h.has[s.Attempt]
	if w.pools[s.Attempt] != h.pool {
		w.wrong("%s of pool %s is given to %s of %s", s.Attempt, w.pools[s.Attempt], h.name, h.pool)
	}
	for _, other := range w.given[s.Attempt] {
		if other == h {
			continue
		}
		if !s.Resumed {
			w.wrong("%s is given to %s as if nobody else had had it, and %s had", s.Attempt, h.name, other.name)
		}
		if has := other.has[s.Attempt]; a == nil && has != nil && has.outcome == nil && time.Now().Before(other.lease) {
			w.wrong("%s is given to %s while %s has a lease for it", s.Attempt, h.name, other.name)
		}
	}
	w.given[s.Attempt] = append(w.given[s.Attempt], h)
	if a == nil {
		if h.drained || h.removed {
			w.wrong("%s is given to %s, which is drained or removed", s.Attempt, h.name)
		}
		if n := len(h.has); n >= worldLimit {
			w.wrong("%s has %d attempts and is given %s", h.name, n, s.Attempt)
		}
		a = &hand{settle: s.Settle}
		h.has[s.Attempt] = a
	}
	a.shared, a.bound = a.shared || s.Resumed, true
	if a.outcome != nil && a.outcome.NotStarted && a.shared && !a.proved {
		delete(h.has, s.Attempt)
		l.in <- sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: s.Attempt, Error: "somebody else may have started it"}}
		return
	}
	if a.outcome != nil {
		l.in <- sluice.ToServer{Outcome: a.outcome}
	}
}

// start says go, if the worker may. Only a host knows that it was started before.
func (h *hireling) start(id sluice.AttemptID, a *hand) {
	if a.settle || a.outcome != nil || !time.Now().Before(h.lease.Add(-worldLease/5)) {
		return
	}
	t := h.w.hosts[id]
	switch {
	case t.started || t.revoked:
	case t.forgotten:
		h.w.wrong("%s is started by %s after its host has forgotten it", id, h.name)
	case h.w.ends[id].NotStarted:
		h.w.wrong("%s is started by %s, and has ended as not started", id, h.name)
	default:
		t.started = true
	}
}

// end brings an attempt to its outcome: by the host's word, or, where nobody else can have started it and the host is not
// reached, by the worker's own.
func (h *hireling) end(id sluice.AttemptID, a *hand, reached bool) {
	t := h.w.hosts[id]
	if a.outcome != nil {
		return
	}
	r := &sluice.TaskFinished{Host: "h", Attempt: id, Outcome: sluice.Succeeded}
	switch {
	case reached && t.started:
	case reached || a.shared || a.settle:
		if t.started {
			break
		}
		t.revoked, a.proved = true, true
		r.Outcome, r.NotStarted = sluice.Unreachable, true
	case t.started: // by this worker: nobody else can have it
	default:
		r.Outcome, r.NotStarted = sluice.Unreachable, true
	}
	a.outcome = r
	if a.bound && h.line.open() {
		h.line.in <- sluice.ToServer{Outcome: r}
	}
}

// come opens a new line. After a restart the worker has only what has ended, and no lease.
func (w *world) come(h *hireling, restart bool) {
	if h.removed {
		return
	}
	w.leave(h)
	w.mu.Lock()
	var held []sluice.WorkerHeld
	for id, a := range h.has {
		a.bound = false
		if restart && a.outcome == nil {
			delete(h.has, id)
			continue
		}
		held = append(held, sluice.WorkerHeld{Attempt: id, Ended: a.outcome != nil})
	}
	if restart {
		h.lease = time.Time{}
	}
	slices.SortFunc(held, func(a, b sluice.WorkerHeld) int { return len(a.Attempt) - len(b.Attempt) })
	h.line = &ply{h: h, in: make(chan sluice.ToServer, 1000), closed: make(chan struct{})}
	l := h.line
	w.mu.Unlock()
	l.in <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: worldLimit, Held: held}}
	w.all.Go(func() {
		_ = w.p.Serve(w.ctx, h.name, []sluice.Pool{h.pool}, h.drained, l)
		l.Close()
	})
	synctest.Wait()
}

func (w *world) leave(h *hireling) {
	if h.line != nil {
		h.line.Close()
		synctest.Wait()
	}
}

func (w *world) beat(h *hireling) {
	if h.line == nil || !h.line.open() {
		return
	}
	w.mu.Lock()
	h.number++
	h.beats[h.number] = time.Now()
	w.mu.Unlock()
	h.line.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: h.number}}
	synctest.Wait()
}

func (w *world) launch(pool sluice.Pool) {
	w.mu.Lock()
	id := sluice.NewAttemptID("0123456789ab", w.count, 1)
	w.count++
	w.hosts[id], w.pools[id] = &trueHost{}, pool
	w.mu.Unlock()
	commit := func(_ context.Context, r sluice.TaskFinished) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, twice := w.ends[id]; twice {
			w.wrong("%s ends twice", id)
		}
		if t := w.hosts[id]; r.NotStarted && t.started {
			w.wrong("%s ends as not started, and it was", id)
		} else if r.Outcome == sluice.Succeeded && !t.started {
			w.wrong("%s ends as if it had been started", id)
		}
		w.ends[id] = r
		return nil
	}
	w.all.Go(func() {
		j := &sluice.Job{ID: "0123456789ab", SSH: sluice.SSH{Pool: pool}}
		j.Options.Reconnect = worldReconnect
		err := w.p.Job(nil).Do(w.ctx, work.Assignment{Job: j, Host: "h", Attempt: id, Stopped: w.stopped.Load, Commit: commit,
			Withdraw: func(ctx context.Context, b sluice.TaskWithdrawn) error {
				return commit(ctx, sluice.TaskFinished{Attempt: b.Attempt, Outcome: sluice.Cancelled, NotStarted: true})
			}})
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, ended := w.ends[id]; w.ctx.Err() == nil && (err != nil || !ended) {
			w.wrong("%s is let go of without an outcome: %v", id, err)
		}
		w.over[id] = true
	})
	synctest.Wait()
}

// each does something with the attempts of a worker, in their order.
func (w *world) each(h *hireling, do func(sluice.AttemptID, *hand)) {
	w.mu.Lock()
	var ids []sluice.AttemptID
	for id := range h.has {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		do(id, h.has[id])
	}
	w.mu.Unlock()
	synctest.Wait()
}

// step is one thing that happens.
type step struct {
	What  string
	Who   int
	Which int
}

func (w *world) do(s step) {
	h := w.hires[s.Who%len(w.hires)]
	pick := func(do func(sluice.AttemptID, *hand)) {
		i := 0
		w.each(h, func(id sluice.AttemptID, a *hand) {
			if i == s.Which%worldLimit {
				do(id, a)
			}
			i++
		})
	}
	switch s.What {
	case "launch":
		w.launch(h.pool)
	case "come":
		w.come(h, false)
	case "restart":
		w.come(h, true)
	case "cut":
		w.leave(h)
	case "beat":
		w.beat(h)
	case "start":
		pick(h.start)
	case "end":
		pick(func(id sluice.AttemptID, a *hand) { h.end(id, a, true) })
	case "not reached":
		pick(func(id sluice.AttemptID, a *hand) { h.end(id, a, false) })
	case "drain":
		w.mu.Lock()
		h.drained = s.Which%2 == 0
		w.mu.Unlock()
		w.p.Drain(h.name, h.drained)
		synctest.Wait()
	case "remove":
		if s.Which%5 == 0 { // else nobody is left soon
			w.mu.Lock()
			h.removed = true
			w.mu.Unlock()
			w.p.Remove(h.name)
			synctest.Wait()
		}
	case "halt":
		w.stopped.Store(s.Which%3 == 0)
	case "time":
		time.Sleep(time.Duration(1+s.Which%12) * time.Second)
		synctest.Wait()
	}
}

// play plays the steps, and then has everything come to its end. It returns what was not as it must be.
func play(t *testing.T, steps []step) (broken []string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		w := &world{ctx: ctx, hosts: map[sluice.AttemptID]*trueHost{}, pools: map[sluice.AttemptID]sluice.Pool{},
			ends: map[sluice.AttemptID]sluice.TaskFinished{}, over: map[sluice.AttemptID]bool{}, given: map[sluice.AttemptID][]*hireling{}}
		w.p = New(Config{Lease: worldLease, Outputs: fake.NewOutputs(), Trouble: func(string) {},
			Settled: func(_ context.Context, a sluice.AttemptID) (bool, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				r, ok := w.ends[a]
				return ok && r.Outcome != sluice.Unknown, nil
			}})
		w.all.Go(func() { _ = w.p.Run(ctx) })
		hire := func(name sluice.WorkerName, pool sluice.Pool) {
			w.hires = append(w.hires, &hireling{w: w, name: name, pool: pool, has: map[sluice.AttemptID]*hand{}, beats: map[uint64]time.Time{}})
		}
		hire("w1", sluice.DefaultPool)
		hire("w2", sluice.DefaultPool)
		hire("w3", "dmz")
		for _, s := range steps {
			w.do(s)
		}
		w.stopped.Store(false)
		hire("w8", sluice.DefaultPool)
		hire("w9", "dmz")
		for range 300 {
			for _, h := range w.hires {
				if h.drained {
					w.do(step{What: "drain", Who: slices.Index(w.hires, h), Which: 1})
				}
				if h.line == nil || !h.line.open() {
					w.come(h, false)
				}
				w.beat(h)
				w.each(h, h.start)
				w.each(h, func(id sluice.AttemptID, a *hand) { h.end(id, a, true) })
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(w.over) == w.count {
				break
			}
		}
		if len(w.over) != w.count {
			w.wrong("%d of %d attempts never end", w.count-len(w.over), w.count)
		}
		stop()
		for _, h := range w.hires {
			w.leave(h)
		}
		w.all.Wait()
		broken = w.broken
	})
	return broken
}

// TestPoolProperties: whatever comes and goes, a command runs once, nothing is said of it that is not true, nobody is given
// what they must not have, and everything comes to its end.
func TestPoolProperties(t *testing.T) {
	what := rapid.SampledFrom([]string{"launch", "launch", "come", "come", "restart", "cut", "beat", "beat", "beat", "start", "start", "end", "not reached",
		"drain", "remove", "halt", "time", "time"})
	one := rapid.Custom(func(t *rapid.T) step {
		return step{what.Draw(t, "what"), rapid.IntRange(0, 2).Draw(t, "who"), rapid.IntRange(0, 11).Draw(t, "which")}
	})
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(one, 1, 150).Draw(rt, "steps")
		if broken := play(t, steps); len(broken) > 0 {
			rt.Fatalf("%q", broken)
		}
	})
}

// Package pool has attempts carried out by workers elsewhere, and by the one inside the server. To whoever drives a job it
// is one worker like any other.
//
// Who gets what is decided by core/crew. The package moves messages: it knows lines, outputs and the log's answer to
// whether an outcome is durable, and neither certificates nor the wire.
package pool

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/run/work"
)

// Worker carries out attempts in this process.
type Worker interface {
	Do(ctx context.Context, a work.Assignment) error
}

// Line is the server's end of the line to a worker.
type Line = sluice.Line[sluice.ToWorker, sluice.ToServer]

// Config is what a Pool needs.
type Config struct {
	Outputs sluice.Outputs
	Clock   sluice.Clock
	// Settled reports whether the outcome of an attempt is durable, or can be of no use to anybody any more.
	Settled func(ctx context.Context, a sluice.AttemptID) (bool, error)
	// Embedded is how many attempts the worker inside the server carries out at once; 0: there is none.
	Embedded int
	// Pools are those of the embedded worker; none is the default one.
	Pools   []sluice.Pool
	Version string
	// Others says that there may be workers to which an earlier server gave attempts: what they do not bring along is given
	// to nobody else before their leases are over.
	Others bool
	// Lease is how long a worker may start attempts after it was heard of; 0: 15 s.
	Lease time.Duration
	// Heads are the ends of the log, signed, which workers keep; nil: they are shown none.
	Heads func(ctx context.Context) ([]sluice.SeenHead, error)
	// Witness judges heads that a worker hands back, before it may do anything; nil: nobody does. An error says that they
	// could not be judged.
	Witness func(ctx context.Context, from string, heads []sluice.SeenHead) error
	// Alarm says why nothing may start: the log lost something, or was changed. nil: there is never one.
	Alarm func() error
	// Term is the number of the term in which this server owns the log; 0: it is in no cluster.
	Term uint64
	// Owns says why this server does not own the log any more, or that it cannot be told: it is found out after it was asked. A worker
	// gets a lease only then. nil: nobody else can own it.
	Owns func(ctx context.Context) error
	// Epoch is the one that the log is in; nil: 0. It must not block.
	Epoch func() int
	// Servers are the addresses for workers of all servers of the cluster; nil: there is none. It must not block.
	Servers func() []string
	// Trouble is told what a person should know. It must not block.
	Trouble func(string)
	// Custody is told what becomes of secrets. May be nil.
	Custody Custody
}

const (
	defaultLease = 15 * time.Second
	// farewell is how long a worker gets to tell a target that its outcome is durable.
	farewell = 15 * time.Second
	// glance is how often an attempt that waits for a worker looks whether it may still start.
	glance = time.Second
)

// Pool is safe for concurrent use.
type Pool struct {
	cfg    Config
	wake   chan struct{}
	stale  chan struct{} // somebody may not have seen the newest heads
	mu     sync.Mutex
	crew   *crew.State
	lines  map[sluice.WorkerName]*member
	flight map[sluice.AttemptID]*flight
	vaults map[sluice.JobID]*vault
}

// New makes a pool. [Pool.Run] must run while it is used.
func New(cfg Config) *Pool {
	if cfg.Lease <= 0 {
		cfg.Lease = defaultLease
	}
	if len(cfg.Pools) == 0 {
		cfg.Pools = []sluice.Pool{sluice.DefaultPool}
	}
	p := &Pool{cfg: cfg, vaults: map[sluice.JobID]*vault{}, wake: make(chan struct{}, 1), stale: make(chan struct{}, 1),
		crew: crew.New(cfg.Lease), lines: map[sluice.WorkerName]*member{},
		flight: map[sluice.AttemptID]*flight{}}
	if cfg.Others {
		p.crew.Hold(p.now().Add(cfg.Lease))
	}
	if cfg.Embedded > 0 {
		p.crew.Embed(cfg.Embedded, cfg.Pools, cfg.Version, p.now())
	}
	return p
}

// now has the monotonic clock in it, as time.Now has: only differences count.
func (p *Pool) now() time.Time { return time.Now() }

// term is what workers are told of who serves them.
func (p *Pool) term() sluice.SeenTerm {
	t := sluice.SeenTerm{Term: p.cfg.Term}
	if p.cfg.Epoch != nil {
		t.Epoch = p.cfg.Epoch()
	}
	return t
}

func (p *Pool) servers() []string {
	if p.cfg.Servers == nil {
		return nil
	}
	return p.cfg.Servers()
}

// Run does what falls due, until ctx ends.
func (p *Pool) Run(ctx context.Context) error {
	var shower sync.WaitGroup
	defer shower.Wait()
	if p.cfg.Heads != nil {
		shower.Go(func() { p.showHeads(ctx) })
	}
	for {
		t := time.NewTimer(p.due())
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-p.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// due does what has fallen due, and returns when to look again. It wakes nobody: Run, which waits next, would never rest.
func (p *Pool) due() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.carryOut(p.crew.Tick(p.now()))
	next, ok := p.crew.Next()
	if at, any := p.outwait(); any && (!ok || at.Before(next)) {
		next, ok = at, true
	}
	if !ok {
		return time.Hour
	}
	return max(next.Sub(p.now()), time.Millisecond)
}

// act does what the crew decided, and has Run look at the times anew. The caller holds the lock.
func (p *Pool) act(orders []crew.Order) {
	p.carryOut(orders)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// carryOut does what the crew decided. The caller holds the lock, which nothing here waits with.
func (p *Pool) carryOut(orders []crew.Order) {
	for _, o := range orders {
		m, f := p.lines[o.Worker], p.flight[o.Attempt]
		switch o.Kind {
		case crew.Give:
			if f != nil && m != nil {
				m.works[f.a.Job.Namespace] = true
			}
			if f != nil {
				f.push(message{give: true, worker: o.Worker, resumed: o.Resumed, kept: o.Kept})
			}
		case crew.GiveUp:
			if f != nil {
				f.push(message{giveUp: o.Why})
			}
		case crew.Drop:
			if m != nil {
				m.send(sluice.ToWorker{Drop: o.Attempt})
			}
		case crew.Ask:
			if m != nil {
				m.ask(o.Attempt)
			}
		case crew.Cut:
			p.absent(o.Worker, false)
			if m != nil {
				m.line.Close()
			}
		}
	}
}

// Members lists the workers that have been here, by name.
func (p *Pool) Members() []crew.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crew.Members()
}

// Census tells about every pool that attempts wait for, or whose workers lost a lease since the start.
func (p *Pool) Census() map[sluice.Pool]crew.Census {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crew.Census()
}

// Drain keeps new attempts from a worker, or no more.
func (p *Pool) Drain(name sluice.WorkerName, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act(p.crew.Drain(name, on))
	if m := p.lines[name]; m != nil {
		m.send(sluice.ToWorker{Drain: &on})
	}
}

// Remove cuts a worker off, and gives what it had to others.
func (p *Pool) Remove(name sluice.WorkerName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent(name, true)
	p.act(p.crew.Remove(name, p.now()))
}

// Given returns the job and host of an attempt that a worker has now.
func (p *Pool) Given(name sluice.WorkerName, a sluice.AttemptID) (*sluice.Job, sluice.Host, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.flight[a]
	if f == nil || !p.crew.Has(name, a) {
		return nil, "", false
	}
	return f.a.Job, f.a.Host, true
}

// Waits says why an attempt has no worker yet; "" where it has one.
func (p *Pool) Waits(a sluice.AttemptID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	why, until := p.crew.Waits(a)
	if why == "" {
		return ""
	}
	return why + "; it is given to one as soon as " + until
}

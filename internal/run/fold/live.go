package fold

import (
	"context"
	"fmt"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// repack is how many events are applied to a state before jobs that are over are packed again: until then each of their
// hosts takes memory.
const repack = 100_000

// Live keeps the states of namespaces at hand, for a process that is asked again and again. It reads on from where it
// was; what it answers is what the log says at that moment. It is safe for concurrent use.
type Live struct {
	log sluice.Log

	mu     sync.Mutex
	spaces map[sluice.Namespace]*space
}

// space is one namespace. Who has its turn may use the state.
type space struct {
	turn  chan struct{}
	state *schedule.State // nil before the first use, and after an error
	since int             // events that were applied since jobs were packed
	views []*view.Job     // at the state's event; asked for last first
}

// NewLive makes a Live for a log.
func NewLive(log sluice.Log) *Live { return &Live{log: log, spaces: map[sluice.Namespace]*space{}} }

func (l *Live) space(ns sluice.Namespace) *space {
	l.mu.Lock()
	defer l.mu.Unlock()
	sp := l.spaces[ns]
	if sp == nil {
		sp = &space{turn: make(chan struct{}, 1)}
		l.spaces[ns] = sp
	}
	return sp
}

// forget drops a namespace without events: whoever asks for names that are none shall not fill the memory.
func (l *Live) forget(ns sluice.Namespace, sp *space) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spaces[ns] == sp {
		delete(l.spaces, ns)
	}
}

// Look calls f with the state at the head of the log. f must not keep or change it, and must be quick: others wait.
func (l *Live) Look(ctx context.Context, ns sluice.Namespace, f func(*schedule.State) error) error {
	return l.look(ctx, ns, l.space(ns), f)
}

func (l *Live) look(ctx context.Context, ns sluice.Namespace, sp *space, f func(*schedule.State) error) error {
	if err := sp.take(ctx); err != nil {
		return err
	}
	defer sp.give()
	if err := l.catchUp(ctx, ns, sp); err != nil {
		return err
	}
	return f(sp.state)
}

// Update appends what decide makes of the state at the head of the log, as one step. decide is called at most once; it
// must not keep or change the state. While the append goes on, others can look.
func (l *Live) Update(ctx context.Context, ns sluice.Namespace, decide func(*schedule.State) ([]sluice.Event, error)) error {
	var after uint64
	sp := l.space(ns) // the same one throughout: an empty namespace is forgotten, and is another one when it is asked for again
	err := l.look(ctx, ns, sp, func(s *schedule.State) error { after = s.Seq(); return nil })
	if err != nil {
		return err
	}
	_, err = l.log.Update(ctx, ns, after, func(tail []sluice.Event) ([]sluice.Event, error) {
		if err := sp.take(ctx); err != nil {
			return nil, err
		}
		defer sp.give()
		if err := sp.follow(after, tail); err != nil {
			return nil, err
		}
		return decide(sp.state)
	})
	return err
}

func (sp *space) take(ctx context.Context) error {
	select {
	case sp.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (sp *space) give() { <-sp.turn }

// follow applies what was read after an event of a number; somebody else may have read some of it meanwhile.
func (sp *space) follow(after uint64, tail []sluice.Event) error {
	if sp.state == nil && after == 0 {
		sp.state = schedule.New()
	}
	if sp.state == nil || sp.state.Seq() < after {
		return fmt.Errorf("the state was dropped meanwhile; try again")
	}
	for _, e := range tail {
		if e.Seq <= sp.state.Seq() {
			continue
		}
		if err := sp.state.Apply(e); err != nil {
			sp.state, sp.views = nil, nil // it may be half changed
			return unreadable(err)
		}
		sp.show(e)
		sp.since++
	}
	return nil
}

// catchUp reads on to the head of the log.
func (l *Live) catchUp(ctx context.Context, ns sluice.Namespace, sp *space) error {
	if sp.state == nil {
		state, err := Namespace(ctx, l.log, ns)
		if err != nil {
			return err
		}
		sp.state, sp.since = state, int(min(state.Seq(), repack-1)) // what was folded from the first event on is not packed
	}
	for {
		events, err := l.log.Read(ctx, ns, sp.state.Seq(), page)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		if err := sp.follow(sp.state.Seq(), events); err != nil {
			return err
		}
	}
	switch {
	case sp.state.Seq() == 0:
		l.forget(ns, sp)
	case sp.since >= repack:
		l.pack(ctx, ns, sp)
	}
	return nil
}

// pack packs the jobs that are over, and leaves a snapshot. It is no loss if that does not work: the state stays as it
// is until it is tried again.
func (l *Live) pack(ctx context.Context, ns sluice.Namespace, sp *space) {
	sp.since = 0
	data, err := sp.state.Snapshot()
	if err != nil {
		return
	}
	packed, err := schedule.Restore(data)
	if err != nil || packed.Seq() != sp.state.Seq() {
		return
	}
	sp.state = packed
	if shots, ok := l.log.(sluice.Snapshots); ok {
		_ = shots.SaveSnapshot(ctx, ns, packed.Seq(), data)
	}
}

package fold

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/live"
)

// Places keep what is live where, of the namespaces that somebody asked for, and read on where they are asked again. It is safe
// for concurrent use.
type Places struct {
	log sluice.Log

	mu     sync.Mutex
	spaces map[sluice.Namespace]*placeSpace
	past   chan struct{} // holds one while somebody reads the past
}

// placeSpace is one namespace. Who has its turn may use the map.
type placeSpace struct {
	turn chan struct{}
	at   *live.Map
	head uint64
}

// NewPlaces makes Places for a log.
func NewPlaces(log sluice.Log) *Places {
	return &Places{log: log, spaces: map[sluice.Namespace]*placeSpace{}, past: make(chan struct{}, 1)}
}

// Look calls f with what is live at the head of the log. f must not keep or change it, and must be quick: others wait.
func (p *Places) Look(ctx context.Context, ns sluice.Namespace, f func(*live.Map) error) error {
	p.mu.Lock()
	sp := p.spaces[ns]
	if sp == nil {
		sp = &placeSpace{turn: make(chan struct{}, 1), at: live.New()}
		p.spaces[ns] = sp
	}
	p.mu.Unlock()
	if err := enterTurn(ctx, sp.turn); err != nil {
		return err
	}
	defer func() { <-sp.turn }()
	err := p.read(ctx, ns, sp, time.Time{})
	if err != nil {
		return err
	}
	if sp.head == 0 { // whoever asks for names that are none shall not fill the memory
		p.mu.Lock()
		if p.spaces[ns] == sp {
			delete(p.spaces, ns)
		}
		p.mu.Unlock()
	}
	return f(sp.at)
}

// Past calls f with what was live at a time. That is read from the beginning, by one at a time.
func (p *Places) Past(ctx context.Context, ns sluice.Namespace, at time.Time, f func(*live.Map) error) error {
	if err := enterTurn(ctx, p.past); err != nil {
		return err
	}
	defer func() { <-p.past }()
	sp := &placeSpace{at: live.New()}
	if err := p.read(ctx, ns, sp, at); err != nil {
		return err
	}
	return f(sp.at)
}

func enterTurn(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read reads on to a time, or to the head of the log where it is zero.
func (p *Places) read(ctx context.Context, ns sluice.Namespace, sp *placeSpace, at time.Time) error {
	for {
		events, err := p.log.Read(ctx, ns, sp.head, page)
		if err != nil || len(events) == 0 {
			return err
		}
		past := events
		if !at.IsZero() {
			past = live.Until(events, at)
		}
		for _, e := range past {
			sp.at.Apply(e)
			sp.head = e.Seq
		}
		if len(past) < len(events) {
			return nil
		}
	}
}

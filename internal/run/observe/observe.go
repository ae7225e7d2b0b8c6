// Package observe follows the log of a server for those who only look: metrics, traces, lines in the server's own log.
//
// It appends nothing, and whatever goes wrong here keeps no job from going on. What it hands on it has read from the
// log, in order and each event once.
package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
)

// Config is what an observer needs.
type Config struct {
	Log sluice.Log
	// Begin is called once for each namespace, with what was in its log when the observer came, and how long it took to
	// read that: events up to state.Seq() are not handed on. It must not keep the state. May be nil.
	Begin func(ctx context.Context, ns sluice.Namespace, state *schedule.State, took time.Duration)
	// Take gets the events after that. For one namespace it is called by one goroutine at a time; several namespaces
	// call at once. It must not block for long: events wait meanwhile.
	Take func(ns sluice.Namespace, events []sluice.Event)
	// Trouble is told what a person should know. It must not block.
	Trouble func(text string)
	// Retry is waited after an error, and is how long a new namespace may stay unseen. 0: a second.
	Retry time.Duration
}

const (
	page         = 10000
	defaultRetry = time.Second
)

// Observer looks at a log.
type Observer struct {
	cfg Config

	mu     sync.Mutex
	spaces map[sluice.Namespace]*space
}

type space struct {
	late  bool // it was not there when the observer came: all of it is news
	mu    sync.Mutex
	state *schedule.State // nil before the first fold
}

// New makes an observer, which looks while Run runs.
func New(cfg Config) *Observer {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	return &Observer{cfg: cfg, spaces: map[sluice.Namespace]*space{}}
}

// Each calls f with the state of every namespace that was read. f must not keep or change it, and must be quick.
func (o *Observer) Each(f func(ns sluice.Namespace, s *schedule.State)) {
	o.mu.Lock()
	all := make(map[sluice.Namespace]*space, len(o.spaces))
	for ns, s := range o.spaces {
		all[ns] = s
	}
	o.mu.Unlock()
	for ns, s := range all {
		s.mu.Lock()
		if s.state != nil {
			f(ns, s.state)
		}
		s.mu.Unlock()
	}
}

// Run follows all namespaces until ctx ends.
func (o *Observer) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	late := false
	for ctx.Err() == nil {
		list, err := o.cfg.Log.Namespaces(ctx)
		if err != nil && ctx.Err() == nil {
			o.cfg.Trouble(fmt.Sprintf("observing: the namespaces cannot be listed: %v", err))
		}
		for _, ns := range list {
			if s, fresh := o.space(ns, late); fresh && !ns.Reserved() {
				all.Go(func() { o.keep(ctx, ns, s) })
			}
		}
		late = late || err == nil
		rest(ctx, o.cfg.Retry)
	}
}

func (o *Observer) space(ns sluice.Namespace, late bool) (s *space, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s = o.spaces[ns]; s != nil {
		return s, false
	}
	s = &space{late: late}
	o.spaces[ns] = s
	return s, true
}

// keep follows one namespace.
func (o *Observer) keep(ctx context.Context, ns sluice.Namespace, s *space) {
	for ctx.Err() == nil {
		err := o.begin(ctx, ns, s)
		for err == nil {
			err = o.step(ctx, ns, s)
		}
		if ctx.Err() == nil {
			o.cfg.Trouble(fmt.Sprintf("observing namespace %s: %v", ns, err))
			rest(ctx, o.cfg.Retry)
		}
	}
}

func (o *Observer) begin(ctx context.Context, ns sluice.Namespace, s *space) error {
	if s.state != nil { // written by this goroutine alone
		return nil
	}
	state, began := schedule.New(), time.Now()
	if !s.late {
		var err error
		if state, err = fold.Namespace(ctx, o.cfg.Log, ns); err != nil {
			return err
		}
	}
	if o.cfg.Begin != nil {
		o.cfg.Begin(ctx, ns, state, time.Since(began))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	return nil
}

// step hands on what is new, or waits for it.
func (o *Observer) step(ctx context.Context, ns sluice.Namespace, s *space) error {
	events, err := o.cfg.Log.Read(ctx, ns, s.state.Seq(), page)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return o.cfg.Log.Wait(ctx, ns, s.state.Seq())
	}
	if err := s.apply(events); err != nil {
		return err
	}
	o.cfg.Take(ns, events)
	return nil
}

func (s *space) apply(events []sluice.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		if err := s.state.Apply(e); err != nil {
			return err
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

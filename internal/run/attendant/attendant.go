// Package attendant brings hosts of a server to what is current without anybody asking, where the fleet says so.
//
// What is brought where is decided by core/converge. This looks when it is time, or when something says that a host may be back, has
// jobs submitted in the name of whoever applied the fleet, and tells once of all that it leaves alone.
package attendant

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/converge"
	"sluice/internal/run/control"
)

// Config is what an attendant needs.
type Config struct {
	Log   sluice.Log
	Clock sluice.Clock
	// Look says how it stands in a namespace.
	Look func(ctx context.Context, ns sluice.Namespace) (control.Convergence, error)
	// May returns nil where somebody may submit a job on hosts, an error with the code Denied where not. Nobody notes the answer.
	May func(ctx context.Context, by sluice.Principal, ns sluice.Namespace, hosts []sluice.Host) error
	// Submit submits the job that brings hosts to what is current.
	Submit func(ctx context.Context, by sluice.Principal, wanted *control.Converging, hosts []sluice.Host) (sluice.JobID, error)
	// Left is told what is left alone and why, once while that holds; Submitted of each job; Trouble what a person should know beside
	// them. They must not block, and may be called by several at once.
	Left      func(ns sluice.Namespace, l converge.Left)
	Submitted func(ns sluice.Namespace, job sluice.JobID, app, env string, hosts []sluice.Host)
	Trouble   func(ns sluice.Namespace, err error)
	// Retry is waited after what could not be read; it is also how long a namespace may stay unseen that is new. 0: 5 seconds.
	Retry time.Duration
}

const (
	defaultRetry = 5 * time.Second
	page         = 10000 // events at a time
)

// Run works until ctx ends, and returns when all that it began has ended.
func Run(ctx context.Context, cfg Config) {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	var all sync.WaitGroup
	defer all.Wait()
	known := map[sluice.Namespace]bool{}
	for ctx.Err() == nil {
		spaces, err := cfg.Log.Namespaces(ctx)
		if err != nil && ctx.Err() == nil {
			cfg.Trouble("", err)
		}
		for _, ns := range spaces {
			if !known[ns] && !ns.Reserved() {
				known[ns] = true
				all.Go(func() { (&space{Config: cfg, ns: ns, told: map[string]bool{}}).attend(ctx) })
			}
		}
		sleep(ctx, cfg.Retry)
	}
}

// space is one namespace.
type space struct {
	Config
	ns    sluice.Namespace
	seq   uint64 // up to which the log was read
	every time.Duration
	told  map[string]bool // what was told and still holds
	// trouble is what was told last; "" after a look that went well.
	trouble string
}

// attend looks again and again, until ctx ends or the log cannot be relied on any more.
func (s *space) attend(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.look(ctx)
		if err == nil {
			s.trouble = ""
			err = s.rest(ctx)
		}
		switch {
		case err == nil || ctx.Err() != nil:
		case sluice.IsLasting(err):
			s.Trouble(s.ns, fmt.Errorf("nothing converges by itself any more: %w", err))
			return
		default:
			if text := err.Error(); text != s.trouble {
				s.trouble = text
				s.Trouble(s.ns, err)
			}
			sleep(ctx, s.Retry)
		}
	}
}

// look looks once, and has submitted what is to be.
func (s *space) look(ctx context.Context) error {
	at, err := s.Look(ctx, s.ns)
	if err != nil {
		return err
	}
	s.every, s.seq = at.Every, max(s.seq, at.Until)
	wanted, left := at.Decide(s.Clock())
	for _, w := range wanted {
		why, err := s.submit(ctx, &at, w)
		if err != nil {
			return err
		}
		if why != "" {
			left = append(left, converge.Left{App: w.Name, Env: w.Env, Hosts: w.Hosts, Why: why})
		}
	}
	s.tell(left)
	return nil
}

// submit has a job submitted, or says why not.
func (s *space) submit(ctx context.Context, at *control.Convergence, w converge.Wanted) (why string, err error) {
	c := at.Of(w.Name, w.Env)
	id := sluice.JobID("")
	if err = s.May(ctx, at.By, s.ns, c.Meant); err == nil {
		id, err = s.Submit(ctx, at.By, c, w.Hosts)
	}
	switch {
	case err == nil:
		s.Submitted(s.ns, id, w.Name, w.Env, w.Hosts)
		return "", nil
	case ctx.Err() != nil || sluice.IsLasting(err):
		return "", err
	case sluice.CodeOf(err) == sluice.Denied:
		return at.Refused(err), nil
	}
	return err.Error(), nil
}

// tell tells what is left alone, but not what it told already.
func (s *space) tell(left []converge.Left) {
	now := map[string]bool{}
	for _, l := range left {
		key := fmt.Sprintf("%q %q %q %q", l.App, l.Env, l.Hosts, l.Why)
		if !s.told[key] && !now[key] {
			s.Left(s.ns, l)
		}
		now[key] = true
	}
	s.told = now
}

// rest returns when it is time to look again, or there is a reason to.
func (s *space) rest(ctx context.Context) error {
	due := ctx
	if s.every > 0 {
		var done context.CancelFunc
		due, done = context.WithTimeout(ctx, s.every)
		defer done()
	}
	for {
		err := s.Log.Wait(due, s.ns, s.seq)
		if due.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if wakes, err := s.catchUp(ctx); wakes || err != nil {
			return err
		}
	}
}

// catchUp reads on to the head of the log, and reports whether something of it is a reason to look.
func (s *space) catchUp(ctx context.Context) (wakes bool, err error) {
	for {
		events, err := s.Log.Read(ctx, s.ns, s.seq, page)
		if err != nil {
			return wakes, err
		}
		for _, e := range events {
			s.seq = e.Seq
			switch e.Body.(type) {
			case sluice.FleetApplied:
				wakes = true
			case sluice.HostReleased, sluice.HostReturned:
				wakes = wakes || s.every > 0
			}
		}
		if len(events) < page {
			return wakes, nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

package cluster

import (
	"context"
	"sync"
	"time"

	"sluice"
)

// outlook is what a server of a cluster knows of who owns the log.
type outlook struct {
	mu    sync.Mutex
	owner sluice.Owner
	term  uint64    // 0: nobody owns it, as far as this server knows
	since time.Time // when that was seen first
	met   time.Time // when a majority was heard of last; by the wall clock, for people
	cut   error     // why there is no contact with a majority; nil: there is
	early bool      // the engine has said nothing yet
	turns chan struct{}
	ask   chan struct{} // has room for one: somebody has reason to doubt
}

const (
	// lookEvery is how often a server asks who owns the log while nobody doubts it.
	lookEvery = 500 * time.Millisecond
	lookSoon  = 50 * time.Millisecond
)

// newOutlook knows of nobody yet. What is here is from before.
func newOutlook(before time.Time) *outlook {
	return &outlook{met: before, early: true, turns: make(chan struct{}), ask: make(chan struct{}, 1),
		cut: sluice.Errorf(sluice.Contact, "this server has heard of no majority of the servers since it was started")}
}

// run asks who owns the log until ctx ends. tell is told when the contact with a majority is lost, and, with nil, when it is there.
func (o *outlook) run(ctx context.Context, engine sluice.Engine, clock sluice.Clock, tell func(cut error)) {
	for ctx.Err() == nil {
		who, term, err := engine.Owner(ctx)
		if ctx.Err() != nil {
			return
		}
		if o.see(who, term, err, clock()) {
			tell(err)
		}
		wait := lookEvery
		if term == 0 {
			wait = lookSoon
		}
		select {
		case <-ctx.Done():
		case <-o.ask:
			select { // those who doubt are many
			case <-ctx.Done():
			case <-time.After(lookSoon):
			}
		case <-time.After(wait):
		}
	}
}

// see reports whether there is contact with a majority now and was none before, or the other way round.
func (o *outlook) see(who sluice.Owner, term uint64, err error, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, turns := o.term, o.early || (o.cut == nil) != (err == nil)
	o.cut, o.early = err, false
	if err != nil {
		o.owner, o.term = sluice.Owner{}, 0
	} else {
		o.owner, o.term, o.met = who, term, now
	}
	if o.term != was || o.since.IsZero() {
		o.since = now
	}
	if o.term != was || turns {
		close(o.turns)
		o.turns = make(chan struct{})
	}
	return turns
}

// doubt has it asked anew.
func (o *outlook) doubt() {
	select {
	case o.ask <- struct{}{}:
	default:
	}
}

// view is what is known at a moment.
type view struct {
	owner sluice.Owner
	term  uint64          // 0: nobody owns the log
	since time.Time       // when that was seen first
	cut   error           // why no majority is heard of; nil: one is
	met   time.Time       // when one was heard of last
	early bool            // the engine has said nothing yet
	turns <-chan struct{} // closed when any of that changes
}

func (o *outlook) now() view {
	o.mu.Lock()
	defer o.mu.Unlock()
	return view{o.owner, o.term, o.since, o.cut, o.met, o.early, o.turns}
}

// another reports whether another server than this one owns the log.
func (v view) another(self sluice.ServerName) bool {
	return v.term != 0 && v.owner.Name != string(self)
}

// ownerless reports whether nobody has owned the log for longer than it takes another server to.
func (v view) ownerless(now time.Time) bool {
	return v.cut == nil && v.term == 0 && !v.since.IsZero() && now.Sub(v.since) > waitForOwner
}

// changes is closed when something else is known.
func (o *outlook) changes() <-chan struct{} { return o.now().turns }

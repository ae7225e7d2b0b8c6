// Package drain takes servers out of their balancers and puts them back, as core/balance allows it. It does not know which
// balancers those are, nor why a server goes.
//
// # What is guaranteed
//
// Nothing is assumed: a server is out when its balancer shows it out, and back when it shows it up. Within one process a
// pool never falls under its minimum by what is done here: between the look that allows it and the look that shows it done
// nobody else takes a server out of the same pool. Between processes there is no such lock. There a server that was taken
// out is put back at once where the pool shows fewer than its minimum afterwards, and it is tried again after a random
// pause; so two that act in the same moment can have a pool one short for the time of two calls, and no longer.
package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/balance"
)

// Seat is a server in a pool of a balancer.
type Seat struct {
	Balancer sluice.Balancer
	Name     string // of the balancer, for people
	// Key is what seats of one balancer have in common, whoever speaks of it; "" is its name.
	Key    string
	Pool   string
	Server string
	// Least is how many servers of the pool must stay up.
	Least sluice.Amount
	// Limit is how long requests in flight may take.
	Limit time.Duration
}

// Times are how long to wait.
type Times struct {
	Room time.Duration // for others to come back, so that the minimum holds
	Back time.Duration // for the balancer to find a server up
}

// Note is what happens meanwhile, for people.
type Note struct {
	Balancer string
	Text     string
	// Changed is the same for the record, where something is over that was done, or could not be.
	Changed *sluice.BalancerChanged
}

// Result is what became of one seat.
type Result struct {
	Balancer string             `json:"balancer"`
	Before   sluice.ServerState `json:"before"` // how it was when it was looked at first
	balance.Progress
}

// Desk takes servers out and puts them back. Whoever does so in one process shares one. The zero Desk is ready.
type Desk struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

const (
	firstLook = 50 * time.Millisecond
	lastLook  = time.Second
	undoLimit = 30 * time.Second
)

func (s Seat) key() string { return cmp.Or(s.Key, s.Name) }

// lock has the pool of a seat for one alone.
func (d *Desk) lock(ctx context.Context, s Seat) (unlock func(), err error) {
	key := s.key() + "\x00" + s.Pool
	d.mu.Lock()
	if d.locks == nil {
		d.locks = map[string]chan struct{}{}
	}
	l := d.locks[key]
	if l == nil {
		l = make(chan struct{}, 1)
		d.locks[key] = l
	}
	d.mu.Unlock()
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Drain takes a server out of all its pools, and waits until it has nothing in flight, or the limit of each has passed. Where
// it cannot, those seats that it took out are put back, and the error says which could not be. say may be nil.
func (d *Desk) Drain(ctx context.Context, seats []Seat, state sluice.ServerState, t Times, say func(Note)) (out []Result, err error) {
	if say == nil {
		say = func(Note) {}
	}
	// One order for all, so that nobody waits for a place in one balancer while they keep one in another.
	seats = slices.SortedStableFunc(slices.Values(seats), func(a, b Seat) int { return cmp.Or(cmp.Compare(a.key(), b.key()), cmp.Compare(a.Pool, b.Pool)) })
	defer func() {
		if err != nil {
			err = errors.Join(err, undo(ctx, seats, out, say))
			out = nil
		}
	}()
	for _, s := range seats {
		before, err := d.take(ctx, s, state, t.Room, say)
		out = append(out, Result{Balancer: s.Name, Before: before, Progress: balance.Progress{Pool: s.Pool, Server: s.Server}})
		if err != nil {
			s.failed(ctx, state, out[len(out)-1], err, say)
			return out, s.wrap(err)
		}
	}
	for i, s := range seats {
		if out[i].Progress, err = d.wait(ctx, s, state, t.Room, say); err != nil {
			s.failed(ctx, state, out[i], err, say)
			return out, s.wrap(err)
		}
		say(Note{s.Name, out[i].Text(), s.changed(state, out[i], nil)})
	}
	return out, nil
}

func (s Seat) wrap(err error) error {
	return &sluice.Error{Code: sluice.CodeOf(err), Text: fmt.Sprintf("%s in %s of %s", s.Server, s.Pool, s.Name), Err: err}
}

// changed is what became of a seat, for the record. err is why it is not as it was wanted.
func (s Seat) changed(wanted sluice.ServerState, r Result, err error) *sluice.BalancerChanged {
	c := &sluice.BalancerChanged{Balancer: s.Name, Pool: s.Pool, Server: s.Server, Wanted: wanted, Before: r.Before, State: r.State, Cut: r.Cut, WaitedMS: r.Waited.Milliseconds()}
	if err != nil {
		c.Error = err.Error()
		if c.State == "" && r.Before != "" { // something was done, and nobody saw what came of it
			c.State = sluice.ServerUnknown
		}
	}
	return c
}

// failed tells of a seat that could not be taken out, unless that is only because somebody wants no more of it.
func (s Seat) failed(ctx context.Context, wanted sluice.ServerState, r Result, err error, say func(Note)) {
	if ctx.Err() == nil {
		say(Note{s.Name, err.Error(), s.changed(wanted, r, err)})
	}
}

// undo puts back what was up before, all of it at the same time: a balancer that is away shall use up nobody else's time.
func undo(ctx context.Context, seats []Seat, done []Result, say func(Note)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // of say
	errs := make([]error, len(done))
	for i, r := range done {
		if r.Before == sluice.ServerUp || r.Before == sluice.ServerDown || r.Before == sluice.ServerUnknown {
			wg.Go(func() {
				var n Note
				n, errs[i] = putBack(ctx, seats[i], r.Before)
				mu.Lock()
				defer mu.Unlock()
				say(n)
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

func putBack(ctx context.Context, s Seat, before sluice.ServerState) (Note, error) {
	err := insist(ctx, s)
	back := Result{Balancer: s.Name, Before: before, Progress: balance.Progress{Pool: s.Pool, Server: s.Server, State: sluice.ServerUnknown, Back: true}}
	if pool, unread := s.Balancer.Pool(ctx, s.Pool); unread == nil {
		back.Progress = balance.IsBack(pool, s.Server, 0)
	}
	if err != nil {
		err = fmt.Errorf("it could not be put back: %w", err)
		return Note{s.Name, err.Error(), s.changed(sluice.ServerUp, back, err)}, s.wrap(err)
	}
	return Note{s.Name, s.Server + " in " + s.Pool + " is put back", s.changed(sluice.ServerUp, back, nil)}, nil
}

// insist has a server be up, also where the balancer is away for a moment.
func insist(ctx context.Context, s Seat) error {
	var last error
	for {
		err := s.Balancer.Set(ctx, s.Pool, s.Server, sluice.ServerUp)
		if err != nil && last != nil && ctx.Err() != nil {
			return last // which says more than that the time is over
		}
		last = err
		if err == nil || sluice.CodeOf(err) == sluice.NotFound || pause(ctx, lastLook) != nil {
			return err
		}
	}
}

// take takes a server out of one pool as soon as that has room. A state before is what it was when that was allowed first, ""
// where nothing was done.
func (d *Desk) take(ctx context.Context, s Seat, state sluice.ServerState, room time.Duration, say func(Note)) (sluice.ServerState, error) {
	start := time.Now()
	var told string
	var before sluice.ServerState
	for {
		was, p, err := d.tryTake(ctx, s, state)
		before = cmp.Or(before, was)
		if err != nil || p.OK {
			return before, err
		}
		if p.Why == balance.NotThere {
			return before, sluice.Errorf(sluice.NotFound, "%s", p.Text())
		}
		if time.Since(start) >= room {
			return before, sluice.Errorf(sluice.Conflict, "%s", p.Text()).WithHint("it was waited %s for others to be up again", room)
		}
		if text := p.Text(); text != told {
			told = text
			say(Note{Balancer: s.Name, Text: text})
		}
		if err := pause(ctx, firstLook+rand.N(lastLook/2)); err != nil {
			return before, err
		}
	}
}

// tryTake takes a server out if that is allowed now, and puts it back if it turns out that it was not.
func (d *Desk) tryTake(ctx context.Context, s Seat, state sluice.ServerState) (sluice.ServerState, balance.Permission, error) {
	unlock, err := d.lock(ctx, s)
	if err != nil {
		return "", balance.Permission{}, err
	}
	defer unlock()
	pool, err := s.Balancer.Pool(ctx, s.Pool)
	if err != nil {
		if ctx.Err() != nil || sluice.CodeOf(err) == sluice.NotFound {
			return "", balance.Permission{}, err
		}
		return "", balance.NotRead(s.Pool, s.Server, err), nil
	}
	p := balance.MayTakeOut(pool, s.Server, s.Least)
	if !p.OK {
		return "", p, nil
	}
	now, _ := pool.Server(s.Server)
	if err := s.Balancer.Set(ctx, s.Pool, s.Server, state); err != nil {
		return now.State, p, err // it may be out for all that
	}
	after, err := readUntil(ctx, s, sluice.ServerState.Out)
	if err != nil {
		if ctx.Err() != nil {
			return now.State, p, context.Cause(ctx)
		}
		return now.State, balance.NotRead(s.Pool, s.Server, err), nil // it may have been restarted, and have forgotten
	}
	if held := balance.StillHolds(after, s.Server, s.Least); now.Serves() && !held.OK {
		if err := s.Balancer.Set(ctx, s.Pool, s.Server, sluice.ServerUp); err != nil {
			return now.State, held, err
		}
		return "", held, nil
	}
	return now.State, p, nil
}

// mostSlips is how often a server is taken out again while it is waited for: more than that, and somebody else wants it up.
const mostSlips = 10

// wait waits until a server that was taken out is drained. One that slipped back is taken out again, by permission.
func (d *Desk) wait(ctx context.Context, s Seat, state sluice.ServerState, room time.Duration, say func(Note)) (balance.Progress, error) {
	start, told, slips := time.Now(), 0, 0
	for next := firstLook; ; next = min(next*2, lastLook) {
		pool, err := s.Balancer.Pool(ctx, s.Pool)
		if ctx.Err() != nil {
			return balance.Progress{}, context.Cause(ctx)
		}
		p := balance.Progress{}
		if err != nil { // it may be restarted just now
			say(Note{Balancer: s.Name, Text: err.Error()})
			if time.Since(start) >= s.Limit+room {
				return p, err
			}
		} else {
			p = balance.Drained(pool, s.Server, time.Since(start), s.Limit)
		}
		if p.Done {
			return p, nil
		}
		if err == nil && !p.Slipped && p.InFlight != told {
			told = p.InFlight
			say(Note{Balancer: s.Name, Text: p.Text()})
		}
		if p.Slipped {
			say(Note{Balancer: s.Name, Text: p.Text()})
			if slips++; slips > mostSlips {
				return p, sluice.Errorf(sluice.Conflict, "%s; it was taken out %d times", p.Text(), slips)
			}
			if _, err := d.take(ctx, s, state, room, say); err != nil {
				return p, err
			}
			start, told, next = time.Now(), 0, firstLook // what came meanwhile has the whole time to end
		}
		if err := pause(ctx, next); err != nil {
			return p, err
		}
	}
}

// Return puts a server back into all its pools, and waits until each balancer shows it up.
func (d *Desk) Return(ctx context.Context, seats []Seat, t Times, say func(Note)) ([]Result, error) {
	if say == nil {
		say = func(Note) {}
	}
	var out []Result
	var errs []error
	for _, s := range seats { // one that fails keeps no other one out
		r, err := giveBack(ctx, s, t.Back)
		if err != nil {
			if ctx.Err() == nil {
				say(Note{s.Name, err.Error(), s.changed(sluice.ServerUp, r, err)})
			}
			errs = append(errs, s.wrap(err))
			continue
		}
		say(Note{s.Name, r.Text(), s.changed(sluice.ServerUp, r, nil)})
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}

func giveBack(ctx context.Context, s Seat, limit time.Duration) (Result, error) {
	start := time.Now()
	r := Result{Balancer: s.Name}
	for next := firstLook; ; next = min(next*2, lastLook) {
		pool, err := s.Balancer.Pool(ctx, s.Pool)
		if err == nil {
			r.Progress = balance.IsBack(pool, s.Server, time.Since(start))
			if r.Before == "" {
				r.Before = r.State
			}
			if r.Done {
				return r, nil
			}
			if r.State != sluice.ServerDown { // then it is its own checks that keep it out
				err = s.Balancer.Set(ctx, s.Pool, s.Server, sluice.ServerUp)
			}
		}
		switch {
		case ctx.Err() != nil:
			return r, context.Cause(ctx)
		case sluice.CodeOf(err) == sluice.NotFound:
			return r, err
		case time.Since(start) >= limit && err != nil:
			return r, err
		case time.Since(start) >= limit:
			return r, sluice.Errorf(sluice.Conflict, "%s", r.Text())
		}
		if err := pause(ctx, next); err != nil {
			return r, err
		}
	}
}

// readUntil reads a pool until the server is as it should be: a balancer may take a moment to show it.
func readUntil(ctx context.Context, s Seat, is func(sluice.ServerState) bool) (sluice.BalancedPool, error) {
	const often = 20
	last := errors.New("the balancer took it, but does not show it")
	for range often {
		pool, err := s.Balancer.Pool(ctx, s.Pool)
		if now, _ := pool.Server(s.Server); err == nil && is(now.State) {
			return pool, nil
		}
		if err != nil {
			last = err
		}
		if err := pause(ctx, firstLook); err != nil {
			return pool, err
		}
	}
	return sluice.BalancedPool{}, last
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

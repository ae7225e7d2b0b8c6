package cluster

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/app/doors"
	"sluice/internal/core/member"
	"sluice/internal/run/control"
	"sluice/internal/run/copies"
	"sluice/internal/run/fold"
	"sluice/internal/run/retain"
)

// lives has the server live as a copy and as the owner, in turn, until ctx ends.
func (c *cluster) lives(ctx context.Context) error {
	for ctx.Err() == nil {
		term, err := c.asCopy(ctx)
		if err != nil {
			return err
		}
		if term == nil {
			return nil
		}
		if err := c.asOwner(ctx, term); err != nil {
			return err
		}
	}
	return nil
}

// asCopy is a life without the log. It ends when the server owns it, and without a term when ctx ends.
func (c *cluster) asCopy(ctx context.Context) (sluice.Term, error) {
	life, stop := context.WithCancel(ctx)
	defer stop()
	var term sluice.Term
	var seeks sync.WaitGroup
	seeks.Go(func() {
		defer stop()
		term = c.seek(life)
	})
	err := c.s.Live(life, c.journal, c.copyLife())
	given := life.Err() != nil // the server owns the log, and this life may have ended before it had begun
	stop()
	seeks.Wait()
	switch {
	case term == nil:
		return nil, err
	case ctx.Err() == nil && (given || err == nil):
		if err != nil && !errors.Is(err, context.Canceled) {
			c.s.Log.Warn("the life as a copy did not end as it should", "why", err)
		}
		return term, nil
	}
	c.resign(ctx, term)
	return nil, err
}

// asOwner is a life in which the server owns the log. It is like the life of a server that is alone, and ends with the term.
func (c *cluster) asOwner(ctx context.Context, term sluice.Term) error {
	defer c.resign(ctx, term)
	life, stop := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop(nil)
	c.journal.Own(term)
	defer c.journal.Disown()
	watch.Go(func() {
		select {
		case <-term.Over():
		case <-c.journal.Over():
		case <-c.journal.Failed():
			c.s.Log.Error("this server cannot keep what is appended, and gives the log to another one", "why", c.journal.Failure())
		case <-life.Done():
		}
		c.present.api.Store(nil) // what other servers hand on is for another life
		stop(errTermOver)
	})
	watch.Go(func() {
		if err := c.roomLasts(life); err != nil {
			c.s.Log.Error("this server gives the log to another one", "why", err)
			stop(errTermOver)
		}
	})
	lived := make(chan struct{})
	defer close(lived)
	watch.Go(func() { c.overdue(ctx, life, lived, term) })
	defer c.present.api.Store(nil)
	t := &taking{c: c}
	defer t.close()
	defer c.halts.taking.Store(nil)
	err := c.journal.Current(life)
	if err == nil {
		t.began, err = c.journal.Heads(life)          // before anything is appended in this term
		t.began = append([]sluice.Head{}, t.began...) // also where that is nothing, it is known
	}
	if err == nil {
		err = c.found(life)
	}
	if err == nil {
		err = c.haltFirst(life, t)
	}
	if err == nil {
		c.outlook.see(sluice.Owner{Name: string(c.seat.Name), Address: c.seat.Address}, term.Number(), nil, c.s.Clock())
		c.s.Log.Info("this server owns the log", "term", term.Number())
		err = c.s.Live(life, c.journal, c.ownerLife(term, t.began))
	}
	switch over := life.Err() != nil && ctx.Err() == nil; {
	case over, sluice.CodeOf(err) == sluice.Contact && ctx.Err() == nil: // another life follows, whatever has failed in this one
		c.s.Log.Warn("this server does not own the log any more", "term", term.Number(), "why", err)
		if !over {
			select {
			case <-ctx.Done():
			case <-time.After(lifeRetry):
			}
		}
		return nil
	case errors.Is(context.Cause(life), errTermOver):
		return nil
	}
	return err
}

// overdue hands the log over where a life has ended and what it does has not: whatever that waits for, the others must not. It can append nothing
// any more then.
func (c *cluster) overdue(ctx, life context.Context, lived <-chan struct{}, term sluice.Term) {
	select {
	case <-lived:
		return
	case <-life.Done():
	}
	if ctx.Err() != nil { // the server ends, which may be meant to take long
		return
	}
	select {
	case <-lived:
	case <-time.After(lifeEnds):
		c.s.Log.Error("the life of this server as the owner of the log does not end, and the log is handed over all the same", "term", term.Number())
		c.resign(ctx, term)
	}
}

// found makes the first server of a cluster its first member.
func (c *cluster) found(ctx context.Context) error {
	all, err := c.neighbours.members.All(ctx)
	if err != nil || slices.ContainsFunc(all, func(m member.Known) bool { return m.Joined }) {
		return err
	}
	return c.neighbours.members.Found(ctx, c.seat.Name, c.seat.Address)
}

// resign hands the log over at once. A term that is over needs nothing more.
func (c *cluster) resign(ctx context.Context, term sluice.Term) {
	select {
	case <-term.Over():
		return
	default:
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), resignWithin)
	defer done()
	if err := term.Resign(ctx); err != nil { // it ends by itself, a little later
		c.s.Log.Warn("the log is not handed over", "why", err)
	}
}

func (c *cluster) copyLife() Life {
	return Life{
		InCluster: (*seats)(c), Watched: c.watched, Engine: c.engineSeen, Stale: c.stale, Turns: c.outlook.changes, Halts: noticed{c},
		Answer: c.answerAsCopy, Carry: c.carry, Here: &c.here.Stored, Beside: c.warm, Follows: c.follows, Ready: c.readyAsCopy,
	}
}

// readyAsCopy says why a server that does not own the log takes no requests.
func (c *cluster) readyAsCopy(context.Context) error {
	switch v := c.outlook.now(); {
	case v.cut != nil:
		return v.cut
	case v.term == 0:
		return sluice.Errorf(sluice.Contact, "no server owns the log now")
	}
	return nil
}

type sinceKey struct{}

// answeredAsOld has a request be answered as one to a server that may have been out of date since a moment, whatever is known by then.
func answeredAsOld(r *http.Request, since time.Time) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), sinceKey{}, since))
}

// stale is since when what this server says may be old; zero: it is not.
func (c *cluster) stale(ctx context.Context) time.Time {
	if since, is := ctx.Value(sinceKey{}).(time.Time); is {
		return since
	}
	return c.staleBy(c.outlook.now())
}

// staleBy is since when what this server says may be old: since it heard of a majority and had all of the log, or since the log has had no
// owner for long.
func (c *cluster) staleBy(v view) time.Time {
	since := v.met
	switch {
	case v.ownerless(c.s.Clock()):
		since = v.since
	case v.cut == nil:
		return time.Time{}
	}
	had := c.journal.Had()
	if had.IsZero() {
		had = c.here.before
	}
	if had.Before(since) {
		return had
	}
	return since
}

// followsWithin is how long ago a copy may have had all of the log that follows it: it is looked at every few seconds.
const followsWithin = time.Minute

// follows reports whether this server's copy has what the others have: it had a moment ago, and it hears of a majority.
func (c *cluster) follows() bool {
	return c.seeking.caughtUp.Load() && c.outlook.now().cut == nil && time.Since(c.journal.Had()) < followsWithin
}

// warmEvery is how often a copy looks whether its snapshots are near the end of the log.
const warmEvery = 5 * time.Second

// warm keeps this server ready to own the log: it then has little to read first.
func (c *cluster) warm(ctx context.Context) {
	w := fold.NewWarm(c.journal)
	for ctx.Err() == nil {
		heads, err := c.journal.Heads(ctx)
		if err == nil {
			err = w.Look(ctx, heads)
		}
		if err != nil && ctx.Err() == nil {
			c.s.Log.Warn("what this server would have to read first, to own the log, cannot be read", "why", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(warmEvery):
		}
	}
}

func (c *cluster) ownerLife(term sluice.Term, began []sluice.Head) Life {
	return Life{Owns: true, Watched: c.hears, InCluster: (*seats)(c), Engine: c.engineSeen, Term: term.Number(), StillOwns: c.ownsIn(term.Number()), Servers: c.abouts.workers, Beside: c.tend, Here: &c.here.Stored,
		Around: func(service *control.Service) func() { return c.around(service, began) },
		Answer: func(here http.Handler) doors.Answers {
			o := &owning{lasts: term.Lasts}
			o.answer = func(w http.ResponseWriter, r *http.Request) bool { // it is cut with this life, as what came here by itself is
				return c.s.Front.Pass(w, r, func() bool { return c.present.api.Load() == o })
			}
			c.present.api.Store(o)
			return whileLasts(term.Lasts, here)
		}}
}

// ownsIn asks the engine whether a term goes on: a process that stood still does not know by itself.
func (c *cluster) ownsIn(term uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		who, now, err := c.engine.Owner(ctx)
		if err == nil && now != term {
			err = sluice.Errorf(sluice.Contact, "the server %s owns the log now", who.Name)
		}
		return err
	}
}

// spread keeps by a majority of the servers what survives a server, in a term that began where the log ended then.
func (c *cluster) spread(began []sluice.Head) *copies.Copies {
	return copies.New(copies.Config{Members: c.neighbours.peers, Size: c.neighbours.size, Blobs: c.here.Blobs, Outputs: c.here.outputs, Log: c.journal, Began: began,
		Needed: func(ctx context.Context) ([]string, []sluice.JobID, []sluice.JobID, error) {
			n, err := retain.Needed(ctx, retain.Config{Policy: c.s.Keep, Log: c.journal, Clock: c.s.Clock})
			return n.Blobs, n.Open, n.Over, err
		},
		Trouble: func(text string) { c.s.Log.Warn(text) }})
}

// around has that be kept for all that a life does.
func (c *cluster) around(service *control.Service, began []sluice.Head) (end func()) {
	others := c.spread(began)
	service.Outputs = others.Outputs()
	service.Blobs = others.Blobs()
	c.present.copies.Store(others)
	return func() {
		c.present.copies.Store(nil)
		others.Close()
	}
}

package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"sluice"
)

// seeking is how far this server is on its way to own the log.
type seeking struct {
	begun    chan struct{} // closed when the engine knows of the log that this server brought, if it did
	caughtUp atomic.Bool   // this server had all of the log, since it started
	ready    bool          // this server goes by the log, and has heard which versions the others speak; of seek alone
	same     bool          // what this server's part of the engine keeps is what the others keep; of seek alone
	waits    atomic.Value  // a text: what this server waits for before it can own the log; "": nothing, or for the one who does
}

// seek returns when this server owns the log; nil when ctx ends. Only who has everything that there is may own it.
func (c *cluster) seek(ctx context.Context) sluice.Term {
	told := ""
	for ctx.Err() == nil {
		c.seeking.waits.Store("to count for the majority")
		err := c.counts(ctx)
		if err == nil {
			err = c.agrees(ctx)
		}
		if err == nil {
			c.seeking.waits.Store("all of the log")
			err = c.current(ctx)
		}
		if err == nil {
			c.seeking.waits.Store("to be a member of the cluster")
			err = c.belongs(ctx)
		}
		if err == nil {
			err = c.room(enoughRoom)
		}
		if err == nil {
			if !c.seeking.caughtUp.Swap(true) {
				c.s.Log.Info("this server has all of the log, and can own it")
			}
			if !c.seeking.ready {
				if err = c.arrived(); err == nil {
					err = c.neighbours.hear(ctx)
				}
				c.seeking.ready = err == nil
			}
		}
		if err == nil {
			err = c.neighbours.understood(ctx)
		}
		if err == nil {
			c.seeking.waits.Store("")
			var term sluice.Term
			if term, err = c.engine.Own(ctx, sluice.Owner{Name: string(c.seat.Name), Address: c.seat.Address}); err == nil {
				if err = c.still(ctx); err == nil {
					return term
				}
				c.resign(ctx, term)
			}
		}
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			c.s.Log.Warn("this server cannot own the log now", "why", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(ownRetry):
		}
	}
	return nil
}

// still asks again what was so before this server waited for the log, which may have been for days.
func (c *cluster) still(ctx context.Context) error {
	err := c.current(ctx)
	if err == nil {
		err = c.belongs(ctx)
	}
	if err == nil {
		err = c.room(enoughRoom)
	}
	if err == nil {
		err = c.neighbours.understood(ctx)
	}
	return err
}

// counts says why this server may not own the log yet: one that has just joined is no part of a majority before it has what the others have.
func (c *cluster) counts(ctx context.Context) error {
	all, err := c.engine.nodes(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Name == string(c.seat.Name) && m.Learner {
			return sluice.Errorf(sluice.Contact, "this server joins the cluster, and does not have yet what the others have")
		}
	}
	return nil
}

// agrees says why this server may not own the log yet: nobody knows whether what its part of the engine keeps is what the others keep. Where it
// is not, the server ends.
func (c *cluster) agrees(ctx context.Context) error {
	if c.engine.node == nil || c.seeking.same {
		return nil
	}
	c.seeking.waits.Store("others, to compare what its part of the engine keeps with what they keep")
	err := c.engine.node.Same(ctx)
	if sluice.IsLasting(err) {
		c.stop(err)
	}
	c.seeking.same = err == nil
	return err
}

// belongs says that this server is no member any more, by a copy that has all of the log. The first one is none yet before it owns it.
func (c *cluster) belongs(ctx context.Context) error {
	all, err := c.neighbours.members.All(ctx)
	if err != nil {
		return err
	}
	others := false
	for _, m := range all {
		if m.Joined && m.Name == c.seat.Name {
			return nil
		}
		others = others || m.Joined
	}
	if !others {
		return nil
	}
	return sluice.Errorf(sluice.Contact, "this server was removed from the cluster").WithHint("an empty --data and a token of sluice server members add let it in again")
}

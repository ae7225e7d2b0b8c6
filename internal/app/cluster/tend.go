package cluster

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/run/lookout"
)

// about is what a server says of itself to the others.
type about struct {
	Workers string        `json:"workers,omitempty"` // HOST:PORT, where workers reach it
	Version string        `json:"version"`
	Heads   []sluice.Head `json:"heads"` // of its copy
	// Settled are those on its disk; nil: of a version that waits for the disk with each append, so that they are Heads.
	Settled []sluice.Head `json:"settled"`
	// Halts are the oldest of those that it keeps.
	Halts []sluice.KeptHalt `json:"halts,omitempty"`
	// Trouble is what is wrong with it.
	Trouble string `json:"trouble,omitempty"`
	// Unfit are the heads for which it has raised the alarm.
	Unfit []sluice.SeenHead `json:"unfit,omitempty"`
}

// asking is what the owner of the log tells those whom it asks about themselves.
type asking struct {
	Unfit []sluice.SeenHead `json:"unfit,omitempty"` // as in about
}

// abouts are what the others said of themselves, when, and which of them are behind. They are gathered by the owner of the log.
type abouts struct {
	mu    sync.Mutex
	known map[sluice.ServerName]aboutAt
}

type aboutAt struct {
	about
	at time.Time
}

func (a *abouts) set(name sluice.ServerName, is about, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil {
		a.known = map[sluice.ServerName]aboutAt{}
	}
	a.known[name] = aboutAt{is, at}
}

func (a *abouts) of(name sluice.ServerName) (aboutAt, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	is, ok := a.known[name]
	return is, ok
}

// only forgets all but these servers.
func (a *abouts) only(names map[sluice.ServerName]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.known, func(name sluice.ServerName, _ aboutAt) bool { return !names[name] })
}

// workers are the addresses for workers of all servers.
func (a *abouts) workers() (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, is := range a.known {
		if is.Workers != "" {
			out = append(out, is.Workers)
		}
	}
	slices.Sort(out)
	return out
}

// self is what this server says of itself.
func (c *cluster) self(ctx context.Context) (about, error) {
	is := about{Workers: c.workersAt(), Version: c.s.Version, Trouble: c.trouble()}
	if c.halts.Keeper != nil {
		is.Halts = c.halts.Next()
	}
	var err error
	if is.Heads, err = c.journal.Heads(ctx); err == nil {
		is.Settled, err = c.journal.Settled(ctx)
	}
	if err != nil {
		return is, err
	}
	if is.Settled == nil {
		is.Settled = []sluice.Head{} // nothing is
	}
	if guard := c.present.guard.Load(); guard != nil {
		standing, err := guard.Standing(ctx)
		if err != nil {
			return is, err
		}
		is.Unfit = standing.Unfit
	}
	return is, nil
}

// workersAt is where workers reach this server: where it listens for them, or at the host where servers do.
func (c *cluster) workersAt() string {
	addr := c.s.Doors.Address("workers")
	if addr == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if host, _, err = net.SplitHostPort(c.seat.Address); err != nil {
			return ""
		}
	}
	return net.JoinHostPort(host, port)
}

// answerAbout tells the owner of the log about this server, and takes over the alarm that the owner has raised: so it is raised by the next one,
// too, until somebody has declared the log the truth. Whoever does not own the log may know less of it than others have seen.
func (c *cluster) answerAbout(ctx context.Context, from string, in json.RawMessage) (any, error) {
	var by asking
	if err := json.Unmarshal(in, &by); err != nil {
		return nil, sluice.Errorf(sluice.Usage, "what the server %s asks cannot be read: %v", from, err)
	}
	if v := c.outlook.now(); len(by.Unfit) > 0 && v.term != 0 && v.owner.Name == from {
		if guard := c.present.guard.Load(); guard != nil {
			if err := guard.Witness(ctx, "the server "+from, by.Unfit); err != nil {
				return nil, err
			}
		}
	}
	return c.self(ctx)
}

// watched keeps what watches over the log in this life.
func (c *cluster) watched(_ context.Context, guard *lookout.Guard) error {
	c.present.guard.Store(guard)
	return nil
}

// hears is watched for the owner of the log: before it does anything it asks the others for the alarms that they have raised, and learns the
// keys of hosts that they knew. Those who do not answer at once are heard when they do, and a key that cannot be learned at once is later.
func (c *cluster) hears(ctx context.Context, guard *lookout.Guard) error {
	c.present.guard.Store(guard)
	c.gather(ctx, alarmsWithin)
	if c.learned != nil { // so that no host is a stranger that another owner knew
		if err := c.learned.soon(ctx); err != nil && ctx.Err() == nil {
			c.s.Log.Warn("not all keys of hosts are known here yet that other servers know", "why", err)
		}
	}
	return nil
}

const (
	// tendEvery is how often the owner looks at the members; aboutWithin is what one may take to answer.
	tendEvery   = time.Second
	aboutWithin = 2 * time.Second
	// alarmsWithin is what a server waits before it owns the log for others to say what they have raised the alarm for.
	alarmsWithin = 300 * time.Millisecond
)

// tend is what the owner of the log does for the cluster, until ctx ends.
func (c *cluster) tend(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if k := c.present.copies.Load(); k != nil {
		all.Go(func() { k.Run(ctx) })
	}
	for ctx.Err() == nil {
		c.gather(ctx, aboutWithin)
		if err := c.exclude(ctx); err != nil && ctx.Err() == nil {
			c.s.Log.Warn("a server that was removed counts for the majority yet", "why", err)
		}
		c.yield(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(tendEvery):
		}
	}
}

// gather asks all servers how they are, and judges what they have raised the alarm for.
func (c *cluster) gather(ctx context.Context, atMost time.Duration) {
	mine, err := c.self(ctx)
	if err == nil {
		c.abouts.set(c.seat.Name, mine, c.s.Clock())
	}
	others, err := c.neighbours.all(ctx)
	if err != nil {
		return // said by those who need them
	}
	names := map[sluice.ServerName]bool{c.seat.Name: true}
	for _, o := range others {
		names[sluice.ServerName(o.Name())] = true
	}
	c.abouts.only(names)
	var asked sync.WaitGroup
	for _, o := range others {
		asked.Go(func() {
			within, done := context.WithTimeout(ctx, atMost)
			defer done()
			var is about
			if err := o.Ask(within, "about", asking{mine.Unfit}, &is); err != nil {
				return
			}
			c.abouts.set(sluice.ServerName(o.Name()), is, c.s.Clock())
			if guard := c.present.guard.Load(); guard != nil && len(is.Unfit) > 0 {
				if err := guard.Witness(ctx, "the server "+o.Name(), is.Unfit); err != nil && ctx.Err() == nil {
					c.s.Log.Error("what another server has raised the alarm for cannot be judged", "server", o.Name(), "why", err)
				}
			}
			if t := c.halts.taking.Load(); t != nil && len(is.Halts) > 0 {
				err := c.settleHalts(ctx, t, is.Halts, func(ids []string) error { return c.tellSettled(ctx, o, ids) })
				if ctx.Err() == nil {
					c.unsettled(err)
				}
			}
		})
	}
	asked.Wait()
}

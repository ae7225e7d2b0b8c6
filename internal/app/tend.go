package app

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/prometheus"
)

// about is what a server says of itself to the others.
type about struct {
	Workers string        `json:"workers,omitempty"` // HOST:PORT, where workers reach it
	Version string        `json:"version"`
	Heads   []sluice.Head `json:"heads"` // of its copy
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
	heads, err := c.journal.Heads(ctx)
	return about{Workers: c.workersAt(), Version: Version, Heads: heads}, err
}

// workersAt is where workers reach this server: where it listens for them, or at the host where servers do.
func (c *cluster) workersAt() string {
	addr := c.doors.address("workers")
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

func (c *cluster) answerAbout(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	return c.self(ctx)
}

const (
	// tendEvery is how often the owner looks at the members; aboutWithin is what one may take to answer.
	tendEvery   = time.Second
	aboutWithin = 2 * time.Second
)

// tend is what the owner of the log does for the cluster, until ctx ends.
func (c *cluster) tend(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if k := c.copies.Load(); k != nil {
		all.Go(func() { k.Run(ctx) })
	}
	for ctx.Err() == nil {
		c.gather(ctx)
		c.yield(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(tendEvery):
		}
	}
}

// gather asks all servers how they are.
func (c *cluster) gather(ctx context.Context) {
	if is, err := c.self(ctx); err == nil {
		c.abouts.set(c.seat.Name, is, c.s.Clock())
	}
	others, err := c.neighbours.all(ctx)
	if err != nil {
		return // said by those who need them
	}
	var asked sync.WaitGroup
	for _, o := range others {
		asked.Go(func() {
			within, done := context.WithTimeout(ctx, aboutWithin)
			defer done()
			var is about
			if err := o.Ask(within, "about", struct{}{}, &is); err == nil {
				c.abouts.set(sluice.ServerName(o.Name()), is, c.s.Clock())
			}
		})
	}
	asked.Wait()
}

// yield has etcd led by another server than the owner of the log: when one machine is lost, there is one thing to be waited for and not two.
func (c *cluster) yield(ctx context.Context) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return // said by those who need them
	}
	to, leads := "", false
	for _, n := range nodes {
		if n.Name == string(c.seat.Name) {
			leads = n.Leader
			continue
		}
		if is, heard := c.abouts.of(sluice.ServerName(n.Name)); !n.Learner && heard && c.s.Clock().Sub(is.at) < lostAfter {
			to = n.Name
		}
	}
	if !leads || to == "" {
		return
	}
	within, done := context.WithTimeout(ctx, aboutWithin)
	defer done()
	if err := c.node.Yield(within, to); err != nil && ctx.Err() == nil {
		c.s.Log.Info("another server's node does not lead yet", "server", to, "why", err)
	}
}

// newCare has etcd looked after, on every server: each after its own node, and the owner of the log after what is in it.
func (c *cluster) newCare() *etcd.Care {
	return etcd.NewCare(etcd.CareConfig{Engine: c.engine, Node: c.node, Owns: func() bool { return c.api.Load() != nil }, Copies: c.copiesSeen,
		Trouble: func(text string) { c.s.Log.Warn(text) }})
}

// copiesSeen is how far the copies of all members have come; nil for one that is not heard.
func (c *cluster) copiesSeen(ctx context.Context) (map[string][]sluice.Head, error) {
	known, err := c.members.All(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]sluice.Head{}
	for _, k := range known {
		if !k.Joined {
			continue
		}
		out[string(k.Name)] = nil
		if is, heard := c.abouts.of(k.Name); heard && c.s.Clock().Sub(is.at) < lostAfter {
			out[string(k.Name)] = is.Heads
		}
	}
	return out, nil
}

// engineSeen is the engine as metrics have it.
func (c *cluster) engineSeen() *prometheus.Cluster {
	n := c.care.Numbers()
	return &prometheus.Cluster{Size: n.Size, InUse: n.InUse, Quota: n.Quota, Leads: n.Leads, Owns: c.api.Load() != nil, Held: n.Held, Behind: n.Behind, Unknown: len(n.Unknown),
		Alarms: n.Alarms, Trims: n.Trims, Defrags: n.Defrags, LeaderChanges: n.LeaderChanges, Sync: prometheus.Spread(n.Sync), Commit: prometheus.Spread(n.Commit)}
}

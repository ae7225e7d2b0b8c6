package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/prometheus"
	"sluice/internal/core/member"
)

// engine is what the servers share, and this one's part in it.
type engine struct {
	*etcd.Engine
	node *etcd.Node // nil: the engine is elsewhere
	care *etcd.Care
}

const etcdDir = "etcd"

// openEngine starts this server's part of the engine, or reaches the one that exists.
func (c *cluster) openEngine(ctx context.Context) (end func() error, err error) {
	if err := c.identify(); err != nil {
		return nil, err
	}
	if c.seat.Elsewhere != (len(c.s.Cluster.Engine.Endpoints) > 0) {
		if c.seat.Elsewhere {
			return nil, sluice.Errorf(sluice.Config, "this cluster has its engine in an etcd elsewhere").WithHint("--engine URL")
		}
		return nil, sluice.Errorf(sluice.Config, "the servers of this cluster make its engine up themselves").WithHint("without --engine")
	}
	if !c.seat.Elsewhere {
		return func() error { return c.engine.node.Close() }, c.startNode()
	}
	client, err := etcd.Connect(ctx, c.s.Cluster.Engine)
	if err != nil {
		return nil, err
	}
	if c.engine.Engine, err = etcd.New(client, etcd.Config{Prefix: c.s.Cluster.Engine.Prefix, Shared: true}); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client.Close, nil
}

// ends is closed when this server's part of the engine has ended; nil where it is elsewhere.
func (e *engine) ends() <-chan struct{} {
	if e.node == nil {
		return nil
	}
	return e.node.Stopped()
}

// nodes are the members of the engine that the servers make up; none where it is elsewhere.
func (e *engine) nodes(ctx context.Context) ([]etcd.Member, error) {
	if e.node == nil {
		return nil, nil
	}
	return e.node.Members(ctx)
}

// startNode starts this server's node of etcd. One that has lost what it kept would give its vote a second time, for something else than
// before, and what a majority acknowledged could be lost.
func (c *cluster) startNode() (err error) {
	at, err := etcdAt(c.seat.Address)
	if err != nil {
		return err
	}
	if c.seat.Kept {
		if _, err := os.Stat(filepath.Join(c.s.Data, etcdDir, "member")); err != nil {
			return &sluice.Error{Code: sluice.Config, Text: "this server has lost what its part of the engine kept, and cannot take part as the one that it was", Err: err,
				Hint: "at another server: sluice server members replace " + string(c.seat.Name) + " NEW; then start NEW with an empty --data"}
		}
	}
	c.engine.node, err = etcd.Begin(etcd.NodeConfig{Name: string(c.seat.Name), Dir: filepath.Join(c.s.Data, etcdDir), Listen: at, Advertise: at, Nodes: c.seat.Nodes,
		Joins: c.seat.Joins, Token: c.seat.Cluster, Certificate: c.identity.files.Pair, Key: c.identity.files.Pair, Authority: c.identity.files.Authority, Common: authority.Members, Trouble: func(text string) { c.s.Log.Warn(text) }})
	if err != nil {
		return err
	}
	if !c.seat.Kept {
		c.seat.Kept = true
		if err := c.seat.Keep(c.s.Data); err != nil {
			return errors.Join(err, c.engine.node.Close())
		}
	}
	c.engine.Engine, err = etcd.New(c.engine.node.Client(), etcd.Config{})
	return err
}

// etcdAt is where a server's etcd is reached: at the port after the server's own.
func etcdAt(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || host == "" || n == 0 || n == 65535 {
		return "", sluice.Errorf(sluice.Usage, "%q is no address at which other servers reach this one", address).WithHint("HOST:PORT, such as 10.0.0.1:7659; the port after it is used, too")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n+1, 10)), nil
}

// exclude takes the nodes out of etcd whose servers are no members any more. The log says so first, so that no crash in between leaves one
// in that nobody can take out.
func (c *cluster) exclude(ctx context.Context) error {
	nodes, err := c.engine.nodes(ctx)
	if err != nil {
		return err
	}
	// The log says first who joins: with all that is in it now, nobody of these is taken for a stranger who has joined meanwhile.
	if err := c.current(ctx); err != nil {
		return err
	}
	known, err := c.neighbours.members.All(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, n := range strangers(nodes, known) {
		if err := c.engine.node.Remove(ctx, n); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		c.s.Log.Info("a server was taken out of the engine", "server", n.Name, "address", n.Address)
	}
	return failed
}

// strangers are nodes that are no member's: by name, or by address where one has not started yet, and has no name. The address of one that has
// may be that of the member which takes its place.
func strangers(nodes []etcd.Member, known []member.Known) (out []etcd.Member) {
	names, addresses := map[string]bool{}, map[string]bool{}
	for _, k := range known {
		if !k.Joined {
			continue
		}
		names[string(k.Name)] = true
		if at, err := etcdAt(k.Address); err == nil {
			addresses[at] = true
		}
	}
	for _, n := range nodes {
		if n.Name == "" && !addresses[n.Address] || n.Name != "" && !names[n.Name] {
			out = append(out, n)
		}
	}
	return out
}

// yield has etcd led by another server than the owner of the log: when one machine is lost, there is one thing to be waited for and not two.
func (c *cluster) yield(ctx context.Context) {
	nodes, err := c.engine.nodes(ctx)
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
	if err := c.engine.node.Yield(within, to); err != nil && ctx.Err() == nil {
		c.s.Log.Info("another server's node does not lead yet", "server", to, "why", err)
	}
}

// newCare has etcd looked after, on every server: each after its own node, and the owner of the log after what is in it.
func (c *cluster) newCare() *etcd.Care {
	return etcd.NewCare(etcd.CareConfig{Engine: c.engine.Engine, Node: c.engine.node, Owns: func() bool { return c.present.api.Load() != nil }, Copies: c.copiesSeen,
		Trouble: func(text string) { c.s.Log.Warn(text) }})
}

// copiesSeen is how far the copies of all members have come, as far as that stays there; nil for one that is not heard.
func (c *cluster) copiesSeen(ctx context.Context) (map[string][]sluice.Head, error) {
	known, err := c.neighbours.members.All(ctx)
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
			if out[string(k.Name)] = is.Settled; is.Settled == nil {
				out[string(k.Name)] = is.Heads
			}
		}
	}
	return out, nil
}

// engineSeen is the engine as metrics have it.
func (c *cluster) engineSeen() *prometheus.Cluster {
	n := c.engine.care.Numbers()
	return &prometheus.Cluster{Size: n.Size, InUse: n.InUse, Quota: n.Quota, Leads: n.Leads, Owns: c.present.api.Load() != nil, Held: n.Held, Behind: n.Behind, Unknown: len(n.Unknown),
		Alarms: n.Alarms, Trims: n.Trims, Defrags: n.Defrags, LeaderChanges: n.LeaderChanges, Sync: prometheus.Spread(n.Sync), Commit: prometheus.Spread(n.Commit)}
}

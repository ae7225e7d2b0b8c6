package cluster

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/run/members"
)

// neighbours are the other servers: who they are, how this one reaches them, and in which versions they speak.
type neighbours struct {
	self     sluice.ServerName
	identity *identity
	log      *slog.Logger
	members  *members.Keeper
	early    atomic.Pointer[map[string]string] // those that let this server in, until it has the log
	voices   voices

	mu    sync.Mutex
	known map[string]*neighbour
}

// listWithin bounds what is waited for the log to say who the members are.
const listWithin = 5 * time.Second

type neighbour struct {
	*peerwire.Client
	address string
}

// of is a server by its name and address; it is connected to when it is used.
func (n *neighbours) of(name, address string) (*neighbour, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := n.known[name]; k != nil {
		if k.address == address {
			return k, nil
		}
		k.Close()
		delete(n.known, name)
	}
	client, err := peerwire.Dial(peerwire.ClientConfig{Name: name, Address: address, ServerName: authority.MemberHost(name), Certificate: n.identity.member.Certificate, Roots: n.identity.servers.Roots(),
		Heard: func(protocol int) { n.voices.heard(name, protocol, n.log) }})
	if err != nil {
		return nil, err
	}
	k := &neighbour{client, address}
	if n.known == nil {
		n.known = map[string]*neighbour{}
	}
	n.known[name] = k
	return k, nil
}

// all are those that the log names as members, but this one. While this server has only the beginning of the log, or nothing, those that
// let it in are among them: who was a member once may be gone.
func (n *neighbours) all(ctx context.Context) ([]*neighbour, error) {
	addresses, err := n.addresses(ctx, n.self)
	if err != nil {
		return nil, err
	}
	if early := n.early.Load(); early != nil {
		maps.Copy(addresses, *early)
	}
	var out []*neighbour
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		k, err := n.of(name, addresses[name])
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// addresses are where the members are reached, but one.
func (n *neighbours) addresses(ctx context.Context, but sluice.ServerName) (map[string]string, error) {
	all, err := n.members.All(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, m := range all {
		if m.Joined && m.Name != but {
			out[string(m.Name)] = m.Address
		}
	}
	return out, nil
}

// admit refuses a server that is no member: the list is that of this server's copy of the log. One that does not have it yet admits those
// that let it in.
func (n *neighbours) admit(ctx context.Context, name string) error {
	if early := n.early.Load(); early != nil && (*early)[name] != "" {
		return nil
	}
	m, err := n.members.Find(ctx, sluice.ServerName(name))
	if err != nil || !m.Joined {
		return errors.Join(sluice.Errorf(sluice.Denied, "the server %s is no member of the cluster", name), err)
	}
	return nil
}

// peers are all others, for what is kept there, too.
func (n *neighbours) peers() []sluice.Peer {
	ctx, done := context.WithTimeout(context.Background(), listWithin)
	defer done()
	all, err := n.all(ctx)
	if err != nil {
		n.log.Warn("it cannot be read who the other servers are", "why", err)
	}
	var out []sluice.Peer
	for _, k := range all {
		out = append(out, k)
	}
	return out
}

// size is how many servers there are, with this one.
func (n *neighbours) size() int {
	ctx, done := context.WithTimeout(context.Background(), listWithin)
	defer done()
	known, err := n.members.All(ctx)
	if err != nil {
		return math.MaxInt // so that nothing counts as kept by a majority of whom nothing is known
	}
	size := 0
	for _, m := range known {
		if m.Joined {
			size++
		}
	}
	return max(size, 1)
}

func (n *neighbours) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range n.known {
		k.Close()
	}
	n.known = nil
}

// missing brings records into the copy that the engine does not keep any more: from any server that has them.
func (c *cluster) missing(ctx context.Context, upTo []sluice.Head) error {
	others, err := c.neighbours.all(ctx)
	if err != nil {
		return err
	}
	mine, err := c.journal.Heads(ctx)
	if err != nil {
		return err
	}
	for _, want := range upTo {
		after := uint64(0)
		if i := slices.IndexFunc(mine, func(h sluice.Head) bool { return h.Namespace == want.Namespace }); i >= 0 {
			after = mine[i].Seq
		}
		if after >= want.Seq {
			continue
		}
		if err := c.missingOf(ctx, want, after, others); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) missingOf(ctx context.Context, want sluice.Head, after uint64, others []*neighbour) (err error) {
	err = sluice.Errorf(sluice.Contact, "there is no other server to ask for event %d of the namespace %s", after+1, want.Namespace)
	for _, o := range others {
		asked := o.Records(ctx, want.Namespace, after, func(r []sluice.Record) error {
			if err := c.journal.Append(ctx, r); err != nil {
				return err
			}
			after = r[len(r)-1].Last
			return nil
		})
		if after >= want.Seq {
			return nil
		}
		if asked != nil {
			err = errors.Join(err, asked)
		}
	}
	return err
}

// carry has workers that come to this server answered by the owner of the log. Between them TLS goes from end to end.
func (c *cluster) carry(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		all.Go(func() {
			defer conn.Close()
			c.carryOne(ctx, conn)
		})
	}
}

func (c *cluster) carryOne(ctx context.Context, conn net.Conn) {
	over := time.NewTimer(waitForOwner)
	defer over.Stop()
	for {
		v := c.outlook.now()
		if v.another(c.seat.Name) {
			k, err := c.neighbours.of(v.owner.Name, v.owner.Address)
			if err == nil {
				err = k.Carry(ctx, conn)
			}
			if sluice.CodeOf(err) != sluice.Contact || ctx.Err() != nil {
				return // it was carried, and has ended; the worker comes again
			}
			c.outlook.doubt()
		}
		select {
		case <-ctx.Done():
			return
		case <-v.turns:
		case <-time.After(lookSoon):
		case <-over.C:
			return
		}
	}
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// Member is a node of the cluster, as a majority knows it.
type Member struct {
	ID      uint64
	Name    string // "" before it has started for the first time
	Address string // HOST:PORT
	// Learner says that it gets everything, and does not count for a majority yet.
	Learner bool
	// Leader says that the others go by it, as this node knows.
	Leader bool
}

// promoteRetry is waited before a node that was not in sync is asked for again.
const promoteRetry = 100 * time.Millisecond

// Members are all nodes of the cluster, by name.
func (n *Node) Members(ctx context.Context) ([]Member, error) {
	got, err := again(ctx, func(ctx context.Context) (*clientv3.MemberListResponse, error) { return n.client.MemberList(ctx) })
	if err != nil {
		return nil, contact("asking for the members", err)
	}
	return n.members(got.Members), nil
}

func (n *Node) members(list []*etcdserverpb.Member) (out []Member) {
	leader := uint64(n.etcd.Server.Leader())
	for _, m := range list {
		out = append(out, Member{ID: m.ID, Name: m.Name, Address: hostport(m.PeerURLs), Learner: m.IsLearner, Leader: m.ID == leader})
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func hostport(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	u, err := url.Parse(urls[0])
	if err != nil {
		return urls[0]
	}
	return u.Host
}

// Add takes a node in that will be reached at an address, as a learner, and returns what it is to start with. It is repeated without harm.
func (n *Node) Add(ctx context.Context, name, address string) (nodes map[string]string, err error) {
	all, err := n.Members(ctx)
	if err != nil {
		return nil, err
	}
	added := false
	for _, m := range all {
		switch {
		case m.Name == name && m.Address != address:
			return nil, sluice.Errorf(sluice.Conflict, "the member %s is at %s", name, m.Address).WithHint("remove it first, if it will not come back")
		case m.Address == address && m.Name != name && m.Name != "":
			return nil, sluice.Errorf(sluice.Conflict, "at %s there is the member %s", address, m.Name)
		case m.Address == address && m.Name != "": // one that begins again without what it kept would vote a second time
			return nil, sluice.Errorf(sluice.Conflict, "the member %s has begun at %s already, and cannot begin there again with nothing", name, address).
				WithHint("start it on the --data that it had; or sluice server members remove %s, and add it anew", name)
		case m.Address == address:
			added = true
		case m.Learner:
			return nil, sluice.Errorf(sluice.Conflict, "the member at %s was added and does not count yet: one at a time", m.Address).WithHint("sluice server members lists them")
		}
	}
	if !added {
		scheme := n.etcd.Config().AdvertisePeerUrls[0].Scheme
		all, err = again(ctx, func(ctx context.Context) ([]Member, error) {
			r, err := n.client.MemberAddAsLearner(ctx, []string{scheme + "://" + address})
			if errors.Is(err, rpctypes.ErrPeerURLExist) { // an answer was lost
				return n.Members(ctx)
			}
			if err != nil {
				return nil, err
			}
			return n.members(r.Members), nil
		})
		if err != nil {
			return nil, contact("adding a member", err)
		}
	}
	nodes = map[string]string{name: address}
	for _, m := range all {
		if m.Name != "" {
			nodes[m.Name] = m.Address
		}
	}
	return nodes, nil
}

// Promote has a learner count for majorities, as soon as it has almost all that the leader has.
func (n *Node) Promote(ctx context.Context, name string) error {
	m, err := n.member(ctx, name)
	if err != nil || !m.Learner {
		return err
	}
	for {
		_, err := n.client.MemberPromote(ctx, m.ID)
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrMemberNotLearner):
			return nil
		case errors.Is(err, rpctypes.ErrMemberNotFound):
			return sluice.Errorf(sluice.NotFound, "there is no member %s any more", name)
		}
		select {
		case <-ctx.Done():
			return contact(fmt.Sprintf("waiting for %s to be in sync", name), errors.Join(context.Cause(ctx), err))
		case <-time.After(promoteRetry):
		}
	}
}

// Remove takes a node out for good: it can come back only when it is added anew, with nothing of what it kept. That it is out already is
// no error.
func (n *Node) Remove(ctx context.Context, m Member) error {
	_, err := again(ctx, func(ctx context.Context) (*clientv3.MemberRemoveResponse, error) {
		r, err := n.client.MemberRemove(ctx, m.ID)
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			err = nil
		}
		return r, err
	})
	if errors.Is(err, rpctypes.ErrMemberNotEnoughStarted) {
		return sluice.Errorf(sluice.Conflict, "without the node at %s there would be no majority of nodes that run", m.Address).WithHint("start the others first")
	}
	return contact("removing a member", err)
}

func (n *Node) member(ctx context.Context, name string) (Member, error) {
	all, err := n.Members(ctx)
	if err != nil {
		return Member{}, err
	}
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
	}
	return Member{}, sluice.Errorf(sluice.NotFound, "there is no member %s", name).WithHint("sluice server members lists them")
}

// Yield has the node of another server be the one that all go by, if this one is it: then one machine that is lost does not take the owner
// of the log and the leader of the engine at once, whose ends are waited for one after the other.
func (n *Node) Yield(ctx context.Context, to string) error {
	if n.etcd.Server.Leader() != n.etcd.Server.MemberID() {
		return nil
	}
	m, err := n.member(ctx, to)
	if err != nil {
		return err
	}
	return contact("having another node lead", n.etcd.Server.MoveLeader(ctx, uint64(n.etcd.Server.Leader()), m.ID))
}

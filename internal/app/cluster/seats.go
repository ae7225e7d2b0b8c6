package cluster

import (
	"context"
	"slices"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/etcd"
	"sluice/internal/core/member"
)

// seats are the servers of a cluster, as people ask for them.
type seats cluster

// lostAfter is how long a server that is not heard counts as there.
const lostAfter = 5 * time.Second

// List tells about all servers, as the one knows that answers.
func (s *seats) List(ctx context.Context) (out api.Cluster, err error) {
	c := (*cluster)(s)
	v := c.outlook.now()
	out = api.Cluster{Self: c.seat.Name, Owner: sluice.ServerName(v.owner.Name), Term: v.term, Majority: v.cut == nil}
	switch {
	case v.cut != nil:
		out.Since = &v.met
	case !v.since.IsZero():
		out.Since = &v.since
	}
	out.Waits = c.waitsFor(v)
	known, err := c.neighbours.members.All(ctx)
	if err != nil {
		return out, err
	}
	if v.cut == nil && v.term == 0 { // nobody else asks them
		c.gather(ctx, aboutWithin)
	}
	at, of, restored, err := c.neighbours.members.Restored(ctx)
	if err != nil {
		return out, err
	}
	if restored {
		out.Restored = &api.ClusterRestored{At: at.UTC(), Of: of.Backup.UTC(), Epoch: of.Epoch, By: of.By}
	}
	var nodes []etcd.Member
	if v.cut == nil {
		if nodes, err = c.engine.nodes(ctx); err != nil {
			return out, err
		}
	}
	now := c.s.Clock()
	heads, err := c.journal.Heads(ctx)
	if err != nil {
		return out, err
	}
	for _, k := range known {
		out.Members = append(out.Members, c.form(k, v, nodes, heads, now))
	}
	return out, nil
}

// waitsFor is what this server waits for before it can own the log; "" where that is nothing, or the end of another one's term.
func (c *cluster) waitsFor(v view) string {
	if v.cut != nil {
		return "a majority of the servers"
	}
	text, _ := c.seeking.waits.Load().(string)
	return text
}

func (c *cluster) form(k member.Known, v view, nodes []etcd.Member, heads []sluice.Head, now time.Time) api.Member {
	m := api.Member{Name: k.Name, Address: k.Address, Role: api.LostRole}
	if !k.Joined {
		m.Role, m.Replaces, m.Expires = api.InvitedRole, k.Replaces, &k.Expires
		return m
	}
	learns, out := c.engine.node != nil, false
	if i := slices.IndexFunc(nodes, func(n etcd.Member) bool { return n.Name == string(k.Name) }); i >= 0 {
		if learns = nodes[i].Learner; learns {
			m.InEngine = "learner"
		} else {
			m.InEngine = "voter"
		}
		m.Leads = nodes[i].Leader
	} else {
		out = c.engine.node != nil && len(nodes) > 0
	}
	said, heard := c.abouts.of(k.Name)
	if k.Name == c.seat.Name {
		said, heard = aboutAt{about{Version: c.s.Version, Heads: heads, Trouble: c.trouble()}, now}, true
	}
	if heard {
		seen, lacks := said.at.UTC(), behind(heads, said.Heads)
		m.Seen, m.Version, m.Behind, m.Trouble = &seen, said.Version, &lacks, said.Trouble
	}
	if out {
		m.Trouble = "its part of the engine was taken out, because what it had was damaged: replace it"
	}
	if err := c.neighbours.voices.apart(string(k.Name)); err != nil && k.Name != c.seat.Name {
		m.Trouble = err.Error()
	}
	switch fresh := heard && now.Sub(said.at) < lostAfter; {
	case v.term != 0 && v.owner.Name == string(k.Name):
		m.Role = api.OwnerRole
	case fresh && learns && v.cut == nil, !heard && now.Sub(k.Since) < lostAfter: // it has just come
		m.Role = api.JoiningRole
	case fresh:
		m.Role = api.CopyRole
	}
	return m
}

// behind is how many events are in one copy and not in another.
func behind(all, has []sluice.Head) (n uint64) {
	for _, h := range all {
		end := uint64(0)
		if i := slices.IndexFunc(has, func(o sluice.Head) bool { return o.Namespace == h.Namespace }); i >= 0 {
			end = has[i].Seq
		}
		if h.Seq > end {
			n += h.Seq - end
		}
	}
	return n
}

// Invite lets a server join. The token holds what it needs to find and know the others.
func (s *seats) Invite(ctx context.Context, by sluice.Principal, name, replaces sluice.ServerName) (out api.ServerInvitation, err error) {
	c := (*cluster)(s)
	secret, expires, err := c.neighbours.members.Invite(ctx, by, name, replaces)
	if err != nil {
		return out, err
	}
	token, err := c.token(ctx, name, secret)
	return api.ServerInvitation{Server: name, Token: token, Expires: expires}, err
}

// Remove takes a server out for good. The log says so first: from then on nobody answers it.
func (s *seats) Remove(ctx context.Context, by sluice.Principal, name sluice.ServerName) error {
	c := (*cluster)(s)
	if name == c.seat.Name {
		return sluice.Errorf(sluice.Conflict, "the server %s owns the log now, and cannot take itself out", name).
			WithHint("stop it: another one owns the log then, and can remove it")
	}
	if err := c.removable(ctx, name); err != nil {
		return err
	}
	if err := c.neighbours.members.Remove(ctx, by, name); err != nil {
		return err
	}
	return c.exclude(ctx)
}

// removable says why the others would be no majority without a server, of those that are there.
func (c *cluster) removable(ctx context.Context, name sluice.ServerName) error {
	all, err := c.engine.nodes(ctx)
	if err != nil {
		return err
	}
	voters, there := 0, 0
	now := c.s.Clock()
	for _, m := range all {
		if m.Learner || m.Name == string(name) {
			continue
		}
		voters++
		said, heard := c.abouts.of(sluice.ServerName(m.Name))
		if m.Name == string(c.seat.Name) || heard && now.Sub(said.at) < lostAfter {
			there++
		}
	}
	if voters > 0 && there <= voters/2 {
		return sluice.Errorf(sluice.Conflict, "without %s, %d of %d servers are there, and that is no majority", name, there, voters).WithHint("start the others first; sluice server members says which are lost")
	}
	return nil
}

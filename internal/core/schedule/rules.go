package schedule

import (
	"slices"
	"strings"

	"sluice"
)

// group is the live count of one group of hosts.
type group struct {
	constraint string
	name       string
	limit      sluice.Amount
	hosts      []int32 // all members; of a job's own limit nil: they are its targets
	members    int     // not retired
	busy       int     // an attempt runs, or its outcome is not known
	live       int     // an attempt runs and would, if it succeeds, leave the host in service
	out        int     // busy, or bad, or held
	waits      []*waitlist
}

func (g *group) capacity() int { return g.limit.Capacity(g.members) }

// room reports whether one more host may start. A host that is out already takes its own place.
func (g *group) room(ownPlace bool) bool {
	limit := g.capacity()
	return g.busy+1 <= limit && (ownPlace || g.out+1 <= limit)
}

// ruleset is a set of constraints and the groups that each host is in.
type ruleset struct {
	digest string
	packed string // the groups, once a snapshot was made or read
	groups []*group
	of     [][]int32 // by host: its groups, ascending; shorter than the hosts where later ones are in none
	users  int       // open jobs that are frozen under it, and one if it is in force; counts are kept while > 0
}

func (r *ruleset) groupsOf(h int32) []int32 {
	if r == nil || int(h) >= len(r.of) {
		return nil
	}
	return r.of[h]
}

// applyRules puts rules in force.
func (s *State) applyRules(r sluice.Rules) {
	rs := s.rules[r.Digest]
	if rs == nil {
		rs = s.newRuleset(r)
		s.rules[r.Digest] = rs
	}
	if rs == s.force {
		return
	}
	s.use(rs, +1)
	s.use(s.force, -1)
	s.force = rs
	for _, j := range s.open { // classes are made of groups in force
		s.tearDown(j)
		j.dirty = true
	}
}

func (s *State) newRuleset(r sluice.Rules) *ruleset {
	rs := &ruleset{digest: r.Digest}
	for _, h := range r.Hosts {
		s.host(h)
	}
	for _, c := range r.Constraints {
		for _, g := range c.Groups {
			members := make([]int32, len(g.Members))
			for i, h := range g.Members {
				members[i] = s.host(h)
			}
			rs.groups = append(rs.groups, &group{constraint: c.Name, name: g.Name, limit: g.Limit, hosts: members})
		}
	}
	s.indexGroups(rs)
	return rs
}

// indexGroups notes for each host which groups it is in.
func (s *State) indexGroups(rs *ruleset) {
	total := 0
	sizes := make([]int32, len(s.hosts))
	for _, g := range rs.groups {
		total += len(g.hosts)
		for _, h := range g.hosts {
			sizes[h]++
		}
	}
	flat := make([]int32, 0, total) // one allocation for all hosts
	rs.of = make([][]int32, len(s.hosts))
	for h, n := range sizes {
		start := len(flat)
		flat = flat[:start+int(n)]
		rs.of[h] = flat[start:start:len(flat)]
	}
	for i, g := range rs.groups {
		for _, h := range g.hosts {
			rs.of[h] = append(rs.of[h], int32(i))
		}
	}
}

// use keeps count of who needs a ruleset. Only while there is somebody its groups are counted.
func (s *State) use(rs *ruleset, by int) {
	if rs == nil {
		return
	}
	rs.users += by
	at, found := slices.BinarySearchFunc(s.used, rs.digest, func(u *ruleset, d string) int { return strings.Compare(u.digest, d) })
	switch {
	case found && rs.users == 0:
		s.used = slices.Delete(s.used, at, at+1)
		for _, g := range rs.groups {
			g.members, g.busy, g.live, g.out = 0, 0, 0, 0
		}
	case !found && by > 0:
		s.used = slices.Insert(s.used, at, rs)
		s.unpackRules(rs)
		for _, g := range rs.groups {
			for _, h := range g.hosts {
				g.add(s.hosts[h].counts(), +1)
			}
		}
	}
}

func (g *group) add(c counts, n int) {
	if c.member {
		g.members += n
	}
	if c.busy {
		g.busy += n
	}
	if c.live {
		g.live += n
	}
	if c.out {
		g.out += n
	}
}

// watch registers an open job where changes of its hosts matter to it, and counts its own limit.
func (s *State) watch(j *job) {
	s.use(j.frozen, +1)
	if j.readOnly() {
		return
	}
	for _, t := range j.tasks {
		h := &s.hosts[t.host]
		at, _ := slices.BinarySearchFunc(h.tasks, j.number, func(t *task, n int) int { return t.job.number - n })
		h.tasks = slices.Insert(h.tasks, at, t)
		if j.limit != nil {
			j.limit.add(h.counts(), +1)
		}
	}
}

func (s *State) unwatch(j *job) {
	s.tearDown(j)
	s.use(j.frozen, -1)
	if j.readOnly() {
		return
	}
	for _, t := range j.tasks {
		h := &s.hosts[t.host]
		h.tasks = slices.DeleteFunc(h.tasks, func(x *task) bool { return x == t })
	}
	if j.limit != nil {
		j.limit = newLimit(j.limit.limit)
	}
}

// setHost changes a host and brings all groups and queues in line with it.
func (s *State) setHost(i int32, change func(*host)) {
	h := &s.hosts[i]
	before, wasBarred, wasBad := h.counts(), h.barred(), h.bad != nil
	change(h)
	after, barred := h.counts(), h.barred()
	if before != after {
		s.recount(i, before, after)
	}
	if wasBad != (h.bad != nil) {
		s.requeue(h.tasks)
	}
	if wasBarred && !barred {
		waiting := h.waiting
		h.waiting = nil
		for _, t := range waiting {
			t.onHost = false
			s.enqueue(t)
		}
	}
}

// barred reports whether nothing may start on the host, whatever the constraints say.
func (h *host) barred() bool { return h.attempt != nil || h.held != nil || h.retired != nil }

func (s *State) recount(h int32, before, after counts) {
	for _, rs := range s.used {
		for _, g := range rs.groupsOf(h) {
			rs.groups[g].change(before, after)
		}
	}
	for _, t := range s.hosts[h].tasks {
		if t.job.limit != nil {
			t.job.limit.change(before, after)
		}
	}
}

func (g *group) change(before, after counts) {
	g.add(before, -1)
	g.add(after, +1)
	g.wake()
}

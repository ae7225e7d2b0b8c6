package schedule

import "sluice"

// GroupInfo is where a group of hosts stands.
type GroupInfo struct {
	Constraint string
	Name       string
	Limit      sluice.Amount
	// Frozen says that the group is one of the rules that the job was submitted under, which are not in force any more. They
	// bind it all the same.
	Frozen   bool
	Capacity int // how many of its hosts may be out
	Members  int // that are not retired
	Running  int // an attempt runs, or its outcome is not known
	Out      int // running, or left out of service, or held
	Targets  []int
	// Holders are hosts that are out: first those that stay so, then those on which something runs.
	Holders []Holder
}

// MostHolders is how many holders of a group are named. There may be more that are out.
const MostHolders = 20

// Groups lists the groups that hosts of a job must find room in: of the rules in force, of those that the job is frozen
// under where they are others, and its own limit. A job that is over, or takes no room, has none.
func (s *State) Groups(id sluice.JobID) []GroupInfo {
	j := s.job(id)
	if j == nil || j.finished != "" || j.readOnly() {
		return nil
	}
	out := s.groupsIn(j, s.force)
	if j.frozen != s.force {
		for _, g := range s.groupsIn(j, j.frozen) {
			g.Frozen = true
			out = append(out, g)
		}
	}
	if g := j.limit; g != nil {
		all := make([]int, len(j.byTarget))
		members := make([]int32, len(j.byTarget))
		for i, t := range j.byTarget {
			all[i], members[i] = i, t.host
		}
		out = append(out, s.groupInfo(g, members, all))
	}
	return out
}

// groupsIn lists the groups of a ruleset that a host of a job is in, in the order of the rules.
func (s *State) groupsIn(j *job, rs *ruleset) (out []GroupInfo) {
	if rs == nil {
		return nil
	}
	targets := make([][]int, len(rs.groups))
	for i, t := range j.byTarget {
		for _, g := range rs.groupsOf(t.host) {
			targets[g] = append(targets[g], i)
		}
	}
	for i, g := range rs.groups {
		if len(targets[i]) > 0 {
			out = append(out, s.groupInfo(g, g.hosts, targets[i]))
		}
	}
	return out
}

func (s *State) groupInfo(g *group, members []int32, targets []int) GroupInfo {
	info := GroupInfo{Constraint: g.constraint, Name: g.name, Limit: g.limit, Capacity: g.capacity(), Members: g.members,
		Running: g.busy, Out: g.out, Targets: targets}
	if g.out == 0 {
		return info
	}
	w := asker{State: s}
	var running []Holder
	for _, i := range members {
		h := &s.hosts[i]
		switch {
		case !h.counts().out:
		case h.attempt != nil && !h.unknown:
			if len(running) < MostHolders {
				running = append(running, w.holder(h))
			}
		case len(info.Holders) < MostHolders:
			info.Holders = append(info.Holders, w.holder(h))
		}
	}
	info.Holders = append(info.Holders, running[:min(len(running), MostHolders-len(info.Holders))]...)
	return info
}

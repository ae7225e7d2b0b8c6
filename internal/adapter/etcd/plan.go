package etcd

import (
	"cmp"
	"slices"

	"sluice"
)

// scene is what a server sees when it looks after etcd.
type scene struct {
	size, inUse, quota int64 // of this server's node, in bytes; quota 0: not known
	begin              int64 // in use, from which on records are forgotten
	owns, owned        bool  // this server, or any, owns the log
	node               bool  // this server has a node of its own
	me                 uint64
	members            []Member
	full               []uint64 // members with the alarm NOSPACE
	corrupt            []uint64 // members with the alarm CORRUPT
	held               bool     // nothing is appended now, because there is little room
	idle               int      // for how many looks much has been free
}

// deeds are what is to be done, in this order.
type deeds struct {
	takeOut  uint64   // a member whose data differ; 0: none
	undecide []uint64 // members whose data differ, and that a person has to look at
	trim     extent   // what is forgotten
	hold     bool     // nothing is appended until there is room
	defrag   bool
	alone    bool // without waiting for the turn: nothing is appended anyway
	disarm   []uint64
	promote  string
}

// extent says whose copies must have what is forgotten.
type extent int

const (
	trimNothing extent = iota
	trimAll            // every member's
	trimMost           // a majority's; the rest get it from another server
)

const (
	// What is in use, in percent of the quota: from the first on a majority's copies are enough; above the second nothing is appended, so that
	// there is room for leases: without one nobody can own the log, and make room. It goes on below the third.
	urgent, reserve, relaxed = 50, 80, 70
	// A node whose own file is below this is not what the alarm is about, or has made room.
	roomy = 90
	// A node is defragmented when it has been so for some looks; the owner's last.
	soon, late = 2, 12
	// Appends wait while the owner's is, for 0.7 s of 32 MiB in use on a machine with much to do; its lease must not end by that.
	brief = 64 << 20
)

// plan decides what to do.
func plan(s scene) (d deeds) {
	d.hold = s.held && s.percent(s.inUse) >= relaxed || s.percent(s.inUse) >= reserve
	if len(s.corrupt) > 0 { // nothing else is done to what may be wrong
		d.takeOut, d.undecide = wrong(s)
		return d
	}
	// Where nobody owns the log because nobody can, somebody has to make room all the same; what is forgotten is proved, whoever does it.
	if s.owns || !s.owned && len(s.full) > 0 {
		switch {
		case len(s.full) > 0, s.percent(s.inUse) >= urgent:
			d.trim = trimMost
		case s.inUse >= s.begin:
			d.trim = trimAll
		}
	}
	if s.node && len(s.full) > 0 {
		d.alone = s.percent(s.size) >= roomy
		d.defrag = d.alone
		d.disarm = s.full
		return d
	}
	if s.node && airy(s) && (s.idle >= soon && !s.owns || s.idle >= late && s.inUse <= brief) {
		d.defrag = true
	}
	if s.owns && len(s.full) == 0 {
		for _, m := range s.members {
			if m.Learner && m.Name != "" {
				d.promote = m.Name
				break // one at a time
			}
		}
	}
	return d
}

func (s scene) percent(n int64) int64 {
	if s.quota <= 0 {
		return 0
	}
	return n * 100 / s.quota
}

// airy reports whether so much of a file is free that it pays to write it anew: the node stands still meanwhile.
func airy(s scene) bool { return s.size >= 2*s.begin && s.size-s.inUse >= s.size/2 }

// wrong says which member is taken out: the only one that differs, if those that are left are a majority of what there is. It never is this
// one: who is wrong does not judge.
func wrong(s scene) (takeOut uint64, undecided []uint64) {
	bad := slices.Compact(slices.Sorted(slices.Values(s.corrupt)))
	rest, voted := 0, false // of those that count for a majority
	for _, m := range s.members {
		switch {
		case m.Learner:
		case m.ID == bad[0]:
			voted = true
		default:
			rest++
		}
	}
	switch {
	case len(bad) > 1, bad[0] == 0, voted && rest < 2:
		return 0, bad
	case bad[0] == s.me, !s.node:
		return 0, nil // the others do it
	}
	return bad[0], nil
}

// ends are how far the copies of all members have come, and those of a majority. Who could not be asked is as far as it was last seen.
func ends(copies map[string][]sluice.Head) (every, majority []sluice.Head) {
	spaces := map[sluice.Namespace][]sluice.Head{}
	for _, heads := range copies {
		for _, h := range heads {
			spaces[h.Namespace] = append(spaces[h.Namespace], h)
		}
	}
	n := len(copies)
	for _, heads := range spaces {
		slices.SortFunc(heads, func(a, b sluice.Head) int { return cmp.Compare(b.Seq, a.Seq) })
		if len(heads) == n {
			every = append(every, heads[n-1])
		}
		if len(heads) > n/2 {
			majority = append(majority, heads[n/2])
		}
	}
	byName := func(a, b sluice.Head) int { return cmp.Compare(a.Namespace, b.Namespace) }
	slices.SortFunc(every, byName)
	slices.SortFunc(majority, byName)
	return every, majority
}

// mark is a record, and how many bytes there are up to it.
type mark struct {
	sluice.Head
	through int64
}

// cut is the last mark behind which there is enough, and which is not behind a limit; false: there is none.
func cut(marks []mark, total, enough int64, limit uint64) (at sluice.Head, ok bool) {
	for _, m := range marks {
		if total-m.through < enough || m.Seq > limit {
			break
		}
		at, ok = m.Head, true
	}
	return at, ok
}

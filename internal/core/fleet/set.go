package fleet

import "slices"

// set is a set of hosts: their places in fleet order, ascending. Sets are shared, so nobody changes one.
type set []int32

// setOf makes a set of places in any order; it takes the slice over.
func setOf(places []int32) set {
	if !slices.IsSorted(places) {
		slices.Sort(places)
	}
	return slices.Compact(places)
}

// everything is the set of the first n hosts.
func everything(n int) set {
	s := make(set, n)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}

// union is what is in any of the sets.
func union(sets ...set) set {
	switch len(sets) {
	case 0:
		return nil
	case 1:
		return sets[0]
	}
	n := 0
	for _, s := range sets {
		n += len(s)
	}
	all := make([]int32, 0, n)
	for _, s := range sets {
		all = append(all, s...)
	}
	return setOf(all)
}

// both is what is in a and in b.
func both(a, b set) set {
	out := make(set, 0, min(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// without is what is in a, but not in b.
func without(a, b set) set {
	out := make(set, 0, len(a))
	for _, h := range a {
		for len(b) > 0 && b[0] < h {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != h {
			out = append(out, h)
		}
	}
	return out
}

// part is one of several sets, with its name.
type part struct {
	name string
	set  set
}

// split cuts a set by the parts that its hosts are in; cuts that are empty are left out. The time it takes grows
// with the hosts in the set and in the parts, not with their product.
type splitter struct {
	parts []part
	start []int32 // of[start[h]:start[h+1]] are the parts that host h is in
	of    []int32
}

func newSplitter(parts []part, hosts int) *splitter {
	s := &splitter{parts: parts, start: make([]int32, hosts+2)}
	total := 0
	for _, p := range parts {
		total += len(p.set)
		for _, h := range p.set {
			s.start[h+2]++
		}
	}
	for h := range hosts {
		s.start[h+2] += s.start[h+1]
	}
	s.of = make([]int32, total)
	for i, p := range parts {
		for _, h := range p.set {
			s.of[s.start[h+1]] = int32(i)
			s.start[h+1]++
		}
	}
	return s
}

func (s *splitter) split(whole part) []part {
	cuts := make(map[int32]set)
	for _, h := range whole.set {
		for _, i := range s.of[s.start[h]:s.start[h+1]] {
			cuts[i] = append(cuts[i], h)
		}
	}
	out := make([]part, 0, len(cuts))
	for i, p := range s.parts {
		if cut := cuts[int32(i)]; len(cut) > 0 {
			out = append(out, part{whole.name + " & " + p.name, cut})
		}
	}
	return out
}

package access

import (
	"maps"
	"slices"

	"sluice"
)

// Hold says where somebody has a right.
type Hold struct {
	Right sluice.Right
	// Everywhere is set for all namespaces and the server itself.
	Everywhere bool
	// Places are where else, sorted; none where Everywhere is set.
	Places []Place
}

// Place is a namespace, or some hosts of it.
type Place struct {
	Namespace sluice.Namespace // "": in each of them
	// Tags bound it to the hosts that carry one of them, sorted; none stands for all hosts.
	Tags []sluice.Tag
}

// Holds lists the rights that somebody has anywhere, in the order of [sluice.Rights]. Whether something may be done is for
// [State.Allow] alone: this is to be read.
func (s *State) Holds(b Bearer) (out []Hold) {
	for _, r := range sluice.Rights() {
		all, some := s.Namespaces(b, r)
		if !all && len(some) == 0 {
			continue
		}
		h := Hold{Right: r}
		if all {
			some = append([]sluice.Namespace{""}, some...)
		}
		for _, ns := range some {
			tags := s.tagsOf(b, r, ns)
			if ns == "" && len(tags) == 0 {
				h.Everywhere, h.Places = true, nil
				break
			}
			h.Places = append(h.Places, Place{ns, tags})
		}
		out = append(out, h)
	}
	return out
}

// tagsOf are the tags that all grants of a right in a namespace are bound to; none where one of them is bound to none.
func (s *State) tagsOf(b Bearer, r sluice.Right, ns sluice.Namespace) []sluice.Tag {
	tags := map[sluice.Tag]bool{}
	for _, g := range s.grants[b.Principal] {
		if !slices.Contains(s.may(g.Role), r) || g.Namespace != "" && g.Namespace != ns {
			continue
		}
		if len(g.Tags) == 0 {
			return nil
		}
		for _, t := range g.Tags {
			tags[t] = true
		}
	}
	return slices.Sorted(maps.Keys(tags))
}

// RolesWith are the roles, of those that there are, that have a right, sorted.
func RolesWith(roles map[sluice.Role][]sluice.Right, r sluice.Right) (out []sluice.Role) {
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		if slices.Contains(roles[name], r) {
			out = append(out, name)
		}
	}
	return out
}

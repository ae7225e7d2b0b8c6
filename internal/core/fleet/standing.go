package fleet

import "sluice"

// Standing is where a host stands in a fleet.
type Standing struct {
	Host      sluice.Host
	Tags      []sluice.Tag
	Groups    []string // of constraints, as they are named
	Sequences []string // "sequence: entry"
	SSH       sluice.SSH
}

// Stand says of hosts where they stand, in their order.
func Stand(f *sluice.Fleet, hosts []sluice.Host) []Standing {
	out := make([]Standing, len(hosts))
	place := make(map[sluice.Host]*Standing, len(hosts))
	for i, h := range hosts {
		out[i] = Standing{Host: h, SSH: f.SSHFor(h)}
		place[h] = &out[i]
	}
	each := func(members []sluice.Host, do func(*Standing)) {
		for _, h := range members {
			if s := place[h]; s != nil {
				do(s)
			}
		}
	}
	for _, t := range f.TagOrder {
		each(f.Tags[t], func(s *Standing) { s.Tags = append(s.Tags, t) })
	}
	for _, c := range f.Constraints {
		for _, g := range c.Groups {
			each(g.Members, func(s *Standing) { s.Groups = append(s.Groups, g.Name) })
		}
	}
	for _, q := range f.Sequences {
		for _, e := range q.Entries {
			each(e.Hosts, func(s *Standing) { s.Sequences = append(s.Sequences, q.Name+": "+e.Name) })
		}
	}
	return out
}

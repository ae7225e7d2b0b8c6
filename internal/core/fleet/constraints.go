package fleet

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// constraint is a constraint as it is written.
type constraint struct {
	at     sluice.Position
	scopes []scope // outermost first; the last is what it is written for
	limit  sluice.Amount
}

// readConstraints reads limits, and conditions that more of them stand under.
func (l *loader) readConstraints(d *fleetFile, n *yaml.Node, above []scope) {
	for _, p := range d.Pairs(n, "constraint") {
		if len(above) > 0 && !l.nests(p.Name) && !l.knows(p.Name) {
			// A host that nothing else names is in no tag, so this is a word that was misspelt.
			d.Known(p, "the constraint "+scopeName(above), limitKeys)
			continue
		}
		s, ok := l.scope(d, p.Key)
		if !ok {
			continue
		}
		scopes := append(above[:len(above):len(above)], s)
		c := constraint{at: d.At(p.Key), scopes: scopes}
		switch {
		case document.What(p.Value).Kind != yaml.MappingNode:
			if c.limit, ok = d.amount(p.Value, "the limit"); ok {
				l.constraints = append(l.constraints, c)
			}
		case l.isLimit(p.Value):
			found := false
			for _, q := range d.Pairs(p.Value, "the constraint "+s.name) {
				if d.Known(q, "the constraint "+s.name, limitKeys) {
					c.limit, found = d.amount(q.Value, q.Name)
				}
			}
			if found {
				l.constraints = append(l.constraints, c)
			}
		case len(document.What(p.Value).Content) == 0:
			d.Fail(p.Value, "the constraint %s has no limit", s.name).WithHint("write max_parallel: 3, or max_parallel: 15%%")
		default:
			l.readConstraints(d, p.Value, scopes)
		}
	}
}

// isLimit reports whether a mapping says how many, rather than under which further condition.
func (l *loader) isLimit(n *yaml.Node) bool {
	n = document.What(n)
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(limitKeys, document.What(n.Content[i]).Value) {
			return true
		}
	}
	return false
}

// knows reports whether the word is a host that was named before.
func (l *loader) knows(word string) bool {
	_, known := l.world.place[sluice.Host(word)]
	return known
}

func scopeName(scopes []scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = s.name
	}
	return strings.Join(names, " & ")
}

// settleConstraints works out the groups of every constraint.
func (l *loader) settleConstraints() []sluice.Constraint {
	var out []sluice.Constraint
	at := map[string]int{}
	for _, c := range l.constraints {
		name := scopeName(c.scopes)
		groups, err := l.groups(c)
		if err != nil {
			l.problems.Add(err)
			continue
		}
		if len(groups) == 0 {
			l.problems.Add(document.ErrorAt(c.at, "the constraint %s means no hosts", name))
			continue
		}
		if i, twice := at[name]; twice {
			if out[i].Groups[0].Limit != c.limit {
				l.disagree("constraint", name, c.at, out[i].At)
			}
			continue
		}
		at[name] = len(out)
		s := sluice.Constraint{Name: name, At: c.at, Groups: make([]sluice.Group, len(groups))}
		for i, g := range groups {
			s.Groups[i] = sluice.Group{Name: g.name, Limit: c.limit, Members: l.members(g)}
		}
		out = append(out, s)
	}
	return out
}

// members shares the hosts of a tag where the group is one: fifty constraints over a hundred thousand hosts need
// not keep fifty lists of them.
func (l *loader) members(g part) []sluice.Host {
	if name, ok := strings.CutPrefix(g.name, "$"); ok {
		if hosts := l.fleet.Tags[sluice.Tag(name)]; len(hosts) == len(g.set) {
			return hosts
		}
	}
	return l.world.names(g.set)
}

// groups are the values of the innermost condition, each cut by the values of those around it.
func (l *loader) groups(c constraint) ([]part, *sluice.Error) {
	var groups []part
	for i, s := range c.scopes {
		values, err := l.values(s)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			groups = values
			continue
		}
		cutter := newSplitter(values, len(l.world.hosts))
		var cuts []part
		for _, g := range groups {
			cuts = append(cuts, cutter.split(g)...)
			if len(cuts) > MaxHosts {
				return nil, document.ErrorAt(c.at, "the constraint %s has more than %d groups", scopeName(c.scopes), MaxHosts)
			}
		}
		groups = cuts
	}
	return groups, nil
}

// values are the sets that a condition is counted by: the values of a tag that has some, with the hosts that carry
// it without a value as one more; else the condition itself.
func (l *loader) values(s scope) ([]part, *sluice.Error) {
	all, err := l.world.hostsOf(s.expr, s.from)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, s.from.fail(0, fmt.Sprintf("the constraint %s means no hosts", s.name), "")
	}
	name, ok := s.expr.single()
	if !ok || len(l.world.tags[name].values) == 0 {
		return []part{{s.name, all}}, nil
	}
	t := l.world.tags[name]
	var out []part
	for _, v := range t.values {
		if len(v.hosts) > 0 {
			out = append(out, part{"$" + string(v.name), v.hosts})
		}
	}
	if len(t.direct) > 0 {
		out = append(out, part{s.name, t.direct})
	}
	return out, nil
}

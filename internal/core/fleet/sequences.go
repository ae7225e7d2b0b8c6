package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// scope is a condition that sequences and constraints may stand under: the hosts of an expression.
type scope struct {
	name string
	expr *node
	from origin
}

// sequence is a sequence as it is written.
type sequence struct {
	name    string // "" where it has none
	of      int    // with as many beside it in the same list of lists, if that is more than 1
	number  int    // which of them it is, from 1
	at      sluice.Position
	scopes  []scope
	entries []entry
}

type entry struct {
	scope
	gate sluice.Gate
}

// readSequences reads a whole section: a list, a list of lists, or lists by name or tag.
func (l *loader) readSequences(d *fleetFile, n *yaml.Node) {
	if document.What(n).Kind == yaml.MappingNode {
		l.readNamedSequences(d, n, sequence{})
		return
	}
	l.readSequenceLists(d, n, sequence{})
}

// readNamedSequences reads lists by name or condition, below the names and conditions of outer.
func (l *loader) readNamedSequences(d *fleetFile, n *yaml.Node, outer sequence) {
	for _, p := range d.Pairs(n, "sequence") {
		inner := sequence{name: p.Name, scopes: outer.scopes}
		between := ": "
		if l.nests(p.Name) {
			s, ok := l.scope(d, p.Key)
			if !ok {
				continue
			}
			inner.name = s.name
			inner.scopes = append(outer.scopes[:len(outer.scopes):len(outer.scopes)], s)
			if len(outer.scopes) > 0 && strings.HasSuffix(outer.name, outer.scopes[len(outer.scopes)-1].name) {
				between = " & "
			}
		}
		if outer.name != "" {
			inner.name = outer.name + between + inner.name
		}
		if document.What(p.Value).Kind == yaml.MappingNode && !isEntry(p.Value) {
			l.readNamedSequences(d, p.Value, inner)
			continue
		}
		l.readSequenceLists(d, p.Value, inner)
	}
}

// nests reports whether a key of sequences is a condition rather than a name: it is written as a tag or glob, or it
// is a tag's name.
func (l *loader) nests(key string) bool {
	if strings.ContainsAny(key, "$@*?[]{}(),&!") {
		return true
	}
	return l.world.tags[sluice.Tag(key)] != nil
}

// scope reads a key that is a condition. A tag may stand there without its $.
func (l *loader) scope(d *fleetFile, key *yaml.Node) (scope, bool) {
	if word := document.What(key).Value; l.world.tags[sluice.Tag(word)] != nil {
		return scope{"$" + word, &node{kind: oneTag, name: word}, d.origin(key)}, true
	}
	expr, from, ok := l.expression(d, key, "a condition")
	if !ok {
		return scope{}, false
	}
	return scope{expr.canonical(from.text), expr, from}, true
}

func (l *loader) readSequenceLists(d *fleetFile, n *yaml.Node, s sequence) {
	elements := d.List(n)
	lists := 0
	for _, e := range elements {
		if document.What(e).Kind == yaml.SequenceNode {
			lists++
		}
	}
	switch {
	case len(elements) == 0:
		if s.name != "" {
			d.Fail(n, "the sequence %q has no entries", s.name)
		}
	case lists == 0:
		l.readSequence(d, n, s, elements)
	case lists == len(elements):
		for i, e := range elements {
			s.of, s.number = len(elements), i+1
			l.readSequence(d, e, s, d.List(e))
		}
	default:
		d.Fail(n, "a sequence is a list of entries or a list of lists, not both")
	}
}

func (l *loader) readSequence(d *fleetFile, n *yaml.Node, s sequence, elements []*yaml.Node) {
	s.at = d.At(n)
	for _, e := range elements {
		if x, ok := l.readEntry(d, e); ok {
			s.entries = append(s.entries, x)
		}
	}
	l.sequences = append(l.sequences, s)
}

// isEntry reports whether a mapping is an entry with a gate.
func isEntry(n *yaml.Node) bool {
	n = document.What(n)
	for i := 0; i < len(n.Content); i += 2 {
		if document.What(n.Content[i]).Value == "target" {
			return true
		}
	}
	return false
}

func (l *loader) readEntry(d *fleetFile, n *yaml.Node) (entry, bool) {
	if document.What(n).Kind != yaml.MappingNode {
		expr, from, ok := l.expression(d, n, "an entry of a sequence")
		if !ok {
			return entry{}, false
		}
		return entry{scope: scope{expr.canonical(from.text), expr, from}}, true
	}
	var e entry
	found := false
	for _, p := range d.Pairs(n, "an entry of a sequence") {
		if !d.Known(p, "an entry of a sequence", entryKeys) {
			continue
		}
		switch p.Name {
		case "target":
			found = true
			if expr, from, ok := l.expression(d, p.Value, "target"); ok {
				e.scope = scope{expr.canonical(from.text), expr, from}
			}
		case "max_failures":
			e.gate.MaxFailures, _ = d.amount(p.Value, p.Name)
		case "pause":
			e.gate.Pause, _ = d.Duration(p.Value, p.Name, 0)
		case "approve":
			e.gate.Approve = d.Truth(p.Value, p.Name)
		case "ramp":
			e.gate.Ramp = d.ramp(p.Value)
		}
	}
	if !found {
		d.Fail(n, "this entry of a sequence has no target").WithHint("write {target: $tag, pause: 10m}")
	}
	return e, e.expr != nil
}

// settleSequences works out the hosts of every entry.
func (l *loader) settleSequences() []sluice.Sequence {
	unnamed := 0
	for _, s := range l.sequences {
		if s.name == "" {
			unnamed++
		}
	}
	var out []sluice.Sequence
	at := map[string]int{}
	number := 0
	for _, s := range l.sequences {
		name := s.name
		switch {
		case name == "" && unnamed > 1:
			number++
			name = "sequence-" + strconv.Itoa(number)
		case name == "":
			name = "sequence"
		case s.of > 1:
			name += "-" + strconv.Itoa(s.number)
		}
		entries, ok := l.settleEntries(s, name)
		if !ok {
			continue
		}
		q := sluice.Sequence{Name: name, Entries: entries, At: s.at}
		i, twice := at[name]
		switch {
		case !twice:
			at[name] = len(out)
			out = append(out, q)
		case !sameEntries(out[i].Entries, entries):
			l.disagree("sequence", name, s.at, out[i].At)
		}
	}
	return out
}

// settleEntries leaves out entries that mean no host under the conditions of the sequence, as the same list is
// written under many; but none whose gate would go with it.
func (l *loader) settleEntries(s sequence, name string) ([]sluice.Entry, bool) {
	var within set
	for i, c := range s.scopes {
		hosts, err := l.world.hostsOf(c.expr, c.from)
		if err != nil {
			l.problems.Add(err)
			return nil, false
		}
		if i > 0 {
			hosts = both(within, hosts)
		}
		within = hosts
	}
	ok := true
	var out []sluice.Entry
	for _, e := range s.entries {
		hosts, err := l.world.hostsOf(e.expr, e.from)
		if err != nil {
			l.problems.Add(err)
			ok = false
			continue
		}
		none := len(hosts) == 0
		if !none && len(s.scopes) > 0 {
			hosts = both(within, hosts)
		}
		switch {
		case none:
			l.problems.Add(e.from.fail(0, fmt.Sprintf("the entry %s of the sequence %q means no hosts", e.name, name), ""))
			ok = false
		case len(hosts) == 0 && gated(e.gate):
			l.problems.Add(e.from.fail(0, fmt.Sprintf("the entry %s means no hosts within the sequence %q, so that its gate would never be reached", e.name, name), ""))
			ok = false
		case len(hosts) > 0:
			out = append(out, sluice.Entry{Name: e.name, Hosts: l.world.names(hosts), Gate: e.gate, At: e.from.start})
		}
	}
	if ok && len(out) == 0 && len(s.entries) > 0 {
		l.problems.Add(document.ErrorAt(s.at, "the sequence %q means no hosts", name))
		ok = false
	}
	return out, ok && len(out) > 0
}

func gated(g sluice.Gate) bool { return g.Pause > 0 || g.Approve }

func sameEntries(a, b []sluice.Entry) bool {
	return slices.EqualFunc(a, b, func(x, y sluice.Entry) bool {
		return x.Name == y.Name && slices.Equal(x.Hosts, y.Hosts) && x.Gate.MaxFailures == y.Gate.MaxFailures &&
			x.Gate.Pause == y.Gate.Pause && x.Gate.Approve == y.Gate.Approve && slices.Equal(x.Gate.Ramp, y.Gate.Ramp)
	})
}

func (d *fleetFile) amount(n *yaml.Node, meant string) (sluice.Amount, bool) {
	w, ok := d.Word(n, meant)
	if !ok {
		return sluice.Amount{}, false
	}
	a, err := sluice.ParseAmount(w)
	if err != nil || !a.IsPercent() && a.Floor(0) > MaxHosts {
		d.Fail(n, "%s must be a number of hosts (such as 3) or a share (such as 15%%), not %.40q", meant, w)
		return sluice.Amount{}, false
	}
	return a, true
}

// ramp reads steps that grow, as far as numbers and shares can be compared.
func (d *fleetFile) ramp(n *yaml.Node) []sluice.Amount {
	var out []sluice.Amount
	if document.What(n).Kind != yaml.SequenceNode || len(document.What(n).Content) == 0 {
		d.Fail(n, "ramp must be a list, not %s", document.Described(n)).WithHint("write [1, 10%%, 100%%]")
		return nil
	}
	const hundredPercent = 10000
	for _, e := range document.What(n).Content {
		a, ok := d.amount(e, "a step of a ramp")
		if !ok {
			continue
		}
		if a.Capacity(1) == 0 {
			d.Fail(e, "a step of a ramp cannot be 0")
		}
		if k := len(out); k > 0 && out[k-1].IsPercent() == a.IsPercent() && out[k-1].Floor(hundredPercent) >= a.Floor(hundredPercent) {
			d.Fail(e, "the steps of a ramp add up, so %s after %s is none", a, out[k-1])
		}
		out = append(out, a)
	}
	return out
}

package fleet

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// tagPairs lists the tags of a mapping below the tag above, with their whole names.
func (l *loader) tagPairs(d *fleetFile, n *yaml.Node, above sluice.Tag) []document.Pair {
	meant := "tag"
	if above != "" {
		meant = "the tag " + string(above)
	}
	all := d.Pairs(n, meant)
	out := all[:0]
	for _, p := range all {
		name := p.Name
		if above != "" {
			name = string(above) + "." + name
		}
		switch {
		case strings.HasPrefix(p.Name, "$") || strings.HasPrefix(p.Name, "@"):
			d.Fail(p.Key, "a tag is defined without %.1s", p.Name).WithHint("write %s:", p.Name[1:])
		case !validTag(p.Name) || len(name) > 253:
			d.Fail(p.Key, "%.80q cannot be the name of a tag", p.Name).
				WithHint("names are words of letters, digits, '-' and '_', joined by dots")
		case name == "resolver" || strings.HasPrefix(name, "resolver."):
			d.Fail(p.Key, "no tag can be called %s", name).WithHint("$resolver.name asks a resolver; choose another name")
		default:
			out = append(out, document.Pair{Name: name, Key: p.Key, Value: p.Value})
		}
	}
	return out
}

// declareTags makes the names of tags known.
func (l *loader) declareTags(d *fleetFile, n *yaml.Node, above sluice.Tag) {
	for _, p := range l.tagPairs(d, n, above) {
		name := sluice.Tag(p.Name)
		l.world.declare(name, d.At(p.Key))
		if document.What(p.Value).Kind == yaml.MappingNode {
			l.declareTags(d, p.Value, name)
		}
	}
}

// readTags reads what the tags mean. Their keys were checked when they were declared.
func (l *loader) readTags(d *fleetFile, n *yaml.Node, above sluice.Tag) {
	for _, p := range l.tagPairs(d, n, above) {
		t := l.world.tags[sluice.Tag(p.Name)]
		if document.What(p.Value).Kind == yaml.MappingNode {
			l.readTags(d, p.Value, t.name)
			continue
		}
		l.define(d, t, p.Value)
	}
}

// define adds the elements of a list, or one expression, to a tag.
func (l *loader) define(d *fleetFile, t *tag, n *yaml.Node) {
	var names []sluice.Host // those that stand one after the other make one definition
	flush := func(e *yaml.Node) {
		hosts, err := l.world.know(names)
		if err != nil {
			d.Fail(e, "%v", err)
		}
		if len(hosts) > 0 {
			t.defs = append(t.defs, definition{hosts: hosts})
		}
		names = nil
	}
	for _, e := range d.List(n) {
		switch v := document.What(e); {
		case l.problems.Full():
			return
		case v.Kind == yaml.SequenceNode: // an alias of another list
			flush(e)
			l.define(d, t, v)
		case v.Kind == yaml.MappingNode:
			d.Fail(e, "an element of the tag %s must be a host or an expression, not a mapping", t.name).
				WithHint("values of a tag stand below it without a dash: %s: {value: [hosts]}", t.name)
		case v.Style&yaml.TaggedStyle == 0 && !document.IsNull(v) && v.Value != "all" && sluice.ValidHost(v.Value):
			names = append(names, sluice.Host(v.Value))
		default:
			flush(e)
			if expr, from, ok := l.expression(d, e, "an element of the tag "+string(t.name)); ok {
				t.defs = append(t.defs, definition{expr: expr, from: from})
			} else if t.err == nil {
				t.err = l.problems.Latest()
			}
		}
	}
	flush(n)
}

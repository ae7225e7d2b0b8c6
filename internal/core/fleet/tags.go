package fleet

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
)

// tagPairs lists the tags of a mapping below the tag above, with their whole names.
func (l *loader) tagPairs(d *document, n *yaml.Node, above sluice.Tag) []pair {
	meant := "tag"
	if above != "" {
		meant = "the tag " + string(above)
	}
	all := d.pairs(n, meant)
	out := all[:0]
	for _, p := range all {
		name := p.name
		if above != "" {
			name = string(above) + "." + name
		}
		switch {
		case strings.HasPrefix(p.name, "$") || strings.HasPrefix(p.name, "@"):
			d.fail(p.key, "a tag is defined without %.1s", p.name).WithHint("write %s:", p.name[1:])
		case !validTag(p.name) || len(name) > 253:
			d.fail(p.key, "%.80q cannot be the name of a tag", p.name).
				WithHint("names are words of letters, digits, '-' and '_', joined by dots")
		case name == "resolver" || strings.HasPrefix(name, "resolver."):
			d.fail(p.key, "no tag can be called %s", name).WithHint("$resolver.name asks a resolver; choose another name")
		default:
			out = append(out, pair{name, p.key, p.value})
		}
	}
	return out
}

// declareTags makes the names of tags known.
func (l *loader) declareTags(d *document, n *yaml.Node, above sluice.Tag) {
	for _, p := range l.tagPairs(d, n, above) {
		name := sluice.Tag(p.name)
		l.world.declare(name, d.at(p.key))
		if what(p.value).Kind == yaml.MappingNode {
			l.declareTags(d, p.value, name)
		}
	}
}

// readTags reads what the tags mean. Their keys were checked when they were declared.
func (l *loader) readTags(d *document, n *yaml.Node, above sluice.Tag) {
	for _, p := range l.tagPairs(d, n, above) {
		t := l.world.tags[sluice.Tag(p.name)]
		if what(p.value).Kind == yaml.MappingNode {
			l.readTags(d, p.value, t.name)
			continue
		}
		l.define(d, t, p.value)
	}
}

// define adds the elements of a list, or one expression, to a tag.
func (l *loader) define(d *document, t *tag, n *yaml.Node) {
	var names []sluice.Host // those that stand one after the other make one definition
	flush := func(e *yaml.Node) {
		hosts, err := l.world.know(names)
		if err != nil {
			d.fail(e, "%v", err)
		}
		if len(hosts) > 0 {
			t.defs = append(t.defs, definition{hosts: hosts})
		}
		names = nil
	}
	for _, e := range d.list(n) {
		switch v := what(e); {
		case l.problems.full():
			return
		case v.Kind == yaml.SequenceNode: // an alias of another list
			flush(e)
			l.define(d, t, v)
		case v.Kind == yaml.MappingNode:
			d.fail(e, "an element of the tag %s must be a host or an expression, not a mapping", t.name).
				WithHint("values of a tag stand below it without a dash: %s: {value: [hosts]}", t.name)
		case v.Style&yaml.TaggedStyle == 0 && !isNull(v) && v.Value != "all" && sluice.ValidHost(v.Value):
			names = append(names, sluice.Host(v.Value))
		default:
			flush(e)
			if expr, from, ok := l.expression(d, e, "an element of the tag "+string(t.name)); ok {
				t.defs = append(t.defs, definition{expr: expr, from: from})
			} else if t.err == nil {
				t.err = l.problems.latest()
			}
		}
	}
	flush(n)
}

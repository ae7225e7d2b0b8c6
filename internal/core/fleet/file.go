package fleet

import (
	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// Errors are the mistakes found in fleet files.
type Errors = document.Errors

// form is what hints say in fleet files and inventories.
var form = document.Form{
	Quote:  `expressions that begin with @ & * or !, and globs with [ ] or { } inside a [list], must be quoted: ["web[01-20]", db1]`,
	Merge:  "write the keys out, or define a tag once and refer to it",
	Tagged: "quote an expression that begins with !",
	Second: "put it into a file of its own, and include that",
}

// fleetFile is a fleet file while it is read.
type fleetFile struct{ *document.Document }

// origin is where the expression in a node stands.
func (d *fleetFile) origin(n *yaml.Node) origin {
	o := origin{start: d.At(n), text: document.What(n).Value, code: sluice.Config}
	if n.Kind == yaml.AliasNode {
		return o
	}
	for _, start := range []int{o.start.Column, o.start.Column + 1} { // bare, or in quotes
		if d.StandsAt(o.start.Line, start, o.text) {
			o.start.Column, o.exact = start, true
			break
		}
	}
	return o
}

// expression reads a target expression and makes the hosts known that it names.
func (l *loader) expression(d *fleetFile, n *yaml.Node, meant string) (*node, origin, bool) {
	if _, ok := d.Word(n, meant); !ok {
		return nil, origin{}, false
	}
	from := d.origin(n)
	expr, err := from.parse()
	if err == nil {
		err = l.world.mention(expr, from)
	}
	if err != nil {
		l.problems.Add(err)
		return nil, from, false
	}
	return expr, from, true
}

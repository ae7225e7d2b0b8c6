package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"sluice"
)

// parseYAML reads one YAML document within the limits; nil is an empty one.
func parseYAML(file string, text []byte) (*yaml.Node, *sluice.Error) {
	if err := checkText(file, text); err != nil {
		return nil, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(MaxDepth))))
	if err != nil {
		return nil, configError(sluice.Position{File: file}, "%v", err)
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxError(file, text, err)
	}
	switch err := loader.Load(&next); {
	case err == nil:
		return nil, configError(sluice.Position{File: file, Line: max(1, next.Line), Column: max(1, next.Column)},
			"a second YAML document begins here").WithHint("put it into a file of its own, and include that")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(file, text, err)
	}
	root := &doc
	if root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return nil, nil
		}
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	return root, checkAliases(file, root)
}

// checkText refuses what YAML does not allow in a file, with the place that the YAML reader does not tell.
func checkText(file string, text []byte) *sluice.Error {
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case r == utf8.RuneError && size == 1:
			return configError(sluice.Position{File: file, Line: line, Column: column}, "this byte is not UTF-8 text")
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', 0x7f <= r && r <= 0x9f && r != 0x85, r == 0xfffe, r == 0xffff:
			return configError(sluice.Position{File: file, Line: line, Column: column}, "a control character (%U)", r)
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		i += size
	}
	return nil
}

func syntaxError(file string, text []byte, err error) *sluice.Error {
	var l *yaml.LoadError
	if !errors.As(err, &l) {
		return configError(sluice.Position{File: file, Line: 1, Column: 1}, "%v", err)
	}
	at := sluice.Position{File: file, Line: max(1, l.Mark.Line), Column: max(1, l.Mark.Column)}
	if strings.HasPrefix(l.Message, "exceeded max depth") {
		return configError(at, "more than %d levels of nesting", MaxDepth)
	}
	e := configError(at, "this is not YAML: %s", l.Message)
	if l.ContextMsg != "" {
		e.Text += " " + l.ContextMsg
		if m := l.ContextMark; m.Line > 0 && m != l.Mark {
			e.Text += fmt.Sprintf(" that begins at line %d, column %d", m.Line, m.Column)
		}
	}
	lines := strings.SplitN(string(text), "\n", at.Line+1)
	line := ""
	if at.Line <= len(lines) {
		line = lines[at.Line-1]
	}
	switch {
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return e.WithHint("indent with spaces, not with tabs")
	case strings.ContainsAny(line, "@&*!`%{["):
		return e.WithHint("expressions that begin with @ & * or !, and globs with [ ] or { } inside a [list], must be quoted: [\"web[01-20]\", db1]")
	}
	return e
}

// checkAliases bounds what the document is when every alias stands for a copy, and refuses aliases that contain
// themselves.
func checkAliases(file string, root *yaml.Node) *sluice.Error {
	c := aliasCounter{file: file, sizes: map[*yaml.Node]int{}}
	size := c.size(root)
	if c.err == nil && size > c.real+maxAliased {
		c.fail(root, "the aliases in this file stand for more than %d values", maxAliased)
	}
	return c.err
}

type aliasCounter struct {
	file  string
	real  int                // nodes that stand in the file
	sizes map[*yaml.Node]int // of nodes with an anchor; -1 while they are counted
	err   *sluice.Error
}

const hugeSize = 1 << 40 // more than anything allowed, and far from an overflow

func (c *aliasCounter) fail(n *yaml.Node, format string, args ...any) {
	if c.err == nil {
		c.err = configError(position(c.file, n), format, args...)
	}
}

func (c *aliasCounter) size(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Anchor != "" {
		switch size := c.sizes[n]; {
		case size < 0:
			c.fail(n, "the anchor &%s contains itself", n.Anchor)
			return 1
		case size > 0:
			return size
		}
		c.sizes[n] = -1
	}
	c.real++
	size := 1
	for _, child := range n.Content {
		size = min(size+c.size(child), hugeSize)
	}
	if n.Anchor != "" {
		c.sizes[n] = size
	}
	return size
}

func position(file string, n *yaml.Node) sluice.Position {
	return sluice.Position{File: file, Line: n.Line, Column: n.Column}
}

// document is one YAML file while it is read. Its methods report what is wrong and go on.
type document struct {
	file     string
	lines    []string
	root     *yaml.Node
	problems *problems
}

func (d *document) at(n *yaml.Node) sluice.Position { return position(d.file, n) }

func (d *document) fail(n *yaml.Node, format string, args ...any) *sluice.Error {
	e := configError(d.at(n), format, args...)
	d.problems.add(e)
	return e
}

// what follows aliases.
func what(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = what(n)
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// pair is a key of a mapping and what it maps to.
type pair struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// pairs lists a mapping; null is an empty one. meant says what the mapping is, for the message that it is none.
func (d *document) pairs(n *yaml.Node, meant string) []pair {
	n = what(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s must be a mapping (key: value), not %s", meant, described(n))
		return nil
	}
	out := make([]pair, 0, len(n.Content)/2)
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := what(n.Content[i])
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fail(n.Content[i], "a key must be a word, not %s", described(key))
			continue
		case key.ShortTag() == "!!merge":
			d.fail(key, "merge keys (<<) are not supported").WithHint("write the keys out, or define a tag once and refer to it")
			continue
		case seen[key.Value] != nil:
			d.fail(n.Content[i], "the key %q is there twice; the first one is at line %d", key.Value, seen[key.Value].Line)
			continue
		case !d.ordinary(key):
			continue
		}
		seen[key.Value] = n.Content[i]
		out = append(out, pair{key.Value, n.Content[i], n.Content[i+1]})
	}
	return out
}

// known reports whether the key is one of those allowed here, and complains if not.
func (d *document) known(p pair, place string, allowed []string) bool {
	if slices.Contains(allowed, p.name) {
		return true
	}
	e := d.fail(p.key, "unknown key %q in %s", p.name, place)
	if e.Hint = didYouMean("", p.name, allowed); e.Hint == "" {
		e.Hint = "known are " + strings.Join(allowed, ", ")
	}
	return false
}

// ordinary refuses explicit YAML tags: most are an expression that begins with "!" and lacks its quotes.
func (d *document) ordinary(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle == 0 || n.ShortTag() == "!!str" {
		return true
	}
	d.fail(n, "%s is read as a YAML tag here", n.Tag).WithHint("quote an expression that begins with !")
	return false
}

// list gives the elements of a list; a value that is no list is a list of one, null one of none.
func (d *document) list(n *yaml.Node) []*yaml.Node {
	n = what(n)
	switch {
	case isNull(n):
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return []*yaml.Node{n}
}

// word reads a text; numbers and the like are taken as they are written.
func (d *document) word(n *yaml.Node, meant string) (string, bool) {
	n = what(n)
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n):
		d.fail(n, "%s must be a text, not %s", meant, described(n))
		return "", false
	case !d.ordinary(n):
		return "", false
	case n.Value == "":
		d.fail(n, "%s is empty", meant)
		return "", false
	}
	return n.Value, true
}

// words reads a list of texts, or one.
func (d *document) words(n *yaml.Node, meant string) []string {
	out := []string{}
	for _, e := range d.list(n) {
		if w, ok := d.word(e, meant); ok {
			out = append(out, w)
		}
	}
	return out
}

// number reads a whole number from low to high.
func (d *document) number(n *yaml.Node, meant string, low, high int) (int, bool) {
	w, ok := d.word(n, meant)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(w)
	if err != nil || v < low || v > high {
		d.fail(n, "%s must be a number from %d to %d, not %.40q", meant, low, high, w)
		return 0, false
	}
	return v, true
}

// origin is where the expression in a node stands.
func (d *document) origin(n *yaml.Node) origin {
	o := origin{start: d.at(n), text: what(n).Value, code: sluice.Config}
	if n.Kind == yaml.AliasNode {
		return o
	}
	for _, start := range []int{o.start.Column, o.start.Column + 1} { // bare, or in quotes
		if d.standsAt(o.start.Line, start, o.text) {
			o.start.Column, o.exact = start, true
			break
		}
	}
	return o
}

// longestLine is how far places inside an expression are looked for: a file that is one line would be gone through
// again for each of its expressions.
const longestLine = 10_000

// standsAt reports whether the text stands in the file at a place as it is: without escapes and folded lines.
func (d *document) standsAt(line, column int, text string) bool {
	if line < 1 || line > len(d.lines) || column > longestLine {
		return false
	}
	l := d.lines[line-1]
	for ; column > 1 && l != ""; column-- {
		_, size := utf8.DecodeRuneInString(l)
		l = l[size:]
	}
	return strings.HasPrefix(l, text)
}

// expression reads a target expression and makes the hosts known that it names.
func (l *loader) expression(d *document, n *yaml.Node, meant string) (*node, origin, bool) {
	if _, ok := d.word(n, meant); !ok {
		return nil, origin{}, false
	}
	from := d.origin(n)
	expr, err := from.parse()
	if err == nil {
		err = l.world.mention(expr, from)
	}
	if err != nil {
		l.problems.add(err)
		return nil, from, false
	}
	return expr, from, true
}

func described(n *yaml.Node) string {
	switch n = what(n); {
	case isNull(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%.40q", n.Value)
}

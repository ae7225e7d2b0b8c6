package document

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"sluice"
)

// Document is one YAML file while it is read. Its methods report what is wrong and go on.
type Document struct {
	File     string
	Root     *yaml.Node // nil for an empty file
	Problems *Problems
	form     Form
	lines    []string
}

// Read parses a file and has what is wrong with it later added to the problems.
func (f Form) Read(file string, text []byte, problems *Problems) (*Document, *sluice.Error) {
	root, err := f.Parse(file, text)
	if err != nil {
		return nil, err
	}
	return &Document{File: file, Root: root, Problems: problems, form: f, lines: strings.Split(string(text), "\n")}, nil
}

// At is where a node stands.
func (d *Document) At(n *yaml.Node) sluice.Position { return Position(d.File, n) }

// Fail reports what is wrong at a node.
func (d *Document) Fail(n *yaml.Node, format string, args ...any) *sluice.Error {
	e := ErrorAt(d.At(n), format, args...)
	d.Problems.Add(e)
	return e
}

// What follows aliases.
func What(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// IsNull says whether a node is null, or nothing at all.
func IsNull(n *yaml.Node) bool {
	n = What(n)
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// Pair is a key of a mapping and what it maps to.
type Pair struct {
	Name  string
	Key   *yaml.Node
	Value *yaml.Node
}

// Pairs lists a mapping; null is an empty one. meant says what the mapping is, for the message that it is none.
func (d *Document) Pairs(n *yaml.Node, meant string) []Pair {
	n = What(n)
	if IsNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.Fail(n, "%s must be a mapping (key: value), not %s", meant, Described(n))
		return nil
	}
	out := make([]Pair, 0, len(n.Content)/2)
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := What(n.Content[i])
		switch {
		case key.Kind != yaml.ScalarNode:
			d.Fail(n.Content[i], "a key must be a word, not %s", Described(key))
			continue
		case key.ShortTag() == "!!merge":
			d.Fail(key, "merge keys (<<) are not supported").Hint = d.form.Merge
			continue
		case seen[key.Value] != nil:
			d.Fail(n.Content[i], "the key %q is there twice; the first one is at line %d", key.Value, seen[key.Value].Line)
			continue
		case !d.Ordinary(key):
			continue
		}
		seen[key.Value] = n.Content[i]
		out = append(out, Pair{key.Value, n.Content[i], n.Content[i+1]})
	}
	return out
}

// Known reports whether the key is one of those allowed here, and complains if not.
func (d *Document) Known(p Pair, place string, allowed []string) bool {
	if slices.Contains(allowed, p.Name) {
		return true
	}
	e := d.Fail(p.Key, "unknown key %q in %s", p.Name, place)
	if e.Hint = DidYouMean("", p.Name, allowed); e.Hint == "" {
		e.Hint = "known are " + strings.Join(allowed, ", ")
	}
	return false
}

// Ordinary refuses explicit YAML tags: most are an expression that begins with "!" and lacks its quotes.
func (d *Document) Ordinary(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle == 0 || n.ShortTag() == "!!str" {
		return true
	}
	d.Fail(n, "%s is read as a YAML tag here", n.Tag).Hint = d.form.Tagged
	return false
}

// List gives the elements of a list; a value that is no list is a list of one, null one of none.
func (d *Document) List(n *yaml.Node) []*yaml.Node {
	n = What(n)
	switch {
	case IsNull(n):
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return []*yaml.Node{n}
}

// Word reads a text; numbers and the like are taken as they are written.
func (d *Document) Word(n *yaml.Node, meant string) (string, bool) {
	n = What(n)
	switch {
	case n.Kind != yaml.ScalarNode || IsNull(n):
		d.Fail(n, "%s must be a text, not %s", meant, Described(n))
		return "", false
	case !d.Ordinary(n):
		return "", false
	case n.Value == "":
		d.Fail(n, "%s is empty", meant)
		return "", false
	}
	return n.Value, true
}

// Words reads a list of texts, or one.
func (d *Document) Words(n *yaml.Node, meant string) []string {
	out := []string{}
	for _, e := range d.List(n) {
		if w, ok := d.Word(e, meant); ok {
			out = append(out, w)
		}
	}
	return out
}

// Number reads a whole number from low to high.
func (d *Document) Number(n *yaml.Node, meant string, low, high int) (int, bool) {
	w, ok := d.Word(n, meant)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(w)
	if err != nil || v < low || v > high {
		d.Fail(n, "%s must be a number from %d to %d, not %.40q", meant, low, high, w)
		return 0, false
	}
	return v, true
}

// Truth reads true or false.
func (d *Document) Truth(n *yaml.Node, meant string) bool {
	w, ok := d.Word(n, meant)
	if ok && w != "true" && w != "false" {
		d.Fail(n, "%s must be true or false, not %.40q", meant, w)
	}
	return w == "true"
}

// Duration reads Go's notation, with days; highest is the most allowed, 0 any.
func (d *Document) Duration(n *yaml.Node, meant string, highest time.Duration) (time.Duration, bool) {
	w, ok := d.Word(n, meant)
	if !ok {
		return 0, false
	}
	v, ok := parseDuration(w)
	switch {
	case !ok:
		d.Fail(n, "%s must be a time such as 30s, 10m, 1h30m or 2d, not %.40q", meant, w)
	case v <= 0:
		d.Fail(n, "%s must be more than nothing, not %s", meant, w)
	case highest > 0 && v > highest:
		d.Fail(n, "%s must be at most %s, not %s", meant, highest, w)
	default:
		return v, true
	}
	return 0, false
}

func parseDuration(s string) (time.Duration, bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		v, err := time.ParseDuration(s)
		return v, err == nil
	}
	const most = 100_000 // days, well within what a Duration holds
	n, err := strconv.Atoi(days)
	if err != nil || n < 0 || n > most {
		return 0, false
	}
	v := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return v, true
	}
	more, err := time.ParseDuration(rest)
	return v + more, err == nil && more >= 0 && more < 24*time.Hour
}

// longestLine is how far places inside an expression are looked for: a file that is one line would be gone through
// again for each of its expressions.
const longestLine = 10_000

// StandsAt reports whether the text stands in the file at a place as it is: without escapes and folded lines.
func (d *Document) StandsAt(line, column int, text string) bool {
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

// Described says what a node is, for "must be ..., not ...".
func Described(n *yaml.Node) string {
	switch n = What(n); {
	case IsNull(n):
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%.40q", n.Value)
}

package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"sluice"
)

// Limits of one document. They keep a broken or hostile file from taking the machine's memory.
const (
	MaxDepth   = 64        // of nesting
	maxAliased = 1_000_000 // values that aliases stand for
)

// Form is a kind of file: what hints say where YAML has traps for those who write it. Empty hints are left out.
type Form struct {
	Quote  string // a line that is not YAML has one of the signs that YAML gives a meaning
	Merge  string // a merge key (<<), which is refused
	Tagged string // a YAML tag, which is refused
	Second string // a second document in the file, which is refused
}

// Parse reads one YAML document within the limits; nil is an empty one.
func (f Form) Parse(file string, text []byte) (*yaml.Node, *sluice.Error) {
	if err := CheckText(file, text); err != nil {
		return nil, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(MaxDepth))))
	if err != nil {
		return nil, ErrorAt(sluice.Position{File: file}, "%v", err)
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, f.syntaxError(file, text, err)
	}
	switch err := loader.Load(&next); {
	case err == nil:
		e := ErrorAt(sluice.Position{File: file, Line: max(1, next.Line), Column: max(1, next.Column)}, "a second YAML document begins here")
		e.Hint = f.Second
		return nil, e
	case !errors.Is(err, io.EOF):
		return nil, f.syntaxError(file, text, err)
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

// CheckText refuses what YAML does not allow in a file, with the place that the YAML reader does not tell.
func CheckText(file string, text []byte) *sluice.Error {
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case r == utf8.RuneError && size == 1:
			return ErrorAt(sluice.Position{File: file, Line: line, Column: column}, "this byte is not UTF-8 text")
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', 0x7f <= r && r <= 0x9f && r != 0x85, r == 0xfffe, r == 0xffff:
			return ErrorAt(sluice.Position{File: file, Line: line, Column: column}, "a control character (%U)", r)
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		i += size
	}
	return nil
}

func (f Form) syntaxError(file string, text []byte, err error) *sluice.Error {
	var l *yaml.LoadError
	if !errors.As(err, &l) {
		return ErrorAt(sluice.Position{File: file, Line: 1, Column: 1}, "%v", err)
	}
	at := sluice.Position{File: file, Line: max(1, l.Mark.Line), Column: max(1, l.Mark.Column)}
	if strings.HasPrefix(l.Message, "exceeded max depth") {
		return ErrorAt(at, "more than %d levels of nesting", MaxDepth)
	}
	e := ErrorAt(at, "this is not YAML: %s", l.Message)
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
		e.Hint = f.Quote
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
		c.err = ErrorAt(Position(c.file, n), format, args...)
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

// Position is where a node stands.
func Position(file string, n *yaml.Node) sluice.Position {
	return sluice.Position{File: file, Line: n.Line, Column: n.Column}
}

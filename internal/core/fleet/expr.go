package fleet

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"sluice"
)

// kind is what a node of a target expression is.
type kind int

const (
	anyOf     kind = iota // of the nodes in kids
	bothOf                // the two kids
	butNot                // the first kid without the second
	allHosts              // "all", and what stands before a prefix "!"
	oneTag                // name
	oneAnswer             // of the resolver name to the argument
	theNames              // hosts, as written
	wildcards             // patterns
)

// node is a part of a target expression.
type node struct {
	kind     kind
	at       int // offset in the text
	kids     []*node
	name     string
	argument string
	hosts    []sluice.Host
	patterns []string
}

// maxPatterns bounds how many wildcards a glob in one may make: each is held against all hosts.
const maxPatterns = 100

// parser reads a target expression:
//
//	expression = term { "," term }
//	term       = [ "!" ] atom { ( "&" | "!" | "&" "!" ) atom }
//	atom       = "(" expression ")" | "all" | tag | resolver | glob
//	tag        = ( "$" | "@" ) name
//	resolver   = ( "$" | "@" ) "resolver." name argument | ( "$" | "@" ) "_" name "[" argument "]"
type parser struct {
	s      string
	i      int
	depth  int
	budget int // of hosts that globs may still name
}

// parse reads a whole target expression.
func parse(text string) (*node, *SyntaxError) {
	p := parser{s: text, budget: MaxHosts}
	p.space()
	if p.i == len(p.s) {
		return nil, p.fail(p.i, "the expression is empty", "write the hosts, such as web[01-20] or $colo.north; all hosts are the word all")
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.i < len(p.s) { // only a ")" ends an expression early
		return nil, p.fail(p.i, "this ) closes nothing", "")
	}
	return n, nil
}

// CheckExpression says what is wrong with the form of a target expression, whatever hosts and tags there are.
func CheckExpression(text string) *SyntaxError {
	_, err := parse(text)
	return err
}

func (p *parser) fail(at int, text, hint string) *SyntaxError {
	return &SyntaxError{Input: p.s, Offset: at, Text: text, Hint: hint}
}

func (p *parser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

// take skips white space, and c where it is next.
func (p *parser) take(c byte) bool {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) expression() (*node, *SyntaxError) {
	if p.depth++; p.depth > maxExprDepth {
		return nil, p.fail(p.i, fmt.Sprintf("more than %d parentheses in each other", maxExprDepth), "")
	}
	defer func() { p.depth-- }()
	list := &node{kind: anyOf, at: p.i}
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		list.kids = append(list.kids, t)
		if p.take(',') {
			continue
		}
		if p.i < len(p.s) && p.s[p.i] != ')' {
			return nil, p.fail(p.i, fmt.Sprintf("expected , or & or ! here, not %s", show(p.s[p.i:])),
				"names are separated by commas: a,b is a or b")
		}
		if len(list.kids) == 1 {
			return t, nil
		}
		return list, nil
	}
}

func (p *parser) term() (*node, *SyntaxError) {
	p.space()
	left := &node{kind: allHosts, at: p.i}
	if p.i == len(p.s) || p.s[p.i] != '!' {
		var err *SyntaxError
		if left, err = p.atom(); err != nil {
			return nil, err
		}
	}
	for {
		op := bothOf
		at := p.i
		and := p.take('&')
		if p.take('!') {
			op = butNot
		} else if !and {
			return left, nil
		}
		right, err := p.atom()
		if err != nil {
			return nil, err
		}
		left = &node{kind: op, at: at, kids: []*node{left, right}}
	}
}

func (p *parser) atom() (*node, *SyntaxError) {
	p.space()
	switch {
	case p.i == len(p.s):
		return nil, p.fail(p.i, "expected a host, a tag or ( here", "")
	case p.s[p.i] == '(':
		open := p.i
		p.i++
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		if !p.take(')') {
			return nil, p.fail(open, "this ( is not closed", "")
		}
		return n, nil
	case p.s[p.i] == '$' || p.s[p.i] == '@':
		return p.tag()
	}
	g, err := p.glob()
	if err != nil {
		return nil, err
	}
	return p.named(g)
}

func (p *parser) named(g *glob) (*node, *SyntaxError) {
	n := &node{kind: theNames, at: g.at}
	if g.text == "all" {
		n.kind = allHosts
		return n, nil
	}
	var err *SyntaxError
	if !g.wild {
		n.hosts, err = p.hosts(g)
		return n, err
	}
	n.kind = wildcards
	n.name = g.text
	count := 1
	for _, choices := range g.pieces {
		if count *= len(choices); count > maxPatterns {
			return nil, p.fail(g.at, fmt.Sprintf("a wildcard together with more than %d alternatives", maxPatterns),
				"write the wildcard and the range apart: web* & *[01-20]")
		}
	}
	n.patterns = g.names()
	return n, nil
}

// tag reads a tag or a question to a resolver.
func (p *parser) tag() (*node, *SyntaxError) {
	n := &node{kind: oneTag, at: p.i}
	p.i++
	from := p.i
	for p.i < len(p.s) && nameByte(p.s[p.i]) {
		p.i++
	}
	n.name = p.s[from:p.i]
	if resolver, ok := strings.CutPrefix(n.name, "resolver."); ok {
		n.kind, n.name = oneAnswer, resolver
		return n, p.answer(n)
	}
	if p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '[' && len(n.name) > 1 && n.name[0] == '_':
			n.kind, n.name = oneAnswer, n.name[1:]
			return n, p.bracketed(n)
		case c == '[', c == '{', c == '*', c == '?':
			return nil, p.fail(p.i, fmt.Sprintf("a tag is a plain name, without %s", show(p.s[p.i:])), "$name alone means all values of the tag")
		}
	}
	if !validTag(n.name) {
		return nil, p.fail(n.at, fmt.Sprintf("%.80q cannot be the name of a tag", n.name),
			"tags are written as $name or $name.value, of letters, digits, '-' and '_'")
	}
	return n, nil
}

// answer reads the argument of "$resolver.name": quoted, or up to the next operator.
func (p *parser) answer(n *node) *SyntaxError {
	if n.name == "" {
		return p.fail(n.at, "expected the name of a resolver", "write $resolver.name argument")
	}
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
	from := p.i
	if p.i < len(p.s) && (p.s[p.i] == '"' || p.s[p.i] == '\'') {
		length := strings.IndexByte(p.s[from+1:], p.s[from])
		if length < 0 {
			return p.fail(from, "this quote is not closed", "")
		}
		p.i = from + 1 + length + 1
		return p.argument(n, from+1, p.s[from+1:from+1+length])
	}
	for p.i < len(p.s) && strings.IndexByte(",&!()\r\n", p.s[p.i]) < 0 {
		p.i++
	}
	return p.argument(n, from, strings.TrimRight(p.s[from:p.i], " \t"))
}

// bracketed reads the argument of "$_name[argument]".
func (p *parser) bracketed(n *node) *SyntaxError {
	from := p.i + 1
	length := strings.IndexByte(p.s[from:], ']')
	if length < 0 {
		return p.fail(p.i, "expected ] after the argument", "")
	}
	p.i = from + length + 1
	return p.argument(n, from, p.s[from:from+length])
}

func (p *parser) argument(n *node, at int, text string) *SyntaxError {
	switch {
	case len(text) > maxArgument:
		return p.fail(at, fmt.Sprintf("an argument of more than %d bytes", maxArgument), "")
	case strings.HasPrefix(text, "-"):
		return p.fail(at, "the argument of a resolver cannot begin with -", "the program would take it for an option")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }):
		return p.fail(at, "the argument of a resolver has a control character in it", "")
	}
	n.argument = text
	return nil
}

// validTag reports whether name may name a tag: words of letters, digits, '-' and '_', joined by dots.
func validTag(name string) bool {
	if len(name) > 253 {
		return false
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || word[0] == '-' {
			return false
		}
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return false
		}
	}
	return true
}

// single returns the node as a tag, if it is one and nothing else.
func (n *node) single() (sluice.Tag, bool) {
	return sluice.Tag(n.name), n.kind == oneTag
}

// plain reports whether the expression only lists names of hosts.
func (n *node) plain() bool {
	switch n.kind {
	case theNames:
		return true
	case anyOf, bothOf, butNot:
		for _, k := range n.kids {
			if !k.plain() {
				return false
			}
		}
		return true
	}
	return false
}

// canonical is how the expression is named: as it is written, but for white space and the spelling of a tag.
func (n *node) canonical(text string) string {
	switch n.kind {
	case oneTag:
		return "$" + n.name
	case oneAnswer:
		return strings.TrimSpace("$resolver." + n.name + " " + n.argument)
	}
	return strings.Join(strings.Fields(text), " ")
}

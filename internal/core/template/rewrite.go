package template

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"sluice"
	"sluice/internal/core/document"
)

// Names of our own functions, which no template can call itself.
const (
	getName   = "_get"   // a key: number, where from
	writeName = "_write" // writes: number, what
	testName  = "_test"  // a value that something is decided by: number, what
	eachName  = "_each"  // a value that is gone through: number, what
	stepName  = "_step"  // counts: how much
)

// rewriter changes a tree that was parsed to one that keeps the rules.
type rewriter struct {
	t     *Template
	trees map[string]*parse.Tree
	uses  map[string]parse.Pos // templates that this one uses, and where
	depth int
	err   error
}

func (r *rewriter) fail(pos parse.Pos, hint, format string, args ...any) {
	if r.err == nil {
		e := document.ErrorAt(r.t.at(pos), format, args...)
		e.Hint = hint
		r.err = e
	}
}

// deeper reports whether what stands within another thing may go on.
func (r *rewriter) deeper(pos parse.Pos) bool {
	if r.depth++; r.depth > maxDepth {
		r.fail(pos, "", "more than %d things stand in each other", maxDepth)
	}
	return r.err == nil
}

// list has a list begin with a count of what is in it.
func (r *rewriter) list(l *parse.ListNode) {
	if l == nil || !r.deeper(l.Pos) {
		return
	}
	defer func() { r.depth-- }()
	cost := 1
	for _, n := range l.Nodes {
		cost += 1 + r.node(n)
	}
	pos := l.Pos
	l.Nodes = append([]parse.Node{&parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: pipe(pos, call(pos, stepName, number(pos, cost)))}}, l.Nodes...)
}

// node says what it costs beside itself.
func (r *rewriter) node(n parse.Node) (cost int) {
	switch n := n.(type) {
	case *parse.ActionNode:
		cost = r.pipe(n.Pipe)
		if len(n.Pipe.Decl) == 0 {
			r.then(n.Pipe, writeName)
		}
	case *parse.IfNode:
		cost = r.branch(&n.BranchNode, testName)
	case *parse.WithNode:
		cost = r.branch(&n.BranchNode, testName)
	case *parse.RangeNode:
		cost = r.branch(&n.BranchNode, eachName)
	case *parse.TemplateNode:
		if r.trees[n.Name] == nil {
			r.fail(n.Pos, document.DidYouMean("", n.Name, names(r.trees)), "there is no template %q in this file", n.Name)
		}
		r.uses[n.Name] = n.Pos
		cost = r.pipe(n.Pipe)
	}
	return cost
}

// circle refuses templates that use themselves, be it by way of others: they would not end, or go deep.
func circle(t *Template, uses map[string]map[string]parse.Pos) error {
	free := map[string]bool{} // of circles
	var look func(name string, above []string) error
	look = func(name string, above []string) error {
		for _, used := range slices.Sorted(maps.Keys(uses[name])) {
			if slices.Contains(append(above, name), used) {
				return document.ErrorAt(t.at(uses[name][used]), "the template %q uses itself", used)
			}
			if len(above) > maxDepth {
				return document.ErrorAt(t.at(uses[name][used]), "more than %d templates use each other", maxDepth)
			}
			if free[used] {
				continue
			}
			if err := look(used, append(slices.Clip(above), name)); err != nil {
				return err
			}
			free[used] = true
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if err := look(name, nil); err != nil {
			return err
		}
	}
	return nil
}

func names(trees map[string]*parse.Tree) []string { return slices.Sorted(maps.Keys(trees)) }

func (r *rewriter) branch(n *parse.BranchNode, end string) int {
	cost := r.pipe(n.Pipe)
	r.then(n.Pipe, end)
	r.list(n.List)
	r.list(n.ElseList)
	return cost
}

// pipe rewrites what a pipe is made of.
func (r *rewriter) pipe(p *parse.PipeNode) (cost int) {
	if p == nil || !r.deeper(p.Pos) {
		return 0
	}
	defer func() { r.depth-- }()
	var out []*parse.CommandNode
	for i, c := range p.Cmds {
		name := function(c)
		soft := i+1 < len(p.Cmds) && function(p.Cmds[i+1]) == "default"
		if i > 0 && decides(name) {
			out = append(out, call(c.Pos, testName, r.place(place{pos: c.Pos})))
		}
		cost += r.command(c, name, soft)
		out = append(out, c)
	}
	p.Cmds = out
	return cost
}

// then adds a call that takes what the pipe comes to.
func (r *rewriter) then(p *parse.PipeNode, name string) {
	p.Cmds = append(p.Cmds, call(p.Pos, name, r.place(place{pos: p.Pos})))
}

// function is what a command calls, "" if it calls nothing.
func function(c *parse.CommandNode) string {
	if id, ok := c.Args[0].(*parse.IdentifierNode); ok {
		return id.Ident
	}
	return ""
}

// decides says of which functions the arguments are looked at as truths.
func decides(name string) bool { return name == "and" || name == "or" || name == "not" }

func (r *rewriter) command(c *parse.CommandNode, name string, soft bool) (cost int) {
	for i, a := range c.Args {
		cost += 1
		c.Args[i] = r.argument(a, soft && i == 0 || name == "default" && i > 0)
		if i > 0 && decides(name) {
			c.Args[i] = pipe(a.Position(), call(a.Position(), testName, r.place(place{pos: a.Position()}), c.Args[i]))
		}
	}
	return cost
}

// argument is what stands in the place of an argument.
func (r *rewriter) argument(a parse.Node, soft bool) parse.Node {
	switch a := a.(type) {
	case *parse.IdentifierNode:
		if !slices.Contains(functionNames, a.Ident) {
			hint := document.DidYouMean("", a.Ident, functionNames)
			if hint == "" {
				hint = "there is: " + strings.Join(functionNames, ", ")
			}
			r.fail(a.Pos, hint, "there is no function %s", a.Ident)
		}
	case *parse.PipeNode:
		r.pipe(a)
	case *parse.FieldNode:
		begin := a.Pos
		if len(a.Ident) > 1 { // the parser has the place of the second key
			begin -= parse.Pos(len(a.Ident[0]) + 1)
		}
		return r.get(begin, "", &parse.DotNode{NodeType: parse.NodeDot, Pos: a.Pos}, a.Ident, soft)
	case *parse.VariableNode:
		if len(a.Ident) > 1 {
			from := &parse.VariableNode{NodeType: parse.NodeVariable, Pos: a.Pos, Ident: a.Ident[:1]}
			return r.get(a.Pos, a.Ident[0], from, a.Ident[1:], soft)
		}
	case *parse.ChainNode:
		return r.get(a.Pos, "(...)", r.argument(a.Node, soft), a.Field, soft)
	}
	return a
}

// get is a pipe that finds a key.
func (r *rewriter) get(pos parse.Pos, way string, from parse.Node, keys []string, soft bool) parse.Node {
	return pipe(pos, call(pos, getName, r.place(place{pos: pos, way: way, keys: keys, soft: soft}), from))
}

// place takes down a place, and gives its number.
func (r *rewriter) place(p place) parse.Node {
	r.t.places = append(r.t.places, p)
	return number(p.pos, len(r.t.places)-1)
}

func number(pos parse.Pos, n int) parse.Node {
	return &parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}

func call(pos parse.Pos, name string, args ...parse.Node) *parse.CommandNode {
	f := parse.NewIdentifier(name).SetPos(pos)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{f}, args...)}
}

func pipe(pos parse.Pos, c *parse.CommandNode) *parse.PipeNode {
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{c}}
}

// position of a key of a place that was taken down.
func (t *Template) position(n, key int) sluice.Position {
	p := t.places[n]
	at := p.pos
	for _, k := range p.keys[:min(key, len(p.keys))] {
		at += parse.Pos(len(k) + 1)
	}
	return t.at(at)
}

package template

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"

	"sluice"
	"sluice/internal/core/document"
)

// Limits of one template.
const (
	MaxBytes  = 256 << 10 // of a template
	MaxOutput = 4 << 20   // of what it is rendered to, and of any text in it
	maxSteps  = 300_000   // things that are done
	maxMade   = 64 << 20  // bytes that functions make and compare
	maxDepth  = 100       // of what stands in each other
)

// Template is a template that can be rendered. It is safe for concurrent use.
type Template struct {
	name   string
	text   string
	main   *template.Template
	places []place // of what was rewritten, by number
}

// place is where a key or a call stands, and how it is written there.
type place struct {
	pos  parse.Pos
	way  string   // what leads to the keys, such as "$x" or ""
	keys []string // none for a call
	soft bool     // what is not there is null: default follows
}

// Parse reads a template; name is for messages. What is wrong in it is told with its place.
func Parse(name string, text []byte) (*Template, error) {
	t := &Template{name: name, text: string(text)}
	switch {
	case len(text) > MaxBytes:
		return nil, document.ErrorAt(sluice.Position{File: name}, "more than %d bytes", MaxBytes)
	case !utf8.Valid(text):
		if err := document.CheckText(name, text); err != nil {
			return nil, err
		}
		return nil, document.ErrorAt(sluice.Position{File: name}, "it is not UTF-8 text")
	}
	tree := parse.New(name)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(t.text, "", "", trees); err != nil {
		return nil, t.syntax(err)
	}
	t.main = template.New(name).Funcs((&run{t: t}).functions())
	uses := map[string]map[string]parse.Pos{}
	for _, n := range names(trees) {
		one := trees[n]
		r := &rewriter{t: t, trees: trees, uses: map[string]parse.Pos{}}
		r.list(one.Root)
		if r.err != nil {
			return nil, r.err
		}
		uses[n] = r.uses
		if _, err := t.main.AddParseTree(one.Name, one); err != nil {
			return nil, t.syntax(err)
		}
	}
	if err := circle(t, uses); err != nil {
		return nil, err
	}
	if t.main.Tree == nil { // nothing but definitions
		empty := &parse.Tree{Name: name, ParseName: name, Root: &parse.ListNode{NodeType: parse.NodeList}}
		if _, err := t.main.AddParseTree(name, empty); err != nil {
			return nil, t.syntax(err)
		}
	}
	return t, nil
}

var (
	parsing = regexp.MustCompile(`(?s)^template: .*?:(\d+): (.*)$`)
	running = regexp.MustCompile(`(?s)^template: .*?:(\d+):(\d+): executing .*? at <.*?>: (.*)$`)
)

// syntax is what the parser says, which has the line alone. Where the line has one action, that is the column.
func (t *Template) syntax(err error) error {
	m := parsing.FindStringSubmatch(strings.Replace(err.Error(), "template: "+t.name, "template: ", 1))
	if m == nil {
		return document.ErrorAt(sluice.Position{File: t.name}, "this is no template: %v", err)
	}
	line, _ := strconv.Atoi(m[1])
	at := sluice.Position{File: t.name, Line: line, Column: 1}
	if lines := strings.Split(t.text, "\n"); line >= 1 && line <= len(lines) {
		if before, _, ok := strings.Cut(lines[line-1], "{{"); ok {
			at.Column = 1 + utf8.RuneCountInString(before)
		}
	}
	return document.ErrorAt(at, "this is no template: %s", strings.ReplaceAll(m[2], t.name+":", "line "))
}

// at is the place of a position in the text.
func (t *Template) at(pos parse.Pos) sluice.Position {
	before := t.text[:min(max(0, int(pos)), len(t.text))]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return sluice.Position{File: t.name, Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(line)}
}

// Rendered is what a template came to.
type Rendered struct {
	Text []byte
	// Secret says that something in it was sealed.
	Secret bool
	// Sealed are the keys of all that was sealed and that the text may depend on, sorted.
	Sealed []string
}

// Render renders the template with the values of a configuration: maps, lists, texts, truths, int64, float64, nil, and what
// [Hide] made. Nobody else must change them meanwhile.
func (t *Template) Render(values map[string]any) (Rendered, error) {
	r := &run{t: t}
	main, err := t.main.Clone()
	if err != nil {
		return Rendered{}, err
	}
	if err := main.Funcs(r.functions()).Execute(&r.out, values); err != nil {
		clear(r.out.text)
		return Rendered{}, t.failed(err)
	}
	return Rendered{Text: r.out.text, Secret: r.secret, Sealed: slices.Sorted(maps.Keys(r.sealed))}, nil
}

// failed gives what happened while the template ran its place, and leaves out what it was rewritten to.
func (t *Template) failed(err error) error {
	var ours *sluice.Error
	if errors.As(err, &ours) && ours.At.Line > 0 {
		return ours
	}
	text, at := err.Error(), sluice.Position{File: t.name}
	if m := running.FindStringSubmatch(strings.Replace(text, "template: "+t.name, "template: ", 1)); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		at.Column, _ = strconv.Atoi(m[2])
		at.Column++
		text = m[3]
	}
	if ours != nil {
		ours.At = at
		return ours
	}
	if strings.Contains(text, getName) {
		text = "what stands there is no function, and takes no argument"
	}
	return document.ErrorAt(at, "%s", strings.TrimPrefix(text, "error calling "))
}

// output is bounded text.
type output struct{ text []byte }

func (o *output) Write(p []byte) (int, error) {
	if len(o.text)+len(p) > MaxOutput {
		return 0, fmt.Errorf("it is rendered to more than %d bytes", MaxOutput)
	}
	o.text = append(o.text, p...)
	return len(p), nil
}

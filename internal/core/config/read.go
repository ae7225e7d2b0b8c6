package config

import (
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// Limits of what is read. They keep a broken or hostile file from taking the machine's memory.
const (
	MaxBytes  = 1 << 20 // of one layer, and of what a program prints
	maxDepth  = document.MaxDepth
	maxValues = 200_000 // of one layer, aliases unfolded
)

// Layer is what one file says.
type Layer struct {
	File string // as it is shown
	Top  *Value // a map
	// seals are the files of sealed values that this one needs to be opened, by their digest.
	seals map[string]*sealedFile
}

// reader builds the values of one file. What is wrong is collected.
type reader struct {
	file     string
	problems *document.Problems
	left     int // values that there may still be
	seals    map[string]*sealedFile
}

// ReadLayer reads a layer; its form is that of its ending: .yaml, .yml, .toml or .json. What is wrong is [document.Errors].
func ReadLayer(file string, text []byte) (*Layer, error) {
	r := &reader{file: file, problems: &document.Problems{}, left: maxValues}
	r.problems.Opened(file)
	var top *Value
	switch {
	case len(text) > MaxBytes:
		r.fail(sluice.Position{File: file}, "more than %d bytes", MaxBytes)
	case path.Ext(file) == ".json":
		top = r.json(text, true)
	case path.Ext(file) == ".toml":
		top = r.toml(text)
	default:
		top = r.yaml(text)
	}
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	if top == nil {
		top = &Value{Kind: Map, At: sluice.Position{File: file, Line: 1, Column: 1}}
	}
	return &Layer{File: file, Top: top, seals: r.seals}, nil
}

func (r *reader) fail(at sluice.Position, format string, args ...any) *sluice.Error {
	e := document.ErrorAt(at, format, args...)
	r.problems.Add(e)
	return e
}

// room counts a value; without room for it there is an error.
func (r *reader) room(at sluice.Position, depth int) bool {
	r.left--
	switch {
	case depth > maxDepth:
		r.fail(at, "more than %d levels of nesting", maxDepth)
	case r.left < 0:
		r.fail(at, "more than %d values", maxValues)
	default:
		return true
	}
	return false
}

// Words that stand for what is no ordinary value: a tag in YAML, and the only key of a map where there are no tags.
const (
	wordMissing = "!missing"
	wordDelete  = "!delete"
	wordReplace = "!replace"
	wordSealed  = "!sealed"
)

var markWords = []string{wordMissing, wordDelete, wordReplace, wordSealed}

// settle makes of a map with a mark as its only key what the mark says, and refuses marks anywhere else.
func (r *reader) settle(v *Value) *Value {
	if v.Kind != Map {
		return v
	}
	for _, key := range v.Keys() {
		if !strings.HasPrefix(key, "!") {
			continue
		}
		at := v.Map[key].At
		if len(v.Map) == 1 {
			return r.marked(key, v.Map[key], v.At)
		}
		r.fail(at, "%.40q is no key: it begins with !", key).WithHint("a mark is the only key of its map: {%q: ...}", wordMissing)
		return v
	}
	return v
}

// marked is what a mark makes of the value that it stands before.
func (r *reader) marked(mark string, of *Value, at sluice.Position) *Value {
	switch mark {
	case wordMissing:
		if of.Kind == Text || of.Kind == Null {
			return &Value{Kind: Missing, At: at, Text: of.Text}
		}
		r.fail(at, "!missing stands before nothing, or before a text that says what is missing, not before %s", of.Kind)
	case wordDelete:
		if of.Kind == Null || of.Kind == Bool && of.Text == "true" || of.Kind == Text && of.Text == "" {
			return &Value{Kind: Delete, At: at}
		}
		r.fail(at, "!delete stands alone: what it removes is the key before it")
	case wordReplace:
		if of.Kind == List || of.Kind == Map {
			whole := *of
			whole.At, whole.Whole = at, true
			return &whole
		}
		r.fail(at, "!replace stands before a list or a map, not before %s: others are replaced anyway", of.Kind)
	case wordSealed:
		if s := r.seal(of, at); s != nil {
			return &Value{Kind: Sealed, At: at, Sealed: s}
		}
	default:
		e := r.fail(at, "there is no mark %.40q", mark)
		if e.Hint = document.DidYouMean("", mark, markWords); e.Hint == "" {
			e.Hint = "known are " + strings.Join(markWords, ", ") + "; a text that begins with ! must be quoted"
		}
	}
	return &Value{Kind: Null, At: at}
}

// element refuses what has a meaning only for a key.
func (r *reader) element(v *Value) *Value {
	switch {
	case v.Kind == Missing || v.Kind == Delete:
		r.fail(v.At, "%s in a list: it is about a key, and lists append", v.Kind)
	case v.Whole:
		r.fail(v.At, "!replace in a list: it is about a key")
	}
	return v
}

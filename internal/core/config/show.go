package config

import (
	"bytes"
	"strings"
)

// Shown is a value in one line, as people look at it: JSON, with marks and sealed values in the words of YAML layers.
func (v *Value) Shown() string {
	switch v.Kind {
	case Sealed:
		return "sealed (" + v.Sealed.String() + ")"
	case Missing:
		if v.Text != "" {
			return "!missing " + string(encode(v.Text))
		}
		return wordMissing
	case Delete:
		return wordDelete
	case List, Map:
		out := v.shownParts()
		if v.Whole {
			out = wordReplace + " " + out
		}
		return out
	}
	return string(v.JSON())
}

func (v *Value) shownParts() string {
	var parts []string
	if v.Kind == List {
		for _, e := range v.List {
			parts = append(parts, e.Shown())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for _, k := range v.Keys() {
		parts = append(parts, string(encode(k))+": "+v.Map[k].Shown())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Lines is a map as people look at it: a key a line, maps indented, lists in one line where they are short.
func (v *Value) Lines() string {
	var b bytes.Buffer
	v.lines(&b, "")
	return b.String()
}

func (v *Value) lines(b *bytes.Buffer, indent string) {
	const short = 60
	for _, k := range v.Keys() {
		e := v.Map[k]
		b.WriteString(indent)
		b.WriteString(Path{k}.String())
		b.WriteByte(':')
		one := e.Shown()
		switch {
		case e.Kind == Map && len(e.Map) > 0:
			b.WriteByte('\n')
			e.lines(b, indent+"  ")
		case e.Kind == List && len(one) > short:
			b.WriteByte('\n')
			for _, x := range e.List {
				b.WriteString(indent + "  - " + x.Shown() + "\n")
			}
		default:
			b.WriteString(" " + one + "\n")
		}
	}
}

package template

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// functionNames are all that templates can call.
var functionNames = []string{"and", "default", "eq", "ge", "gt", "indent", "index", "join", "le", "len", "lower", "lt", "ne", "not", "or",
	"printf", "quote", "replace", "toJson", "toYaml", "trim", "upper"}

const maxIndent = 100

func (r *run) functions() template.FuncMap {
	return template.FuncMap{
		getName: r.get, writeName: r.write, testName: r.test, eachName: r.each, stepName: r.step,
		"default": func(instead, v any) any {
			if v == nil {
				return instead
			}
			return v
		},
		"eq": r.equal, "ne": func(a, b any) (bool, error) { same, err := r.equal(a, b); return !same, err },
		"lt": r.ordered(func(c int) bool { return c < 0 }), "le": r.ordered(func(c int) bool { return c <= 0 }),
		"gt": r.ordered(func(c int) bool { return c > 0 }), "ge": r.ordered(func(c int) bool { return c >= 0 }),
		"len": r.length, "index": r.index, "join": r.join, "indent": r.indent, "printf": r.printf, "replace": r.replace,
		"lower": r.text1(strings.ToLower), "upper": r.text1(strings.ToUpper), "trim": r.text1(strings.TrimSpace),
		"quote":  func(v any) (any, error) { return r.made(texts{v}, func(s []string) string { return encode(s[0]) }) },
		"toJson": r.toJSON, "toYaml": r.toYAML,
	}
}

// texts are arguments of which a text is made.
type texts []any

// made makes a text of texts; it is sealed if one of them is.
func (r *run) made(of texts, f func([]string) string) (any, error) {
	in, hidden := make([]string, len(of)), false
	for i, v := range of {
		var err error
		var sealed bool
		if in[i], sealed, err = r.plain(v); err != nil {
			return nil, err
		}
		hidden = hidden || sealed
	}
	return r.result(f(in), hidden)
}

// result counts what was made.
func (r *run) result(text string, hidden bool) (any, error) {
	if err := r.make(len(text)); err != nil {
		return nil, err
	}
	if hidden {
		h := Hide("what is made of a sealed value", text, false)
		h.made = true
		return h, nil
	}
	return text, nil
}

func (r *run) text1(f func(string) string) func(any) (any, error) {
	return func(v any) (any, error) { return r.made(texts{v}, func(s []string) string { return f(s[0]) }) }
}

// join has what is between the elements first, as it can be piped then.
func (r *run) join(between string, list any) (any, error) {
	elements, ok := list.([]any)
	if !ok {
		return nil, wrong("join", "a list", list)
	}
	size := 0
	for _, e := range elements {
		text, _, err := r.plain(e)
		if err != nil {
			return nil, err
		}
		size += len(text) + len(between)
	}
	if err := r.room(size); err != nil {
		return nil, err
	}
	return r.made(elements, func(s []string) string { return strings.Join(s, between) })
}

// indent begins each line with so many spaces.
func (r *run) indent(n, v any) (any, error) {
	by, ok := whole(n)
	if !ok || by < 0 || by > maxIndent {
		return nil, bad("indent takes a number from 0 to %d, and a text", maxIndent)
	}
	text, _, err := r.plain(v)
	if err == nil {
		err = r.room(len(text) + int(by)*(1+strings.Count(text, "\n")))
	}
	if err != nil {
		return nil, err
	}
	space := strings.Repeat(" ", int(by))
	return r.made(texts{v}, func(s []string) string { return space + strings.ReplaceAll(s[0], "\n", "\n"+space) })
}

// replace puts one text in the place of another, wherever it stands.
func (r *run) replace(was, now string, v any) (any, error) {
	text, _, err := r.plain(v)
	if err != nil {
		return nil, err
	}
	if was == "" {
		return nil, bad("replace has nothing to look for")
	}
	if err := r.room(len(text) + strings.Count(text, was)*max(0, len(now)-len(was))); err != nil {
		return nil, err
	}
	return r.made(texts{v}, func(s []string) string { return strings.ReplaceAll(s[0], was, now) })
}

func (r *run) length(v any) (int, error) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), r.make(len(v))
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	}
	return 0, wrong("len", "a text, a list or a map", v)
}

// index finds elements of lists by their number, from 0, and those of maps by their key.
func (r *run) index(v any, keys ...any) (any, error) {
	for _, k := range keys {
		switch in := v.(type) {
		case []any:
			i, ok := whole(k)
			if !ok {
				return nil, bad("an element of a list is found by a number, not by %s", kind(k))
			}
			if i < 0 || i >= int64(len(in)) {
				return nil, bad("there is no element %d in a list of %d", i, len(in))
			}
			v = in[i]
		case map[string]any:
			key, ok := k.(string)
			if !ok {
				return nil, bad("a key is a text, not %s", kind(k))
			}
			e, ok := in[key]
			if !ok {
				return nil, noKey("", key, in)
			}
			v = e
		default:
			return nil, wrong("index", "a list or a map", v)
		}
	}
	return v, nil
}

// encode is JSON without the escapes that are for HTML.
func encode(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text
	return strings.TrimSuffix(b.String(), "\n")
}

func (r *run) toJSON(v any) (any, error) {
	var b strings.Builder
	hidden, err := r.json(&b, v)
	if err != nil {
		return nil, err
	}
	return r.result(b.String(), hidden)
}

// json writes a value; it says whether something in it is sealed.
func (r *run) json(b *strings.Builder, v any) (hidden bool, err error) {
	part := func(v any) error {
		h, err := r.json(b, v)
		hidden = hidden || h
		return err
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case string:
		b.WriteString(encode(v))
	case []any:
		for i, e := range v {
			b.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
			if err := part(e); err != nil {
				return hidden, err
			}
		}
		b.WriteString(map[bool]string{true: "[]", false: "]"}[len(v) == 0])
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(encode(k) + ":")
			if err := part(v[k]); err != nil {
				return hidden, err
			}
		}
		b.WriteByte('}')
	case Hidden:
		if v.bare {
			b.WriteString(r.open(v))
		} else {
			b.WriteString(encode(r.open(v)))
		}
		hidden = true
	default:
		text, _, err := r.plain(v)
		if err != nil {
			return hidden, err
		}
		b.WriteString(text)
	}
	return hidden, r.room(b.Len())
}

// toYAML writes a value in lines, without an end of the last.
func (r *run) toYAML(v any) (any, error) {
	hidden := false
	n, err := r.yaml(v, &hidden)
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		return nil, bad("toYaml: it cannot be written as YAML")
	}
	return r.result(strings.TrimSuffix(string(text), "\n"), hidden)
}

func (r *run) yaml(v any, hidden *bool) (*yaml.Node, error) {
	scalar := func(tag, text string) (*yaml.Node, error) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}, r.make(len(text) + 1)
	}
	switch v := v.(type) {
	case nil:
		return scalar("!!null", "null")
	case string:
		return scalar("!!str", v)
	case bool:
		text, _, err := r.plain(v)
		if err != nil {
			return nil, err
		}
		return scalar("!!bool", text)
	case Hidden:
		*hidden = true
		if v.bare {
			return scalar("", r.open(v))
		}
		return scalar("!!str", r.open(v))
	case []any:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v {
			n, err := r.yaml(e, hidden)
			if err != nil {
				return nil, err
			}
			out.Content = append(out.Content, n)
		}
		return out, r.make(1)
	case map[string]any:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key, err := scalar("!!str", k)
			if err != nil {
				return nil, err
			}
			n, err := r.yaml(v[k], hidden)
			if err != nil {
				return nil, err
			}
			out.Content = append(out.Content, key, n)
		}
		return out, r.make(1)
	}
	text, _, err := r.plain(v)
	if err != nil {
		return nil, err
	}
	return scalar("", text)
}

package config

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

var yamlForm = document.Form{
	Quote:  `texts that begin with @ & * ! % or a backquote, and those with ": " or " #" in them, must be quoted`,
	Merge:  "write the keys out, or put what is common into an earlier layer",
	Tagged: "a text that begins with ! must be quoted",
	Second: "a layer is one document",
}

func (r *reader) yaml(text []byte) *Value {
	d, err := yamlForm.Read(r.file, text, r.problems)
	if err != nil {
		r.problems.Add(err)
		return nil
	}
	if d.Root == nil {
		return nil
	}
	if root := document.What(d.Root); root.Kind != yaml.MappingNode || root.Style&yaml.TaggedStyle != 0 {
		d.Fail(root, "a layer must be a map (key: value), not %s", document.Described(root))
		return nil
	}
	y := &yamlReader{reader: r, doc: d}
	if s := y.sops(text); s != nil {
		y.seal = s
	}
	return y.value(d.Root, d.At(d.Root), nil, 0)
}

type yamlReader struct {
	*reader
	doc  *document.Document
	seal *sealedFile // where the file is one of SOPS
}

// value reads a node; at is where its key stands.
func (y *yamlReader) value(n *yaml.Node, at sluice.Position, p Path, depth int) *Value {
	n = document.What(n)
	null := &Value{Kind: Null, At: at}
	if !y.room(at, depth) || y.problems.Full() {
		return null
	}
	if n.Style&yaml.TaggedStyle != 0 && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return y.tagged(n, at, p, depth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		if n.Style&yaml.TaggedStyle != 0 {
			y.doc.Ordinary(n)
		}
		return y.mapping(n, at, p, depth)
	case yaml.SequenceNode:
		out := &Value{Kind: List, At: at, List: make([]*Value, 0, len(n.Content))}
		for _, e := range n.Content {
			out.List = append(out.List, y.element(y.value(e, y.doc.At(e), p, depth+1)))
		}
		return out
	}
	if y.seal != nil {
		if v, ok := y.seal.leaf(n, p, at, y.reader); ok {
			return v
		}
	}
	return y.scalar(n, at)
}

func (y *yamlReader) mapping(n *yaml.Node, at sluice.Position, p Path, depth int) *Value {
	out := &Value{Kind: Map, At: at, Map: make(map[string]*Value, len(n.Content)/2)}
	for _, pair := range y.doc.Pairs(n, "this") {
		if y.seal != nil && len(p) == 0 && pair.Name == sopsKey {
			continue
		}
		if key := document.What(pair.Key); key.Style == 0 && key.ShortTag() != "!!str" {
			y.fail(y.doc.At(pair.Key), "the key %s is %s here", key.Value, kindOf(key.ShortTag())).WithHint("keys are texts: put quotes around it")
		}
		out.Map[pair.Name] = y.value(pair.Value, y.doc.At(pair.Key), p.below(pair.Name), depth+1)
	}
	return y.settle(out)
}

// tagged reads a value before which a mark stands.
func (y *yamlReader) tagged(n *yaml.Node, at sluice.Position, p Path, depth int) *Value {
	plain := *n
	plain.Style &^= yaml.TaggedStyle
	plain.Tag = ""
	if n.Kind == yaml.ScalarNode {
		// What is written behind !missing and !sealed is a text whatever it looks like.
		of := &Value{Kind: Text, At: at, Text: n.Value}
		return y.marked(n.Tag, of, at)
	}
	return y.marked(n.Tag, y.value(&plain, at, p, depth), at)
}

func kindOf(tag string) string {
	switch tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth"
	case "!!null":
		return "null"
	}
	return tag
}

// scalar reads what YAML 1.2 means. What other readers of YAML take for something else must be written so that all agree.
func (y *yamlReader) scalar(n *yaml.Node, at sluice.Position) *Value {
	out := &Value{Kind: Text, At: at, Text: n.Value}
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		y.fail(y.doc.At(n), "the YAML tag %s is not supported", n.ShortTag()).WithHint("write the value plainly; %s are known", strings.Join(markWords, ", "))
		return out
	}
	switch n.ShortTag() {
	case "!!null":
		out.Kind, out.Text = Null, ""
	case "!!bool":
		out.Kind, out.Text = Bool, strings.ToLower(n.Value)
	case "!!int", "!!float":
		out.Kind = Number
		text, ok := number(n.Value)
		if !ok {
			y.fail(y.doc.At(n), "%.40s is no number that every reader understands alike", n.Value).
				WithHint("numbers are written as 493, 0x1ed, 0o755, 1.5 or 1e6; put quotes around what is a text")
		}
		out.Text = text
	case "!!str":
		if n.Style == 0 && ambiguous(n.Value) {
			y.fail(y.doc.At(n), "%s is a text for some readers of YAML, and %s for others", n.Value, "true or false").
				WithHint("write true or false, or put quotes around it")
		}
	}
	return out
}

// ambiguous says whether older YAML takes a text for a truth.
func ambiguous(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}

// number makes a number of a layer one of JSON. Whole ones have up to 64 bits; others keep what a float64 keeps.
func number(s string) (string, bool) {
	digits := strings.TrimLeft(s, "+-")
	sign := s[:len(s)-len(digits)]
	if len(sign) > 1 || digits == "" {
		return "0", false
	}
	base := 10
	switch {
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	case strings.HasPrefix(digits, "0o"):
		base, digits = 8, digits[2:]
	case len(digits) > 1 && digits[0] == '0' && digits[1] != '.' && digits[1] != 'e' && digits[1] != 'E':
		return "0", false // octal for some, decimal for others
	}
	if sign == "-" {
		if v, err := strconv.ParseInt("-"+digits, base, 64); err == nil {
			return strconv.FormatInt(v, 10), true
		}
	} else if v, err := strconv.ParseUint(digits, base, 64); err == nil {
		return strconv.FormatUint(v, 10), true
	}
	if base != 10 || strings.ContainsAny(digits, "_xXpPiInN") || !strings.ContainsAny(digits, ".eE") {
		return "0", false
	}
	v, err := strconv.ParseFloat(sign+digits, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return "0", false
	}
	return formatFloat(v), true
}

// formatFloat writes a float as JSON does. A whole one is written as a whole number: 1.0 is 1.
func formatFloat(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

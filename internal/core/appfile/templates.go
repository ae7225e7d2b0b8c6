package appfile

import (
	"path"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// Where templates are in an artifact, and what they are beside without their directory.
const (
	templates = "deploy/templates/"
	beside    = "deploy/"
)

// template says where a template goes, and whose it is there.
func (r *reader) template(n *yaml.Node, before []sluice.Template) (t sluice.Template) {
	if document.What(n).Kind != yaml.MappingNode {
		r.Fail(n, "a template must be a mapping, not %s", document.Described(n)).Hint = "{from: " + templates + "NAME, outside: PATH}"
		return t
	}
	var from, to, outside *yaml.Node
	for _, p := range r.Pairs(n, "a template") {
		if !r.Known(p, "a template", []string{"from", "to", "outside", "mode", "user", "group"}) {
			continue
		}
		switch p.Name {
		case "from":
			from, t.From = p.Value, r.inVersion(p.Value, "from")
		case "to":
			to, t.To = p.Value, r.inVersion(p.Value, "to")
		case "outside":
			outside, t.Outside = p.Value, r.outside(p.Value)
		case "mode":
			t.Mode = r.mode(p.Value)
		case "user":
			t.User = r.word(p.Value, "the user of a template")
		case "group":
			t.Group = r.word(p.Value, "the group of a template")
		}
	}
	name, ok := strings.CutPrefix(t.From, templates)
	switch {
	case from == nil:
		r.Fail(n, "a template does not say which one it is").Hint = "from: " + templates + "NAME"
	case !ok && t.From != "":
		r.Fail(from, "templates are in %s, and %.100q is not", templates, t.From).Hint = "from: " + templates + path.Base(t.From)
	case to == nil:
		t.To, to = beside+name, from
	}
	for _, b := range before {
		if t.To != "" && b.To == t.To {
			r.Fail(to, "%s is what %s becomes, too", t.To, b.From)
		}
		if t.Outside != "" && b.Outside == t.Outside {
			r.Fail(outside, "%s is outside for %s, too", t.Outside, b.From)
		}
	}
	return t
}

// inVersion is a path in the version.
func (r *reader) inVersion(n *yaml.Node, meant string) string {
	w, ok := r.Word(n, meant)
	if ok && (path.IsAbs(w) || path.Clean(w) != w || w == "." || strings.HasPrefix(w+"/", "../")) {
		r.Fail(n, "%s must be a path in the version without . and .., not %.100q", meant, w).Hint = "outside: PATH has a link to it anywhere else"
		return ""
	}
	return w
}

// outside is a path anywhere else on the host.
func (r *reader) outside(n *yaml.Node) string {
	w, ok := r.Word(n, "outside")
	if ok && (!path.IsAbs(w) || path.Clean(w) != w || w == "/") {
		r.Fail(n, "outside must be an absolute path without . and .., not %.100q", w)
		return ""
	}
	return w
}

// mode reads permissions in octal. What YAML makes of 0640 without quotes is not what was meant everywhere.
func (r *reader) mode(n *yaml.Node) string {
	w, ok := r.Word(n, "mode")
	if !ok {
		return ""
	}
	bits, err := strconv.ParseUint(w, 8, 32)
	if err != nil || len(w) != 4 || w[0] != '0' || bits == 0 {
		r.Fail(n, `mode must be four digits such as "0640", not %.40q`, w)
		return ""
	}
	return w
}

package appfile

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
	"sluice/internal/core/fleet"
	"sluice/internal/core/target"
)

// validate is what follows on a deploy that succeeded. It may be the command alone.
func (r *reader) validate(n *yaml.Node) *sluice.Validate {
	v := &sluice.Validate{On: sluice.ValidateFirst, Timeout: defaultValidate}
	if document.What(n).Kind != yaml.MappingNode {
		v.Run = r.command(n, "validate")
		return v
	}
	said := false
	for _, p := range r.Pairs(n, "validate") {
		if !r.Known(p, "validate", []string{"run", "on", "timeout", "on_failure"}) {
			continue
		}
		switch p.Name {
		case "run":
			v.Run, said = r.command(p.Value, "run"), true
		case "on":
			v.On = r.where(p.Value)
		case "timeout":
			v.Timeout, _ = r.Duration(p.Value, "timeout", longest)
		case "on_failure":
			v.OnFailure = sluice.OnFailure(r.one(p.Value, "on_failure", failures))
		}
	}
	if !said {
		r.Fail(n, "validate does not say what is run").Hint = "run: a command"
	}
	return v
}

// command reads a line for the shell, or a list of words that arrive as exactly those arguments.
func (r *reader) command(n *yaml.Node, meant string) string {
	if document.What(n).Kind != yaml.SequenceNode {
		w := r.line(n, meant)
		if v := document.What(n).Value; w == "" && v != "" {
			r.Fail(n, "%s has no command in it", meant)
		}
		return w
	}
	var words []string
	for _, e := range r.some(n, "words") {
		v := document.What(e)
		if v.Kind != yaml.ScalarNode || document.IsNull(v) {
			r.Fail(e, "a word of %s must be a text, not %s", meant, document.Described(v))
			continue
		}
		words = append(words, v.Value) // which may be empty
	}
	text := target.Quote(words...)
	if len(words) == 0 || words[0] == "" {
		r.Fail(n, "%s has no command in it", meant)
	} else if len(text) > maxScript || strings.ContainsRune(text, 0) {
		r.Fail(n, "%s is longer than %d bytes or has a zero byte", meant, maxScript).Hint = "put it into a script on the host"
	}
	return text
}

// where reads which hosts are meant. Which there are is for the fleet to say.
func (r *reader) where(n *yaml.Node) string {
	w, ok := r.Word(n, "on")
	if !ok {
		return w
	}
	if err := fleet.CheckExpression(w); err != nil {
		at := r.At(n)
		if r.StandsAt(at.Line, at.Column, w) {
			at.Column += len([]rune(w[:err.Offset]))
		}
		r.Problems.Add(document.ErrorAt(at, "on: %s", err.Text).WithHint("%s", err.Hint))
	}
	return w
}

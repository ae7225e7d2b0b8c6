package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// askJSON asks lines of JSON:
//
//	json SOURCE FILTER                     there is such a line (with !: there is none)
//	json -count=N SOURCE FILTER            there are N of them
//	json SOURCE FILTER FIELD VALUE ...     the last of them has these values
//	json -env NAME SOURCE FILTER FIELD     keep the value in a variable
//
// A filter is "field=value field=value", "" for every line. A field is a path such as counts.succeeded or holders.0.
// Values are texts with \n for their newlines, and anything else as compact JSON; what is not there is "".
func askJSON(ts *testscript.TestScript, neg bool, args []string) {
	count, keep := -1, ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch n, isCount := strings.CutPrefix(args[0], "-count="); {
		case isCount:
			count = statusOf(ts, n)
		case args[0] == "-env" && len(args) > 1:
			keep, args = args[1], args[1:]
		default:
			ts.Fatalf("json: no flag %s", args[0])
		}
		args = args[1:]
	}
	if len(args) < 2 || neg && len(args) > 2 || keep != "" && len(args) != 3 || keep == "" && len(args)%2 != 0 {
		ts.Fatalf("usage: json [-count=N | -env NAME] SOURCE FILTER [FIELD VALUE]...")
	}
	lines, err := parseLines(ts.ReadFile(args[0]))
	ts.Check(err)
	var found []any
	for _, l := range lines {
		if matches(l, args[1]) {
			found = append(found, l)
		}
	}
	switch {
	case neg && len(found) > 0:
		ts.Fatalf("%s has %d lines like %q, expected none", args[0], len(found), args[1])
	case neg:
		return
	case count >= 0 && len(found) != count:
		ts.Fatalf("%s has %d lines like %q, expected %d", args[0], len(found), args[1], count)
	case count < 0 && len(found) == 0:
		ts.Fatalf("%s has no line like %q", args[0], args[1])
	case keep != "":
		ts.Setenv(keep, field(found[len(found)-1], args[2]))
		return
	}
	for i := 2; i < len(args); i += 2 {
		if got := field(found[len(found)-1], args[i]); got != args[i+1] {
			ts.Fatalf("%s of %q is %q, expected %q", args[i], args[1], got, args[i+1])
		}
	}
}

// parseLines reads one JSON value a line.
func parseLines(text string) ([]any, error) {
	var out []any
	for line := range strings.Lines(text) {
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d is not JSON: %w: %s", len(out)+1, err, line)
		}
		if d.More() {
			return nil, fmt.Errorf("line %d has more than one JSON value: %s", len(out)+1, line)
		}
		out = append(out, v)
	}
	return out, nil
}

func matches(v any, filter string) bool {
	for _, f := range strings.Fields(filter) {
		name, want, _ := strings.Cut(f, "=")
		if field(v, name) != want {
			return false
		}
	}
	return true
}

// field is the value at a path, as text.
func field(v any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(at) {
				return ""
			}
			v = at[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.ReplaceAll(v, "\n", `\n`)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

// stateDir is where the story's journal is.
func stateDir(ts *testscript.TestScript) string {
	if dir := ts.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "sluice")
	}
	return ts.Getenv("STATE")
}

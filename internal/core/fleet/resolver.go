package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/document"
)

// resolver is a program that answers which hosts a tag means.
type resolver struct {
	name    string
	at      sluice.Position
	dir     string
	command []string
	timeout time.Duration
}

// line is the command that asks for an argument.
func (r *resolver) line(argument string) []string {
	if argument == "" {
		return r.command
	}
	return append(r.command[:len(r.command):len(r.command)], argument)
}

type question struct{ resolver, argument string }

type answer struct {
	hosts set
	err   *sluice.Error
}

// ask asks a resolver, once for each argument. What went wrong is remembered, too: a program that hangs is not
// run for every place that uses it.
func (w *world) ask(n *node, from origin) (set, *sluice.Error) {
	q := question{n.name, n.argument}
	if a := w.answers[q]; a != nil {
		return a.hosts, a.err
	}
	hosts, err := w.run(n, from)
	if err == nil || !errors.Is(err, ErrNotRecorded) {
		w.answers[q] = &answer{hosts, err}
	}
	return hosts, err
}

func (w *world) run(n *node, from origin) (set, *sluice.Error) {
	r := w.resolvers[n.name]
	if r == nil {
		hint := document.DidYouMean("$resolver.", n.name, slices.Sorted(maps.Keys(w.resolvers)))
		if hint == "" {
			hint = fmt.Sprintf("define it: resolver: {%s: {command: [/path/to/program]}}", n.name)
		}
		return nil, from.fail(n.at, fmt.Sprintf("there is no resolver %q", n.name), hint)
	}
	fail := func(err error) (set, *sluice.Error) {
		e := document.ErrorAt(from.at(n.at), "the resolver %s gave no answer for %q", n.name, n.argument).
			WithHint("the program must print a JSON list of host names and exit with status 0")
		e.Err = err
		if errors.Is(err, ErrNotRecorded) {
			e.Hint = "a fleet that was applied runs no programs; a tag that asks this has the answer recorded when the fleet is applied"
		}
		return nil, e
	}
	out, err := w.src.Run(r.dir, r.line(n.argument), r.timeout, maxAnswer)
	if err != nil {
		return fail(err)
	}
	hosts, err := readAnswer(out)
	if err != nil {
		return fail(err)
	}
	known, err := w.know(hosts)
	if err != nil {
		return fail(err)
	}
	return known, nil
}

// readAnswer reads what a resolver prints.
func readAnswer(out []byte) ([]sluice.Host, error) {
	var names []string
	d := json.NewDecoder(bytes.NewReader(out))
	if err := d.Decode(&names); err != nil {
		return nil, fmt.Errorf("it printed no JSON list of names, but %.60q", out)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it printed more than one JSON list")
	}
	if names == nil {
		return nil, errors.New("it printed null")
	}
	if len(names) > MaxHosts {
		return nil, fmt.Errorf("it named more than %d hosts", MaxHosts)
	}
	hosts := make([]sluice.Host, len(names))
	for i, n := range names {
		if !sluice.ValidHost(n) {
			return nil, fmt.Errorf("%.80q cannot be the name of a host", n)
		}
		hosts[i] = sluice.Host(n)
	}
	return hosts, nil
}

package cli

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/run/control"
)

func TestWhatHostsGoBackTo(t *testing.T) {
	one, two, none := sluice.Installed{Version: "1", Manifest: "m1"}, sluice.Installed{Version: "2", Manifest: "m2"}, sluice.Installed{}
	rel := &sluice.Release{App: "shop", Env: "production", Version: "2"}
	job := sluice.Event{Body: sluice.JobSubmitted{Submitted: sluice.Job{Fleet: "fleet.yaml", Action: sluice.Action{Kind: sluice.DeployTo, Release: rel}}}}
	end := func(h sluice.Host, n int, o sluice.Outcome, a *sluice.Activation) sluice.Event {
		return sluice.Event{Body: sluice.TaskFinished{Host: h, Attempt: sluice.NewAttemptID("000000000001", 0, n), Outcome: o, Release: a, NotStarted: o == sluice.Unreachable}}
	}
	change := func(before, live sluice.Installed) *sluice.Activation {
		return &sluice.Activation{Before: before, Live: live}
	}
	for name, c := range map[string]struct {
		events  []sluice.Event
		to      map[sluice.Host]sluice.Installed
		none    []sluice.Host
		unknown []sluice.Host
	}{
		"it succeeded": {[]sluice.Event{end("a", 1, sluice.Succeeded, change(one, two))}, map[sluice.Host]sluice.Installed{"a": one}, nil, nil},
		"it failed behind the swing, and again": {[]sluice.Event{end("a", 1, sluice.Failed, change(one, two)), end("a", 2, sluice.Failed, change(two, two))},
			map[sluice.Host]sluice.Installed{"a": one}, nil, nil},
		"it failed before the swing":        {[]sluice.Event{end("a", 1, sluice.Failed, change(one, one))}, nil, nil, nil},
		"it was not reached":                {[]sluice.Event{end("a", 1, sluice.Unreachable, nil)}, nil, nil, nil},
		"it had nothing":                    {[]sluice.Event{end("a", 1, sluice.Succeeded, change(none, two))}, nil, []sluice.Host{"a"}, nil},
		"nobody knows":                      {[]sluice.Event{end("a", 1, sluice.Unknown, nil)}, nil, nil, []sluice.Host{"a"}},
		"nobody knows by now":               {[]sluice.Event{end("a", 1, sluice.Failed, change(one, two)), end("a", 2, sluice.Unknown, nil)}, nil, nil, []sluice.Host{"a"}},
		"it was found out":                  {[]sluice.Event{end("a", 1, sluice.Unknown, nil), end("a", 1, sluice.Failed, change(one, two))}, map[sluice.Host]sluice.Installed{"a": one}, nil, nil},
		"another one is not known":          {[]sluice.Event{end("b", 1, sluice.Unknown, nil), end("a", 1, sluice.Succeeded, change(one, two))}, map[sluice.Host]sluice.Installed{"a": one}, nil, []sluice.Host{"b"}},
		"it was skipped before any attempt": {[]sluice.Event{{Body: sluice.TaskFinished{Host: "a", Outcome: sluice.Skipped}}}, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := backOf(append([]sluice.Event{job}, c.events...))
			if w.release != rel || w.fleet != "fleet.yaml" || !maps.Equal(w.to, c.to) || !slices.Equal(w.none, c.none) || !slices.Equal(w.unknown, c.unknown) {
				t.Errorf("%+v", w)
			}
		})
	}
	if w := backOf([]sluice.Event{{Body: sluice.JobSubmitted{}}}); w.release != nil {
		t.Errorf("%+v", w)
	}
}

// What something has changed since is not gone back over unseen, and what is said names who, and the way on.
func TestChangedSince(t *testing.T) {
	const job = "k3v9q2m7x1ab"
	on := func(h sluice.Host, how func(*control.Live)) control.Live {
		l := control.Live{Origin: job, State: live.State{Place: live.Place{Host: h}, Known: true, Live: sluice.Installed{Version: "2"}, By: "ann", Job: job, Last: job}}
		how(&l)
		return l
	}
	later := func(l *control.Live) {
		l.Job, l.Origin, l.Last, l.Live.Version, l.By = "later", "later", "later", "3", "bob"
	}
	back := func(l *control.Live) { later(l); l.Origin = "first" }
	hintOf := func(err error) string {
		var e *sluice.Error
		_ = errors.As(err, &e)
		return e.Hint
	}
	now := []control.Live{on("same", func(*control.Live) {}), on("touched", func(l *control.Live) { l.Last = "later" }),
		on("restored", func(l *control.Live) { l.Job, l.Last = "later", "later" }), on("later1", later), on("later2", later), on("back", back),
		on("unknown", func(l *control.Live) { l.Known, l.Why, l.Last = false, live.Unclear, "later" }),
		on("own", func(l *control.Live) { l.Known, l.Why = false, live.Running }),
		on("hand", func(l *control.Live) { l.Changed, l.Job, l.Live.Version = true, "", "8" }),
		on("odd", func(l *control.Live) { l.Job, l.Origin = "", "" })}
	for _, c := range []struct {
		hosts []sluice.Host
		text  string // "": nothing is in the way
		hint  string
	}{
		{[]sluice.Host{"same", "touched", "restored", "own", "never"}, "", ""},
		{[]sluice.Host{"same", "later1", "later2"}, "hosts have changed since job " + job + ": later[1-2]: job later of bob made 3 live",
			"sluice rollback later takes that one back first; -w same leaves them out; --even-if-changed goes back all the same"},
		{[]sluice.Host{"back"}, "back: job later of bob made 3 live", "sluice rollback first goes further back from there; --even-if-changed goes back all the same"},
		{[]sluice.Host{"unknown"}, "unknown: the outcome of the last attempt is not known (job later)", ""},
		{[]sluice.Host{"hand", "odd"}, "hand: 8 was made live by hand; odd: 2 is live, and it is not on record by whom", "sluice releases production shows it; --even-if-changed goes back all the same"},
	} {
		err := changedSince(job, "production", c.hosts, now)
		if c.text == "" {
			if err != nil {
				t.Errorf("%v: %v", c.hosts, err)
			}
			continue
		}
		if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), c.text) || c.hint != "" && hintOf(err) != c.hint {
			t.Errorf("%v: %v\n%s", c.hosts, err, hintOf(err))
		}
	}
}

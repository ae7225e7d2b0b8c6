package cli

import (
	"maps"
	"slices"
	"testing"

	"sluice"
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

package control_test

import (
	"strings"
	"testing"

	"sluice"
	rules "sluice/internal/core/fleet"
	"sluice/internal/core/live"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// What is current is what succeeded last; what goes on, or ended badly and is live, is left to people.
func TestAims(t *testing.T) {
	released := func(job, version, config string, state schedule.JobState, on int) control.Released {
		return control.Released{Namespace: "default", State: state, On: on, Release: live.Release{Job: sluice.JobID(job), Kind: sluice.DeployTo, App: "a", Env: "production", Version: version, Config: config}}
	}
	back := func(job string, state schedule.JobState) control.Released {
		r := released(job, "", "", state, 0)
		r.Kind = sluice.RollBack
		return r
	}
	has := func(h sluice.Host, job, version, config string) control.Live {
		return control.Live{Namespace: "default", State: live.State{Place: live.Place{App: "a", Env: "production", Host: h}, Known: true, Job: sluice.JobID(job),
			Live: sluice.Installed{Version: version}, Config: config}}
	}
	const good, failed, halted, runs = schedule.Succeeded, schedule.Failed, schedule.Halted, schedule.Running
	elsewhere := released("j0", "1", "", good, 1)
	elsewhere.Namespace = "test"
	for name, c := range map[string]struct {
		list []control.Released // the newest first
		now  []control.Live
		want string // the job whose release it is, and all that deployed it
		err  string
	}{
		"the last one":                     {[]control.Released{released("j2", "2", "", good, 2), released("j1", "1", "", good, 0)}, nil, "j2: j2", ""},
		"with all deploys of it":           {[]control.Released{released("j3", "2", "c", good, 2), released("j2", "1", "c", good, 0), released("j1", "2", "c", good, 2), released("j0", "2", "d", good, 0)}, nil, "j3: j3 j1", ""},
		"one goes on":                      {[]control.Released{released("j2", "2", "", runs, 0), released("j1", "1", "", good, 1)}, nil, "", "job j2 changes a there now"},
		"the newest is live, and bad":      {[]control.Released{released("j2", "2", "", halted, 1), released("j1", "1", "", good, 1)}, nil, "", "job j2 (a 2) ended badly, and is live on 1 hosts"},
		"the newest is bad, nowhere live":  {[]control.Released{released("j2", "2", "", failed, 0), released("j1", "1", "", good, 1)}, nil, "j1: j1", ""},
		"the same one failed on some":      {[]control.Released{released("j2", "1", "", failed, 3), released("j1", "1", "", good, 3)}, nil, "j2: j2 j1", ""},
		"brought back":                     {[]control.Released{back("j3", good), released("j2", "2", "", halted, 0), released("j1", "1", "c", good, 1)}, []control.Live{has("h1", "j3", "1", "c")}, "j1: j1", ""},
		"brought back to several":          {[]control.Released{back("j3", good), released("j1", "1", "", good, 1)}, []control.Live{has("h1", "j3", "1", ""), has("h2", "j3", "2", "")}, "", "back to 2 releases"},
		"brought back to nobody's version": {[]control.Released{back("j3", good), released("j1", "1", "", good, 1)}, []control.Live{has("h1", "j3", "0", "")}, "", "nothing on record has deployed"},
		"none succeeded":                   {[]control.Released{released("j1", "1", "", failed, 0)}, nil, "", "no deploy of a in production has succeeded"},
		"nothing is on record":             {nil, nil, "", "no deploy of a in production has succeeded"},
		"of several namespaces":            {[]control.Released{released("j2", "2", "", failed, 0), elsewhere}, nil, "", "several namespaces: default, test"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := control.AimsOf(c.list, c.now, "production", []string{"a"})
			got := ""
			for _, m := range list {
				got += string(m.Release.Job) + ":"
				for _, d := range m.Deploys {
					got += " " + string(d.Job)
				}
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && err != nil || got != c.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	if _, err := control.AimsOf(nil, nil, "production", nil); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("an environment without apps: %v", err)
	}
}

// Hosts that have the release are left alone; those of which nothing is known, or whose configuration nobody froze, are left out.
func TestGap(t *testing.T) {
	m := &control.Aim{Namespace: "default", App: "a", Release: control.Released{Release: live.Release{Job: "j1", App: "a", Env: "production", Version: "2", Config: "c"}}}
	on := func(h sluice.Host, how func(*control.Live)) control.Live {
		l := control.Live{Namespace: "default", State: live.State{Place: live.Place{App: "a", Env: "production", Host: h}, Known: true, Live: sluice.Installed{Version: "2"}, Config: "c"}}
		how(&l)
		return l
	}
	now := []control.Live{
		on("has", func(*control.Live) {}),
		on("old", func(l *control.Live) { l.Live.Version = "1" }),
		on("other", func(l *control.Live) { l.Config = "d" }),
		on("failed", func(l *control.Live) { l.Failed = true }),
		on("unknown", func(l *control.Live) { l.Known, l.Why, l.Last = false, live.Running, "j2" }),
		on("new", func(l *control.Live) { l.App = "b" }),
		on("away", func(l *control.Live) { l.Namespace = "test" }),
	}
	hosts := []sluice.Host{"has", "old", "other", "failed", "unknown", "new", "away"}
	known := []sluice.Host{"has", "old", "other", "failed", "unknown", "away"}
	g := m.GapOf(hosts, known, now, false)
	if got := rules.Fold(g.Hosts); got != "old,other,failed,away" {
		t.Errorf("to be changed: %s", got)
	}
	if len(g.Unknown) != 1 || g.Unknown[0].Host != "unknown" || g.Unknown[0].Last != "j2" || rules.Fold(g.Fresh) != "new" {
		t.Errorf("left out: %+v", g)
	}
	if g = m.GapOf(hosts, known, now, true); len(g.Unknown) != 1 || len(g.Fresh) > 0 || rules.Fold(g.Hosts) != "old,other,failed,new,away" {
		t.Errorf("with the common configuration: %s; %v", rules.Fold(g.Hosts), g.Unknown)
	}
	m.Release.Config, now[0].Config = "", ""
	if g = m.GapOf(hosts, nil, now, false); len(g.Unknown) != 1 || len(g.Fresh) > 0 || rules.Fold(g.Hosts) != "old,other,failed,new,away" {
		t.Errorf("without a configuration: %s; %v", rules.Fold(g.Hosts), g.Unknown)
	}
}

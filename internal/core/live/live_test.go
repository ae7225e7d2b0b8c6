package live_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/live"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

func inst(v string) sluice.Installed { return sluice.Installed{Version: v} }

func all(live.Place) bool { return true }

func submit(n int, job sluice.JobID, version string) sluice.Event {
	j := sluice.Job{By: "ann", Action: sluice.Action{Kind: sluice.DeployTo,
		Release: &sluice.Release{App: "hello", Env: "prod", Version: version, Commit: &sluice.Commit{ID: "c", Time: t0}}}}
	return sluice.Event{Time: at(n), Job: job, Body: sluice.JobSubmitted{Submitted: j}}
}

func start(n int, job sluice.JobID, h sluice.Host, a sluice.AttemptID) sluice.Event {
	return sluice.Event{Time: at(n), Job: job, Body: sluice.TaskStarted{Host: h, Attempt: a}}
}

func end(n int, job sluice.JobID, h sluice.Host, a sluice.AttemptID, o sluice.Outcome, before, now string) sluice.Event {
	f := sluice.TaskFinished{Host: h, Attempt: a, Outcome: o}
	if now != "" {
		f.Release = &sluice.Activation{App: "hello", Env: "prod", Before: inst(before), Live: inst(now)}
	}
	return sluice.Event{Time: at(n), Job: job, Body: f}
}

// nothing says that nothing ran.
func nothing(e sluice.Event) sluice.Event {
	f := e.Body.(sluice.TaskFinished)
	f.NotStarted = true
	e.Body = f
	return e
}

func mapOf(events []sluice.Event) *live.Map {
	m := live.New()
	for _, e := range events {
		m.Apply(e)
	}
	return m
}

func TestWhatIsLive(t *testing.T) {
	one := []sluice.Event{submit(0, "j1", "1"), start(1, "j1", "a", "x1"), end(2, "j1", "a", "x1", sluice.Succeeded, "0", "1"),
		submit(3, "j2", "2"), start(4, "j2", "a", "x2")}
	ends := func(o sluice.Outcome, before, now string) sluice.Event {
		return end(5, "j2", "a", "x2", o, before, now)
	}
	again := start(6, "j2", "a", "x3")
	was := live.State{Known: true, Live: inst("1"), Since: at(2), Job: "j1", Before: inst("0"), Last: "j2"}
	is := func(v string, since int, before string) live.State {
		return live.State{Known: true, Live: inst(v), Since: at(since), Job: "j2", Before: inst(before), Last: "j2"}
	}
	but := func(s live.State, how func(*live.State)) live.State { how(&s); return s }
	unknown := func(s live.State, why live.Why) live.State { s.Known, s.Why = false, why; return s }
	failed := func(s *live.State) { s.Failed = true }
	byHand := func(s *live.State) { s.Job, s.Changed = "", true }
	for name, c := range map[string]struct {
		more []sluice.Event
		at   int
		want live.State
	}{
		"runs":               {nil, 9, unknown(was, live.Running)},
		"before it":          {nil, 3, but(was, func(s *live.State) { s.Last = "j1" })},
		"succeeds":           {[]sluice.Event{ends(sluice.Succeeded, "1", "2")}, 9, is("2", 5, "1")},
		"nothing ran":        {[]sluice.Event{nothing(ends(sluice.Unreachable, "", ""))}, 9, but(was, func(s *live.State) { s.Last = "j1" })},
		"refused":            {[]sluice.Event{nothing(ends(sluice.Failed, "1", "1"))}, 9, was},
		"fails before swing": {[]sluice.Event{ends(sluice.Failed, "1", "1")}, 9, was},
		"fails after swing":  {[]sluice.Event{ends(sluice.Failed, "1", "2")}, 9, but(is("2", 5, "1"), failed)},
		"says nothing":       {[]sluice.Event{ends(sluice.Succeeded, "", "")}, 9, unknown(was, live.Silent)},
		"withdrawn": {[]sluice.Event{{Time: at(5), Job: "j2", Body: sluice.TaskWithdrawn{Host: "a", Attempt: "x2"}}}, 9,
			but(was, func(s *live.State) { s.Last = "j1" })},
		"unknown":               {[]sluice.Event{ends(sluice.Unknown, "1", "2")}, 9, unknown(was, live.Unclear)},
		"late truth":            {[]sluice.Event{ends(sluice.Unknown, "", ""), end(7, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 9, is("2", 7, "1")},
		"before the late truth": {[]sluice.Event{ends(sluice.Unknown, "", ""), end(7, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 6, unknown(was, live.Unclear)},
		"fails, and again before the swing": {[]sluice.Event{ends(sluice.Failed, "1", "2"), again, end(7, "j2", "a", "x3", sluice.Failed, "2", "2")}, 9,
			but(is("2", 5, "1"), failed)},
		"fails, and succeeds": {[]sluice.Event{ends(sluice.Failed, "1", "2"), again, end(7, "j2", "a", "x3", sluice.Succeeded, "2", "2")}, 9, is("2", 5, "1")},
		"late truth of an older one": {[]sluice.Event{ends(sluice.Unknown, "", ""), again, end(7, "j2", "a", "x3", sluice.Succeeded, "1", "2"),
			end(8, "j2", "a", "x2", sluice.Succeeded, "1", "1")}, 9, is("2", 7, "1")},
		"said by the next": {[]sluice.Event{ends(sluice.Unknown, "", ""), again, end(7, "j2", "a", "x3", sluice.Failed, "2", "2")}, 9, is("2", 7, "1")},
		"changed by hand":  {[]sluice.Event{ends(sluice.Failed, "8", "8")}, 9, but(is("8", 5, "1"), byHand)},
		"changed by hand, then wanted": {[]sluice.Event{submit(5, "j3", "8"), ends(sluice.Failed, "8", "8"), start(6, "j3", "a", "y"), end(7, "j3", "a", "y", sluice.Succeeded, "8", "8")}, 9,
			but(is("8", 5, "1"), func(s *live.State) { s.Job, s.Last = "j3", "j3" })},
		"changed by hand, then deployed": {[]sluice.Event{ends(sluice.Succeeded, "8", "2")}, 9, is("2", 5, "8")},
		"changed while it ran":           {[]sluice.Event{ends(sluice.Failed, "1", "8")}, 9, but(is("8", 5, "1"), byHand)},
		"retired":                        {[]sluice.Event{{Time: at(5), Body: sluice.HostRetired{Host: "a"}}}, 9, live.State{}},
		"retired, and back": {[]sluice.Event{{Time: at(5), Body: sluice.HostRetired{Host: "a"}}, ends(sluice.Succeeded, "1", "2"),
			{Time: at(6), Body: sluice.HostReturned{Host: "a"}}}, 9, is("2", 5, "1")},
	} {
		t.Run(name, func(t *testing.T) {
			got := mapOf(live.Until(append(append([]sluice.Event{}, one...), c.more...), at(c.at))).States(all)
			if c.want.Last == "" {
				if len(got) > 0 {
					t.Errorf("got %+v, want none", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d places, want 1", len(got))
			}
			c.want.Place = live.Place{App: "hello", Env: "prod", Host: "a"}
			if c.want.Job != "" {
				c.want.By = "ann"
			}
			if got[0] != c.want {
				t.Errorf("got %+v\nwant %+v", got[0], c.want)
			}
		})
	}
}

func TestAMomentIsCutByTheOrderOfTheLog(t *testing.T) {
	events := []sluice.Event{submit(1, "j", "1"), submit(5, "k", "1"), submit(2, "l", "1"), submit(6, "m", "1")}
	for n, want := range map[int]int{0: 0, 1: 1, 2: 1, 4: 1, 5: 3, 6: 4} {
		if got := len(live.Until(events, at(n))); got != want {
			t.Errorf("until %d there are %d events, want %d", n, got, want)
		}
	}
}

func TestReleasesInTheirOrder(t *testing.T) {
	m := mapOf([]sluice.Event{submit(0, "j", "1"), {Job: "no", Body: sluice.JobSubmitted{}}, submit(1, "k", "2"), start(2, "k", "a", "x"),
		end(3, "k", "a", "x", sluice.Failed, "1", "2"), start(4, "k", "a", "y"), end(5, "k", "a", "y", sluice.Succeeded, "2", "2")})
	got := m.Releases("hello", "")
	if len(got) != 2 || got[0].Job != "j" || got[1].Job != "k" || got[0].Changed != 0 || got[1].Changed != 1 || !got[1].Submitted.Equal(at(1)) {
		t.Errorf("got %+v", got)
	}
	if len(m.Releases("hello", "test")) != 0 || len(m.Releases("", "prod")) != 2 {
		t.Error("the environment is not looked at")
	}
}

func TestLatency(t *testing.T) {
	es := []sluice.Event{submit(0, "j", "1"), submit(0, "k", "1")}
	for n := 1; n <= 201; n++ {
		h := sluice.Host(fmt.Sprint("h", n))
		es = append(es, start(n, "j", h, "x"), end(n, "j", h, "x", sluice.Succeeded, "0", "1"))
		es = append(es, start(n+1, "k", h, "y"), end(n+1, "k", h, "y", sluice.Succeeded, "1", "1")) // it has it already
	}
	other := submit(0, "o", "1")
	other.Body.(sluice.JobSubmitted).Submitted.Action.Release.Config = "sha256:1"
	es = append(es, other, start(300, "o", "h1", "z"))
	last := end(300, "o", "h1", "z", sluice.Succeeded, "1", "1")
	last.Body.(sluice.TaskFinished).Release.Live.Config = "sha256:1"
	es = append(es, last)
	m := mapOf(es)
	for i, want := range []live.Latency{{Hosts: 201, P50: 101 * time.Minute, P99: 199 * time.Minute}, {Hosts: 201, P50: 101 * time.Minute, P99: 199 * time.Minute},
		{Hosts: 1, P50: 300 * time.Minute, P99: 300 * time.Minute}} {
		if got := m.Latency(m.Releases("", "")[i]); got != want {
			t.Errorf("release %d: got %+v, want %+v", i, got, want)
		}
	}
}

// TestLatencyOverTime: each release counts once, where it was first submitted, with all of its hosts. 2026-01-01 is a Thursday.
func TestLatencyOverTime(t *testing.T) {
	const hour, days = 60, 24 * 60
	var es []sluice.Event
	jobs := 0
	// job submits one at a minute, that makes a release live on hosts so many minutes later.
	job := func(minute int, app, version string, kind sluice.ActionKind, commit *sluice.Commit, took ...int) {
		jobs++
		job := sluice.JobID(fmt.Sprint("j", jobs))
		es = append(es, sluice.Event{Time: at(minute), Job: job, Body: sluice.JobSubmitted{Submitted: sluice.Job{
			Action: sluice.Action{Kind: kind, Release: &sluice.Release{App: app, Env: "prod", Version: version, Commit: commit}}}}})
		for i, n := range took {
			h := sluice.Host(fmt.Sprint("h", i))
			es = append(es, start(minute, job, h, "x"), end(minute+n, job, h, "x", sluice.Succeeded, "0", version))
		}
	}
	deploy := func(minute int, app, version string, took ...int) {
		job(minute, app, version, sluice.DeployTo, &sluice.Commit{ID: "c", Time: at(minute)}, took...)
	}
	deploy(13*hour, "old", "1", 4, 2)       // Thursday
	deploy(4*days-1, "old", "2", 6)         // Sunday, a minute before midnight
	deploy(4*days, "old", "3")              // it was live nowhere
	deploy(14*days, "old", "4", 100)        // the fifteenth day
	deploy(14*days+1, "old", "1", 0, 0, 11) // again, for one host more
	job(14*days+2, "old", "5", sluice.DeployTo, nil, 1)
	job(14*days+3, "old", "4", sluice.RollBack, nil, 1)
	deploy(23*hour, "young", "1", 5)
	deploy(25*hour, "young", "2", 7, 9)
	deploy(14*days-1, "young", "3", 1)
	m := mapOf(es)

	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	of := func(app string, from, days, releases, hosts, p50, p99 int) live.Period {
		return live.Period{App: app, Env: "prod", From: t0.AddDate(0, 0, from), Days: days, Releases: releases,
			Latency: live.Latency{Hosts: hosts, P50: minutes(p50), P99: minutes(p99)}}
	}
	all := m.Releases("", "")
	for name, c := range map[string]struct {
		releases []*live.Release
		most     int
		want     []live.Period
	}{
		"none":        {nil, 9, nil},
		"all":         {all, 9, []live.Period{of("old", 11, 7, 1, 1, 100, 100), of("old", -3, 7, 2, 4, 4, 11), of("young", 13, 1, 1, 1, 1, 1), of("young", 1, 1, 1, 2, 7, 9), of("young", 0, 1, 1, 1, 5, 5)}},
		"the newest":  {all, 1, []live.Period{of("old", 11, 7, 1, 1, 100, 100), of("young", 13, 1, 1, 1, 1, 1)}},
		"a rollback":  {m.Releases("old", "prod")[6:], 9, nil},
		"some of old": {m.Releases("old", "prod")[1:3], 9, []live.Period{of("old", 3, 1, 1, 1, 6, 6)}},
	} {
		if got := m.OverTime(c.releases, c.most); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, c.want)
		}
	}
}

// withConfig gives what a job deploys, and what a host says, a configuration.
func withConfig(e sluice.Event, config string) sluice.Event {
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		r := *b.Submitted.Action.Release
		r.Config = config
		b.Submitted.Action.Release = &r
		e.Body = b
	case sluice.TaskFinished:
		b.Release.Live.Config = config
		if b.Release.Before.Version == b.Release.Live.Version {
			b.Release.Before.Config = config
		}
	}
	return e
}

// A configuration that comes to the same files on a host is not put there again, and the release is live all the same.
func TestAnotherConfigurationWithTheSameFiles(t *testing.T) {
	m := mapOf([]sluice.Event{withConfig(submit(0, "j", "1"), "c1"), start(1, "j", "a", "x"), withConfig(end(2, "j", "a", "x", sluice.Succeeded, "0", "1"), "c1"),
		withConfig(submit(3, "k", "1"), "c2"), start(4, "k", "a", "y"), withConfig(end(5, "k", "a", "y", sluice.Succeeded, "1", "1"), "c1"), // as the host knows them
		withConfig(submit(6, "l", "2"), "c2"), start(7, "l", "b", "z"), withConfig(end(8, "l", "b", "z", sluice.Succeeded, "1", "2"), "c1")})
	states := m.States(all)
	if s := states[0]; s.Config != "c2" || s.Job != "j" || s.Changed || !s.Since.Equal(at(2)) || m.Origin(&s).Job != "k" {
		t.Errorf("%+v", s)
	}
	if s := states[1]; s.Config != "c2" || s.Job != "l" || s.Changed || m.Origin(&s).Job != "l" {
		t.Errorf("%+v", s)
	}
	on := live.On(states)
	for i, want := range []int{0, 1, 1} {
		if got := on(m.Releases("", "")[i]); got != want {
			t.Errorf("release %d is live on %d hosts, want %d", i, got, want)
		}
	}
}

// TestTheConfigurationComesBack: a host keeps its files under the configuration by which it first had them. Where they come back, it is
// the release of which they were last that is live.
func TestTheConfigurationComesBack(t *testing.T) {
	of := func(n int, job sluice.JobID, kind sluice.ActionKind, version, config string) sluice.Event {
		e := submit(n, job, version)
		j := e.Body.(sluice.JobSubmitted).Submitted
		j.Action.Kind, j.Action.Release.Config = kind, config
		return sluice.Event{Time: e.Time, Job: job, Body: sluice.JobSubmitted{Submitted: j}}
	}
	first := []sluice.Event{
		of(1, "j1", sluice.DeployTo, "1", "c1"), start(1, "j1", "a", "x1"), end(2, "j1", "a", "x1", sluice.Succeeded, "0", "1"),
		of(3, "j2", sluice.DeployTo, "1", "c2"), start(3, "j2", "a", "x2"), end(4, "j2", "a", "x2", sluice.Succeeded, "1", "1"), // the same files
		of(5, "j3", sluice.DeployTo, "2", "c3"), start(5, "j3", "a", "x3"), end(6, "j3", "a", "x3", sluice.Failed, "1", "2"),
	}
	for name, more := range map[string][]sluice.Event{
		"by a rollback": {of(7, "j4", sluice.RollBack, "1", ""), start(7, "j4", "a", "x4"), end(8, "j4", "a", "x4", sluice.Succeeded, "2", "1")},
		"by hand":       {of(7, "j4", sluice.DeployTo, "3", "c4"), start(7, "j4", "a", "x4"), end(8, "j4", "a", "x4", sluice.Failed, "1", "1")},
	} {
		m := mapOf(slices.Concat(first, more))
		got := m.States(func(live.Place) bool { return true })
		if len(got) != 1 || got[0].Live != inst("1") || got[0].Config != "c2" {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if o := m.Origin(&got[0]); o == nil || o.Job != "j2" {
			t.Errorf("%s: it is of %+v, want j2", name, o)
		}
	}
}

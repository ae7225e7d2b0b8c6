package undo_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/undo"
)

const (
	deploy  = sluice.JobID("000000000001")
	another = sluice.JobID("000000000002")
)

func spec(kind sluice.ActionKind, on sluice.OnFailure) *sluice.Job {
	return &sluice.Job{ID: deploy, By: "ann", Token: "t1", Action: sluice.Action{Kind: kind, Release: &sluice.Release{App: "shop", Env: "prod", Version: "2",
		Artifact: "a", Manifest: "m", Config: "c", Deploy: sluice.Deploy{Root: "/srv/shop", OnFailure: on}}}}
}

func TestDue(t *testing.T) {
	halted := func(r sluice.Rule, failures int) schedule.Info {
		return schedule.Info{State: schedule.Halted, Failures: failures, Halted: &sluice.JobHalted{Rule: r}}
	}
	for name, c := range map[string]struct {
		info schedule.Info
		due  bool
		why  string
	}{
		"finished with failures":         {schedule.Info{State: schedule.Failed, Failures: 1}, true, ""},
		"the last host was retired":      {schedule.Info{State: schedule.Failed}, false, "no host of it has failed: the one was retired"},
		"the budget":                     {halted(sluice.RuleBudget, 2), true, ""},
		"logins refused":                 {halted(sluice.RuleAuth, 2), true, ""},
		"took too long":                  {halted(sluice.RuleJobTimeout, 0), true, ""},
		"no room, of its own failures":   {halted(sluice.RuleConstraint, 3), true, ""},
		"a canary failed":                {halted(sluice.RuleSequence, 1), true, ""},
		"its own host is unknown":        {halted(sluice.RuleHost, 1), true, ""},
		"no room, of others' failures":   {halted(sluice.RuleConstraint, 0), false, "no host of it has failed"},
		"another's host is unknown":      {halted(sluice.RuleHost, 0), false, "no host of it has failed"},
		"an operator halted it":          {halted(sluice.RuleOperator, 3), false, "a person halted it"},
		"an operator holds a host":       {halted(sluice.RuleHeld, 3), false, "somebody holds a host"},
		"secrets are gone":               {halted(sluice.RuleSecrets, 3), false, "its secrets are gone"},
		"rights are gone":                {halted(sluice.RuleRights, 3), false, "no right to it"},
		"cancelled":                      {schedule.Info{State: schedule.Cancelled, Failures: 1}, false, "it was cancelled"},
		"succeeded":                      {schedule.Info{State: schedule.Succeeded}, false, ""},
		"runs, with a failure":           {schedule.Info{State: schedule.Running, Failures: 1}, false, ""},
		"halts, and something runs":      {schedule.Info{State: schedule.Halting, Failures: 1}, false, ""},
		"waits at a gate, with failures": {schedule.Info{State: schedule.Paused, Failures: 1}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, other := range []*sluice.Job{spec(sluice.DeployTo, ""), spec(sluice.DeployTo, sluice.FailureHalts), spec(sluice.RollBack, sluice.FailureRollsBack),
				{Action: sluice.Action{Kind: sluice.RunCommand}}} {
				c.info.Spec = other
				if due, why := undo.Due(c.info); due || why != "" {
					t.Errorf("%v, %q for one that nobody wants undone: %+v", due, why, other.Action)
				}
			}
			c.info.Spec = spec(sluice.DeployTo, sluice.FailureRollsBack)
			due, why := undo.Due(c.info)
			if due != c.due || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
				t.Errorf("%v, %q, want %v, %q", due, why, c.due, c.why)
			}
		})
	}
}

func has(v string) sluice.Installed {
	if v == "" {
		return sluice.Installed{}
	}
	return sluice.Installed{Version: v, Manifest: "m" + v}
}

// ended is the end of a try on a host: from a version to another, as the host said; "?" is nothing.
func ended(h sluice.Host, n int, o sluice.Outcome, before, live string) sluice.Event {
	b := sluice.TaskFinished{Host: h, Attempt: sluice.NewAttemptID(deploy, int(h[1]-'1'), n), Outcome: o}
	if live != "?" {
		b.Release = &sluice.Activation{App: "shop", Env: "prod", Before: has(before), Live: has(live)}
	}
	return sluice.Event{Job: deploy, Body: b}
}

func nothingRan(h sluice.Host, n int) sluice.Event {
	e := ended(h, n, sluice.Unreachable, "?", "?")
	b := e.Body.(sluice.TaskFinished)
	b.NotStarted = true
	e.Body = b
	return e
}

func TestWaysBack(t *testing.T) {
	const bad, well, lost = sluice.Failed, sluice.Succeeded, sluice.Unknown
	foreign := ended("h1", 1, bad, "1", "1")
	r := foreign.Body.(sluice.TaskFinished).Release
	r.Before.Manifest, r.Live.Manifest = "", ""
	submitted := sluice.Event{Job: deploy, Body: sluice.JobSubmitted{Submitted: *spec(sluice.DeployTo, sluice.FailureRollsBack)}}
	for name, c := range map[string]struct {
		events []sluice.Event
		want   string
	}{
		"changed":                          {[]sluice.Event{ended("h1", 1, well, "1", "2")}, "h1 to 1"},
		"failed after the swing":           {[]sluice.Event{ended("h1", 1, bad, "1", "2")}, "h1 to 1"},
		"failed before the swing":          {[]sluice.Event{ended("h1", 1, bad, "1", "1")}, "h1 stays 1"},
		"of somebody else, and unchanged":  {[]sluice.Event{foreign}, ""},
		"had it already":                   {[]sluice.Event{ended("h1", 1, well, "2", "2")}, ""},
		"had nothing":                      {[]sluice.Event{ended("h1", 1, bad, "", "2")}, "h1 had none"},
		"had nothing and has nothing":      {[]sluice.Event{ended("h1", 1, bad, "", "")}, ""},
		"not known":                        {[]sluice.Event{ended("h1", 1, lost, "", "?")}, "h1 unknown"},
		"not known, whatever it said":      {[]sluice.Event{ended("h1", 1, lost, "1", "2")}, "h1 unknown"},
		"killed, and it said nothing":      {[]sluice.Event{ended("h1", 1, sluice.TimedOut, "", "?")}, "h1 unknown"},
		"the truth comes late":             {[]sluice.Event{ended("h1", 1, lost, "", "?"), ended("h1", 1, well, "1", "2")}, "h1 to 1"},
		"nothing ran":                      {[]sluice.Event{nothingRan("h1", 1)}, ""},
		"and that changes nothing":         {[]sluice.Event{ended("h1", 1, bad, "1", "2"), nothingRan("h1", 2)}, "h1 to 1"},
		"tried again":                      {[]sluice.Event{ended("h1", 1, bad, "1", "2"), ended("h1", 2, bad, "2", "2")}, "h1 to 1"},
		"brought back in between":          {[]sluice.Event{ended("h1", 1, bad, "1", "2"), ended("h1", 2, bad, "1", "2")}, "h1 to 1"},
		"another was there in between":     {[]sluice.Event{ended("h1", 1, bad, "1", "2"), ended("h1", 2, bad, "3", "2")}, "h1 to 3"},
		"told nothing, then found its own": {[]sluice.Event{submitted, ended("h1", 1, sluice.TimedOut, "", "?"), ended("h1", 2, bad, "2", "2")}, "h1 unknown"},
		"the same, and then it did well":   {[]sluice.Event{submitted, ended("h1", 1, sluice.TimedOut, "", "?"), ended("h1", 2, well, "2", "2")}, "h1 unknown"},
		"told nothing, and did nothing":    {[]sluice.Event{submitted, ended("h1", 1, sluice.TimedOut, "", "?"), ended("h1", 2, bad, "1", "1")}, "h1 stays 1"},
		"told nothing after it was known":  {[]sluice.Event{submitted, ended("h1", 1, bad, "1", "1"), ended("h1", 2, sluice.TimedOut, "", "?"), ended("h1", 3, bad, "2", "2")}, "h1 to 1"},
		"told late that it had it already": {[]sluice.Event{submitted, ended("h1", 1, lost, "", "?"), ended("h1", 1, well, "2", "2")}, ""},
		"back by hand, then failed early":  {[]sluice.Event{ended("h1", 1, bad, "1", "2"), ended("h1", 2, bad, "1", "1")}, "h1 stays 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := undo.WaysBack(c.events)
			var got []string
			for h, to := range w.To {
				got = append(got, fmt.Sprintf("%s to %s", h, to.Version))
			}
			for h, to := range w.Stay {
				got = append(got, fmt.Sprintf("%s stays %s", h, to.Version))
			}
			for _, h := range w.None {
				got = append(got, fmt.Sprintf("%s had none", h))
			}
			for _, h := range w.Unknown {
				got = append(got, fmt.Sprintf("%s unknown", h))
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

// story is a log in which a deploy was tried on some hosts.
type story struct {
	t     *testing.T
	state *schedule.State
	past  []sluice.Event
}

func tell(t *testing.T, hosts ...sluice.Host) *story {
	s := &story{t: t, state: schedule.New()}
	j := *spec(sluice.DeployTo, sluice.FailureRollsBack)
	budget := sluice.Amount{}
	j.Look = &sluice.Look{Until: 1}
	j.Targets, j.SSH, j.Rules = hosts, sluice.SSH{User: "deploy"}, "the rules"
	j.HostSSH = map[sluice.Host]sluice.SSH{hosts[0]: {Port: 1}, hosts[len(hosts)-1]: {Port: 2}}
	j.Options = sluice.Options{Lock: "shop/prod", Sudo: "root", AskSudoPassword: true, Timeout: time.Minute, JobTimeout: time.Hour, MaxFailures: &budget, Supersede: true, Concurrency: 2}
	j.Tracks = []sluice.Track{{Name: "rollout", Stages: []sluice.Stage{
		{Name: "start", Gate: sluice.Gate{Approve: true}}, {Name: "canary", Hosts: hosts[:1], Gate: sluice.Gate{Pause: time.Hour, Approve: true}},
		{Name: "rest", Entry: 1, Hosts: hosts[1:]}}}}
	s.add("", sluice.RulesApplied{Rules: sluice.Rules{Digest: j.Rules, Hosts: hosts}})
	s.add(deploy, sluice.JobSubmitted{Submitted: j})
	return s
}

func (s *story) add(id sluice.JobID, bodies ...sluice.Body) {
	s.t.Helper()
	for _, b := range bodies {
		e := sluice.Event{Seq: s.state.Seq() + 1, Job: id, Body: b}
		if err := s.state.Apply(e); err != nil {
			s.t.Fatal(err)
		}
		if id == deploy {
			s.past = append(s.past, e)
		}
	}
}

// try has a job try a host, with an end.
func (s *story) try(id sluice.JobID, e sluice.Event) {
	s.t.Helper()
	b := e.Body.(sluice.TaskFinished)
	task, _ := s.state.Task(id, b.Host)
	b.Attempt = sluice.NewAttemptID(id, task.Target, task.Try+1)
	s.add(id, sluice.TaskStarted{Host: b.Host, Attempt: b.Attempt}, b)
}

func (s *story) make() (*sluice.Job, string) {
	i, _ := s.state.Job(deploy)
	return undo.Make(s.state, i, s.past)
}

func TestTheJobThatUndoes(t *testing.T) {
	s := tell(t, "h1", "h2", "h3", "h4", "h5")
	s.try(deploy, ended("h1", 1, sluice.Succeeded, "1", "2"))
	s.try(deploy, ended("h2", 1, sluice.Failed, "1", "2"))
	s.try(deploy, ended("h3", 1, sluice.Failed, "1", "1"))
	s.try(deploy, ended("h4", 1, sluice.Failed, "", "2"))
	s.add(deploy, sluice.JobHalted{Rule: sluice.RuleBudget, Generation: 1})
	j, left := s.make()
	if j == nil {
		t.Fatal(left)
	}
	if want := "h4 had no version before"; left != want {
		t.Errorf("left are %q, want %q", left, want)
	}
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	hosts := []sluice.Host{"h1", "h2", "h3"}
	same("targets", j.Targets, hosts)
	same("back", j.Action.Back, map[sluice.Host]sluice.Installed{"h1": has("1"), "h2": has("1"), "h3": has("1")})
	same("undoes", j.Action.Undoes, deploy)
	same("look", j.Look, (*sluice.Look)(nil))
	same("kind", j.Action.Kind, sluice.RollBack)
	same("release", *j.Action.Release, sluice.Release{App: "shop", Env: "prod", Version: "1", Deploy: sluice.Deploy{Root: "/srv/shop"}})
	same("tracks", j.Tracks, []sluice.Track{{Name: "rollout", Stages: []sluice.Stage{{Name: "canary", Hosts: hosts[:1]}, {Name: "rest", Entry: 1, Hosts: hosts[1:]}}}})
	same("options", j.Options, sluice.Options{Lock: "shop/prod", Sudo: "root", AskSudoPassword: true, Timeout: time.Minute, Concurrency: 2})
	same("ssh of hosts", j.HostSSH, map[sluice.Host]sluice.SSH{"h1": {Port: 1}})
	same("rules", j.Rules, "the rules")
	same("for whom", fmt.Sprint(j.By, j.Token), "annt1")
	same("id", j.ID, undo.ID(deploy, 1))
	if !j.ID.Valid() || j.ID == undo.ID(deploy, 2) || j.ID == undo.ID(another, 1) {
		t.Errorf("the id %s is none, or that of another", j.ID)
	}
	if again, _ := s.make(); again.ID != j.ID {
		t.Errorf("made again it is %s, and was %s", again.ID, j.ID)
	}
	i, _ := s.state.Job(deploy)
	same("the deploy's own stages", len(i.Spec.Tracks[0].Stages), 3)
	same("the deploy's own release", i.Spec.Action.Release.Version, "2")
}

func TestWhoResumedItHasIt(t *testing.T) {
	s := tell(t, "h1")
	s.add(deploy, sluice.JobHalted{Rule: sluice.RuleOperator, Generation: 1}, sluice.JobResumed{By: "bob", Generation: 2})
	s.try(deploy, ended("h1", 1, sluice.Failed, "1", "2"))
	s.add(deploy, sluice.JobFinished{Outcome: sluice.Failed})
	if j, why := s.make(); j == nil || j.By != "bob" || j.Token != "" {
		t.Errorf("%+v: %s", j, why)
	}
}

// TestWhatAnotherJobDidSinceStays: a deploy that ends once more, after others were there, takes back nothing of theirs.
func TestWhatAnotherJobDidSinceStays(t *testing.T) {
	later := func(kind sluice.ActionKind, app string) sluice.JobSubmitted {
		j := sluice.Job{ID: another, Targets: []sluice.Host{"h2"}, Action: sluice.Action{Kind: kind},
			Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: []sluice.Host{"h2"}}}}}}
		if app != "" {
			j.Action.Release = &sluice.Release{App: app, Env: "prod"}
		}
		return sluice.JobSubmitted{Submitted: j}
	}
	for name, c := range map[string]struct {
		of   sluice.JobSubmitted
		want []sluice.Host
		left string
	}{
		"a deploy of the app":   {later(sluice.DeployTo, "shop"), []sluice.Host{"h1"}, "another job has been at work on h2 since"},
		"a rollback of the app": {later(sluice.RollBack, "shop"), []sluice.Host{"h1"}, "another job has been at work on h2 since"},
		"another app":           {later(sluice.DeployTo, "mail"), []sluice.Host{"h1", "h2"}, ""},
		"a command":             {later(sluice.RunCommand, ""), []sluice.Host{"h1", "h2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, "h1", "h2")
			s.try(deploy, ended("h1", 1, sluice.Failed, "1", "2"))
			s.try(deploy, ended("h2", 1, sluice.Failed, "1", "2"))
			s.add(deploy, sluice.JobFinished{Outcome: sluice.Failed})
			s.add(another, c.of)
			s.try(another, ended("h2", 1, sluice.Succeeded, "2", "3"))
			j, left := s.make()
			if j == nil || !slices.Equal(j.Targets, c.want) || left != c.left {
				t.Fatalf("%+v, left %q", j, left)
			}
			// Where the deploy is tried again there, it is the last that was.
			s.add(deploy, sluice.JobResumed{By: "ann", Generation: 1}, sluice.TaskRetried{Hosts: []sluice.Host{"h2"}, By: "ann"})
			s.try(deploy, ended("h2", 2, sluice.Failed, "3", "2"))
			s.add(deploy, sluice.JobFinished{Outcome: sluice.Failed})
			j, _ = s.make()
			if j == nil || !slices.Contains(slices.Collect(maps.Keys(j.Action.Back)), "h2") || j.Action.Back["h2"].Version != "3" {
				t.Errorf("tried again: %+v", j)
			}
		})
	}
}

func TestNothingIsThereToBringBack(t *testing.T) {
	for want, e := range map[string]sluice.Event{
		"it has changed no host":          ended("h1", 1, sluice.Failed, "1", "1"),
		"h1 had no version before":        ended("h1", 1, sluice.Failed, "", "2"),
		"it is not known what h1 has now": ended("h1", 1, sluice.Unknown, "", "?"),
	} {
		s := tell(t, "h1")
		s.try(deploy, e)
		s.add(deploy, sluice.JobFinished{Outcome: sluice.Failed})
		if j, why := s.make(); j != nil || why != want {
			t.Errorf("%+v, %q, want %q", j, why, want)
		}
		i, _ := s.state.Job(deploy)
		if why := undo.Why(i, s.past); why != want {
			t.Errorf("asked later: %q, want %q", why, want)
		}
	}
}

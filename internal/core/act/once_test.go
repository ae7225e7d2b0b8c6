package act_test

import (
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

// Nobody gets past the host that runs what a release runs once: it cannot be skipped, and where it is retired the others wait.
func TestOnceIsNotPassedOver(t *testing.T) {
	p := &place{t: t, state: schedule.New(), hosts: []sluice.Host{"web01", "web02"}}
	deploy := sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", Once: "web01"}}
	p.apply(job, sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", By: "ann", Targets: p.hosts, Action: deploy,
		Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: sluice.OnceStage, Hosts: p.hosts[:1]}, {Name: "rest", Entry: 1, Hosts: p.hosts[1:]}}}}}})
	p.apply(job, sluice.JobStarted{})
	skip := p.act(act.Act{Kind: act.Skip, Hosts: p.hosts[:1]})
	if _, err := skip.Events(p.state, noon); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "web01 cannot be skipped: it runs what this release runs once") {
		t.Errorf("skipped: %v", err)
	}
	skip.Hosts = p.hosts[1:]
	p.must(skip.Events(p.state, noon))

	p.do(act.Act{Kind: act.Retire, Hosts: p.hosts[:1]})
	if task, _ := p.state.Task(job, "web01"); task.Outcome != sluice.Cancelled {
		t.Errorf("web01: %+v", task)
	}
	if n := len(p.state.Attempts(job)); n != 0 {
		t.Fatalf("%d attempts run, and what runs once has not", n)
	}
	if i, _ := p.state.Job(job); i.State != schedule.Halted {
		t.Errorf("the job is %s", i.State)
	}
	p.do(act.Act{Kind: act.Return, Hosts: p.hosts[:1]})
	p.do(act.Act{Kind: act.Retry})
	if a := p.state.Attempts(job); len(a) != 1 || a[0].Host != "web01" {
		t.Fatalf("%+v", a)
	}
	p.end("web01", sluice.Failed)
	if n := len(p.state.Attempts(job)); n != 0 {
		t.Fatalf("%d attempts run, and what runs once has failed", n)
	}
	p.do(act.Act{Kind: act.Retry})
	p.end("web01", sluice.Succeeded)
	if a := p.state.Attempts(job); len(a) != 1 || a[0].Host != "web02" {
		t.Fatalf("%+v", a)
	}
}

// Nobody gets past the host either that runs what is run once after all others, and the others do not wait for it.
func TestAfterIsNotPassedOver(t *testing.T) {
	p := &place{t: t, state: schedule.New(), hosts: []sluice.Host{"web01", "web02"}}
	deploy := sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", After: "web02"}}
	p.apply(job, sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", By: "ann", Targets: p.hosts, Action: deploy,
		Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "rest", Hosts: p.hosts[:1]}, {Name: sluice.AfterStage, Entry: 1, Hosts: p.hosts[1:]}}}}}})
	p.apply(job, sluice.JobStarted{})
	skip := p.act(act.Act{Kind: act.Skip, Hosts: p.hosts[1:]})
	if _, err := skip.Events(p.state, noon); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "web02 cannot be skipped: it runs what this release runs once, after all others") {
		t.Errorf("skipped: %v", err)
	}
	p.decide()
	if a := p.state.Attempts(job); len(a) != 1 || a[0].Host != "web01" {
		t.Fatalf("%+v", a)
	}
	p.end("web01", sluice.Failed)
	if why := p.state.Why(job); len(why) != 1 || why[0].Host != "web02" || why[0].Rule != sluice.RuleSequence || why[0].Text != "rest of all is not done, and it runs what this release runs once after all others" {
		t.Errorf("%+v", why)
	}
	if n := len(p.state.Attempts(job)); n != 0 {
		t.Fatalf("%d attempts run, and the others are not done", n)
	}
	p.do(act.Act{Kind: act.Retire, Hosts: p.hosts[1:]})
	p.do(act.Act{Kind: act.Retry})
	p.end("web01", sluice.Succeeded)
	if i, _ := p.state.Job(job); i.State != schedule.Failed || i.Counts[sluice.Cancelled] != 1 {
		t.Errorf("the job is %s, and what runs once after the others has not: %v", i.State, i.Counts)
	}
	p.do(act.Act{Kind: act.Return, Hosts: p.hosts[1:]})
	p.do(act.Act{Kind: act.Retry})
	p.end("web02", sluice.Succeeded)
	if i, _ := p.state.Job(job); i.State != schedule.Succeeded {
		t.Errorf("the job is %s", i.State)
	}
}

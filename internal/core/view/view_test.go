package view

import (
	"testing"
	"time"

	"sluice"
)

func at(s int) time.Time { return time.Unix(int64(s), 0) }

// story is a job on three hosts in two stages, as far as the events go.
func story(bodies ...sluice.Body) *Job {
	spec := sluice.Job{ID: "000000000001", Targets: []sluice.Host{"a", "b", "c"}, Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{
		{Name: "one", Hosts: []sluice.Host{"a", "b"}}, {Name: "two", Hosts: []sluice.Host{"c"}}}}}}
	events := []sluice.Event{{Seq: 1, Time: at(1), Job: spec.ID, Body: sluice.JobSubmitted{Submitted: spec}}}
	for i, b := range bodies {
		events = append(events, sluice.Event{Seq: uint64(i + 2), Time: at(i + 2), Job: spec.ID, Body: b})
	}
	return Fold(events)
}

func start(h sluice.Host) sluice.TaskStarted { return sluice.TaskStarted{Host: h} }

func end(h sluice.Host, o sluice.Outcome) sluice.TaskFinished {
	return sluice.TaskFinished{Host: h, Outcome: o, DurationMS: 1500}
}

func TestProgress(t *testing.T) {
	j := story(sluice.JobStarted{}, sluice.StageOpened{Track: "t", Stage: "one"}, start("a"), start("b"), end("a", sluice.Succeeded))
	if j.Running != 1 || j.Settled() != 1 || j.Stages[0].Running != 1 || j.Stages[0].Settled() != 1 || j.State() != "running" {
		t.Errorf("%+v", j)
	}
	if task := j.Task("a"); task.Took != 1500*time.Millisecond || !task.At.Equal(at(6)) {
		t.Errorf("%+v", task)
	}
	if !j.Stages[0].Opened.Equal(at(3)) || !j.Stages[1].Opened.IsZero() {
		t.Errorf("%+v", j.Stages)
	}
}

func TestTheTrueOutcomeReplacesUnknown(t *testing.T) {
	j := story(start("a"), end("a", sluice.Unknown), end("a", sluice.Succeeded))
	if j.Counts[sluice.Unknown] != 0 || j.Counts[sluice.Succeeded] != 1 || j.Settled() != 1 {
		t.Errorf("%v", j.Counts)
	}
}

func TestRetriedTasksWaitAgain(t *testing.T) {
	j := story(start("a"), end("a", sluice.Failed), sluice.TaskRetried{Hosts: []sluice.Host{"a", "b", "stranger"}})
	if j.Settled() != 0 || j.Stages[0].Settled() != 0 || j.Task("a").Outcome != "" {
		t.Errorf("%v %+v", j.Counts, j.Task("a"))
	}
	j.Apply(sluice.Event{Time: at(9), Body: start("a")})
	j.Apply(sluice.Event{Time: at(10), Body: end("a", sluice.Succeeded)})
	if j.Settled() != 1 || j.Counts[sluice.Failed] != 0 || j.Counts[sluice.Succeeded] != 1 {
		t.Errorf("%v", j.Counts)
	}
}

func TestHaltAndResume(t *testing.T) {
	j := story(sluice.GateWaiting{Track: "t", Stage: "one", Kind: sluice.GateApproval}, sluice.JobHalted{Reason: "because"})
	if j.State() != "halted" || j.Ended.IsZero() {
		t.Errorf("%s %v", j.State(), j.Ended)
	}
	j.Apply(sluice.Event{Time: at(9), Body: sluice.JobResumed{}})
	if j.State() != "paused" || !j.Ended.IsZero() {
		t.Errorf("%s %v", j.State(), j.Ended)
	}
	j.Apply(sluice.Event{Time: at(9), Body: sluice.GatePassed{Track: "t", Stage: "one", Kind: sluice.GateApproval}})
	if len(j.Gates) != 0 || j.State() != "waiting" {
		t.Errorf("%v", j.Gates)
	}
}

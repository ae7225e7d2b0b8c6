package measure_test

import (
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/measure"
)

func TestSamples(t *testing.T) {
	const job, old sluice.JobID = "000000000001", "000000000002"
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int, id sluice.JobID, b sluice.Body) sluice.Event {
		return sluice.Event{Time: zero.Add(time.Duration(s) * time.Second), Job: id, Body: b}
	}
	is := func(k measure.Kind, s int) measure.Sample {
		return measure.Sample{Kind: k, Took: time.Duration(s) * time.Second}
	}
	var m measure.Meter
	m.Waiting(old, zero.Add(-time.Minute))
	for i, c := range []struct {
		event sluice.Event
		want  []measure.Sample
	}{
		{at(0, "", sluice.HostHeld{}), nil},
		{at(0, job, sluice.JobSubmitted{}), nil},
		{at(1, job, sluice.JobStarted{}), nil},
		{at(2, job, sluice.TaskStarted{}), []measure.Sample{is(measure.FirstStart, 2)}},
		{at(3, job, sluice.TaskStarted{}), nil},
		{at(4, old, sluice.TaskStarted{}), []measure.Sample{is(measure.FirstStart, 64)}},
		{at(5, job, sluice.JobHalting{}), nil},
		{at(6, job, sluice.JobCancelling{}), nil}, // the first wish counts
		{at(9, job, sluice.JobHalted{}), []measure.Sample{is(measure.LastStart, 0), is(measure.Rest, 4)}},
		{at(20, job, sluice.JobResumed{}), nil},
		{at(21, job, sluice.TaskStarted{}), nil},
		{at(22, job, sluice.JobFinished{}), nil}, // nobody asked for it
		{at(30, old, sluice.JobHalting{}), nil},
		{at(31, old, sluice.TaskStarted{}), nil}, // which must not be, and would show
		{at(33, old, sluice.JobHalted{}), []measure.Sample{is(measure.LastStart, 1), is(measure.Rest, 3)}},
		{at(40, "000000000003", sluice.JobHalted{}), nil}, // begun before we looked
	} {
		if got := m.Take(c.event); !slices.Equal(got, c.want) {
			t.Errorf("%d: %s gives %v, want %v", i, c.event.Body.Type(), got, c.want)
		}
	}
}

// TestCommitToLive: hosts are measured when a deploy brings them something that is not older than what they had.
func TestCommitToLive(t *testing.T) {
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(minute int) time.Time { return zero.Add(time.Duration(minute) * time.Minute) }
	// job brings a version to hosts, of which the commit was made at that minute; below 0: it is not known.
	job := func(kind sluice.ActionKind, v string, minute int) *sluice.Job {
		r := &sluice.Release{App: "shop", Env: "prod", Version: v, Commit: &sluice.Commit{ID: "c"}}
		if minute >= 0 {
			r.Commit.Time = at(minute)
		}
		return &sluice.Job{Action: sluice.Action{Kind: kind, Release: r}}
	}
	inst := func(v string) sluice.Installed { return sluice.Installed{Version: v, Manifest: "m" + v} }
	says := func(before, now string) *sluice.Activation {
		return &sluice.Activation{App: "shop", Env: "prod", Before: inst(before), Live: inst(now)}
	}
	var m measure.Meter
	m.Submitted("one", job(sluice.DeployTo, "1", 1))
	m.Submitted("run", &sluice.Job{})
	for id, j := range map[sluice.JobID]*sluice.Job{"two": job(sluice.DeployTo, "2", 10), "back": job(sluice.RollBack, "1", 1), "x": job(sluice.DeployTo, "x", -1)} {
		if got := m.Take(sluice.Event{Time: at(11), Job: id, Body: sluice.JobSubmitted{Submitted: *j}}); got != nil {
			t.Errorf("%v", got)
		}
	}
	m.Take(sluice.Event{Time: at(12), Job: "two", Body: sluice.JobFinished{}}) // what comes is late
	for name, c := range map[string]struct {
		job     sluice.JobID
		outcome sluice.Outcome
		word    *sluice.Activation
		want    int // minutes; -1: nothing is measured
	}{
		"of a job before we looked":   {"one", sluice.Succeeded, says("", "1"), 29},
		"newer":                       {"two", sluice.Succeeded, says("1", "2"), 20},
		"it is not known what it had": {"two", sluice.Succeeded, says("x", "2"), 20},
		"other files of it":           {"two", sluice.Succeeded, &sluice.Activation{App: "shop", Env: "prod", Before: sluice.Installed{Version: "2"}, Live: inst("2")}, 20},
		"it has it":                   {"two", sluice.Succeeded, says("2", "2"), -1},
		"it goes back":                {"one", sluice.Succeeded, says("2", "1"), -1},
		"failed":                      {"two", sluice.Failed, says("1", "2"), -1},
		"not known":                   {"two", sluice.Unknown, nil, -1},
		"says nothing":                {"two", sluice.Succeeded, nil, -1},
		"a rollback":                  {"back", sluice.Succeeded, says("x", "1"), -1},
		"no commit":                   {"x", sluice.Succeeded, says("1", "x"), -1},
		"no release":                  {"run", sluice.Succeeded, nil, -1},
	} {
		var want []measure.Sample
		if c.want >= 0 {
			want = []measure.Sample{{Kind: measure.CommitToLive, Took: time.Duration(c.want) * time.Minute, App: "shop", Env: "prod"}}
		}
		got := m.Take(sluice.Event{Time: at(30), Job: c.job, Body: sluice.TaskFinished{Host: "h", Outcome: c.outcome, Release: c.word}})
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestClocksGoBack(t *testing.T) {
	var m measure.Meter
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m.Waiting("000000000001", now)
	if got := m.Take(sluice.Event{Time: now.Add(-time.Hour), Job: "000000000001", Body: sluice.TaskStarted{}}); len(got) != 1 || got[0].Took != 0 {
		t.Errorf("%v", got)
	}
}

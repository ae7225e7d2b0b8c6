package view_test

import (
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/view"
)

// TestFailuresStandTogether: hosts that failed alike are one failure, though each says its own name, and what ended last
// comes first. Hosts that did well, or that nothing ran on before a cancel, are none.
func TestFailuresStandTogether(t *testing.T) {
	const job = "0123456789ab"
	spec := sluice.Job{ID: job}
	for i := range 8 {
		spec.Targets = append(spec.Targets, sluice.Host(fmt.Sprintf("web%d", i)))
	}
	spec.Tracks = []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: spec.Targets}}}}
	j := view.New()
	j.Apply(sluice.Event{Seq: 1, Job: job, Body: sluice.JobSubmitted{Submitted: spec}})
	seq := uint64(1)
	apply := func(b sluice.Body) {
		seq++
		j.Apply(sluice.Event{Seq: seq, Time: time.Unix(int64(seq), 0), Job: job, Body: b})
	}
	one, kill := 1, 137
	for i, f := range []sluice.TaskFinished{
		{Outcome: sluice.Failed, ExitCode: &one, Reason: "the command ended with 1"},
		{Outcome: sluice.Unreachable, Reason: "web1: no answer", NotStarted: true},
		{Outcome: sluice.Unreachable, Reason: "web2: no answer", NotStarted: true},
		{Outcome: sluice.Failed, ExitCode: &one, Reason: "the command ended with 1"},
		{Outcome: sluice.Succeeded},
		{Outcome: sluice.Failed, ExitCode: &kill, Reason: "pre hook drain ended with 137 (signal KILL)"},
		{Outcome: sluice.Cancelled, NotStarted: true, Reason: "cancelled before it started"},
		{Outcome: sluice.Failed, ExitCode: &one, Reason: "the command ended with 1"},
	} {
		f.Host, f.Attempt = spec.Targets[i], sluice.NewAttemptID(job, i, 1)
		apply(sluice.TaskStarted{Host: f.Host, Attempt: f.Attempt})
		if f.ExitCode != nil {
			step := "command"
			if *f.ExitCode == kill {
				step = "pre/drain"
			}
			apply(sluice.TaskStep{Host: f.Host, Attempt: f.Attempt, Step: step, ExitCode: *f.ExitCode})
		}
		apply(f)
	}
	ends := func(t *view.Task) ([]string, []string, error) {
		if t.Host == "web7" {
			return nil, []string{"the disk is full"}, nil
		}
		return nil, []string{string(t.Host) + ": bad config"}, nil
	}
	list, err := view.Failures(j, ends)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		text := fmt.Sprintf("%s %s %s %q %q", f.Outcome, f.Step, f.Signal, f.Reason, f.Stderr)
		for _, t := range f.Tasks {
			text += " " + string(t.Host)
		}
		got = append(got, text)
	}
	want := []string{
		`failed command  "the command ended with 1" ["the disk is full"] web7`,
		`failed pre/drain KILL "pre hook drain ended with 137 (signal KILL)" ["web5: bad config"] web5`,
		`failed command  "the command ended with 1" ["web3: bad config"] web3 web0`,
		`unreachable contact  "HOST: no answer" ["web2: bad config"] web2 web1`,
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

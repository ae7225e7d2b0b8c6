package view_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/view"
)

// TestAttempts: every attempt on a host stays known, whatever comes after it.
func TestAttempts(t *testing.T) {
	const job = "0123456789ab"
	spec := sluice.Job{ID: job, Targets: []sluice.Host{"web1"}, Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: []sluice.Host{"web1"}}}}}}
	try := func(n int) sluice.AttemptID { return sluice.NewAttemptID(job, 0, n) }
	started := func(n int) sluice.Body { return sluice.TaskStarted{Host: "web1", Attempt: try(n)} }
	ended := func(n int, o sluice.Outcome) sluice.Body {
		return sluice.TaskFinished{Host: "web1", Attempt: try(n), Outcome: o, Reason: string(o) + fmt.Sprint(n)}
	}
	retried := sluice.TaskRetried{Hosts: []sluice.Host{"web1"}}
	for _, c := range []struct {
		name   string
		events []sluice.Body
		want   string
	}{
		{"none", nil, ""},
		{"one runs", []sluice.Body{started(1)}, "1 running"},
		{"one ended", []sluice.Body{started(1), ended(1, sluice.Failed)}, "1 failed"},
		{"waits again", []sluice.Body{started(1), ended(1, sluice.Failed), retried}, "1 failed"},
		{"a second", []sluice.Body{started(1), ended(1, sluice.Failed), retried, started(2), ended(2, sluice.Succeeded)}, "1 failed, 2 succeeded"},
		{"a third runs", []sluice.Body{started(1), ended(1, sluice.Failed), retried, started(2), ended(2, sluice.TimedOut), retried, started(3)}, "1 failed, 2 timed_out, 3 running"},
		{"known late", []sluice.Body{started(1), ended(1, sluice.Unknown), ended(1, sluice.Succeeded)}, "1 succeeded"},
		{"known late, and waits again", []sluice.Body{started(1), ended(1, sluice.Unknown), retried, ended(1, sluice.Failed)}, "1 failed"},
		{"skipped", []sluice.Body{started(1), ended(1, sluice.Failed), sluice.TaskFinished{Host: "web1", Outcome: sluice.Skipped}}, "1 failed"},
		{"withdrawn", []sluice.Body{started(1), sluice.TaskWithdrawn{Host: "web1", Attempt: try(1), Reason: "x"}, started(2), ended(2, sluice.Failed)}, "1 withdrawn, 2 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := view.New()
			j.Apply(sluice.Event{Seq: 1, Job: job, Body: sluice.JobSubmitted{Submitted: spec}})
			for i, b := range c.events {
				j.Apply(sluice.Event{Seq: uint64(i + 2), Time: time.Unix(int64(i+2), 0), Job: job, Body: b})
			}
			var got []string
			for _, a := range j.Task("web1").Attempts() {
				word := string(a.Outcome)
				switch {
				case a.Running:
					word = "running"
				case word == "":
					word = "withdrawn"
				}
				if !a.Running && (a.Ended.IsZero() || a.Outcome != "" && a.Reason != word+fmt.Sprint(a.Number())) || a.Began.IsZero() {
					t.Errorf("%+v", a)
				}
				got = append(got, fmt.Sprint(a.Number(), " ", word))
			}
			if is := strings.Join(got, ", "); is != c.want {
				t.Errorf("%s, want %s", is, c.want)
			}
		})
	}
}

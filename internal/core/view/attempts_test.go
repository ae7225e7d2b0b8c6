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

// TestBalancedOfAnAttempt: what was done at balancers is of the attempt in which it was.
func TestBalancedOfAnAttempt(t *testing.T) {
	id := func(try int) sluice.AttemptID { return sluice.NewAttemptID("0123456789ab", 0, try) }
	out := func(try int, host sluice.Host) sluice.Body {
		return sluice.BalancerChanged{Host: host, Attempt: id(try), Balancer: "web", Pool: "shop", Server: "w1", Wanted: sluice.ServerDraining, State: sluice.ServerDraining}
	}
	job := sluice.Job{ID: "0123456789ab", Targets: []sluice.Host{"web1"}, Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Hosts: []sluice.Host{"web1"}}}}}}
	j := view.New()
	for _, b := range []sluice.Body{sluice.JobSubmitted{Submitted: job}, sluice.TaskStarted{Host: "web1", Attempt: id(1), Track: "t"}, out(1, "web1"), out(1, "other"),
		sluice.TaskFinished{Host: "web1", Attempt: id(1), Outcome: sluice.Failed}, sluice.TaskRetried{Hosts: []sluice.Host{"web1"}},
		sluice.TaskStarted{Host: "web1", Attempt: id(2), Track: "t"}, out(2, "web1"), out(1, "web1"), out(2, "web1")} {
		j.Apply(sluice.Event{Job: "0123456789ab", Body: b})
	}
	all := j.Tasks[0].Attempts()
	if len(all) != 2 || len(all[0].Balanced) != 1 || len(all[1].Balanced) != 2 {
		t.Errorf("%+v", all)
	}
	c := j.Clone()
	j.Apply(sluice.Event{Job: "0123456789ab", Body: out(2, "web1")})
	if len(c.Tasks[0].Balanced) != 2 || len(j.Tasks[0].Balanced) != 3 {
		t.Errorf("%d and %d", len(c.Tasks[0].Balanced), len(j.Tasks[0].Balanced))
	}
}

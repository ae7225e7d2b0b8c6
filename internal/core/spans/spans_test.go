package spans_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/spans"
)

const job sluice.JobID = "0123456789ab"

var zero = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(s int, b sluice.Body) sluice.Event {
	return sluice.Event{Time: zero.Add(time.Duration(s) * time.Second), Job: job, Body: b}
}

func submitted(trace string) sluice.JobSubmitted {
	return sluice.JobSubmitted{Submitted: sluice.Job{Namespace: "prod", By: "ann", Command: "echo CANARY", Trace: trace,
		Action: sluice.Action{Kind: sluice.RunCommand, Shell: "echo CANARY"}, Options: sluice.Options{Env: map[string]string{"PW": "CANARY"}},
		Targets: []sluice.Host{"h1", "h2"}}}
}

func code(n int) *int { return &n }

// tell feeds events and prints the spans.
func tell(t *spans.Tracer, events ...sluice.Event) string {
	var b strings.Builder
	for _, e := range events {
		for _, s := range t.Take(e) {
			fmt.Fprintf(&b, "%s %v-%v in %v: failed %v %q, %v", s.Name, s.Start.Sub(zero), s.End.Sub(zero), s.Parent, s.Failed, s.Reason, s.Attributes)
			for _, m := range s.Marks {
				fmt.Fprintf(&b, " [%s %s]", m.Name, m.Text)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

var story = []sluice.Event{at(0, submitted("")), at(1, sluice.JobStarted{}), at(1, sluice.StageOpened{Track: "all", Stage: "$web"}),
	at(2, sluice.TaskStarted{Host: "h1", Attempt: "0123456789ab-0-1", Track: "all", Stage: "$web"}),
	at(2, sluice.TaskStarted{Host: "h2", Attempt: "0123456789ab-1-1", Track: "all", Stage: "$web"}),
	at(5, sluice.TaskStep{Host: "h1", Attempt: "0123456789ab-0-1", Step: "pre/10-drain", DurationMS: 2500}),
	at(6, sluice.TaskStep{Host: "h1", Attempt: "0123456789ab-0-1", Step: "command", DurationMS: 1000, ExitCode: 3}),
	at(7, sluice.TaskFinished{Host: "h1", Attempt: "0123456789ab-0-1", Outcome: sluice.Failed, ExitCode: code(3), Reason: "CANARY"}),
	at(8, sluice.TaskFinished{Host: "h2", Attempt: "0123456789ab-1-1", Outcome: sluice.Unknown}),
	at(9, sluice.TaskFinished{Host: "h2", Attempt: "0123456789ab-1-1", Outcome: sluice.Succeeded, ExitCode: code(0)}),
	at(9, sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "CANARY"}),
	at(9, sluice.JobHalted{Rule: sluice.RuleOperator}), at(20, sluice.JobResumed{By: "bob"}),
	at(20, sluice.TaskRetried{}), at(21, sluice.TaskFinished{Host: "h1", Outcome: sluice.Skipped}),
	at(22, sluice.JobFinished{Outcome: sluice.Failed, Counts: map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Skipped: 1}})}

func TestAJob(t *testing.T) {
	var tr spans.Tracer
	got := tell(&tr, story...)
	const want = `step pre/10-drain 2.5s-5s in ATTEMPT: failed false "", map[sluice.attempt:0123456789ab-0-1 sluice.exit_code:0 sluice.host:h1 sluice.job:0123456789ab sluice.step:pre/10-drain]
step command 5s-6s in ATTEMPT: failed true "exit status 3", map[sluice.attempt:0123456789ab-0-1 sluice.exit_code:3 sluice.host:h1 sluice.job:0123456789ab sluice.step:command]
attempt 2s-7s in JOB: failed true "failed", map[sluice.attempt:0123456789ab-0-1 sluice.exit_code:3 sluice.host:h1 sluice.job:0123456789ab sluice.outcome:failed sluice.stage:$web sluice.track:all sluice.try:1]
attempt 2s-8s in JOB: failed true "unknown", map[sluice.attempt:0123456789ab-1-1 sluice.host:h2 sluice.job:0123456789ab sluice.outcome:unknown sluice.stage:$web sluice.track:all sluice.try:1]
late outcome 9s-9s in OTHER: failed false "", map[sluice.attempt:0123456789ab-1-1 sluice.exit_code:0 sluice.host:h2 sluice.job:0123456789ab sluice.outcome:succeeded]
job 0s-22s in 0000000000000000: failed true "failed", map[sluice.action:command sluice.by:ann sluice.hosts.skipped:1 sluice.hosts.succeeded:1 sluice.job:0123456789ab sluice.namespace:prod sluice.outcome:failed sluice.targets:2] [job.started ] [stage.opened all $web] [job.halting operator] [job.halted operator] [job.resumed bob] [task.retried ]
`
	ids := map[string]string{}
	var again spans.Tracer
	for _, e := range story {
		for _, s := range again.Take(e) {
			if s.Trace != spans.TraceOf(job) {
				t.Errorf("%s is in the trace %v", s.Name, s.Trace)
			}
			switch s.Name {
			case "attempt":
				if _, is := ids["ATTEMPT"]; is {
					ids["OTHER"] = s.ID.String()
				} else {
					ids["ATTEMPT"] = s.ID.String()
				}
			case "job":
				ids["JOB"] = s.ID.String()
			}
		}
	}
	expect := want
	for name, id := range ids {
		expect = strings.ReplaceAll(expect, name, id)
	}
	if got != expect {
		t.Errorf("got\n%s\nwant\n%s", got, expect)
	}
	if tr.Open() != 0 {
		t.Errorf("%d jobs are still followed", tr.Open())
	}
}

// TestNothingSecret: neither environment nor output nor reasons, and the command only where it is asked for.
func TestNothingSecret(t *testing.T) {
	if got := tell(&spans.Tracer{}, story...); strings.Contains(got, "CANARY") {
		t.Errorf("%s", got)
	}
	if got := tell(&spans.Tracer{Commands: true}, story...); strings.Count(got, "CANARY") != 1 || !strings.Contains(got, "sluice.command:echo CANARY") {
		t.Errorf("%s", got)
	}
}

func TestParents(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var tr spans.Tracer
	list := tr.Take(at(0, submitted(parent)))
	list = append(list, tr.Take(at(1, sluice.JobFinished{Outcome: sluice.Succeeded}))...)
	if len(list) != 1 || list[0].Trace.String() != "0af7651916cd43dd8448eb211c80319c" || list[0].Parent.String() != "b7ad6b7169203331" {
		t.Errorf("%+v", list)
	}
	for _, bad := range []string{"", "00", strings.ToUpper(parent), "01" + parent[2:], parent + "-x", strings.Replace(parent, "0af7", "0xf7", 1),
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz", "00-0af7651916cd43dd8448eb211c8031-9cb7ad6b7169203331-0001"} {
		if p, ok := spans.ParseParent(bad); ok {
			t.Errorf("%q is read as %v", bad, p)
		}
	}
}

func FuzzParseParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := spans.ParseParent(s); ok && s[:52] != "00-"+p.Trace.String()+"-"+p.Span.String() {
			t.Errorf("%q is read as %v %v", s, p.Trace, p.Span)
		}
	})
}

// TestWhatWasNotSeenMakesNone: of a job that began before we looked there is nothing to say.
func TestWhatWasNotSeenMakesNone(t *testing.T) {
	if got := tell(&spans.Tracer{}, story[1:]...); got != "" {
		t.Errorf("%s", got)
	}
}

package validate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
)

func TestWhere(t *testing.T) {
	f := &sluice.Fleet{HostSSH: map[sluice.Host]sluice.SSH{"probe2": {User: "p"}}}
	p := sluice.Plan{Tracks: []sluice.Track{{Stages: []sluice.Stage{{Name: sluice.BeforeStart}, {Hosts: []sluice.Host{"canary", "h1"}}}}}}
	resolve := func(text string) ([]sluice.Host, error) {
		if text == "$probe" {
			return []sluice.Host{"probe1", "probe2"}, nil
		}
		return nil, errors.New("nothing is known of " + text)
	}
	for on, c := range map[string]struct {
		hosts []sluice.Host
		gone  sluice.Host
		err   string
	}{
		"first":   {hosts: []sluice.Host{"canary"}},
		"$probe":  {hosts: []sluice.Host{"probe1", "probe2"}},
		"$probe ": {err: `deploy.validate.on, "$probe ", is not to be had in this fleet`},
		"h7":      {err: "nothing is known of h7"},
	} {
		v, err := validate.Where(&sluice.Validate{On: on}, f, p, resolve, func(h sluice.Host) bool { return false })
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || sluice.CodeOf(err) != sluice.Config {
				t.Errorf("%s: %v", on, err)
			}
		case err != nil || !slices.Equal(v.Hosts, c.hosts):
			t.Errorf("%s: %+v, %v", on, v, err)
		}
	}
	v, err := validate.Where(&sluice.Validate{On: "$probe"}, f, p, resolve, func(h sluice.Host) bool { return h == "probe1" })
	if err != nil || !slices.Equal(v.Hosts, []sluice.Host{"probe2"}) || v.HostSSH["probe2"].User != "p" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := validate.Where(&sluice.Validate{On: "$probe"}, f, p, resolve, func(sluice.Host) bool { return true }); err == nil || !strings.Contains(err.Error(), "are retired") {
		t.Error(err)
	}
}

func TestDue(t *testing.T) {
	deploy := &sluice.Job{Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{Validating: &sluice.Validating{}, Deploy: sluice.Deploy{Validate: &sluice.Validate{}}}}}
	some := map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Skipped: 1}
	for why, i := range map[string]schedule.Info{
		"":                                 {Spec: deploy, State: schedule.Succeeded, Counts: some},
		"the deploy failed":                {Spec: deploy, State: schedule.Failed, Counts: some},
		"the deploy was cancelled":         {Spec: deploy, State: schedule.Cancelled, Counts: some},
		"the deploy was halted":            {Spec: deploy, State: schedule.Halted, Counts: some},
		"the deploy is not over":           {Spec: deploy, State: schedule.Running, Counts: some},
		"no host has it: all were skipped": {Spec: deploy, State: schedule.Succeeded, Counts: map[sluice.Outcome]int{sluice.Skipped: 2}},
	} {
		if due, got := validate.Due(i); due != (why == "") || got != why {
			t.Errorf("%q: %v, %q", why, due, got)
		}
	}
	if due, why := validate.Due(schedule.Info{Spec: &sluice.Job{}, State: schedule.Succeeded, Counts: some}); due || why != "" {
		t.Errorf("what nobody asked for: %v, %q", due, why)
	}
}

// TestResult: nothing is called validated that was not, nor failed of which nothing is known.
func TestResult(t *testing.T) {
	code := func(n int) *int { return &n }
	host := func(h sluice.Host, o sluice.Outcome, exit *int, reason string) sluice.Body {
		return sluice.TaskFinished{Host: h, Outcome: o, ExitCode: exit, Reason: reason}
	}
	ends := func(o sluice.Outcome) sluice.Body { return sluice.JobFinished{Outcome: o} }
	for name, c := range map[string]struct {
		bodies []sluice.Body
		want   validate.State
		reason string
	}{
		"begins":              {nil, validate.Running, ""},
		"goes on":             {[]sluice.Body{host("a", sluice.Succeeded, code(0), "")}, validate.Running, ""},
		"succeeds":            {[]sluice.Body{host("a", sluice.Succeeded, code(0), ""), ends(sluice.Succeeded)}, validate.Validated, ""},
		"one is skipped":      {[]sluice.Body{host("a", sluice.Succeeded, code(0), ""), host("b", sluice.Skipped, nil, ""), ends(sluice.Succeeded)}, validate.Validated, ""},
		"all are skipped":     {[]sluice.Body{host("a", sluice.Skipped, nil, ""), ends(sluice.Succeeded)}, validate.NotRun, "all its hosts were skipped"},
		"fails":               {[]sluice.Body{host("a", sluice.Succeeded, code(0), ""), host("b", sluice.Failed, code(3), "ended with 3"), ends(sluice.Failed)}, validate.Failed, "b: ended with 3"},
		"takes too long":      {[]sluice.Body{host("a", sluice.TimedOut, nil, ""), ends(sluice.Failed)}, validate.Failed, "a: timed_out"},
		"no contact":          {[]sluice.Body{host("a", sluice.Unreachable, nil, "no route"), ends(sluice.Failed)}, validate.NotRun, "a: no route"},
		"not known":           {[]sluice.Body{host("a", sluice.Unknown, nil, "the link broke"), ends(sluice.Failed)}, validate.NotRun, "a: the link broke"},
		"could not be run":    {[]sluice.Body{host("a", sluice.Failed, nil, "no shell"), ends(sluice.Failed)}, validate.NotRun, "a: no shell"},
		"cancelled":           {[]sluice.Body{sluice.JobCancelling{By: "ann", Reason: "no time"}, host("a", sluice.Cancelled, nil, ""), ends(sluice.Cancelled)}, validate.NotRun, "cancelled by ann: no time"},
		"lacks secrets":       {[]sluice.Body{sluice.JobHalted{Rule: sluice.RuleSecrets, Reason: "none"}}, validate.NotRun, "job v is halted: secrets: none"},
		"is resumed":          {[]sluice.Body{sluice.JobHalted{Rule: sluice.RuleSecrets, Reason: "none"}, sluice.JobResumed{}}, validate.Running, ""},
		"is tried once more":  {[]sluice.Body{host("a", sluice.Failed, code(3), ""), ends(sluice.Failed), sluice.JobResumed{}, host("a", sluice.Succeeded, code(0), ""), ends(sluice.Succeeded)}, validate.Validated, ""},
		"fails before a stop": {[]sluice.Body{host("a", sluice.Failed, code(3), "3"), sluice.JobCancelling{By: "ann"}, ends(sluice.Cancelled)}, validate.Failed, "a: 3"},
	} {
		r := &validate.Record{}
		for _, b := range append([]sluice.Body{sluice.JobSubmitted{}}, c.bodies...) {
			r.Apply(sluice.Event{Job: "v", Body: b})
		}
		if got := r.Result(); got != (validate.Result{State: c.want, Job: "v", Reason: c.reason}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestACopyStaysAsItIs: lists have copies while the log is read on.
func TestACopyStaysAsItIs(t *testing.T) {
	r := validate.Of([]sluice.Event{{Job: "v", Body: sluice.JobSubmitted{}}, {Job: "v", Body: sluice.TaskFinished{Host: "a", Outcome: sluice.Succeeded}},
		{Job: "v", Body: sluice.JobFinished{Outcome: sluice.Succeeded}}})
	before := *r
	r.Apply(sluice.Event{Job: "v", Body: sluice.TaskFinished{Host: "a", Outcome: sluice.Failed}})
	if before.Result().State != validate.Validated {
		t.Errorf("%+v", before.Result())
	}
}

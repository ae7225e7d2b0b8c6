package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestListIsWhatLookingAtAllGives: pages of a list, one after the other, are the jobs that fit, newest first and each once;
// also from a snapshot, in which jobs that are over are packed, and with a clock that is set back.
func TestListIsWhatLookingAtAllGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				w.submit()
			case 2:
				w.end(w.running)
			case 3:
				w.control()
			case 4:
				w.now = w.now.Add(time.Duration(rapid.IntRange(-3, 5).Draw(t, "minutes")) * time.Minute)
			case 5:
				w.operator()
			}
			w.decide(w.drivers[0])
		}
		s := schedule.New()
		apply(t, s, w.log)
		if rapid.Bool().Draw(t, "from a snapshot") {
			data, err := s.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if s, err = schedule.Restore(data); err != nil {
				t.Fatal(err)
			}
		}
		all := s.Jobs()
		q := schedule.Query{Most: rapid.IntRange(0, 3).Draw(t, "most")}
		if rapid.Bool().Draw(t, "by state") {
			q.States = rapid.SliceOfN(rapid.SampledFrom([]schedule.JobState{schedule.Running, schedule.Halted, schedule.Succeeded, schedule.Failed, schedule.Cancelled, schedule.Waiting}), 1, 3).Draw(t, "states")
		}
		if rapid.Bool().Draw(t, "by host") {
			q.Hosts = map[sluice.Host]bool{rapid.SampledFrom(w.fleet.Hosts).Draw(t, "host"): true}
		}
		if rapid.Bool().Draw(t, "may see") {
			hidden := rapid.SampledFrom(w.fleet.Hosts).Draw(t, "hidden")
			q.May = func(h sluice.Host) bool { return h != hidden }
		}
		if rapid.Bool().Draw(t, "since") && len(all) > 0 {
			q.Since = rapid.SampledFrom(all).Draw(t, "first").Submitted
		}
		if rapid.Bool().Draw(t, "text") && len(all) > 0 {
			q.Text = strings.ToUpper(string(rapid.SampledFrom(all).Draw(t, "named").Spec.ID[:3]))
		}
		var want []sluice.JobID
		slices.SortFunc(all, func(a, b schedule.Info) int { return a.Mark().Compare(b.Mark()) })
		for _, i := range all {
			state := i.State
			if state == schedule.Halting {
				state = schedule.Running
			}
			has := func(h sluice.Host) bool { return q.Hosts[h] }
			hides := func(h sluice.Host) bool { return !q.May(h) }
			text := strings.ToLower(q.Text)
			if len(q.States) > 0 && !slices.Contains(q.States, state) || q.Hosts != nil && !slices.ContainsFunc(i.Spec.Targets, has) ||
				q.May != nil && slices.ContainsFunc(i.Spec.Targets, hides) || i.Submitted.Before(q.Since) ||
				!strings.Contains(string(i.Spec.ID), text) && !strings.Contains(strings.ToLower(i.Spec.Command), text) &&
					(i.Halted == nil || !strings.Contains(strings.ToLower(i.Halted.Reason), text)) {
				continue
			}
			want = append(want, i.Spec.ID)
		}
		var got []sluice.JobID
		for {
			page := s.List(q)
			for _, i := range page {
				got = append(got, i.Spec.ID)
				whole, _ := s.Job(i.Spec.ID)
				if i.Targets != len(whole.Spec.Targets) || fmt.Sprint(i.Counts) != fmt.Sprint(whole.Counts) || i.State != whole.State ||
					i.Spec.Command != whole.Spec.Command || i.Spec.Targets != nil || i.Spec.Tracks != nil {
					t.Fatalf("listed %+v, it is %+v", i, whole)
				}
				over := i.State == schedule.Succeeded || i.State == schedule.Failed || i.State == schedule.Cancelled
				if (over || i.State == schedule.Halted) == i.Ended.IsZero() {
					t.Fatalf("%s: ended %v", i.State, i.Ended)
				}
				if quiet := over || i.State == schedule.Running; quiet != (i.Why == "") {
					t.Fatalf("%s: why it does not go on: %q", i.State, i.Why)
				}
			}
			if q.Most == 0 || len(page) == 0 {
				break
			}
			m := page[len(page)-1].Mark()
			q.After = &m
		}
		if !slices.Equal(got, want) {
			t.Fatalf("listed %v, want %v", got, want)
		}
	})
}

// TestWhyInOneLine: what keeps a job that waits from going on is said with the hosts that are in the way.
func TestWhyInOneLine(t *testing.T) {
	s := schedule.New()
	at := time.Unix(1e9, 0).UTC()
	hosts := []sluice.Host{"a", "b", "c", "d", "e"}
	rules, err := sluice.NewRules(hosts, []sluice.Constraint{{Name: "$app", Groups: []sluice.Group{{Name: "$app", Limit: sluice.Count(1), Members: hosts}}}})
	if err != nil {
		t.Fatal(err)
	}
	job := func(id sluice.JobID, targets ...sluice.Host) sluice.Event {
		return sluice.Event{Time: at, Job: id, Body: sluice.JobSubmitted{Submitted: sluice.Job{ID: id, Command: "true", Targets: targets, Rules: rules.Digest,
			Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "first", Hosts: targets[:1], Gate: sluice.Gate{Approve: true}}, {Name: "rest", Hosts: targets[1:]}}}}}}}
	}
	one, two := sluice.JobID("000000000001"), sluice.JobID("000000000002")
	says := func(id sluice.JobID, want string) {
		t.Helper()
		i, _, ok := s.Listed(id, schedule.Query{})
		if !ok || i.Why != want {
			t.Errorf("%s: %q, want %q", i.State, i.Why, want)
		}
	}
	apply(t, s, []sluice.Event{{Time: at, Body: sluice.RulesApplied{Rules: rules}}, job(one, "a", "b"), job(two, "c", "d")})
	says(one, "nobody has taken it up yet")
	apply(t, s, []sluice.Event{{Time: at, Job: one, Body: sluice.JobStarted{}}, {Time: at, Job: two, Body: sluice.JobStarted{}}, {Time: at, Job: one, Body: sluice.StageOpened{Track: "all", Stage: "first"}},
		{Time: at, Job: two, Body: sluice.StageOpened{Track: "all", Stage: "first"}},
		{Time: at, Body: sluice.HostHeld{Host: "e", By: "ann", Reason: "disk"}}})
	says(two, "$app has no room: 1 of 5 hosts may be out, 1 are: e (held)")
	a := sluice.NewAttemptID(one, 0, 1)
	apply(t, s, []sluice.Event{{Time: at, Body: sluice.HostReleased{Host: "e"}}, {Time: at, Job: one, Body: sluice.TaskStarted{Host: "a", Attempt: a, Track: "all", Stage: "first"}}})
	says(one, "")
	says(two, "$app has no room: 1 of 5 hosts may be out, 1 are: a (running)")
	apply(t, s, []sluice.Event{{Time: at, Job: one, Body: sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "enough", By: "ann"}}})
	says(one, "it is being halted: enough; 1 still run")
	apply(t, s, []sluice.Event{{Time: at, Job: one, Body: sluice.TaskFinished{Host: "a", Attempt: a, Outcome: sluice.Succeeded}},
		{Time: at, Job: one, Body: sluice.JobHalted{Rule: sluice.RuleOperator, Reason: "enough", Generation: 1}}})
	says(one, "enough")
	apply(t, s, []sluice.Event{{Time: at, Job: one, Body: sluice.JobResumed{By: "ann", Generation: 2}},
		{Time: at, Job: one, Body: sluice.GateWaiting{Track: "all", Stage: "first", Index: 0, Kind: sluice.GateApproval}}})
	says(one, "first waits for approval")
	apply(t, s, []sluice.Event{{Time: at, Job: one, Body: sluice.JobFinished{Outcome: sluice.Cancelled}}})
	says(one, "")
}

package conform

import (
	"reflect"
	"slices"
	"testing"

	"sluice"

	"pgregory.net/rapid"
)

// bodies are one event of each kind, with every field that has a form of its own.
func bodies(t *testing.T) []sluice.Event {
	t.Helper()
	hosts := []sluice.Host{"web1", "web2", "db1"}
	limit := sluice.Percent(10)
	rules, err := sluice.NewRules(hosts, []sluice.Constraint{{Name: "$app", Groups: []sluice.Group{
		{Name: "$app.web", Limit: limit, Members: hosts[:2]}, {Name: "$app.db", Limit: limit, Members: hosts[2:]}}}})
	if err != nil {
		t.Fatal(err)
	}
	job := sluice.Job{ID: jobA, Namespace: prod, By: "ann@laptop", Expression: "$web", Command: "echo '\x00<é>'",
		Action: sluice.Action{Kind: sluice.RunCommand, Shell: "echo '\x00<é>'"}, Targets: hosts, Rules: rules.Digest,
		Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "$canary", Hosts: hosts[1:2]},
			{Name: "", Entry: 1, Hosts: []sluice.Host{"web1", "db1"}, MaxFailures: 1}}}}}
	code := 3
	a := sluice.NewAttemptID(jobA, 1, 1)
	ofJob := func(b sluice.Body) sluice.Event { return sluice.Event{Time: when, Job: jobA, Body: b} }
	ofNamespace := func(b sluice.Body) sluice.Event { return sluice.Event{Time: when, Body: b} }
	return []sluice.Event{
		ofNamespace(sluice.RulesApplied{Rules: rules, By: "ann"}),
		ofJob(sluice.JobSubmitted{Submitted: job}),
		ofJob(sluice.JobStarted{Driver: "ann@laptop pid 1"}),
		ofJob(sluice.StageOpened{Track: "t", Stage: "$canary"}),
		ofJob(sluice.GateWaiting{Track: "t", Stage: "$canary", Kind: sluice.GatePause, Until: when}),
		ofJob(sluice.GatePassed{Track: "t", Stage: "$canary", Kind: sluice.GateApproval, By: "bob"}),
		ofJob(sluice.TaskStarted{Host: "web2", Attempt: a, Track: "t", Stage: "$canary"}),
		ofJob(sluice.TaskStep{Host: "web2", Attempt: a, Step: "pre/drain", ExitCode: 255, DurationMS: 12}),
		ofJob(sluice.BalancerChanged{Host: "web2", Attempt: a, Balancer: "web", Pool: "shop", Server: "web2:80", Wanted: sluice.ServerDraining, Before: sluice.ServerUp,
			State: sluice.ServerMaintenance, Cut: -1, WaitedMS: 30_000}),
		ofJob(sluice.TaskFinished{Host: "web2", Attempt: a, Outcome: sluice.Failed, ExitCode: &code, Truncated: []string{"stdout"}, Leftovers: []int{1, 2}}),
		ofJob(sluice.TaskRetried{Hosts: hosts[1:2], By: "ann"}),
		ofJob(sluice.JobHalting{Rule: sluice.RuleBudget, Reason: "too many", Kill: true, Request: "r1"}),
		ofJob(sluice.JobHalted{Rule: sluice.RuleConstraint, Constraint: "$app", Group: "$app.web", Holders: hosts[1:2], Generation: 1}),
		ofJob(sluice.JobResumed{By: "ann", Generation: 1, MaxFailures: &limit}),
		ofJob(sluice.JobCancelling{By: "ann"}),
		ofJob(sluice.JobFinished{Outcome: sluice.Failed, Counts: map[sluice.Outcome]int{sluice.Failed: 1, sluice.Succeeded: 2}}),
		ofNamespace(sluice.BalancerAsked{Wanted: sluice.ServerUp, Seats: []sluice.BalancerSeat{{Balancer: "web", Pool: "shop", Server: "web2"}}, Reason: "<mended>", By: "ann"}),
		ofNamespace(sluice.BalancerChanged{Balancer: "web", Pool: "shop", Server: "web2", Wanted: sluice.ServerUp, Before: sluice.ServerDraining, State: sluice.ServerDown,
			WaitedMS: 120_000, Error: "web2 in shop is down", By: "ann"}),
		ofNamespace(sluice.HostHeld{Host: "web1", Reason: "disk", By: "ann"}),
		ofNamespace(sluice.HostReleased{Host: "web1", Reason: "new disk", By: "ann"}),
		ofNamespace(sluice.HostRetired{Host: "db1", Reason: "sold", By: "ann"}),
		ofNamespace(sluice.HostReturned{Host: "db1", Reason: "bought", By: "ann"}),
		ofNamespace(sluice.PrincipalAdded{Principal: "eve", Again: true, By: "ann"}),
		ofNamespace(sluice.PrincipalRemoved{Principal: "eve", By: "ann"}),
		ofNamespace(sluice.RoleDefined{Role: "night", May: []sluice.Right{sluice.SeeJobs, sluice.HaltJob}, By: "ann"}),
		ofNamespace(sluice.GrantGiven{Grant: sluice.Grant{Principal: "bob", Role: "night", Namespace: prod, Tags: []sluice.Tag{"app.web"}}, By: "ann"}),
		ofNamespace(sluice.GrantTaken{Grant: sluice.Grant{Principal: "bob", Role: "night"}, By: "ann"}),
		ofNamespace(sluice.TokenMade{Token: sluice.Token{ID: "t1", Principal: "bob", Digest: "00ff", Label: "<ci>", Expires: when,
			Only: []sluice.Right{sluice.SeeJobs}, Namespace: prod}, By: "ann"}),
		ofNamespace(sluice.TokenMade{Token: sluice.Token{ID: "t2", Principal: "bob", Digest: "00fe", Expires: when, Parent: "t1", Kind: sluice.BySession}, By: "bob"}),
		ofNamespace(sluice.TokenRevoked{ID: "t2", Ended: "signed out", By: "bob"}),
		ofNamespace(sluice.TokenRevoked{ID: "t1", By: "ann"}),
		ofNamespace(sluice.AccessNoted{Principal: "bob", Token: "t1", Right: sluice.SeeOutput, Namespace: prod, What: "GET /", Refused: "no", From: "::1", Times: 2, Request: "r1"}),
	}
}

func logBodies(t *testing.T, l sluice.Log) {
	want := bodies(t)
	appendTo(t, l, prod, want...)
	for i := range want {
		want[i].Seq = uint64(i) + 1
	}
	got := read(t, l, prod, 0)
	sameEvents(t, got, want)
	for i := range min(len(got), len(want)) {
		if g, w := reflect.TypeOf(got[i].Body), reflect.TypeOf(want[i].Body); g != w {
			t.Errorf("event %d came back as %v, not %v", i, g, w)
		}
	}
}

// tomorrow is an event of a version that is not written yet.
type tomorrow struct {
	Colour string         `json:"colour"`
	Deep   map[string]any `json:"deep"`
}

func (tomorrow) Type() string { return "moon.rose" }

func logUnknownBodies(t *testing.T, l sluice.Log) {
	e := sluice.Event{Time: when, Job: jobA, Body: tomorrow{"<red>", map[string]any{"a": []any{1.5, nil}}}}
	appendTo(t, l, prod, held("h1"), e)
	got := read(t, l, prod, 1)
	sameEvents(t, got, []sluice.Event{at(2, e)})
	if len(got) != 1 {
		return
	}
	if u, ok := got[0].Body.(sluice.UnknownBody); !ok || u.TypeName != "moon.rose" {
		t.Errorf("came back as %T %v", got[0].Body, got[0].Body)
	}
	sameEvents(t, readJob(t, l, prod, jobA), got)

	// What was read can be written to the same place of another namespace, as when a log is copied.
	appendTo(t, l, lab, held("h1"), got[0])
	sameEvents(t, read(t, l, lab, 1), got)
}

func logNoSharedMemory(t *testing.T, l sluice.Log) {
	hosts := []sluice.Host{"web1", "web2"}
	appendTo(t, l, prod, sluice.Event{Time: when, Job: jobA, Body: sluice.TaskRetried{Hosts: hosts, By: "ann"}})
	hosts[0] = "changed"
	first := read(t, l, prod, 0)
	first[0].Body.(sluice.TaskRetried).Hosts[1] = "changed"
	update(t, l, prod, 0, func(tail []sluice.Event) ([]sluice.Event, error) {
		tail[0].Body.(sluice.TaskRetried).Hosts[1] = "changed"
		return nil, nil
	})
	readJob(t, l, prod, jobA)[0].Body.(sluice.TaskRetried).Hosts[1] = "changed"
	if got := read(t, l, prod, 0)[0].Body.(sluice.TaskRetried).Hosts; !slices.Equal(got, []sluice.Host{"web1", "web2"}) {
		t.Errorf("what was appended can be changed from outside: %v", got)
	}
}

// logModel does the same to a log and to a plain slice.
func logModel(t *testing.T, open func(t *testing.T) sluice.Log) {
	l := open(t)
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		// A new namespace instead of a new log: opening a real one costs more than the test.
		rounds++
		ns := sluice.Namespace("ns-" + string(rune('a'+rounds%26)) + rapid.StringMatching(`[a-z0-9]{12}`).Draw(rt, "namespace"))
		model := read(t, l, ns, 0)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				after := rapid.IntRange(0, len(model)).Draw(rt, "after")
				n := rapid.IntRange(0, 5).Draw(rt, "events")
				var events []sluice.Event
				for range n {
					events = append(events, rapid.SampledFrom([]sluice.Event{held("h"), started(jobA), started(jobB)}).Draw(rt, "event"))
				}
				head := update(t, l, ns, uint64(after), func(tail []sluice.Event) ([]sluice.Event, error) {
					sameEvents(t, tail, model[after:])
					return events, nil
				})
				model = append(model, events...)
				if head != uint64(len(model)) {
					rt.Fatalf("head %d, want %d", head, len(model))
				}
			},
			"read": func(rt *rapid.T) {
				after := rapid.IntRange(0, len(model)+2).Draw(rt, "after")
				limit := rapid.IntRange(0, 20).Draw(rt, "limit")
				got, err := l.Read(t.Context(), ns, uint64(after), limit)
				if err != nil {
					rt.Fatal(err)
				}
				want := model[min(after, len(model)):]
				sameEvents(t, got, want[:min(limit, len(want))])
			},
			"read job": func(rt *rapid.T) {
				var want []sluice.Event
				for _, e := range model {
					if e.Job == jobB {
						want = append(want, e)
					}
				}
				sameEvents(t, readJob(t, l, ns, jobB), want)
			},
			"": func(rt *rapid.T) {
				for i, e := range model {
					if e.Seq != uint64(i)+1 {
						rt.Fatalf("event %d has the number %d", i+1, e.Seq)
					}
				}
				if t.Failed() {
					rt.FailNow()
				}
			},
		})
	})
}

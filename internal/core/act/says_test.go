package act_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

const job sluice.JobID = "000000000001"

// place is a namespace of n hosts in one group of which two may be out. A job wants all of them, in two stages with a gate
// between: the first host, then the others.
type place struct {
	t     *testing.T
	state *schedule.State
	hosts []sluice.Host
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func newPlace(t *testing.T, n int) *place {
	p := &place{t: t, state: schedule.New()}
	for i := range n {
		p.hosts = append(p.hosts, sluice.Host(fmt.Sprintf("web%02d", i+1)))
	}
	rules, err := sluice.NewRules(p.hosts, []sluice.Constraint{{Name: "$colo", Groups: []sluice.Group{{Name: "$colo.north", Limit: sluice.Count(2), Members: p.hosts}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.apply("", sluice.RulesApplied{Rules: rules})
	p.apply(job, sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", By: "ann", Targets: p.hosts, Rules: rules.Digest,
		Tracks: []sluice.Track{{Name: "rollout", Stages: []sluice.Stage{{Name: "canary", Hosts: p.hosts[:1], Gate: sluice.Gate{Approve: true}},
			{Name: "rest", Entry: 1, Hosts: p.hosts[1:]}}}}}})
	p.apply(job, sluice.JobStarted{})
	p.decide()
	return p
}

func yes(sluice.JobID) bool { return true }

func (p *place) apply(id sluice.JobID, b sluice.Body) {
	p.t.Helper()
	if err := p.state.Apply(sluice.Event{Time: noon, Job: id, Body: b}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) decide() { p.state.Decide(schedule.Input{Now: noon, Owns: yes, Driven: yes}) }

// end lets the attempt on a host end.
func (p *place) end(h sluice.Host, o sluice.Outcome) {
	p.t.Helper()
	for _, a := range p.state.Attempts(job) {
		if a.Host == h {
			p.apply(job, sluice.TaskFinished{Host: h, Attempt: a.ID, Outcome: o})
			p.decide()
			return
		}
	}
	p.t.Fatalf("nothing runs on %s", h)
}

func (p *place) do(a act.Act) {
	p.t.Helper()
	for _, e := range p.must(p.act(a).Events(p.state, noon)) {
		p.apply(e.Job, e.Body)
	}
	p.decide()
}

func (p *place) must(events []sluice.Event, err error) []sluice.Event {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	return events
}

func (p *place) act(a act.Act) act.Act {
	if !a.Kind.OnHosts() {
		a.Job = job
	}
	a.By, a.Reason, a.Digest = "olga", "r", func(*sluice.Job) (string, error) { return "sha256:0", nil }
	return a
}

func (p *place) foresee(a act.Act) act.Effect {
	p.t.Helper()
	data, err := p.state.Snapshot()
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := schedule.Restore(data)
	if err != nil {
		p.t.Fatal(err)
	}
	e, err := act.Foresee(s, p.act(a), schedule.Input{Now: noon, Driven: yes})
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

func (p *place) says(a act.Act, want ...string) {
	p.t.Helper()
	if got := p.foresee(a).Says(); !reflect.DeepEqual(got, want) {
		p.t.Errorf("%s says\n%s\nand not\n%s", a.Kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSays is the way of a job, and at each turn what somebody would read who is about to do something to it.
func TestSays(t *testing.T) {
	p := newPlace(t, 5) // web01 runs
	p.says(act.Act{Kind: act.Halt}, "Nothing more starts.", "web01 runs, and goes on to its own end.", "Then the job is halted.")
	p.says(act.Act{Kind: act.Cancel}, "What runs on web01 is killed.",
		"What is killed in the middle counts as out of service until it is tried again or released.", "4 hosts never start: web[02-05].", "Then the job ends.")
	p.says(act.Act{Kind: act.Resume}, "The job goes on already: nothing changes.")
	p.says(act.Act{Kind: act.Hold, Hosts: []sluice.Host{"web01"}},
		"Nothing starts on web01 before it is released, and it counts as out of service.", "What runs on web01 goes on.")

	p.end("web01", sluice.Succeeded) // the gate waits
	p.says(act.Act{Kind: act.Approve}, "The gate behind canary opens.", "2 hosts start at once: web02, web03.", "2 hosts wait: $colo.north has room for 2.")
	p.do(act.Act{Kind: act.Hold, Hosts: []sluice.Host{"web05"}})
	p.says(act.Act{Kind: act.Approve}, "The gate behind canary opens.", "web02 starts at once.", "2 hosts wait: $colo.north has room for 1.",
		"web05 waits: olga holds the host: r (web05).")

	p.do(act.Act{Kind: act.Approve}) // web02 runs
	p.says(act.Act{Kind: act.Release, Hosts: []sluice.Host{"web05"}}, "web05 counts as in service again.", "Job 000000000001 starts on 1 host at once: web03.")
	p.end("web02", sluice.Unknown) // no room any more
	p.says(act.Act{Kind: act.Settle}, "web02 is asked how its command ended.", "Nothing starts.")
	p.says(act.Act{Kind: act.Release, Hosts: []sluice.Host{"web02"}}, "web02 counts as in service again.",
		"How the command on web02 ended is not known, and it may still run: it is given up.")
	p.says(act.Act{Kind: act.Resume}, "web02 is asked how its command ended.", "Nothing starts at once.",
		"2 hosts wait: $colo.north has no room: 2 of 5 hosts may be out, 2 are (web02, web05).", "web05 waits: olga holds the host: r (web05).")
	p.end("web02", sluice.Failed)
	p.says(act.Act{Kind: act.Resume}, "Nothing starts at once.",
		"The job is halted at once: $colo.north has no room: 2 of 5 hosts may be out, 2 are (web02, web05).")
	p.says(act.Act{Kind: act.Retry}, "web02 is to be tried again.", "web02 starts at once.", "2 hosts wait: $colo.north has room for 1.",
		"web05 waits: olga holds the host: r (web05).")
	p.says(act.Act{Kind: act.Skip, Hosts: []sluice.Host{"web03", "web04"}}, "The job need not run on 2 hosts: web03, web04.",
		"That frees no place: what is out of service stays so until it is released.", "Nothing starts at once.",
		"web05 waits: olga holds the host: r (web05).")
	p.says(act.Act{Kind: act.Retire, Hosts: []sluice.Host{"web05"}}, "web05 is gone for good: it is no target any more, and counts in no constraint.")
	p.says(act.Act{Kind: act.Cancel}, "3 hosts never start: web[03-05].", "The job ends at once: cancelled.")
}

// TestNamesOfMany: of many hosts a few are named.
func TestNamesOfMany(t *testing.T) {
	p := newPlace(t, 2000)
	says := p.foresee(act.Act{Kind: act.Cancel}).Says()
	if want := "1999 hosts never start: web02, web03, web04, web05, web06 and 1994 more."; len(says) < 3 || says[2] != want {
		t.Errorf("%q", says)
	}
}

// TestHaltsRestOnNothing: a halt is done whatever came between, and nobody is asked twice about one.
func TestHaltsRestOnNothing(t *testing.T) {
	p := newPlace(t, 3)
	e := p.foresee(act.Act{Kind: act.Halt})
	if e.Seen != "" || e.Touches() != 0 {
		t.Errorf("seen %q, touches %d", e.Seen, e.Touches())
	}
	a := p.act(act.Act{Kind: act.Halt})
	a.Seen = p.foresee(act.Act{Kind: act.Cancel}).Seen
	p.end("web01", sluice.Succeeded)
	p.must(a.Events(p.state, noon))
}

// TestApprovalRestsOnWhatFailed: whoever approves has seen how many failed.
func TestApprovalRestsOnWhatFailed(t *testing.T) {
	p := newPlace(t, 3)
	p.end("web01", sluice.Succeeded)
	a := p.act(act.Act{Kind: act.Approve})
	a.Seen = p.foresee(act.Act{Kind: act.Approve}).Seen
	p.must(a.Events(p.state, noon))
	p.do(act.Act{Kind: act.Approve})
	if _, err := a.Events(p.state, noon); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "other gates wait") {
		t.Errorf("approved twice: %v", err)
	}
}

// TestSkipsAndRetriesRestOnTheirHosts: what happened on other hosts is no matter.
func TestSkipsAndRetriesRestOnTheirHosts(t *testing.T) {
	p := newPlace(t, 5)
	p.end("web01", sluice.Succeeded)
	p.do(act.Act{Kind: act.Approve}) // web02 and web03 run
	skip := p.act(act.Act{Kind: act.Skip, Hosts: []sluice.Host{"web04"}})
	skip.Seen = p.foresee(skip).Seen
	p.end("web02", sluice.Succeeded) // web04 starts
	if _, err := skip.Events(p.state, noon); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "what is known of the hosts is not what it was") {
		t.Errorf("it runs by now: %v", err)
	}
	skip.Hosts, skip.Seen = []sluice.Host{"web05"}, ""
	skip.Seen = p.foresee(skip).Seen
	p.end("web03", sluice.Succeeded)
	if _, err := skip.Events(p.state, noon); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("it runs by now: %v", err)
	}
}

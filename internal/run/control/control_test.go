package control_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/check"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/sealed"
)

func fleet(n int) *sluice.Fleet {
	f := &sluice.Fleet{Namespace: "test", Tags: map[sluice.Tag][]sluice.Host{}, Source: "fleet.yaml"}
	for i := range n {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	f.Constraints = []sluice.Constraint{{Name: "$all", Groups: []sluice.Group{{Name: "$all", Limit: sluice.Count(2), Members: f.Hosts}}}}
	return f
}

// desk is a service whose jobs are driven by the test: nothing runs but what it adds to the log.
type desk struct {
	*control.Service
	t *testing.T
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, Service: &control.Service{Log: fake.NewLog(), Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs(),
		Clock: func() time.Time { return time.Unix(1e9, 0).UTC() }, By: "ann"}}
	return d
}

// submit puts a job on all hosts of a fleet into the log.
func (d *desk) submit(f *sluice.Fleet) sluice.JobID {
	d.t.Helper()
	draft, err := d.Prepare(d.t.Context(), control.Request{Fleet: f, Targets: f.Hosts, Command: "true"})
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.Submit(d.t.Context(), draft); err != nil {
		d.t.Fatal(err)
	}
	return draft.Job.ID
}

// play appends what a driver would.
func (d *desk) play(id sluice.JobID, end map[sluice.Host]sluice.Outcome) {
	d.t.Helper()
	s := schedule.New()
	now := d.Clock()
	_, err := d.Log.Update(d.t.Context(), "test", 0, func(tail []sluice.Event) ([]sluice.Event, error) {
		for _, e := range tail {
			if err := s.Apply(e); err != nil {
				return nil, err
			}
		}
		var out []sluice.Event
		yes := func(j sluice.JobID) bool { return j == id }
		for _, a := range s.Attempts(id) {
			if o, ok := end[a.Host]; ok {
				e := sluice.Event{Time: now, Job: id, Body: sluice.TaskFinished{Host: a.Host, Attempt: a.ID, Outcome: o}}
				if err := s.Apply(e); err != nil {
					return nil, err
				}
				out = append(out, e)
			}
		}
		return append(out, s.Decide(schedule.Input{Now: now, Owns: yes, Driven: yes})...), nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) state(id sluice.JobID) schedule.Info {
	d.t.Helper()
	jobs, err := d.Jobs(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Spec.ID == id {
			return j
		}
	}
	d.t.Fatalf("no job %s", id)
	return schedule.Info{}
}

func (d *desk) sound() {
	d.t.Helper()
	events, err := d.Log.Read(d.t.Context(), "test", 0, 1<<20)
	if err != nil {
		d.t.Fatal(err)
	}
	if bad := check.Log(events); len(bad) > 0 {
		d.t.Errorf("%v", bad)
	}
}

// refused checks that an act is refused with a code and a hint, and changes nothing.
func refused(t *testing.T, err error, code sluice.Code, text string) {
	t.Helper()
	if sluice.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got %v (%s), want %q (%s)", err, sluice.CodeOf(err), text, code)
	}
}

func TestAJobGoesItsWay(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	id := d.submit(fleet(4))
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Failed, "h1": sluice.Failed})
	if i := d.state(id); i.State != schedule.Halted || i.Halted.Constraint != "$all" {
		t.Fatalf("with both places lost the job is %s", i.State)
	}
	reasons, err := d.Why(ctx, string(id), "h3")
	if err != nil || len(reasons) != 1 || reasons[0].Rule != sluice.RuleConstraint || len(reasons[0].Holders) != 2 {
		t.Errorf("why: %+v %v", reasons, err)
	}
	_, err = d.Retry(ctx, id, []sluice.Host{"h3"}, nil)
	refused(t, err, sluice.Conflict, "has not run yet")
	_, err = d.Retry(ctx, id, []sluice.Host{"stranger"}, nil)
	refused(t, err, sluice.NotFound, "no target")
	if _, err := d.Retry(ctx, id, []sluice.Host{"h0"}, nil); err != nil {
		t.Fatal(err)
	}
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	if i := d.state(id); i.Running != 1 {
		t.Errorf("with one place back %d run", i.Running)
	}
	if _, err := d.ChangeHosts(ctx, "test", control.Release, []sluice.Host{"h1"}, "repaired by hand"); err != nil {
		t.Fatal(err)
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h2": sluice.Succeeded})
	d.play(id, map[sluice.Host]sluice.Outcome{"h3": sluice.Succeeded})
	if i := d.state(id); i.State != schedule.Failed {
		t.Errorf("at the end the job is %s", i.State)
	}
	_, err = d.Resume(ctx, id, nil)
	refused(t, err, sluice.Conflict, "cannot be resumed")
	_, err = d.Halt(ctx, id, "")
	refused(t, err, sluice.Conflict, "cannot be halted")
	_, err = d.Cancel(ctx, id, "")
	refused(t, err, sluice.Conflict, "cannot be cancelled")
	d.sound()
}

func TestHaltAndResume(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	id := d.submit(fleet(4))
	d.play(id, nil)
	events, err := d.Halt(ctx, id, "lunch")
	if err != nil || len(events) != 1 {
		t.Fatalf("while two run, halting is one event: %v %v", events, err)
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded, "h1": sluice.Succeeded})
	if i := d.state(id); i.State != schedule.Halted || i.Halted.Reason != "lunch" {
		t.Fatalf("%+v", i)
	}
	_, err = d.Halt(ctx, id, "")
	refused(t, err, sluice.Conflict, "is halted")
	if _, err := d.Resume(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	if events, err := d.Halt(ctx, id, "again"); err != nil || len(events) != 2 {
		t.Errorf("where nothing runs the job is halted at once: %v %v", events, err)
	}
	d.sound()
}

func TestAHaltIsNotHeardTwice(t *testing.T) {
	d := newDesk(t)
	id := d.submit(fleet(4))
	d.play(id, nil)
	for range 2 {
		if _, err := d.Halt(t.Context(), id, "lunch"); err != nil {
			t.Fatal(err)
		}
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded, "h1": sluice.Succeeded})
	d.sound()
}

func TestSkipOpensGatesAndReleasesNothing(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(4)
	f.Sequences = []sluice.Sequence{{Name: "s", Entries: []sluice.Entry{
		{Name: "first", Hosts: f.Hosts[:1]}, {Name: "rest", Hosts: f.Hosts[1:], Gate: sluice.Gate{}}}}}
	id := d.submit(f)
	d.play(id, nil)
	_, err := d.Skip(ctx, id, []sluice.Host{"h0"}, "r")
	refused(t, err, sluice.Conflict, "it runs")
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Failed})
	if i := d.state(id); i.State != schedule.Halted || i.Halted.Rule != sluice.RuleSequence {
		t.Fatalf("%+v", i.Halted)
	}
	if _, err := d.Skip(ctx, id, []sluice.Host{"h0"}, "broken for good"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Resume(ctx, id, nil); err != nil {
		t.Fatal(err)
	}
	d.play(id, nil)
	if i := d.state(id); i.Running != 1 {
		t.Errorf("%d run: the skipped host still has its place", i.Running)
	}
	d.sound()
}

func TestApprove(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(2)
	f.Sequences = []sluice.Sequence{{Name: "s", Entries: []sluice.Entry{
		{Name: "first", Hosts: f.Hosts[:1], Gate: sluice.Gate{Approve: true}}, {Name: "rest", Hosts: f.Hosts[1:]}}}}
	id := d.submit(f)
	d.play(id, nil)
	_, err := d.Approve(ctx, id, "", "")
	refused(t, err, sluice.Conflict, "nothing")
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	if i := d.state(id); i.State != schedule.Paused {
		t.Errorf("at the gate the job is %s", i.State)
	}
	_, err = d.Approve(ctx, id, "rest", "")
	refused(t, err, sluice.NotFound, `"rest"`)
	if _, err := d.Approve(ctx, id, "first", ""); err != nil {
		t.Fatal(err)
	}
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h1": sluice.Succeeded})
	if i := d.state(id); i.State != schedule.Succeeded {
		t.Errorf("at the end the job is %s", i.State)
	}
	d.sound()
}

// TestAnotherApproves: where it takes two people, whoever submitted a job cannot approve it, and an approval says of what.
func TestAnotherApproves(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(2)
	f.Approval.By = sluice.AnotherApproves
	f.Sequences = []sluice.Sequence{{Name: "s", Entries: []sluice.Entry{
		{Name: "first", Hosts: f.Hosts[:1], Gate: sluice.Gate{Approve: true}}, {Name: "rest", Hosts: f.Hosts[1:]}}}}
	id := d.submit(f)
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	digest, err := sealed.PlanDigest(d.state(id).Spec)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Approve(ctx, id, "", digest)
	refused(t, err, sluice.Denied, "another")
	other := d.As("another " + d.By)
	_, err = other.Approve(ctx, id, "", "sha256:"+strings.Repeat("0", 64))
	refused(t, err, sluice.Conflict, digest)
	events, err := other.Approve(ctx, id, "", digest)
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := events[0].Body.(sluice.GatePassed); !ok || b.Plan != digest || b.By != other.By {
		t.Errorf("%+v", events[0].Body)
	}
	d.sound()
}

// TestApprovalBeforeTheStart: where every job waits for an approval, nothing of it starts before another one gave it, and
// to say that it changes nothing is no way around that.
func TestApprovalBeforeTheStart(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(2)
	f.Approval = sluice.Approval{By: sluice.AnotherApproves, Start: true}
	for _, o := range []sluice.Options{{}, {ReadOnly: true}} {
		draft, err := d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts, Command: "true", Options: o})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Submit(ctx, draft); err != nil {
			t.Fatal(err)
		}
		id := draft.Job.ID
		d.play(id, nil)
		if i := d.state(id); i.State != schedule.Paused || i.Running != 0 || len(i.Gates) != 1 || i.Gates[0].Stage != sluice.BeforeStart {
			t.Errorf("before the approval it is %s, %d run, %+v", i.State, i.Running, i.Gates)
		}
		_, err = d.Approve(ctx, id, "", "")
		refused(t, err, sluice.Denied, "another")
		if _, err := d.As("another "+d.By).Approve(ctx, id, "", ""); err != nil {
			t.Fatal(err)
		}
		d.play(id, nil)
		d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded, "h1": sluice.Succeeded})
		if i := d.state(id); i.State != schedule.Succeeded {
			t.Errorf("after it, it is %s", i.State)
		}
	}
	d.sound()
}

func TestUnknownIsNotTriedAgain(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	id := d.submit(fleet(2))
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Unknown, "h1": sluice.Succeeded})
	_, err := d.Retry(ctx, id, nil, nil)
	refused(t, err, sluice.Conflict, "no host that ended badly")
	_, err = d.Retry(ctx, id, []sluice.Host{"h0"}, nil)
	refused(t, err, sluice.Conflict, "may still run")
	if _, err := d.Resume(ctx, id, nil); err != nil {
		t.Fatalf("a finished job can be resumed for what is not known: %v", err)
	}
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	if i := d.state(id); i.State != schedule.Succeeded {
		t.Errorf("with the truth known the job is %s", i.State)
	}
	d.sound()
}

func TestHosts(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(3)
	act := func(a control.HostAct, h sluice.Host) error {
		_, err := d.ChangeHosts(ctx, "test", a, []sluice.Host{h}, "because")
		return err
	}
	refused(t, act(control.Release, "h0"), sluice.Conflict, "not out of service")
	refused(t, act(control.Return, "h0"), sluice.Conflict, "not retired")
	if err := act(control.Hold, "h0"); err != nil {
		t.Fatal(err)
	}
	if err := act(control.Retire, "h1"); err != nil {
		t.Fatal(err)
	}
	refused(t, act(control.Release, "h1"), sluice.Conflict, "not out of service")
	out, err := d.Out(ctx, "test")
	if err != nil || len(out) != 2 || !out[0].Held || !out[1].Retired || out[0].By != "ann" || out[0].Reason != "because" {
		t.Errorf("out: %+v %v", out, err)
	}
	draft, err := d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts})
	if err != nil || len(draft.Job.Targets) != 2 || len(draft.Retired) != 1 {
		t.Errorf("a retired host is no target: %+v %v", draft, err)
	}
	_, err = d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts[1:2]})
	refused(t, err, sluice.Usage, "retired")
	if err := act(control.Return, "h1"); err != nil {
		t.Fatal(err)
	}
	if err := act(control.Release, "h0"); err != nil {
		t.Fatal(err)
	}
	if out, _ := d.Out(ctx, "test"); len(out) != 0 {
		t.Errorf("still out: %+v", out)
	}
	d.sound()
}

func TestWhatASuccessWouldClearIsSaid(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(2)
	id := d.submit(f)
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Failed, "h1": sluice.Succeeded})
	draft, err := d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts})
	if err != nil || len(draft.Clears) != 1 || draft.Clears[0].Host != "h0" || draft.Clears[0].Job != id {
		t.Errorf("clears %+v %v", draft.Clears, err)
	}
	draft, err = d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts, Options: sluice.Options{ReadOnly: true}})
	if err != nil || len(draft.Clears) != 0 {
		t.Errorf("a read-only job clears %+v %v", draft.Clears, err)
	}
}

func TestAJobWithoutAFileIsUnderTheRulesInForce(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	f := fleet(4)
	id := d.submit(f)
	d.play(id, nil) // takes both places
	adhoc := &sluice.Fleet{Namespace: "test", Hosts: []sluice.Host{"h3", "elsewhere"}}
	draft, err := d.Prepare(ctx, control.Request{Fleet: adhoc, Targets: adhoc.Hosts, Command: "true"})
	if err != nil {
		t.Fatal(err)
	}
	events, err := d.Submit(ctx, draft)
	if err != nil || len(events) != 1 {
		t.Fatalf("it brings rules of its own: %v %v", events, err)
	}
	d.play(draft.Job.ID, nil)
	if i := d.state(draft.Job.ID); i.Running != 1 {
		t.Errorf("%d run, but only the host that no rule knows may", i.Running)
	}
	d.sound()
}

func TestFind(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	_, _, err := d.Find(ctx, "")
	refused(t, err, sluice.NotFound, "no jobs yet")
	id := d.submit(fleet(1))
	for _, prefix := range []string{"", string(id), string(id[:6])} {
		if _, got, err := d.Find(ctx, prefix); err != nil || got != id {
			t.Errorf("%q finds %s %v", prefix, got, err)
		}
	}
	_, _, err = d.Find(ctx, "zzzzzz")
	refused(t, err, sluice.NotFound, "zzzzzz")
}

func TestWatchEndsWithTheJob(t *testing.T) {
	d := newDesk(t)
	id := d.submit(fleet(1))
	type result struct {
		last sluice.Event
		seen []sluice.Event
		err  error
	}
	done := make(chan result)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		var r result
		r.last, r.err = d.Watch(ctx, string(id), func(e sluice.Event) { r.seen = append(r.seen, e) })
		done <- r
	}()
	d.play(id, nil)
	d.play(id, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	r := <-done
	if b, ok := r.last.Body.(sluice.JobFinished); r.err != nil || !ok || b.Outcome != sluice.Succeeded {
		t.Errorf("%+v %v", r.last, r.err)
	}
	for i := 1; i < len(r.seen); i++ {
		if r.seen[i].Seq <= r.seen[i-1].Seq || r.seen[i].Job != id {
			t.Errorf("event %d after %d", r.seen[i].Seq, r.seen[i-1].Seq)
		}
	}
}

func TestJobIDs(t *testing.T) {
	seen := map[sluice.JobID]bool{}
	for range 1000 {
		id := control.NewJobID()
		if !id.Valid() || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}

// What the server keeps for itself is in the same log, and is no job's.
func TestJobsAreNotLookedForAmongReservedThings(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	_, err := d.Log.Update(ctx, sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: d.Clock(), Body: sluice.PrincipalAdded{Principal: "ann", By: "ann"}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if jobs, err := d.Jobs(ctx); err != nil || len(jobs) != 0 {
		t.Errorf("there are %d jobs: %v", len(jobs), err)
	}
	_, _, err = d.Find(ctx, "")
	refused(t, err, sluice.NotFound, "no jobs yet")
	id := d.submit(fleet(1))
	if jobs, err := d.Jobs(ctx); err != nil || len(jobs) != 1 || jobs[0].Spec.ID != id {
		t.Errorf("there are %d jobs: %v", len(jobs), err)
	}
	if _, found, err := d.Find(ctx, ""); err != nil || found != id {
		t.Errorf("the newest job is %s: %v", found, err)
	}
}

// TestReservedNamespacesAreNotForJobs: nobody gets there by naming it.
func TestReservedNamespacesAreNotForJobs(t *testing.T) {
	d := newDesk(t)
	f := fleet(2)
	f.Namespace = sluice.AccessNamespace
	_, err := d.Prepare(t.Context(), control.Request{Fleet: f, Targets: f.Hosts, Command: "true"})
	refused(t, err, sluice.NotFound, "no namespace")
	_, err = d.Submit(t.Context(), &control.Draft{Job: sluice.Job{ID: control.NewJobID(), Namespace: sluice.AccessNamespace}})
	refused(t, err, sluice.NotFound, "no namespace")
	_, err = d.ChangeHosts(t.Context(), sluice.AccessNamespace, control.Hold, f.Hosts, "because")
	refused(t, err, sluice.NotFound, "no namespace")
	_, err = d.Out(t.Context(), sluice.AccessNamespace)
	refused(t, err, sluice.NotFound, "no namespace")
	if events, err := d.Log.Read(t.Context(), sluice.AccessNamespace, 0, 10); err != nil || len(events) > 0 {
		t.Errorf("%v, error %v", events, err)
	}
}

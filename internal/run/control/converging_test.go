package control_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/converge"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

func (d *desk) add(id sluice.JobID, bodies ...sluice.Body) {
	d.t.Helper()
	var events []sluice.Event
	for _, b := range bodies {
		events = append(events, sluice.Event{Time: d.Clock(), Job: id, Body: b})
	}
	if _, err := d.Log.Update(d.t.Context(), "test", 0, func([]sluice.Event) ([]sluice.Event, error) { return events, nil }); err != nil {
		d.t.Fatal(err)
	}
}

// deploys submits a deploy of shop, with a reason if the server does so by itself.
func (d *desk) deploys(env, version, expression, reason string, o sluice.Options) *sluice.Job {
	d.t.Helper()
	loaded, _, err := d.Fleet(d.t.Context(), "test")
	if err != nil {
		d.t.Fatal(err)
	}
	hosts, err := loaded.Resolve(expression)
	if err != nil {
		d.t.Fatal(err)
	}
	draft, err := d.Prepare(d.t.Context(), control.Request{Fleet: loaded.Fleet(), Expression: expression, Targets: hosts, Command: "deploy", Options: o,
		Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: env, Version: version, Deploy: sluice.Deploy{Root: "/srv/shop"}}}})
	if err != nil {
		d.t.Fatal(err)
	}
	draft.Job.Reason = reason
	if _, err := d.Submit(d.t.Context(), draft); err != nil {
		d.t.Fatal(err)
	}
	return &draft.Job
}

// TestConverging: what whoever decides is told of hosts that lack what is current, and of the jobs that changed them.
func TestConverging(t *testing.T) {
	d := newDesk(t)
	d.apply("tag: {app: {shop: \"web[1-7]\"}}\nconverge: {every: 5m, env: production}\n", -1)
	first := d.deploys("production", "2", "$app.shop", "", sluice.Options{AskSudoPassword: true})
	d.deploys("staging", "2", "web1", "", sluice.Options{})
	for i, h := range first.Targets {
		id := sluice.NewAttemptID(first.ID, i, 1)
		d.add(first.ID, sluice.TaskStarted{Host: h, Attempt: id})
		if slices.Contains([]sluice.Host{"web1", "web6", "web7"}, h) {
			d.add(first.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Succeeded,
				Release: &sluice.Activation{App: "shop", Env: "production", Live: sluice.Installed{Version: "2"}}})
			continue
		}
		d.add(first.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Unreachable, NotStarted: true}, sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, By: "ann"})
	}
	d.add(first.ID, sluice.JobFinished{Outcome: sluice.Succeeded})
	d.add("", sluice.HostReleased{Host: "web3", By: "ann"}, sluice.HostReleased{Host: "web4", By: "ann"}, sluice.HostHeld{Host: "web4", By: "ann", Reason: "a disk"}, sluice.HostRetired{Host: "web5", By: "ann"})
	own := d.deploys("production", "2", "web6,web7", converge.Reason, sluice.Options{})
	six, seven := sluice.NewAttemptID(own.ID, 0, 1), sluice.NewAttemptID(own.ID, 1, 1)
	nine := sluice.Installed{Version: "9"}
	d.add(own.ID, sluice.TaskStarted{Host: "web6", Attempt: six}, sluice.TaskStarted{Host: "web7", Attempt: seven},
		sluice.TaskFinished{Host: "web6", Attempt: six, Outcome: sluice.Failed, Release: &sluice.Activation{App: "shop", Env: "production", Live: nine, Before: nine}},
		sluice.TaskFinished{Host: "web7", Attempt: seven, Outcome: sluice.Unknown}, sluice.JobFinished{Outcome: sluice.Failed})
	d.add("", sluice.HostReleased{Host: "web6", By: "ann"})
	d.apply("tag: {app: {shop: \"web[1-8]\"}}\nconverge: {every: 5m, env: production}\n", -1)

	got, err := d.Convergence(t.Context(), "test")
	if err != nil || len(got.Apps) != 1 || got.By != "ann" || got.Every != 5*time.Minute || got.Until < 20 {
		t.Fatalf("%+v, %v", got, err)
	}
	c := got.Apps[0]
	if c.Name != "shop" || c.Env != "production" || c.Version != "2" || c.Origin != own.ID || c.Why != "" || c.Secrets || c.Of.ID != own.ID || len(c.Meant) != 8 {
		t.Errorf("%+v", c)
	}
	want := []converge.Host{
		{Name: "web2", Why: fmt.Sprintf("it is out of service: unreachable in job %s", first.ID)},
		{Name: "web3"},
		{Name: "web4", Why: "it is held by ann: a disk"},
		{Name: "web6", Why: "it was changed by hand, to 9"},
		{Name: "web8"},
		{Name: "web7", Why: "it is not known what it has: the outcome of the last attempt is not known"},
	}
	if !slices.Equal(c.Hosts, want) {
		t.Errorf("hosts are %+v", c.Hosts)
	}
	if len(c.Jobs) != 2 {
		t.Fatalf("jobs are %+v", c.Jobs)
	}
	o, f := c.Jobs[0], c.Jobs[1]
	if o.ID != own.ID || !o.Itself || !o.Began || o.State != schedule.Failed || !reflect.DeepEqual(o.Tried, map[sluice.Host]bool{"web6": false, "web7": false}) {
		t.Errorf("its own job is %+v", o)
	}
	if f.ID != first.ID || f.Itself || !f.Began || f.State != schedule.Succeeded || f.Tried != nil || f.Doubt != "" {
		t.Errorf("the deploy is %+v", f)
	}

	d.apply("tag: {app: {shop: \"web[1-2]\"}, spare: \"web[3-8]\"}\nconverge: {every: 5m, env: production}\n", -1)
	if got, err = d.Convergence(t.Context(), "test"); err != nil || len(got.Apps) != 1 || !slices.Equal(got.Apps[0].Meant, []sluice.Host{"web1", "web2"}) {
		t.Errorf("what it brought somewhere itself is no reason to bring it there again: %+v, %v", got, err)
	}
}

// TestWhatConvergesNowhere: where people have to look first, it is said why.
func TestWhatConvergesNowhere(t *testing.T) {
	d := newDesk(t)
	if got, err := d.Convergence(t.Context(), "test"); err != nil || got.Every != 0 {
		t.Errorf("without a fleet: %+v, %v", got, err)
	}
	d.apply("tag: {app: {shop: \"web[1-2]\"}}\n", -1)
	if got, err := d.Convergence(t.Context(), "test"); err != nil || got.Every != 0 || got.Until == 0 {
		t.Errorf("where the fleet says nothing of it: %+v, %v", got, err)
	}
	d.apply("tag: {app: {shop: \"web[1-2]\"}}\nconverge: {every: 5m}\n", -1)
	look := func() control.Converging {
		t.Helper()
		got, err := d.Convergence(t.Context(), "test")
		if err != nil || len(got.Apps) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		return got.Apps[0]
	}
	d.Turned = func(context.Context) (time.Time, error) { return time.Unix(7, 0), nil }
	j := d.deploys("production", "2", "$app.shop", "", sluice.Options{})
	if c := look(); !c.Turned.Equal(time.Unix(7, 0)) || !c.Jobs[0].Submitted.Equal(d.Clock()) {
		t.Errorf("of a server that was restored: %+v", c)
	}
	if c := look(); c.Why != fmt.Sprintf("job %s changes shop there now", j.ID) || c.Jobs[0].Began || c.Jobs[0].State.Over() {
		t.Errorf("while it goes on: %+v", c)
	}
	d.add(j.ID, sluice.JobFinished{Outcome: sluice.Cancelled})
	if c := look(); c.Why != "no deploy of shop in production has succeeded" || c.Jobs[0].Began || c.Jobs[0].State != schedule.Cancelled {
		t.Errorf("when it was cancelled: %+v", c)
	}
	j = d.deploys("production", "2", "$app.shop", "", sluice.Options{AskSudoPassword: true})
	d.add(j.ID, sluice.JobFinished{Outcome: sluice.Succeeded})
	if c := look(); c.Why != "" || !c.Secrets {
		t.Errorf("when it took a password: %+v", c)
	}
	d.apply("tag: {app: {spare: \"web[1-2]\"}}\nconverge: {every: 5m}\n", -1)
	if c := look(); c.Why == "" {
		t.Errorf("when the fleet knows the tag no more: %+v", c)
	}
}

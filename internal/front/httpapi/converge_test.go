package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/core/converge"
	"sluice/internal/core/fleet"
	"sluice/internal/run/control"
)

// deploys is a deploy of something that is kept, on hosts that an expression means; those that are away do not get it.
func (w *world) deploys(version, expression string, meant []sluice.Host, away ...sluice.Host) sluice.JobID {
	w.t.Helper()
	return w.deploysWith(sluice.Options{Sudo: "root", Concurrency: 7}, version, expression, meant, away...)
}

func (w *world) deploysWith(o sluice.Options, version, expression string, meant []sluice.Host, away ...sluice.Host) sluice.JobID {
	w.t.Helper()
	o.Lock = "shop/production"
	digest, _, err := w.service.Keep(w.t.Context(), bytes.NewReader([]byte(version)))
	if err != nil {
		w.t.Fatal(err)
	}
	rel := &sluice.Release{App: "shop", Env: "production", Version: version, Artifact: digest, Manifest: digest, Deploy: sluice.Deploy{Root: "/srv/shop"}}
	d, err := w.service.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Expression: expression, Targets: meant, Command: "deploy",
		Action: sluice.Action{Kind: sluice.DeployTo, Release: rel}, Options: o})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.service.Submit(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	for i, h := range meant {
		id := sluice.NewAttemptID(d.Job.ID, i, 1)
		w.later(d.Job.ID, sluice.TaskStarted{Host: h, Attempt: id})
		if slices.Contains(away, h) {
			w.later(d.Job.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Unreachable, NotStarted: true})
			w.later(d.Job.ID, sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, By: "ann"})
			continue
		}
		w.later(d.Job.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Succeeded,
			Release: &sluice.Activation{App: "shop", Env: "production", Live: sluice.Installed{Version: version}}})
	}
	w.later(d.Job.ID, sluice.JobFinished{Outcome: sluice.Succeeded})
	return d.Job.ID
}

func (w *world) converge(token, body string) (out []api.Converged, p api.Problem, status int) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), http.MethodPost, w.server.URL+"/api/v1/converge", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := struct {
		Apps []api.Converged `json:"apps"`
		api.Problem
	}{}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		w.t.Fatal(err)
	}
	return got.Apps, got.Problem, resp.StatusCode
}

// TestConverge: hosts that a deploy meant and that do not have it get it, as it was deployed, by whoever has the right for all of them.
func TestConverge(t *testing.T) {
	w := newWorld(t)
	ann := w.token("ann", sluice.Grant{Role: access.Operator})
	webs := w.token("vera", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"db"}})
	const body = `{"namespace":"prod","env":"production"}`
	if _, p, status := w.converge(ann, body); status != http.StatusNotFound {
		t.Errorf("nothing is on record: %d %+v", status, p)
	}
	first := w.deploys("2", "web1,web2", []sluice.Host{"web1", "web2"}, "web2")
	if _, p, status := w.converge(webs, body); status != http.StatusForbidden || strings.Contains(p.Detail, "web2") {
		t.Errorf("without the right for all hosts: %d %+v", status, p)
	}
	got, err := w.client(ann).Converge(t.Context(), api.Converge{Namespace: "prod", Env: "production", Dry: true})
	if err != nil || len(got) != 1 || got[0].Version != "2" || got[0].Origin != first || !slices.Equal(got[0].Hosts, []sluice.Host{"web2"}) || got[0].Job != "" {
		t.Fatalf("what would be done: %+v, %v", got, err)
	}
	got, p, _ := w.converge(ann, body)
	if len(got) != 1 || got[0].Job == "" {
		t.Fatalf("%+v %+v", got, p)
	}
	j, _, err := w.service.Job(t.Context(), string(got[0].Job))
	if err != nil {
		t.Fatal(err)
	}
	s := j.Spec
	if s.By != "ann" || !slices.Equal(s.Targets, []sluice.Host{"web2"}) || s.Action.Release.Version != "2" || s.Options.Lock != "shop/production" || s.Options.Sudo != "root" ||
		s.Options.Concurrency != 7 || s.Look == nil || s.Look.Until == 0 || s.Look.Again != "sluice converge production shop" {
		t.Errorf("%+v %+v", s, s.Look)
	}
	if _, p, status := w.converge(ann, body); status != http.StatusConflict || !strings.Contains(p.Detail, "job "+string(got[0].Job)+" changes shop there now") {
		t.Errorf("while that goes on: %d %+v", status, p)
	}
}

// TestConvergeWithoutPasswords: a release that took a person's password is not brought anywhere without it.
func TestConvergeWithoutPasswords(t *testing.T) {
	w := newWorld(t)
	ann := w.token("ann", sluice.Grant{Role: access.Operator})
	origin := w.deploysWith(sluice.Options{Sudo: "root", AskSudoPassword: true}, "2", "web1,web2", []sluice.Host{"web1", "web2"}, "web2")
	ask := api.Converge{Namespace: "prod", Env: "production"}
	got, err := w.client(ann).Converge(t.Context(), ask)
	if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "job "+string(origin)+", whose release is current, took passwords") {
		t.Errorf("%+v, %v", got, err)
	}
	jobs, err := w.client(ann).Jobs(t.Context(), client.JobsQuery{Namespace: "prod"})
	if err != nil || len(jobs) != 1 || jobs[0].ID != origin {
		t.Errorf("%+v, %v", jobs, err)
	}
}

// TestBring: what nobody asked for is submitted for somebody who has the right to all that is meant, and says why it exists.
func TestBring(t *testing.T) {
	w := newWorld(t)
	ann := w.token("ann", sluice.Grant{Role: access.Operator})
	w.token("vera", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"db"}})
	w.deploys("2", "web1,web2", []sluice.Host{"web1", "web2"}, "web2")
	list, err := w.service.Releases(t.Context(), control.LiveQuery{Namespace: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	aims, err := control.AimsOf(list, nil, "production", nil)
	if err != nil {
		t.Fatal(err)
	}
	of, _, err := w.service.Info(t.Context(), string(aims[0].Release.Job))
	if err != nil {
		t.Fatal(err)
	}
	c := &control.Converging{Aim: aims[0], Of: of.Spec, Meant: []sluice.Host{"web1", "web2"}}
	for _, who := range []sluice.Principal{"vera", "nobody"} {
		if id, err := w.api.Bring(t.Context(), who, c, []sluice.Host{"web2"}); sluice.CodeOf(err) != sluice.Denied || id != "" {
			t.Errorf("%s: %q, %v", who, id, err)
		}
	}
	more := *c
	more.Meant = []sluice.Host{"web1", "db1"}
	if id, err := w.api.Bring(t.Context(), "vera", &more, []sluice.Host{"db1"}); sluice.CodeOf(err) != sluice.Denied || id != "" {
		t.Errorf("with the right to a part of all that is meant: %q, %v", id, err)
	}
	id, err := w.api.Bring(t.Context(), "ann", c, []sluice.Host{"web2"})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := w.service.Job(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Spec; s.By != "ann" || s.Token != "" || s.Reason != converge.Reason || !slices.Equal(s.Targets, []sluice.Host{"web2"}) || s.Look == nil || s.Look.Until == 0 || s.Options.Sudo != "root" {
		t.Errorf("%+v", s)
	}
	jobs, err := w.client(ann).Jobs(t.Context(), client.JobsQuery{Namespace: "prod"})
	if err != nil || len(jobs) != 2 || jobs[0].Reason != converge.Reason || jobs[1].Reason != "" {
		t.Errorf("%+v, %v", jobs, err)
	}
}

// TestConverging: who may see hosts is told why the server leaves them alone, and no more.
func TestConverging(t *testing.T) {
	w := newWorld(t)
	eve := w.token("eve", sluice.Grant{Role: access.Viewer})
	vera := w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"db"}})
	w.token("ann", sluice.Grant{Role: access.Operator})
	look := func(token string) api.Convergence {
		t.Helper()
		got, err := w.client(token).Converging(t.Context(), "prod")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := look(eve); got.Every != "" || len(got.Left) > 0 {
		t.Errorf("no fleet says so: %+v", got)
	}
	applies := func(by string) {
		t.Helper()
		b := fleet.Bundle{Main: "fleet.yaml", Files: []fleet.File{{Path: "fleet.yaml", Content: []byte("namespace: prod\ntag: {web: [web1, web2], db: [db1]}\nconverge: {every: 5m}\n# by " + by + "\n")}}}
		if _, err := w.service.As(by).ApplyFleet(t.Context(), b, "", -1); err != nil {
			t.Fatal(err)
		}
	}
	applies("ann")
	origin := w.deploys("2", "web1,web2", []sluice.Host{"web1", "web2"}, "web2")
	got := look(eve)
	if want := []api.ConvergenceLeft{{App: "shop", Env: "production", Hosts: []sluice.Host{"web2"}, Why: "it is out of service: unreachable in job " + string(origin)}}; got.Every != "5m0s" || got.By != "ann" || !reflect.DeepEqual(got.Left, want) {
		t.Errorf("%+v", got)
	}
	if got := look(vera); len(got.Left) > 0 {
		t.Errorf("of hosts that she may not see: %+v", got)
	}
	w.later("", sluice.HostReleased{Host: "web2", By: "ann"})
	if got := look(eve); len(got.Left) > 0 {
		t.Errorf("when it is to be brought there: %+v", got)
	}
	applies("eve")
	if got := look(eve); len(got.Left) != 1 || !strings.Contains(got.Left[0].Why, "eve applied the fleet, and may not: ") {
		t.Errorf("for somebody who may not: %+v", got)
	}
	w.later(w.deploys("3", "web1,web2", []sluice.Host{"web1", "web2"}), sluice.JobResumed{By: "ann"})
	if got := look(eve); len(got.Left) != 1 || len(got.Left[0].Hosts) > 0 || !strings.Contains(got.Left[0].Why, "changes it now") {
		t.Errorf("while a deploy goes on: %+v", got)
	}
	if got := look(vera); len(got.Left) > 0 {
		t.Errorf("of an app whose hosts she may not see: %+v", got)
	}
}

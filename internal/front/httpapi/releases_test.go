package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

// deployed is a deploy that is over on all of its hosts: a minute after the one before.
func (w *world) deployed(app, version string, targets ...sluice.Host) sluice.JobID {
	w.t.Helper()
	rel := &sluice.Release{App: app, Env: "production", Version: version, Config: "sha256:c", Deploy: sluice.Deploy{Root: "/srv/" + app},
		Commit: &sluice.Commit{ID: "1a2b", Time: clock().Add(-time.Minute)}}
	d, err := w.service.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Targets: targets, Command: "deploy",
		Action: sluice.Action{Kind: sluice.DeployTo, Release: rel}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.service.Submit(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	for i, h := range targets {
		id := sluice.NewAttemptID(d.Job.ID, i, 1)
		w.later(d.Job.ID, sluice.TaskStarted{Host: h, Attempt: id, Track: d.Job.Tracks[0].Name, Stage: d.Job.Tracks[0].Stages[0].Name})
		w.later(d.Job.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Succeeded,
			Release: &sluice.Activation{App: app, Env: "production", Live: sluice.Installed{Version: version, Manifest: "sha256:m" + version, Config: "sha256:c"}}})
	}
	w.later(d.Job.ID, sluice.JobFinished{Outcome: sluice.Succeeded, Counts: map[sluice.Outcome]int{sluice.Succeeded: len(targets)}})
	return d.Job.ID
}

func (w *world) later(job sluice.JobID, b sluice.Body) {
	w.t.Helper()
	w.minutes++
	e := sluice.Event{Time: clock().Add(time.Duration(w.minutes) * time.Minute), Job: job, Body: b}
	if _, err := w.log.Update(w.t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{e}, nil }); err != nil {
		w.t.Fatal(err)
	}
}

func hostsLive(list []api.Live) (out []string) {
	for _, l := range list {
		out = append(out, fmt.Sprintf("%s %s@%s %s", l.Host, l.App, l.Version, l.State))
	}
	return out
}

// What is live is told of the hosts that one may see, and releases of the jobs that one may see.
func TestLiveAndReleases(t *testing.T) {
	w := newWorld(t)
	first := w.deployed("shop", "1", "web1", "web2", "db1") // ends at minute 7
	second := w.deployed("shop", "2", "web1", "web2")       // web1 at minute 9, web2 at 11
	other := w.deployed("news", "1", "db1")
	all, webs := w.token("ann", sluice.Grant{Role: access.Viewer}), w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}})
	elsewhere := w.token("otto", sluice.Grant{Role: access.Viewer, Namespace: "test"})
	for _, c := range []struct {
		token, query string
		want         []string
	}{
		{all, "", []string{"db1 news@1 live", "db1 shop@1 live", "web1 shop@2 live", "web2 shop@2 live"}},
		{all, "?app=shop&env=production&namespace=prod", []string{"db1 shop@1 live", "web1 shop@2 live", "web2 shop@2 live"}},
		{all, "?env=test", nil},
		{all, "?app=shop&at=" + clock().Add(9*time.Minute).Format(time.RFC3339), []string{"db1 shop@1 live", "web1 shop@2 live", "web2 shop@1 live"}},
		{webs, "", []string{"web1 shop@2 live", "web2 shop@2 live"}},
		{webs, "?at=" + clock().Add(9*time.Minute).Format(time.RFC3339), []string{"web1 shop@2 live", "web2 shop@1 live"}},
		{elsewhere, "", nil},
	} {
		got := get[struct{ Live []api.Live }](t, w, c.token, "/api/v1/live"+c.query)
		if !slices.Equal(hostsLive(got.Live), c.want) {
			t.Errorf("%s: %v, want %v", c.query, hostsLive(got.Live), c.want)
		}
	}
	if got := ask(t, w.api, http.MethodGet, "/api/v1/live?namespace=prod", "Authorization", "Bearer "+elsewhere); got.Code != http.StatusForbidden {
		t.Errorf("of a namespace that one may not see: %d %s", got.Code, got.Body)
	}
	for _, c := range []struct {
		token string
		q     client.LiveQuery
		want  []sluice.JobID
		live  []int
	}{
		{all, client.LiveQuery{}, []sluice.JobID{other, second, first}, []int{1, 2, 1}},
		{all, client.LiveQuery{App: "shop", Env: "production", Namespace: "prod"}, []sluice.JobID{second, first}, []int{2, 1}},
		{webs, client.LiveQuery{}, []sluice.JobID{second}, []int{2}}, // of the others she may not see all targets
		{elsewhere, client.LiveQuery{}, nil, nil},
	} {
		list, err := w.client(c.token).Releases(t.Context(), c.q, 0)
		if err != nil {
			t.Fatal(err)
		}
		var jobs []sluice.JobID
		var live []int
		for _, r := range list {
			jobs, live = append(jobs, r.Job), append(live, r.Live)
		}
		if !slices.Equal(jobs, c.want) || !slices.Equal(live, c.live) {
			t.Errorf("%+v: %v live on %v, want %v on %v", c.q, jobs, live, c.want, c.live)
		}
	}
	list, err := w.client(all).Releases(t.Context(), client.LiveQuery{App: "shop"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r := list[0]; r.State != "succeeded" || r.Hosts != 2 || r.Changed != 2 || r.Failed != 0 || r.Commit == nil || r.Measured != 2 ||
		r.LatencyMS != (10*time.Minute).Milliseconds() || r.LatencyP99MS != (12*time.Minute).Milliseconds() {
		t.Errorf("%+v", r)
	}
	period := func(app string, releases, hosts, p50, p99 int) api.Latency {
		minutes := func(n int) int64 { return (time.Duration(n) * time.Minute).Milliseconds() }
		return api.Latency{Namespace: "prod", App: app, Env: "production", From: clock().UTC().Truncate(24 * time.Hour), Days: 1, Releases: releases, Hosts: hosts,
			LatencyMS: minutes(p50), LatencyP99MS: minutes(p99)}
	}
	for _, c := range []struct {
		token string
		q     client.LiveQuery
		want  []api.Latency
	}{
		{all, client.LiveQuery{}, []api.Latency{period("news", 1, 1, 15, 15), period("shop", 2, 5, 7, 12)}},
		{all, client.LiveQuery{App: "shop", Env: "production", Namespace: "prod"}, []api.Latency{period("shop", 2, 5, 7, 12)}},
		{all, client.LiveQuery{Env: "test"}, []api.Latency{}},
		{webs, client.LiveQuery{}, []api.Latency{period("shop", 1, 2, 10, 12)}},
		{elsewhere, client.LiveQuery{}, []api.Latency{}},
	} {
		if got, err := w.client(c.token).Latencies(t.Context(), c.q, 0); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %+v, %v, want %+v", c.q, got, err, c.want)
		}
	}
}

// Pages of releases leave out nothing and say nothing twice.
func TestPagesOfReleases(t *testing.T) {
	w := newWorld(t)
	var want []sluice.JobID
	for n := range 5 {
		want = append([]sluice.JobID{w.deployed("shop", fmt.Sprint(n), "web1")}, want...)
	}
	token := w.token("ann", sluice.Grant{Role: access.Viewer})
	var got []sluice.JobID
	type page struct {
		Releases []api.Released
		Next     string
	}
	for next := ""; ; {
		p := get[page](t, w, token, "/api/v1/releases?limit=2&cursor="+next)
		for _, r := range p.Releases {
			got = append(got, r.Job)
		}
		if next = p.Next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if a := ask(t, w.api, http.MethodGet, "/api/v1/releases?cursor=000000000000", "Authorization", "Bearer "+token); a.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// A rollback that nobody asked for says of which deploy it is; other jobs undo none.
func TestUndoes(t *testing.T) {
	w := newWorld(t)
	bad := w.deployed("shop", "1", "web1")
	d, err := w.service.Prepare(t.Context(), control.Request{Fleet: w.fleet, Targets: []sluice.Host{"web1"}, Command: "rollback", Action: sluice.Action{Kind: sluice.RollBack,
		Undoes: bad, Release: &sluice.Release{App: "shop", Env: "production", Deploy: sluice.Deploy{Root: "/srv/shop"}}, Back: map[sluice.Host]sluice.Installed{"web1": {Version: "0"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Submit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	token := w.token("watcher", sluice.Grant{Role: access.Viewer})
	for id, want := range map[sluice.JobID]sluice.JobID{d.Job.ID: bad, bad: ""} {
		if j := get[api.Job](t, w, token, "/api/v1/jobs/"+string(id)); j.Undoes != want {
			t.Errorf("%s undoes %q, want %q", id, j.Undoes, want)
		}
	}
}

package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
)

// moves submits a deploy that finds a version on hosts and leaves another one there. It is not over.
func (w *world) moves(from, to string, hosts ...sluice.Host) sluice.JobID {
	w.t.Helper()
	return w.takes(sluice.DeployTo, from, to, hosts...)
}

func (w *world) takes(kind sluice.ActionKind, from, to string, hosts ...sluice.Host) sluice.JobID {
	w.t.Helper()
	has := func(v string) sluice.Installed { return sluice.Installed{Version: v, Manifest: "sha256:m" + v} }
	rel := &sluice.Release{App: "shop", Env: "production", Version: to, Deploy: sluice.Deploy{Root: "/srv/shop", OnFailure: sluice.FailureRollsBack}}
	back := map[sluice.Host]sluice.Installed{}
	if kind == sluice.RollBack {
		for _, h := range hosts {
			back[h] = has(to)
		}
	}
	d, err := w.service.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Targets: hosts, Command: "deploy",
		Action: sluice.Action{Kind: kind, Release: rel, Back: back}, Options: sluice.Options{Lock: "shop/production"}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.service.Submit(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	for i, h := range hosts {
		id := sluice.NewAttemptID(d.Job.ID, i, 1)
		w.later(d.Job.ID, sluice.TaskStarted{Host: h, Attempt: id, Track: d.Job.Tracks[0].Name, Stage: d.Job.Tracks[0].Stages[0].Name})
		w.later(d.Job.ID, sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Succeeded,
			Release: &sluice.Activation{App: "shop", Env: "production", Before: has(from), Live: has(to)}})
	}
	return d.Job.ID
}

func (w *world) over(id sluice.JobID, hosts int) sluice.JobID {
	w.t.Helper()
	w.later(id, sluice.JobFinished{Outcome: sluice.Succeeded, Counts: map[sluice.Outcome]int{sluice.Succeeded: hosts}})
	return id
}

// tornLog cannot be read while it is torn.
type tornLog struct {
	sluice.Log
	torn atomic.Bool
}

func (l *tornLog) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if l.torn.Load() {
		return nil, errors.New("the disk is gone")
	}
	return l.Log.Read(ctx, ns, after, limit)
}

// TestNoWayBackUnseen: where it cannot be read what came after a deploy, no way back is shown: it would undo that unseen.
func TestNoWayBackUnseen(t *testing.T) {
	log := &tornLog{}
	w := newWorldWith(t, func(c *httpapi.Config) {
		log.Log = c.Lists.Log
		c.Lists = &control.Service{Log: log, Drivers: c.Lists.Drivers, Outputs: c.Lists.Outputs, Blobs: c.Lists.Blobs, Clock: clock, By: "ann",
			Unreadable: func(sluice.Namespace, error) {}}
	})
	id := w.over(w.moves("1", "2", "web1", "web2"), 2)
	w.over(w.moves("2", "3", "web1"), 1)
	token := w.token("ann", sluice.Grant{Role: access.Viewer})
	path := "/api/v1/jobs/" + string(id) + "/back"
	log.torn.Store(true)
	if got := ask(t, w.api, http.MethodGet, path, "Authorization", "Bearer "+token); got.Code != http.StatusConflict || !strings.Contains(got.Body.String(), "prod cannot be read") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	log.torn.Store(false)
	if got := get[api.WayBack](t, w, token, path); got.Submit == nil || !slices.Equal(got.Moves[0].Hosts, []sluice.Host{"web2"}) {
		t.Errorf("%+v", got)
	}
}

// TestWayBack: hosts go back that are as the deploy left them, also where a later job has brought them back to that; the rest is left out,
// and it is said what has changed it. A deploy that has its lock still makes room; of another one that has it, it is said.
func TestWayBack(t *testing.T) {
	w := newWorld(t)
	token := w.token("ann", sluice.Grant{Role: access.Viewer})
	way := func(id sluice.JobID) api.WayBack {
		t.Helper()
		return get[api.WayBack](t, w, token, "/api/v1/jobs/"+string(id)+"/back")
	}
	first := w.moves("1", "2", "web1", "web2", "db1")
	if got := way(first); !slices.Equal(got.Supersedes, []sluice.JobID{first}) || got.Submit == nil || !got.Submit.Options.Supersede || got.WaitsFor != nil {
		t.Errorf("a deploy that has its lock still: %+v", got)
	}
	w.over(first, 3)
	got := way(first)
	if got.Supersedes != nil || got.Submit == nil || got.Submit.Options.Supersede || got.Submit.Release.Deploy.OnFailure != "" || got.Submit.Release.Version != "1" {
		t.Errorf("a deploy that is over: %+v", got)
	}
	second := w.moves("2", "3", "web1", "web2")
	got = way(first)
	want := []api.LaterJob{{Job: second, Why: "job " + string(second) + " of ann made 3 live", Hosts: []sluice.Host{"web1", "web2"}}}
	if !reflect.DeepEqual(got.Later, want) || len(got.Submit.Back) != 1 || got.Submit.Targets != "db1" {
		t.Errorf("a later job: %+v", got)
	}
	if !slices.Equal(got.WaitsFor, []sluice.JobID{second}) || got.Supersedes != nil || got.Submit.Options.Supersede {
		t.Errorf("a later job that has the lock: %+v", got)
	}
	w.over(second, 2)
	w.over(w.takes(sluice.RollBack, "3", "2", "web1"), 1)
	got = way(first)
	if got.Submit == nil || got.Submit.Targets != "db1,web1" || len(got.Later) != 1 || !slices.Equal(got.Later[0].Hosts, []sluice.Host{"web2"}) {
		t.Errorf("brought back to what the deploy had left: %+v", got)
	}
	w.over(w.moves("2", "4", "web1", "web2", "db1"), 3)
	if got = way(first); got.Submit != nil || got.Refused == nil || got.Refused.Code != string(sluice.Conflict) || !strings.Contains(got.Refused.Detail, "made 4 live") {
		t.Errorf("all hosts have changed: %+v %+v", got, got.Refused)
	}
}

package httpapi_test

import (
	"context"
	"errors"
	"net/http"
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
	has := func(v string) sluice.Installed { return sluice.Installed{Version: v, Manifest: "sha256:m" + v} }
	rel := &sluice.Release{App: "shop", Env: "production", Version: to, Deploy: sluice.Deploy{Root: "/srv/shop", OnFailure: sluice.FailureRollsBack}}
	d, err := w.service.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Targets: hosts, Command: "deploy",
		Action: sluice.Action{Kind: sluice.DeployTo, Release: rel}, Options: sluice.Options{Lock: "shop/production"}})
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

package remote_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/run/control"
)

// oneTorn is a log of which the namespace test cannot be read while it is torn.
type oneTorn struct {
	sluice.Log
	torn atomic.Bool
}

func (l *oneTorn) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if ns == "test" && l.torn.Load() {
		return nil, errors.New("the disk is gone")
	}
	return l.Log.Read(ctx, ns, after, limit)
}

// TestPartOfThePicture: where a namespace cannot be read, whoever works with what is live gets an error beside the rest.
func TestPartOfThePicture(t *testing.T) {
	p := newPair(t)
	log := &oneTorn{Log: p.here.Log}
	p.here.Log, p.here.Unreadable = log, func(sluice.Namespace, error) {}
	for _, ns := range []sluice.Namespace{"prod", "test"} {
		r := request()
		r.Fleet.Namespace = ns
		r.Action = sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "live", Version: "2", Commit: &sluice.Commit{ID: "c", Time: clock().Add(-time.Minute)}, Deploy: sluice.Deploy{Root: "/srv/shop"}}}
		d, err := p.here.Prepare(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.here.Submit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		a := sluice.NewAttemptID(d.Job.ID, 0, 1)
		_, err = p.here.Log.Update(t.Context(), ns, 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Time: clock(), Job: d.Job.ID, Body: sluice.TaskStarted{Host: "web1", Attempt: a}},
				{Time: clock(), Job: d.Job.ID, Body: sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded,
					Release: &sluice.Activation{App: "shop", Env: "live", Live: sluice.Installed{Version: "2"}}}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	log.torn.Store(true)
	desk := p.desk("vic", nil, sluice.SeeJobs)
	for ns, rest := range map[sluice.Namespace]int{"": 1, "prod": 1, "test": 0} {
		q := control.LiveQuery{Namespace: ns, App: "shop"}
		now, err1 := desk.Live(t.Context(), q)
		all, err2 := desk.Releases(t.Context(), q)
		if len(now) != rest || len(all) != rest {
			t.Errorf("%q: %d live, %d releases, want %d", ns, len(now), len(all), rest)
		}
		took, err3 := desk.Latencies(t.Context(), q, 5)
		want := live.Period{App: "shop", Env: "live", From: clock().UTC().Truncate(24 * time.Hour), Days: 1, Releases: 1, Latency: live.Latency{Hosts: 1, P50: time.Minute, P99: time.Minute}}
		if len(took) != rest || rest == 1 && took[0] != (control.Latencies{Namespace: "prod", Period: want}) {
			t.Errorf("%q: %+v", ns, took)
		}
		for _, err := range []error{err1, err2, err3} {
			if torn := ns != "prod"; torn != (err != nil) || torn && (sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "test cannot be read now")) {
				t.Errorf("%q: error %v", ns, err)
			}
		}
	}
}

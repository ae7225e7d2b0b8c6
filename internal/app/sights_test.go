package app

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
)

// TestCommitToLiveIsCounted: also of a job that was submitted before the server looked, and only if the host had nothing newer.
func TestCommitToLiveIsCounted(t *testing.T) {
	committed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &Server{Data: t.TempDir(), Log: slog.New(slog.DiscardHandler), Clock: func() time.Time { return committed }, Env: func(string) string { return "" }}
	k, err := s.look(fake.NewLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	event := func(job sluice.JobID, b sluice.Body) sluice.Event {
		seq++
		return sluice.Event{Seq: seq, Time: committed.Add(10 * time.Minute), Job: job, Body: b}
	}
	submitted := func(job sluice.JobID, version string, at time.Time) sluice.Event {
		return event(job, sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", Command: "deploy", Targets: []sluice.Host{"h"},
			Tracks: []sluice.Track{{Name: "unconstrained", Stages: []sluice.Stage{{Name: "all", Hosts: []sluice.Host{"h"}}}}},
			Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "live", Version: version, Commit: &sluice.Commit{Time: at}}}}})
	}
	const one, two = sluice.JobID("0123456789ab"), sluice.JobID("ba9876543210")
	state := schedule.New()
	for _, e := range []sluice.Event{submitted(one, "1", committed), submitted(two, "2", committed.Add(time.Minute)), event(two, sluice.JobFinished{Outcome: sluice.Failed})} {
		if err := state.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	k.begin(t.Context(), "prod", state, 0)
	says := func(before, now string) *sluice.Activation {
		return &sluice.Activation{App: "shop", Env: "live", Before: sluice.Installed{Version: before}, Live: sluice.Installed{Version: now}}
	}
	k.take("prod", []sluice.Event{event(one, sluice.TaskFinished{Host: "h", Attempt: "a", Outcome: sluice.Succeeded, Release: says("", "1")}),
		event(one, sluice.TaskFinished{Host: "i", Attempt: "b", Outcome: sluice.Succeeded, Release: says("2", "1")})})
	w := httptest.NewRecorder()
	k.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, line := range []string{`sluice_commit_to_live_seconds_count{app="shop",env="live"} 1`, `sluice_commit_to_live_seconds_sum{app="shop",env="live"} 600`} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("there is no %s in\n%s", line, w.Body)
		}
	}
}

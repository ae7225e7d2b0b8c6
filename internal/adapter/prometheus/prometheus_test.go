package prometheus_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/prometheus"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
)

func text(t *testing.T, m *prometheus.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func has(t *testing.T, all string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(all, line+"\n") {
			t.Errorf("there is no %s in\n%s", line, all)
		}
	}
}

func TestCounts(t *testing.T) {
	m := prometheus.New(prometheus.Config{Version: "1.2", Revision: "abc", Census: func() []prometheus.Census {
		return []prometheus.Census{{Namespace: "prod", Jobs: map[string]int{"halted": 2}, Running: 3, Hosts: map[string]int{"held": 4}}}
	}, Waiting: func() map[string]time.Duration { return map[string]time.Duration{"chat": time.Minute} }})
	for _, b := range []sluice.Body{sluice.JobSubmitted{}, sluice.TaskStarted{}, sluice.TaskStarted{},
		sluice.TaskFinished{Attempt: "a", Outcome: sluice.Failed, DurationMS: 1500}, sluice.TaskFinished{Outcome: sluice.Skipped},
		sluice.TaskWithdrawn{}, sluice.JobHalted{Rule: sluice.RuleBudget}, sluice.JobFinished{Outcome: sluice.Succeeded}} {
		m.Happened("prod", sluice.Event{Body: b})
	}
	m.Answered("GET", "/api/v1/jobs/{id}", 404, 3*time.Millisecond, false)
	m.Answered("GET", "/api/v1/jobs/{id}/events", 200, time.Hour, true)
	m.Streaming(2)
	m.Streaming(-1)
	m.FirstStart(time.Second)
	has(t, text(t, m), `sluice_jobs{namespace="prod",state="halted"} 2`, `sluice_jobs{namespace="prod",state="running"} 0`,
		`sluice_attempts_running{namespace="prod"} 3`, `sluice_hosts_out{namespace="prod",why="held"} 4`,
		`sluice_jobs_submitted_total{namespace="prod"} 1`, `sluice_attempts_started_total{namespace="prod"} 2`,
		`sluice_attempts_finished_total{namespace="prod",outcome="failed"} 1`, `sluice_attempts_finished_total{namespace="prod",outcome="withdrawn"} 1`,
		`sluice_attempt_seconds_sum{outcome="failed"} 1.5`, `sluice_jobs_halted_total{namespace="prod",rule="budget"} 1`,
		`sluice_jobs_finished_total{namespace="prod",outcome="succeeded"} 1`, `sluice_job_first_start_seconds_count 1`,
		`sluice_api_requests_total{method="GET",route="/api/v1/jobs/{id}",status="404"} 1`, `sluice_api_streams 1`,
		`sluice_api_request_seconds_bucket{method="GET",route="/api/v1/jobs/{id}",le="0.005"} 1`, `sluice_webhook_waiting_seconds{webhook="chat"} 60`)
	all := text(t, m)
	if strings.Contains(all, `outcome="skipped"`) || strings.Contains(all, `request_seconds_count{method="GET",route="/api/v1/jobs/{id}/events"`) {
		t.Errorf("what is no attempt, and how long streams last, is counted in\n%s", all)
	}
	for _, name := range []string{`sluice_build_info{go="go`, `version="1.2"`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(all, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestNamespacesAreBounded: whoever makes namespaces cannot fill the memory of those who collect.
func TestNamespacesAreBounded(t *testing.T) {
	var census []prometheus.Census
	for i := range 1000 {
		census = append(census, prometheus.Census{Namespace: sluice.Namespace(fmt.Sprintf("n%d", i)), Running: 1})
	}
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return census }})
	for _, c := range census {
		m.Happened(c.Namespace, sluice.Event{Body: sluice.JobSubmitted{}})
	}
	all := text(t, m)
	has(t, all, `sluice_jobs_submitted_total{namespace="(others)"} 900`, `sluice_attempts_running{namespace="(others)"} 900`)
	if n := strings.Count(all, "\nsluice_attempts_running{"); n != 101 {
		t.Errorf("%d series", n)
	}
}

// TestPools: workers are counted by pool, and pools are bounded as well.
func TestPools(t *testing.T) {
	pools := []prometheus.Pool{{Name: "dmz", Workers: map[string]int{"connected": 2, "lost": 1}, Limit: 8, Running: 3, Waiting: 4,
		Silent: 5 * time.Second, LeasesLost: 6}}
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }, Pools: func() []prometheus.Pool { return pools }})
	has(t, text(t, m), `sluice_workers{health="connected",pool="dmz"} 2`, `sluice_workers{health="lost",pool="dmz"} 1`, `sluice_workers{health="draining",pool="dmz"} 0`,
		`sluice_workers_limit{pool="dmz"} 8`, `sluice_workers_running{pool="dmz"} 3`, `sluice_attempts_waiting{pool="dmz"} 4`,
		`sluice_workers_silent_seconds{pool="dmz"} 5`, `sluice_worker_leases_lost_total{pool="dmz"} 6`)
	for i := range 1000 {
		pools = append(pools, prometheus.Pool{Name: sluice.Pool(fmt.Sprintf("p%d", i)), Limit: 1})
	}
	all := text(t, m)
	has(t, all, `sluice_workers_limit{pool="(others)"} 901`)
	if n := strings.Count(all, "\nsluice_workers_limit{"); n != 101 {
		t.Errorf("%d series", n)
	}
}

// TestCluster: what servers share is seen where there is a cluster, and alarms also where there is none.
func TestCluster(t *testing.T) {
	var c *prometheus.Cluster
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }, Cluster: func() *prometheus.Cluster { return c }})
	if all := text(t, m); strings.Contains(all, "sluice_cluster_") {
		t.Errorf("there is a cluster: %s", all)
	}
	c = &prometheus.Cluster{Size: 100, InUse: 60, Quota: 200, Leads: true, Owns: true, Behind: map[string]uint64{"b": 7}, Unknown: 1, Alarms: map[string]int{"nospace": 2},
		Trims: 3, Defrags: 4, LeaderChanges: 5, Sync: prometheus.Spread{Count: 9, Sum: 1.5, Buckets: map[float64]uint64{.1: 8}}}
	has(t, text(t, m), "sluice_cluster_size_bytes 100", "sluice_cluster_in_use_bytes 60", "sluice_cluster_quota_bytes 200", "sluice_cluster_leads 1", "sluice_cluster_owns_log 1",
		"sluice_cluster_held 0", `sluice_cluster_behind_events{member="b"} 7`, "sluice_cluster_members_unknown 1", `sluice_cluster_alarms{kind="nospace"} 2`,
		`sluice_cluster_alarms{kind="corrupt"} 0`, "sluice_cluster_trims_total 3", "sluice_cluster_defrags_total 4", "sluice_cluster_leader_changes_total 5",
		`sluice_cluster_sync_seconds_bucket{le="0.1"} 8`, "sluice_cluster_sync_seconds_count 9", "sluice_cluster_commit_seconds_count 0")
}

// TestAppsAreBounded: an app in two environments is counted apart in each, and those are bounded together.
func TestAppsAreBounded(t *testing.T) {
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }})
	m.CommitToLive("shop", "prod", 10*time.Minute)
	m.CommitToLive("shop", "prod", 29*24*time.Hour)
	m.CommitToLive("shop", "test", time.Second)
	for i := range 1000 {
		m.CommitToLive("shop", fmt.Sprintf("e%d", i), time.Hour)
	}
	all := text(t, m)
	has(t, all, `sluice_commit_to_live_seconds_bucket{app="shop",env="prod",le="300"} 0`, `sluice_commit_to_live_seconds_bucket{app="shop",env="prod",le="600"} 1`,
		`sluice_commit_to_live_seconds_count{app="shop",env="prod"} 2`, `sluice_commit_to_live_seconds_count{app="shop",env="test"} 1`,
		`sluice_commit_to_live_seconds_count{app="(others)",env="(others)"} 902`)
	if n := strings.Count(all, "\nsluice_commit_to_live_seconds_count{"); n != 101 {
		t.Errorf("%d series", n)
	}
}

// TestLogIsOne: what is timed is a log like the one behind it.
func TestLogIsOne(t *testing.T) {
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }})
	conform.Log(t, func(*testing.T) sluice.Log { return m.Log(fake.NewLog()) })
}

func TestAppendsAreTimed(t *testing.T) {
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }})
	behind := fake.NewLog()
	l := m.Log(behind)
	update := func(events ...sluice.Event) error {
		_, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) { return events, nil })
		return err
	}
	held := sluice.Event{Time: time.Unix(0, 0), Body: sluice.HostHeld{Host: "h"}}
	if err := errors.Join(update(held, held), update()); err != nil {
		t.Fatal(err)
	}
	behind.Faults.Set(fake.LogResult, fake.Once(errors.New("lost")))
	if err := update(held); err == nil {
		t.Fatal("no error")
	}
	has(t, text(t, m), `sluice_log_append_seconds_count{result="ok"} 1`, `sluice_log_append_seconds_count{result="error"} 1`,
		`sluice_log_events_appended_total 2`)
}

// shots is a log that keeps snapshots.
type shots struct {
	*fake.Log
	sluice.Snapshots
}

func TestSnapshotsAreReached(t *testing.T) {
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }})
	if _, ok := m.Log(shots{Log: fake.NewLog()}).(sluice.Snapshots); !ok {
		t.Error("a log that keeps snapshots keeps none when it is timed")
	}
	if _, ok := m.Log(fake.NewLog()).(sluice.Snapshots); ok {
		t.Error("a log without snapshots has some when it is timed")
	}
}

// TestMetricsAreDescribed: docs/metrics.md has every metric with its labels, and none that is not there.
func TestMetricsAreDescribed(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(sluice_[a-z_]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = true
	}
	m := prometheus.New(prometheus.Config{Census: func() []prometheus.Census { return nil }})
	names := m.Names()
	if len(names) < 20 {
		t.Errorf("only %q", names)
	}
	for _, name := range names {
		if !rows[name] {
			t.Errorf("metrics.md does not describe %s", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("metrics.md describes %s, which is not there", name)
	}
}

package serving

import (
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/balance"
)

// TestPlan: the strictest of several checks counts for all.
func TestPlan(t *testing.T) {
	p := plan(sluice.Deploy{Waits: sluice.Waits{Healthy: time.Minute, Steady: 10 * time.Second}, Checks: []sluice.HealthCheck{
		{Kind: "tcp", At: "127.0.0.1:1", Every: 3 * time.Second, Timeout: time.Second, Successes: 2},
		{Kind: "http", At: "http://127.0.0.1:1/", Every: time.Second, Timeout: 4 * time.Second, Successes: 5},
		{Kind: "exec", At: "true"},
	}})
	if p.Rule != (balance.Rule{Passes: 5, For: 10 * time.Second, Deadline: time.Minute}) || p.Every != time.Second || p.Limit != 4*time.Second || len(p.Looks) != 3 {
		t.Errorf("%+v", p)
	}
}

// TestUnknownCheck: what this version does not know is never well.
func TestUnknownCheck(t *testing.T) {
	if f, text := look(sluice.HealthCheck{Kind: "grpc", At: "x"})(t.Context(), nil); f != balance.Unseen || text == "" {
		t.Errorf("%v %q", f, text)
	}
}

func TestAskedForNothing(t *testing.T) {
	job := &sluice.Job{Action: sluice.Action{Release: &sluice.Release{}}}
	if s, err := (&Serving{}).Of(t.Context(), job, "web1", nil); s != nil || err != nil || Asked(job) || Asked(&sluice.Job{}) {
		t.Errorf("%v %v", s, err)
	}
}

func TestStatuses(t *testing.T) {
	for named, well := range map[int][]int{0: {200, 204, 302, 399}, 404: {404}} {
		for _, s := range []int{199, 200, 204, 302, 399, 400, 404, 500} {
			want := false
			for _, w := range well {
				want = want || w == s
			}
			if f, _ := (balance.Answer{Status: statuses(named)}).Find(s, nil); (f == balance.Well) != want {
				t.Errorf("%d, where %d is named, is %v", s, named, f)
			}
		}
	}
}

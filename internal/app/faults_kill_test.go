package app_test

import (
	"fmt"
	"testing"

	"sluice"
)

// The program is killed at moments spread over its run, some of them while it resumes: every host runs its command
// exactly once, with its true status and all of its output, and the limit holds throughout.
func TestKilledAnywhere(t *testing.T) {
	w := newWorld(t, hosts(8))
	fleet := w.limited(5)
	const command = count + "; seq 1 50000; case $SLUICE_HOST in host3|host6) exit 3 ;; esac"
	want := seq(50000)
	again := []string{"run", "-f", fleet, "-t", "all", "--yes", "--", command}

	whole := w.start(again...)
	whole.exits(1)
	total := whole.after(0)
	check := func(round string, r *run) {
		t.Helper()
		for host, got := range w.outcomes(r.job()) {
			outcome, code := sluice.Succeeded, 0
			if host == "host3" || host == "host6" {
				outcome, code = sluice.Failed, 3
			}
			if got.Outcome != outcome || got.ExitCode == nil || *got.ExitCode != code || len(got.Truncated) > 0 {
				t.Errorf("%s: %s ended with %+v, want %s with %d", round, host, got, outcome, code)
			}
			same(t, fmt.Sprintf("%s: output of %s", round, host), w.output(r.job(), got.Attempt), want)
		}
		for _, h := range w.f.Hosts {
			b, err := h.ReadFile(counts)
			w.must(err)
			same(t, fmt.Sprintf("%s: attempts that ran on %s", round, h), string(b), fmt.Sprintf("%s\n", w.outcomes(r.job())[sluice.Host(h.Name)].Attempt))
			_, err = h.Exec(w.ctx, "rm "+counts)
			w.must(err)
		}
	}
	check("not killed", whole)
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for i := range rounds {
		at := 1 + i*(total-1)/rounds
		r := w.start(again...)
		r.after(at)
		r.killed()
		job := string(r.job())
		if i%3 == 1 {
			second := w.start("resume", job)
			second.after(1 + i)
			second.killed()
		}
		if state := w.stateOf(job); state != "failed" {
			w.start("resume", job).exits(1)
		}
		check(fmt.Sprintf("killed after event %d of %d", at, total), r)
		if t.Failed() {
			return
		}
	}
}

// stateOf is the state of a job as "sluice status" says it.
func (w *world) stateOf(job string) string {
	w.t.Helper()
	return lastOf[struct{ State string }](w.t, w.ok("-o", "json", "status", job)).State
}

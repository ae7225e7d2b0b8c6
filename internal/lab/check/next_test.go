package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/check"
)

func everyJob(sluice.JobID) bool { return true }

// short writes starts as "a:h0 b:h1".
func short(starts []check.Start) string {
	var all []string
	for _, s := range starts {
		all = append(all, fmt.Sprintf("%.1s:%s", s.Job, s.Host))
	}
	return strings.Join(all, " ")
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		want   string
		driven func(sluice.JobID) bool
		tell   func(s *script)
	}{
		{"nothing is submitted", "", everyJob, func(s *script) { s.apply() }},
		{"fleet order within a stage", "a:h0 a:h1 a:h2", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, "h2", "h0", "h1"))
		}},
		{"stage order before fleet order", "a:h2 a:h0 a:h1", everyJob, func(s *script) {
			s.apply(group("3", hosts(4)...))
			s.submitTracks(jobA, none,
				sluice.Track{Name: "t0", Stages: []sluice.Stage{stage(0, "h2"), stage(1, "h3")}},
				sluice.Track{Name: "t1", Stages: []sluice.Stage{stage(0, "h0", "h1")}})
		}},
		{"each start counts for the next", "a:h0 a:h2", everyJob, func(s *script) {
			s.apply(group("1", "h0", "h1"), group("1", "h2", "h3"))
			s.submit(jobA, none, stage(0, hosts(4)...))
		}},
		{"an earlier job goes first", "b:h1", everyJob, func(s *script) {
			s.apply(group("1", hosts(4)...))
			s.submit(jobB, none, stage(0, "h1"))
			s.submit(jobA, none, stage(0, "h0"))
		}},
		{"a job that nobody drives takes nothing", "a:h0", func(id sluice.JobID) bool { return id == jobA }, func(s *script) {
			s.apply(group("1", hosts(4)...))
			s.submit(jobB, none, stage(0, "h1"))
			s.submit(jobA, none, stage(0, "h0"))
		}},
		{"but what runs of it counts", "", func(id sluice.JobID) bool { return id == jobA }, func(s *script) {
			s.apply(group("1", hosts(4)...))
			s.submit(jobB, none, stage(0, "h1"))
			s.submit(jobA, none, stage(0, "h0"))
			s.start(jobB, "h1", 1)
		}},
		{"two jobs on one host", "a:h0", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, "h0"))
			s.submit(jobB, none, stage(0, "h0"))
		}},
		{"what only reads runs beside", "a:h0 b:h0", everyJob, func(s *script) {
			s.apply(group("1", hosts(4)...))
			s.submit(jobA, none, stage(0, "h0"))
			s.submit(jobB, sluice.Options{ReadOnly: true}, stage(0, "h0"))
		}},
		{"the job's own number at once", "a:h0 a:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, sluice.Options{Concurrency: 2}, stage(0, hosts(4)...))
		}},
		{"the job's own limit", "a:h0", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, sluice.Options{MaxParallel: budget("25%")}, stage(0, hosts(4)...))
		}},
		{"the next stage opens by itself", "a:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"), stage(2, "h2"))
			s.run(jobA, "h0", sluice.Succeeded)
		}},
		{"an empty stage keeps nothing closed", "a:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0), stage(1, "h1"))
		}},
		{"a bad canary keeps it closed", "", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Failed)
		}},
		{"a pause that nobody wrote down", "", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Succeeded)
		}},
		{"a pause that lasts", "", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Succeeded)
			s.wait(jobA, sluice.GatePause, s.now.Add(pause.Pause))
			s.now = s.now.Add(pause.Pause - 2*time.Second)
		}},
		{"a pause that is over", "a:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Succeeded)
			s.wait(jobA, sluice.GatePause, s.now.Add(pause.Pause))
			s.now = s.now.Add(pause.Pause - time.Second)
		}},
		{"an approval that nobody gave", "", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Succeeded)
			s.wait(jobA, sluice.GateApproval, time.Time{})
			s.now = s.now.Add(time.Hour)
		}},
		{"an approval", "a:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1, "h1"))
			s.run(jobA, "h0", sluice.Succeeded)
			s.pass(jobA, sluice.GateApproval, "ann")
		}},
		{"failures go no further than the budget", "", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, sluice.Options{MaxFailures: budget("0")}, stage(0, hosts(4)...))
			s.run(jobA, "h0", sluice.Failed)
		}},
		{"nobody tries again by himself", "a:h2", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, hosts(3)...))
			s.run(jobA, "h0", sluice.Failed)
			s.run(jobA, "h1", sluice.Unknown)
		}},
		{"what is tried again takes its own place", "a:h0", everyJob, func(s *script) {
			s.apply(group("1", hosts(4)...))
			s.submit(jobA, none, stage(0, hosts(2)...))
			s.run(jobA, "h0", sluice.Failed)
			s.retry(jobA, "h0")
		}},
		{"a halted job", "b:h1", everyJob, func(s *script) {
			s.apply()
			s.submit(jobA, none, stage(0, "h0"))
			s.submit(jobB, none, stage(0, "h1"))
			s.halt(jobA, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript()
			tt.tell(s)
			if found := check.Log(s.events); len(found) > 0 {
				t.Fatalf("the story is not lawful: %v", found)
			}
			if got := short(check.Next(s.events, tt.driven, s.now)); got != tt.want {
				t.Errorf("Next = %q, want %q", got, tt.want)
			}
		})
	}
}

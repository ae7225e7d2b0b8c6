package schedule_test

import (
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestALockIsNotTakenFromWhoRuns: where a job that is over was opened again, though another one has its lock by now, it starts
// nothing before what runs of the other has ended; then it goes first.
func TestALockIsNotTakenFromWhoRuns(t *testing.T) {
	s, now := schedule.New(), time.Unix(1e9, 0).UTC()
	const a, b = sluice.JobID("000000000001"), sluice.JobID("000000000002")
	apply := func(job sluice.JobID, bodies ...sluice.Body) {
		t.Helper()
		for _, body := range bodies {
			if err := s.Apply(sluice.Event{Seq: s.Seq() + 1, Time: now, Job: job, Body: body}); err != nil {
				t.Fatal(err)
			}
		}
	}
	decide := func() (started []sluice.JobID) {
		t.Helper()
		all := func(sluice.JobID) bool { return true }
		for _, e := range s.Decide(schedule.Input{Now: now, Owns: all, Driven: all}) {
			if _, is := e.Body.(sluice.TaskStarted); is {
				started = append(started, e.Job)
			}
		}
		return started
	}
	submit := func(id sluice.JobID, h ...sluice.Host) {
		apply(id, sluice.JobSubmitted{Submitted: sluice.Job{ID: id, Targets: h, Options: sluice.Options{Lock: "one", Concurrency: 1},
			Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: h}}}}}}, sluice.JobStarted{})
	}
	submit(a, "h1")
	submit(b, "h2", "h3")
	if got := decide(); len(got) != 1 || got[0] != a {
		t.Fatalf("%v start", got)
	}
	apply(a, sluice.TaskFinished{Host: "h1", Attempt: sluice.NewAttemptID(a, 0, 1), Outcome: sluice.Failed})
	if got := decide(); len(got) != 1 || got[0] != b {
		t.Fatalf("%v start", got)
	}
	apply(a, sluice.JobResumed{By: "ann", Generation: 1}, sluice.TaskRetried{Hosts: []sluice.Host{"h1"}, By: "ann"})
	if got := decide(); len(got) != 0 {
		t.Fatalf("%v start, though the other runs", got)
	}
	apply(b, sluice.TaskFinished{Host: "h2", Attempt: sluice.NewAttemptID(b, 0, 1), Outcome: sluice.Succeeded})
	if got := decide(); len(got) != 1 || got[0] != a {
		t.Fatalf("%v start", got)
	}
}

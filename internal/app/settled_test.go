package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
)

// countedReads counts how often a job is read.
type countedReads struct {
	sluice.Log
	n int
}

func (l *countedReads) ReadJob(ctx context.Context, ns sluice.Namespace, id sluice.JobID) ([]sluice.Event, error) {
	l.n++
	return l.Log.ReadJob(ctx, ns, id)
}

// TestSettled: the answer is what the log says at that moment, and a job is read once for all its attempts.
func TestSettled(t *testing.T) {
	log := &countedReads{Log: fake.NewLog()}
	add := func(id sluice.JobID, bodies ...sluice.Body) {
		t.Helper()
		_, err := log.Update(t.Context(), "prod", 0, func([]sluice.Event) (out []sluice.Event, err error) {
			for _, b := range bodies {
				out = append(out, sluice.Event{Time: time.Unix(0, 0).UTC(), Job: id, Body: b})
			}
			return out, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const one, two = sluice.JobID("0123456789ab"), sluice.JobID("ba9876543210")
	targets := make([]sluice.Host, 50)
	for i := range targets {
		targets[i] = sluice.Host(fmt.Sprintf("h%d", i))
	}
	for _, id := range []sluice.JobID{one, two} {
		add(id, sluice.JobSubmitted{Submitted: sluice.Job{ID: id, Namespace: "prod", Command: "true", Targets: targets}})
	}
	s := &settled{log: log}
	ask := func(a sluice.AttemptID, want bool) {
		t.Helper()
		if got, err := s.is(t.Context(), a); err != nil || got != want {
			t.Errorf("%s: %v, error %v", a, got, err)
		}
	}
	a := func(id sluice.JobID, i int) sluice.AttemptID { return sluice.NewAttemptID(id, i, 1) }
	for i, h := range targets {
		ask(a(one, i), false)
		b := sluice.TaskFinished{Host: h, Attempt: a(one, i), Outcome: sluice.Succeeded}
		if i == 0 {
			b.Outcome = sluice.Unknown
		}
		add(one, sluice.TaskStarted{Host: h, Attempt: a(one, i)}, b)
		ask(a(one, i), i > 0)
	}
	if log.n != 1 {
		t.Errorf("the job was read %d times", log.n)
	}
	ask(a(two, 3), false)
	add(two, sluice.TaskWithdrawn{Host: targets[3], Attempt: a(two, 3), Reason: "x"})
	ask(a(two, 3), true)
	ask(a(one, 3), true) // the other one again
	ask(a(one, 0), false)
	add(one, sluice.TaskFinished{Host: targets[0], Attempt: a(one, 0), Outcome: sluice.Failed})
	ask(a(one, 0), true)
	ask(a("zzzzzzzzzzzz", 0), false)
	ask("nothing like it", true)
}

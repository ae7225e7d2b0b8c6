package schedule_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestVisitsAreTheJobsOnAHost: a host's jobs are those that have it as a target, newest first, as each stands there, page by
// page, and the same where they are packed. Why it is out is what the list of hosts out of service says.
func TestVisitsAreTheJobsOnAHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := wander(t, 40)
		s := w.fold()
		packed := restore(t, save(t, s))
		out := map[sluice.Host]schedule.HostInfo{}
		for _, h := range s.Out() {
			out[h.Host] = h
		}
		for _, h := range w.fleet.Hosts {
			var want []schedule.Visit
			for _, i := range slices.Backward(s.Jobs()) {
				if task, ok := s.Task(i.Spec.ID, h); ok {
					task.Retriable = false // nobody asks that of the past
					want = append(want, schedule.Visit{Job: i.Spec.ID, Command: i.Spec.Command, By: i.Spec.By, Submitted: i.Submitted, ReadOnly: i.Spec.Options.ReadOnly, State: i.State, Task: task})
				}
			}
			for name, state := range map[string]*schedule.State{"folded": s, "packed": packed} {
				var got []schedule.Visit
				for before := sluice.JobID(""); ; before = got[len(got)-1].Job {
					page, ok := state.Visits(h, before, 2)
					for i := range page {
						page[i].Retriable = false
					}
					got = append(got, page...)
					if !ok || len(page) < 2 {
						break
					}
				}
				if !slices.EqualFunc(got, want, func(a, b schedule.Visit) bool { return reflect.DeepEqual(a, b) }) {
					t.Fatalf("%s, %s:\n%+v\nwant\n%+v", h, name, got, want)
				}
				now, known := state.Host(h)
				is, isOut := out[h]
				if isOut != (now.Out != nil) || isOut && !reflect.DeepEqual(*now.Out, is) || isOut && !known {
					t.Fatalf("%s, %s: %+v, want %+v", h, name, now.Out, is)
				}
			}
		}
		if _, ok := s.Visits(w.fleet.Hosts[0], "zzzzzzzzzzzz", 1); ok {
			t.Fatal("a page begins at a job that is none")
		}
	})
}

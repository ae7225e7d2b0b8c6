package control_test

import (
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestHaltAll: every job that is not over, of all namespaces or of one, at once where nothing runs; and none twice.
func TestHaltAll(t *testing.T) {
	d := newDesk(t)
	over := d.submit(fleet(1))
	d.play(over, nil)
	d.play(over, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	running, waiting := d.submit(fleet(2)), d.submit(fleet(3))
	d.play(running, nil)
	other := fleet(1)
	other.Namespace = "other"
	elsewhere := d.submit(other)

	if got, err := d.HaltAll(t.Context(), "nowhere", ""); err != nil || len(got) > 0 {
		t.Errorf("of an empty namespace %v, error %v", got, err)
	}
	if _, err := d.HaltAll(t.Context(), sluice.AccessNamespace, ""); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("of a namespace that is none: %v", err)
	}
	got, err := d.HaltAll(t.Context(), "test", "smoke")
	if err != nil || !slices.Equal(got, []sluice.JobID{running, waiting}) {
		t.Errorf("halted %v, error %v", got, err)
	}
	if s := d.state(running).State; s != schedule.Halting {
		t.Errorf("what runs is %s", s)
	}
	if i := d.state(waiting); i.State != schedule.Halted || i.Halted.Reason != "smoke" || i.Halted.Rule != sluice.RuleOperator {
		t.Errorf("what waits is %+v", i)
	}
	d.play(running, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded, "h1": sluice.Succeeded})
	if got, err = d.HaltAll(t.Context(), "", ""); err != nil || !slices.Equal(got, []sluice.JobID{elsewhere}) {
		t.Errorf("then %v, error %v", got, err)
	}
	if got, err = d.HaltAll(t.Context(), "", ""); err != nil || len(got) > 0 {
		t.Errorf("again %v, error %v", got, err)
	}
}

// TestHaltRestored: what ran is not known any more, holds its place, and cannot be tried again before it was asked for.
func TestHaltRestored(t *testing.T) {
	d := newDesk(t)
	running, waiting := d.submit(fleet(3)), d.submit(fleet(3))
	d.play(running, nil)
	got, err := d.HaltRestored(t.Context(), "restored")
	if err != nil || !slices.Equal(got, []sluice.JobID{running, waiting}) {
		t.Fatalf("halted %v, error %v", got, err)
	}
	for _, id := range got {
		if i := d.state(id); i.State != schedule.Halted || i.Running != 0 || i.Halted.Reason != "restored" {
			t.Errorf("%s is %+v", id, i)
		}
	}
	if n := d.state(running).Counts[sluice.Unknown]; n != 2 {
		t.Errorf("%d outcomes are not known, of 2 attempts that ran", n)
	}
	out, err := d.Out(t.Context(), "test")
	if err != nil || len(out) != 2 || !out[0].Unknown {
		t.Errorf("out of service %+v, error %v", out, err)
	}
	if _, err := d.Retry(t.Context(), running, []sluice.Host{"h0"}, nil); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "not known") {
		t.Errorf("a retry: %v", err)
	}
	d.play(running, nil)
	d.play(waiting, nil)
	for _, id := range got {
		if i := d.state(id); i.State != schedule.Halted || i.Running != 0 {
			t.Errorf("whoever drives %s makes it %+v", id, i)
		}
	}
}

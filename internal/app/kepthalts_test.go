package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/app"
)

// eventually waits until something is so.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-t.Context().Done():
			t.Fatal("it never was so")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keptHalt asks a server that is alone for a halt, until it keeps it: first it may still take itself for one that has a majority.
func keptHalt(t *testing.T, s *served, id sluice.JobID, reason string) (kept api.KeptHalt) {
	t.Helper()
	s.client.HaltKept = func(h api.KeptHalt) { kept = h }
	for kept.ID == "" {
		if _, err := s.client.Halt(t.Context(), id, reason); err != nil && sluice.CodeOf(err) != sluice.Contact {
			t.Fatal(err)
		}
	}
	return kept
}

// TestHaltWithoutMajority: servers of a cluster go down, one after the other, and those that are left alone take halts. They keep them through
// restarts, show them, and when there is a majority again they are in force before anything is carried out: those of the owner, and those
// of another server.
func TestHaltWithoutMajority(t *testing.T) {
	c := newCrowd(t, "a", "b", "x")
	a, x := c.servers["a"], c.servers["x"]
	x.apply(localFleet)
	marks := t.TempDir()
	gate := filepath.Join(marks, "gate")
	j, err := x.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo $SLUICE_HOST >> " + marks + "/ran; until test -e " + gate + "; do sleep 0.05; done"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		v, err := x.client.Job(t.Context(), string(j.ID))
		if err != nil {
			t.Fatal(err)
		}
		return v.Running == 2
	})
	stop := func(s *served) {
		t.Helper()
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	stop(c.servers["b"])
	stop(x)
	kept := map[sluice.ServerName]api.KeptHalt{"a": keptHalt(t, a, j.ID, "enough")}
	stop(a)
	x.start()
	kept["x"] = keptHalt(t, x, j.ID, "enough")
	for at, h := range kept {
		if h.Server != at || h.Job != j.ID || h.By != "admin" || h.Reason != "enough" || h.Namespace != "default" {
			t.Errorf("kept at %s: %+v", at, h)
		}
	}
	stop(x)
	said := newTold()
	a.log, x.log = slog.NewTextHandler(said, nil), slog.NewTextHandler(said, nil)
	x.start()
	if v, err := x.client.Job(t.Context(), string(j.ID)); err != nil || len(v.Kept) != 1 || v.Kept[0].ID != kept["x"].ID {
		t.Errorf("after a restart it keeps %+v, %v", v.Kept, err)
	}
	if list, err := x.client.Cluster(t.Context()); err != nil || list.Majority || len(list.Kept) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil { // what runs ends: there is room for those that wait
		t.Fatal(err)
	}
	a.start()
	last, err := x.client.Follow(t.Context(), string(j.ID), 0, func(sluice.Event) {}, nil)
	if b, is := last.Body.(sluice.JobHalted); err != nil || !is || b.Rule != sluice.RuleOperator || b.Reason != "enough" {
		t.Fatalf("it ended with %+v, %v", last.Body, err)
	}
	ran, err := os.ReadFile(filepath.Join(marks, "ran"))
	if lines := strings.Count(string(ran), "\n"); err != nil || lines != 2 {
		t.Errorf("%d commands ran: %s, error %v", lines, ran, err)
	}
	said.wait(t, "this server owns the log")
	first, _, _ := strings.Cut(said.String(), "this server owns the log")
	if n := strings.Count(first, "a halt that a server kept is settled"); n != 2 {
		t.Errorf("of the two halts %d were in force before the owner began:\n%s", n, first)
	}
	for _, s := range []*served{a, x} {
		eventually(t, func() bool {
			all, err := haltsdir.Dir(filepath.Join(s.data, "halts")).All()
			return err == nil && len(all) == 0
		})
	}
	events, err := x.client.Events(t.Context(), string(j.ID), 0)
	if err != nil {
		t.Fatal(err)
	}
	var halts []string
	for _, e := range events {
		if b, is := e.Body.(sluice.JobHalting); is && b.Request != "" { // one that a was asked for as the owner may have come through, too
			if halts = append(halts, b.Request); b.By != "admin" {
				t.Errorf("%+v", b)
			}
		}
	}
	slices.Sort(halts)
	if want := []string{kept["a"].ID, kept["x"].ID}; len(halts) != 2 || !slices.Contains(want, halts[0]) || !slices.Contains(want, halts[1]) || halts[0] == halts[1] {
		t.Errorf("halted by %q, want %q", halts, want)
	}
}

// TestHaltByAnotherClock: a server that was cut off takes a halt of all jobs. A job that it had not heard of is halted, too: that it came later
// is said by the clock of an owner who is gone.
func TestHaltByAnotherClock(t *testing.T) {
	var ahead atomic.Int64
	c := newCrowdOn(t, func(server *app.Server) {
		server.Clock = func() time.Time { return app.Now().Add(time.Duration(ahead.Load())) }
	}, "a", "b", "x")
	a, b, x := c.servers["a"], c.servers["b"], c.servers["x"]
	x.apply(localFleet)
	stop := func(s *served) {
		t.Helper()
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	stop(a)
	ahead.Store(int64(time.Hour))
	gate := filepath.Join(t.TempDir(), "gate")
	var j api.Job
	eventually(t, func() (is bool) { // another one owns the log first
		var err error
		j, err = x.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "until test -e " + gate + "; do sleep 0.05; done"})
		if err != nil && sluice.CodeOf(err) != sluice.Contact {
			t.Fatal(err)
		}
		return err == nil
	})
	stop(b)
	stop(x)
	ahead.Store(0)
	a.start()
	var kept api.KeptHalt
	a.client.HaltKept = func(h api.KeptHalt) { kept = h }
	eventually(t, func() bool {
		if _, err := a.client.HaltAll(t.Context(), "", "enough"); err != nil && sluice.CodeOf(err) != sluice.Contact {
			t.Fatal(err)
		}
		return kept.ID != ""
	})
	x.start()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	last, err := x.client.Follow(t.Context(), string(j.ID), 0, func(sluice.Event) {}, nil)
	if b, is := last.Body.(sluice.JobHalted); err != nil || !is || b.Reason != "enough" {
		t.Errorf("it ended with %+v, %v", last.Body, err)
	}
}

package retain_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/retain"
)

// copyOf is another server, with a copy of the log and of what a job printed.
func copyOf(h *house, ids ...sluice.JobID) *house {
	h.t.Helper()
	c := newHouse(h.t)
	c.svc.Log, c.now = h.svc.Log, h.now
	for _, id := range ids {
		c.print(id, 1)
	}
	return c
}

func (h *house) print(id sluice.JobID, try int) {
	h.t.Helper()
	if err := h.outputs.Write(id, sluice.NewAttemptID(id, 0, try), "stdout", 0, []byte("printed")); err != nil {
		h.t.Fatal(err)
	}
	if err := h.outputs.Close(id); err != nil {
		h.t.Fatal(err)
	}
	h.dated(filepath.Join("outputs", string(id)+".out"))
}

func (h *house) copied(p retain.Policy) retain.Swept {
	h.t.Helper()
	cfg := h.config(p, nil)
	cfg.Copy = true
	done, err := retain.Sweep(h.t.Context(), cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return done
}

// A copy takes away what the log says is gone, and nothing else; it adds nothing to the log.
func TestCopy(t *testing.T) {
	h := newHouse(t)
	first, second := h.job(sluice.Succeeded, h.blob("x"), 10, "h1"), h.job(sluice.Failed, h.blob("x"), 10, "h2")
	c := copyOf(h, first, second)
	h.now = start.Add(40 * day)
	c.now = h.now
	if got := c.copied(retain.Policy{Output: 30 * day}); got != (retain.Swept{}) || !c.printed(first) {
		t.Errorf("nobody has decided that yet: %+v", got)
	}
	h.sweep(retain.Policy{Output: 30 * day}, nil)
	late := copyOf(h, first) // it came a moment ago
	if got := late.copied(retain.Policy{}); got != (retain.Swept{}) || !late.printed(first) {
		t.Errorf("the job may go on, though this copy has not heard of it: %+v", got)
	}
	if got := c.copied(retain.Policy{}); got.Outputs != 1 || c.printed(first) || !c.printed(second) {
		t.Errorf("%+v", got)
	}
	if n := len(h.removed(first)); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	late.now = late.now.Add(2 * time.Hour)
	if late.copied(retain.Policy{}); late.printed(first) {
		t.Error("it is still there")
	}
}

// Who becomes the owner takes away what an earlier one decided, and says it no second time.
func TestCopyOwns(t *testing.T) {
	h := newHouse(t)
	id := h.job(sluice.Succeeded, h.blob("x"), 10, "h1")
	next := copyOf(h, id)
	h.now = start.Add(40 * day)
	next.now = h.now
	h.sweep(retain.Policy{Output: 30 * day}, nil)
	if got := next.sweep(retain.Policy{Output: 30 * day}, nil); got.Outputs != 1 || next.printed(id) || len(h.removed(id)) != 1 {
		t.Errorf("%+v, said %d times", got, len(h.removed(id)))
	}
}

// A job that went on after its output was removed has output again.
func TestCopyGoesOn(t *testing.T) {
	h := newHouse(t)
	id := h.job(sluice.Failed, h.blob("x"), 10, "h1")
	add := func(e sluice.Event) {
		t.Helper()
		e.Time = h.now
		if _, err := h.svc.Log.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{e}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	add(sluice.Event{Body: sluice.HostReleased{Host: "h1", By: "ann"}})
	c := copyOf(h)
	h.now = start.Add(40 * day)
	if h.sweep(retain.Policy{Output: 30 * day}, nil); len(h.removed(id)) != 1 {
		t.Error("it was not removed")
	}
	add(sluice.Event{Job: id, Body: sluice.TaskRetried{Hosts: []sluice.Host{"h1"}, By: "ann"}})
	c.now = h.now
	c.print(id, 2)
	c.now = h.now.Add(2 * day)
	if got := c.copied(retain.Policy{}); got != (retain.Swept{}) {
		t.Errorf("%+v", got)
	}
}

// Blobs go by the same rule on every server, and what is named is what is to be everywhere.
func TestCopyOfBlobs(t *testing.T) {
	h := newHouse(t)
	named := h.blob("named")
	h.job(sluice.Succeeded, named, 1, "h1")
	c := copyOf(h)
	for _, text := range []string{"named", "orphan"} {
		c.blob(text)
	}
	c.now = start.Add(2 * day)
	young := c.blob("young")
	if got := c.copied(retain.Policy{Jobs: 90 * day}); got.Blobs != 1 || !c.sent(named) || !c.sent(young) {
		t.Errorf("%+v", got)
	}
	got, err := retain.Needed(t.Context(), c.config(retain.Policy{Jobs: 90 * day}, nil))
	if err != nil || !slices.Contains(got.Blobs, named) || slices.Contains(got.Blobs, young) {
		t.Errorf("%v, %v", got, err)
	}
	c.now = start.Add(100 * day)
	if got, err := retain.Needed(t.Context(), c.config(retain.Policy{Jobs: 90 * day}, nil)); err != nil || slices.Contains(got.Blobs, named) {
		t.Errorf("%v, %v", got, err)
	}
}

// What is needed of jobs is all output that is kept, that of jobs first that are not over.
func TestNeededJobs(t *testing.T) {
	h := newHouse(t)
	old := h.job(sluice.Succeeded, h.blob("x"), 10, "h1")
	goesOn := h.job("", h.blob("x"), 10, "h2")
	h.now = start.Add(20 * day)
	first := h.job(sluice.Succeeded, h.blob("x"), 10, "h1")
	h.now = h.now.Add(day)
	second := h.job(sluice.Succeeded, h.blob("x"), 10, "h1")
	h.now = start.Add(40 * day)
	h.sweep(retain.Policy{Output: 30 * day}, nil)
	got, err := retain.Needed(t.Context(), h.config(retain.Policy{}, nil))
	if err != nil || !slices.Equal(got.Open, []sluice.JobID{goesOn}) || !slices.Equal(got.Over, []sluice.JobID{second, first}) {
		t.Errorf("%+v, %v; %s is removed, %s goes on, then %s and %s", got, err, old, goesOn, first, second)
	}
}

// TestACopyThatDoesNotFollow: a copy looks at nothing before it has what the others have: by its log what they need could be too old.
func TestACopyThatDoesNotFollow(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	asked := 0
	retain.Run(ctx, retain.Config{Copy: true, Follows: func() bool { asked++; stop(); return false }, // without a log, so that a look would panic
		Clock: time.Now, Trouble: func(text string) { t.Error(text) }})
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

package check_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/lab/check"
)

// Whatever happens, a log whose starts are those of Next breaks no rule; and whatever starts beside them does.
func TestNextIsAllThatIsLawful(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.live(t)
		if found := check.Log(w.events); len(found) > 0 {
			t.Fatalf("%v", found)
		}
		starts := check.Next(w.events, everyJob, w.now)
		j, ok := w.aJob(t)
		if !ok {
			return
		}
		h := rapid.SampledFrom(j.Targets).Draw(t, "other host")
		for _, s := range starts {
			if s == (check.Start{Job: j.ID, Host: h}) {
				return
			}
			w.startOne(s.Job, s.Host)
		}
		w.startOne(j.ID, h)
		if len(check.Log(w.events)) == 0 {
			t.Fatalf("%s starts on %s, which Next %v does not allow, and no rule is broken", j.ID, h, starts)
		}
	})
}

// What is missing from a log must not break the checker, whose work is broken logs.
func TestLogWithHoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.live(t)
		var rest []sluice.Event
		for _, e := range w.events {
			if rapid.IntRange(0, 4).Draw(t, "lost") != 0 {
				rest = append(rest, e)
			}
		}
		found := check.Log(rest)
		hole := len(rest) > 0 && rest[len(rest)-1].Seq != uint64(len(rest))
		if hole && len(found) == 0 {
			t.Fatal("events are missing and nothing is wrong")
		}
		check.Next(rest, everyJob, w.now)
	})
}

// The counts behind the capacities, worked out another way: for every start, from the whole log before it.
func TestCapacityByRereading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.live(t)
		for i, e := range w.events {
			b, ok := e.Body.(sluice.TaskStarted)
			if !ok || w.jobs[e.Job].Options.ReadOnly {
				continue
			}
			past := reread{w.jobs, w.events[:i]}
			for _, r := range past.rulesFor(e.Job) {
				for _, c := range r.Constraints {
					for _, g := range c.Groups {
						past.checkGroup(t, g, b.Host)
					}
				}
			}
			if p := w.jobs[e.Job].Options.MaxParallel; p != nil {
				past.checkGroup(t, sluice.Group{Name: "own", Limit: *p, Members: w.jobs[e.Job].Targets}, b.Host)
			}
		}
	})
}

// reread answers from the events themselves, each time anew.
type reread struct {
	jobs   map[sluice.JobID]sluice.Job
	events []sluice.Event
}

func (r reread) rulesFor(id sluice.JobID) []sluice.Rules {
	var frozen, current sluice.Rules
	for _, e := range r.events {
		if b, ok := e.Body.(sluice.RulesApplied); ok {
			current = b.Rules
			if b.Rules.Digest == r.jobs[id].Rules {
				frozen = b.Rules
			}
		}
	}
	return []sluice.Rules{frozen, current}
}

func (r reread) checkGroup(t *rapid.T, g sluice.Group, h sluice.Host) {
	t.Helper()
	if !slices.Contains(g.Members, h) {
		return
	}
	busy, out, members := 0, 0, 0
	for _, m := range g.Members {
		if r.flag(m, sluice.HostRetired{}.Type(), sluice.HostReturned{}.Type()) {
			continue
		}
		members++
		b := r.busy(m)
		if b {
			busy++
		}
		if m != h && (b || r.bad(m) || r.held(m)) {
			out++
		}
	}
	limit := g.Limit.Capacity(members)
	if busy+1 > limit || r.busy(h) || r.held(h) {
		t.Fatalf("%s starts with %d busy of %d in %s", h, busy, limit, g.Name)
	}
	if out+1 > limit && !r.bad(h) {
		t.Fatalf("%s starts with %d out of %d in %s", h, out, limit, g.Name)
	}
}

func (r reread) held(h sluice.Host) bool {
	return r.flag(h, sluice.HostHeld{}.Type(), sluice.HostReleased{}.Type())
}

// flag reports whether the last of two kinds of events of a host is the one that sets it.
func (r reread) flag(h sluice.Host, sets, clears string) bool {
	for _, e := range slices.Backward(r.events) {
		if e.Body.Type() != sets && e.Body.Type() != clears {
			continue
		}
		var of sluice.Host
		switch b := e.Body.(type) {
		case sluice.HostHeld:
			of = b.Host
		case sluice.HostReleased:
			of = b.Host
		case sluice.HostRetired:
			of = b.Host
		case sluice.HostReturned:
			of = b.Host
		}
		if of == h {
			return e.Body.Type() == sets
		}
	}
	return false
}

// busy looks back for attempts without an end.
func (r reread) busy(h sluice.Host) bool {
	released := false
	known := map[sluice.AttemptID]bool{}
	for _, e := range slices.Backward(r.events) {
		switch b := e.Body.(type) {
		case sluice.HostReleased:
			released = released || b.Host == h
		case sluice.TaskFinished:
			if b.Host == h && (b.Outcome != sluice.Unknown || released) {
				known[b.Attempt] = true
			}
		case sluice.TaskStarted:
			if b.Host == h && !r.jobs[e.Job].Options.ReadOnly && !known[b.Attempt] {
				return true
			}
		}
	}
	return false
}

// bad looks back for the last event that puts the host in or out of service.
func (r reread) bad(h sluice.Host) bool {
	var after []sluice.AttemptID // that succeeded since
	for _, e := range slices.Backward(r.events) {
		switch b := e.Body.(type) {
		case sluice.HostReleased:
			if b.Host == h {
				return false
			}
		case sluice.TaskFinished:
			if b.Host != h || b.Attempt == "" || r.jobs[e.Job].Options.ReadOnly {
				continue
			}
			if b.Outcome == sluice.Succeeded {
				after = append(after, b.Attempt)
			}
			if b.Outcome.Bad() && !(b.Outcome == sluice.Cancelled && b.NotStarted) {
				mended := slices.ContainsFunc(after, func(a sluice.AttemptID) bool { return r.started(a) >= r.started(b.Attempt) })
				if !mended {
					return true
				}
			}
		}
	}
	return false
}

func (r reread) started(a sluice.AttemptID) int {
	return slices.IndexFunc(r.events, func(e sluice.Event) bool {
		b, ok := e.Body.(sluice.TaskStarted)
		return ok && b.Attempt == a
	})
}

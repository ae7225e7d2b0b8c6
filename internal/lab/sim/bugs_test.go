package sim

import (
	"slices"

	"sluice"
	"sluice/internal/core/drive"
)

// misread is what a driver makes of an event that it reads. A sound one makes nothing of it.
func (g *driving) misread(e sluice.Event, afresh bool) []sluice.Event {
	same := []sluice.Event{e}
	nothing := e
	nothing.Body = sluice.UnknownBody{TypeName: e.Body.Type()}
	switch b := e.Body.(type) {
	case sluice.JobHalting:
		if g.w().bug == "a halt is not heard" {
			return []sluice.Event{nothing}
		}
	case sluice.JobCancelling:
		if g.w().bug == "a cancel is not heard" {
			return []sluice.Event{nothing}
		}
	case sluice.HostHeld:
		if g.w().bug == "a hold is not heard" {
			return []sluice.Event{nothing}
		}
	case sluice.RulesApplied:
		switch g.w().bug {
		case "percentages are rounded up":
			e.Body = sluice.RulesApplied{Rules: roundedUp(b.Rules), By: b.By}
			return []sluice.Event{e}
		case "lowered limits are not heard":
			if e.Seq > 1 {
				e.Body = sluice.RulesApplied{Rules: unlimited(b.Rules), By: b.By}
				return []sluice.Event{e}
			}
		}
	case sluice.JobSubmitted:
		switch g.w().bug {
		case "stages open early":
			e.Body = sluice.JobSubmitted{Submitted: withStages(b.Submitted, func(st *sluice.Stage) { st.MaxFailures = 1000 })}
			return []sluice.Event{e}
		case "approvals are not waited for":
			e.Body = sluice.JobSubmitted{Submitted: withStages(b.Submitted, func(st *sluice.Stage) { st.Gate.Approve = false })}
			return []sluice.Event{e}
		case "the budget is one too large":
			if m := b.Submitted.Options.MaxFailures; m != nil {
				more := sluice.Count(m.Floor(len(b.Submitted.Targets)) + 1)
				b.Submitted.Options.MaxFailures = &more
				e.Body = b
				return []sluice.Event{e}
			}
		case "jobs do not see each other's hosts":
			if e.Job != g.id {
				b.Submitted.Options.ReadOnly = true
				e.Body = b
				return []sluice.Event{e}
			}
		}
	case sluice.TaskFinished:
		changed := b
		switch {
		case g.w().bug == "failures free their places" && b.Outcome.Failure() && b.Outcome != sluice.Unknown && e.Job != g.id,
			g.w().bug == "a restart forgets holders" && afresh && b.Outcome.Failure() && b.Outcome != sluice.Unknown && e.Job != g.id:
			changed.Outcome, changed.NotStarted = sluice.Cancelled, true
		case g.w().bug == "a cancel frees its host" && b.Outcome == sluice.Cancelled && e.Job != g.id:
			changed.NotStarted = true
		case g.w().bug == "the unknown is over" && b.Outcome == sluice.Unknown:
			changed.Outcome = sluice.Failed
		}
		e.Body = changed
		return []sluice.Event{e}
	}
	return same
}

// tamper changes a decision.
func (g *driving) tamper(d *drive.Decision) {
	switch g.w().bug {
	case "a retry has the old id":
		for i, e := range d.Events {
			if b, ok := e.Body.(sluice.TaskStarted); ok {
				job, host, n, _ := b.Attempt.Parse()
				b.Attempt = sluice.NewAttemptID(job, host, max(1, n-1))
				d.Events[i].Body = b
			}
		}
	case "outcomes are written twice":
		for _, e := range slices.Clone(d.Events) {
			if b, ok := e.Body.(sluice.TaskFinished); ok && b.Attempt != "" {
				d.Events = append(d.Events, e)
			}
		}
	}
}

// launchEarly hands out what is not in the log yet.
func (g *driving) launchEarly(d drive.Decision) {
	for _, e := range d.Events {
		if b, ok := e.Body.(sluice.TaskStarted); ok {
			for _, x := range g.w().aliveWorkers(g.d.heard, 0)[:1] {
				o := order{from: g.d, job: g.m.Job(), epoch: g.epoch, host: b.Host, attempt: b.Attempt, beat: g.known[x]}
				g.w().send(&g.d.party, &x.party, "order", func() { x.take(o) })
			}
		}
	}
}

func withStages(j sluice.Job, edit func(*sluice.Stage)) sluice.Job {
	j.Tracks = slices.Clone(j.Tracks)
	for i := range j.Tracks {
		j.Tracks[i].Stages = slices.Clone(j.Tracks[i].Stages)
		for k := range j.Tracks[i].Stages {
			edit(&j.Tracks[i].Stages[k])
		}
	}
	return j
}

func withLimits(r sluice.Rules, edit func(*sluice.Group)) sluice.Rules {
	r.Constraints = slices.Clone(r.Constraints)
	for i := range r.Constraints {
		r.Constraints[i].Groups = slices.Clone(r.Constraints[i].Groups)
		for k := range r.Constraints[i].Groups {
			edit(&r.Constraints[i].Groups[k])
		}
	}
	return r
}

func unlimited(r sluice.Rules) sluice.Rules {
	return withLimits(r, func(g *sluice.Group) { g.Limit = sluice.Count(1000) })
}

func roundedUp(r sluice.Rules) sluice.Rules {
	return withLimits(r, func(g *sluice.Group) {
		if g.Limit.IsPercent() {
			g.Limit = sluice.Count(g.Limit.Floor(len(g.Members)) + 1)
		}
	})
}

// bugs are faults that can be planted, each in one guard, with the first seed that is known to find them. The simulation
// must find every one of them.
var bugs = []struct {
	name string
	seed uint64
}{
	{"appends do not compare the head", 6},
	{"appends are not fenced", 375},
	{"the log loses a tail", 4},
	{"launches do not wait for the log", 2},
	{"a lost append counts as done", 3},
	{"outcomes are acknowledged before they are durable", 37},
	{"outcomes are written twice", 1},
	{"outcomes are taken for the host's newest attempt", 8},
	{"a retry has the old id", 1},
	{"a halt is not heard", 5},
	{"a cancel is not heard", 8},
	{"a hold is not heard", 2},
	{"a halted job resumes by itself", 2},
	{"lowered limits are not heard", 4},
	{"percentages are rounded up", 4},
	{"stages open early", 3},
	{"approvals are not waited for", 16},
	{"the budget is one too large", 12},
	{"jobs do not see each other's hosts", 2},
	{"failures free their places", 3},
	{"a restart forgets holders", 3},
	{"a cancel frees its host", 91},
	{"the unknown is over", 3},
	{"workers start without a lease", 5},
	{"any heartbeat renews every lease", 5},
	{"the lease is looked at too early", 5},
	{"workers follow old epochs", 102},
	{"a second worker does not know that it is one", 109},
	{"targets forget before the log knows", 4},
	{"a host forgets what another worker may start", 53},
	{"not by me is not at all", 2613},
	{"the gate is not looked at", 1},
	{"silence is success", 4},
	{"silence is failure", 26},
	{"a restarted host has done it", 10},
}

package check

import (
	"fmt"
	"time"

	"sluice"
)

// place is a stage of a job, by the numbers of its track and of the stage in it.
type place struct{ track, stage int }

type gateKey struct {
	place
	kind sluice.GateKind
}

type gate struct {
	waiting bool
	until   time.Time
	passed  bool
}

// againstStages asks every stage that the host is in, one for each of its tracks.
func (c *Checker) againstStages(j *job, h sluice.Host) []objection {
	var all []objection
	for _, p := range j.places[h] {
		switch closed := closed(j, p); {
		case closed != nil:
			all = append(all, closed...)
		case !j.opened[p]:
			all = append(all, object(Sequence, "no event opened %s", j.name(p))...)
		}
	}
	return all
}

// closed says why a stage may not open; nil if it may.
func closed(j *job, p place) []objection {
	if why := unsettled(j, p); why != "" {
		return object(Sequence, "%s is not open: %s", j.name(p), why)
	}
	for i := range p.stage {
		at := place{p.track, i}
		g := j.Tracks[p.track].Stages[i].Gate
		if g.Pause > 0 && !j.gates[gateKey{at, sluice.GatePause}].passed {
			return object(GateKept, "the pause behind %s is not over", j.name(at))
		}
		if g.Approve && !j.gates[gateKey{at, sluice.GateApproval}].passed {
			return object(GateKept, "nobody approved what is behind %s", j.name(at))
		}
	}
	return nil
}

// unsettled says which of the stages ahead of p keeps it closed; "" if none does.
func unsettled(j *job, p place) string {
	for i := j.clear[p.track]; i < p.stage; i++ {
		if why := undone(j, place{p.track, i}); why != "" {
			return why
		}
		j.clear[p.track] = i + 1
	}
	return ""
}

// undone says why a stage is not done: a task of it is not settled, or more failed than its entry lets pass.
func undone(j *job, p place) string {
	stages := j.Tracks[p.track].Stages
	for _, h := range stages[p.stage].Hosts {
		if t := j.tasks[h]; t == nil || t.state != settled {
			return fmt.Sprintf("%s is not settled in %s", h, j.name(p))
		}
	}
	failed := 0
	for _, s := range stages[:p.stage+1] {
		if s.Entry != stages[p.stage].Entry {
			continue
		}
		for _, h := range s.Hosts {
			if t := j.tasks[h]; t.outcome.Failure() || t.outcome == sluice.Cancelled {
				failed++
			}
		}
	}
	if failed > stages[p.stage].MaxFailures {
		return fmt.Sprintf("%d hosts failed by the end of %s and %d may", failed, j.name(p), stages[p.stage].MaxFailures)
	}
	return ""
}

func (c *Checker) stageOpened(j *job, b sluice.StageOpened) {
	p, ok := j.find(b.Track, b.Index)
	if !ok || j.Tracks[p.track].Stages[p.stage].Name != b.Stage {
		c.report(Sequence, "", "the plan has no stage %d %q in track %q", b.Index, b.Stage, b.Track)
		return
	}
	if j.reopened[p] {
		c.report(Sequence, "", "%s is opened twice", j.name(p))
	}
	for _, o := range closed(j, p) {
		c.report(o.invariant, "", "%s is opened although %s", j.name(p), o.why)
	}
	j.opened[p], j.reopened[p] = true, true
}

func (c *Checker) gateWaiting(j *job, b sluice.GateWaiting) {
	p, ok := j.find(b.Track, b.Index)
	if !ok {
		c.report(GateKept, "", "the plan has no stage %d in track %q", b.Index, b.Track)
		return
	}
	if why := unsettled(j, place{p.track, p.stage + 1}); why != "" {
		c.report(GateKept, "", "the gate behind %s waits too early: %s", j.name(p), why)
	}
	pause := j.Tracks[p.track].Stages[p.stage].Gate.Pause
	if end := entryEnded(j, p).Add(pause); b.Kind == sluice.GatePause && b.Until.Before(end) {
		c.report(GateKept, "", "the pause behind %s ends at %s and should last until %s", j.name(p), b.Until, end)
	}
	j.gates[gateKey{p, b.Kind}] = gate{waiting: true, until: b.Until}
}

func (c *Checker) gatePassed(j *job, b sluice.GatePassed) {
	p, ok := j.find(b.Track, b.Index)
	if !ok {
		c.report(GateKept, "", "the plan has no stage %d in track %q", b.Index, b.Track)
		return
	}
	key := gateKey{p, b.Kind}
	g := j.gates[key]
	switch {
	case b.Kind == sluice.GateApproval && b.By == "":
		c.report(GateKept, "", "nobody approved what is behind %s", j.name(p))
		return
	case b.Kind == sluice.GatePause && !g.waiting:
		c.report(GateKept, "", "the pause behind %s ends and never began", j.name(p))
		return
	case b.Kind == sluice.GatePause && c.event.Time.Before(g.until):
		c.report(GateKept, "", "the pause behind %s ends before %s", j.name(p), g.until)
		return
	}
	g.passed = true
	j.gates[key] = g
}

// entryEnded is when the last host of the entry that the stage belongs to got its outcome.
func entryEnded(j *job, p place) (last time.Time) {
	stages := j.Tracks[p.track].Stages
	for _, s := range stages[:p.stage+1] {
		for _, h := range s.Hosts {
			if t := j.tasks[h]; s.Entry == stages[p.stage].Entry && t != nil && t.ended.After(last) {
				last = t.ended
			}
		}
	}
	return last
}

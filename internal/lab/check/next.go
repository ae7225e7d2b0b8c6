package check

import (
	"time"

	"sluice"
)

// Start is a task that may start.
type Start struct {
	Job  sluice.JobID
	Host sluice.Host
}

// Next returns the tasks that may start after these events, in the order that binds: jobs as they were
// submitted, the tracks of a job and their stages as planned, hosts as in the job's targets. Each counts for
// those behind it. Jobs that nobody drives start nothing. The time decides only whether a pause is over.
//
// Stages that may open count as open and pauses that are over as passed, whether or not the log says so yet.
func Next(events []sluice.Event, driven func(sluice.JobID) bool, now time.Time) []Start {
	c := New()
	for _, e := range events {
		c.Add(e)
	}
	var starts []Start
	for _, j := range c.order {
		if !driven(j.id) {
			continue
		}
		c.openUp(j, now)
		for _, h := range j.bindingOrder() {
			if len(c.objections(j, h)) > 0 {
				continue
			}
			t := j.tasks[h]
			c.seq++
			c.launch(j, h, sluice.NewAttemptID(j.id, t.index, t.tries+1))
			starts = append(starts, Start{j.id, h})
		}
	}
	return starts
}

// openUp marks what may be open at this time: pauses that are over, and the stages behind what is done.
func (c *Checker) openUp(j *job, now time.Time) {
	for key, g := range j.gates {
		if key.kind == sluice.GatePause && !now.Before(g.until) {
			g.passed = true
			j.gates[key] = g
		}
	}
	for t, track := range j.Tracks {
		for s := range track.Stages {
			if p := (place{t, s}); closed(j, p) == nil {
				j.opened[p] = true
			}
		}
	}
}

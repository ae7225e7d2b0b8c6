package check

import (
	"slices"
	"time"

	"sluice"
)

// task is one job on one host.
type task struct {
	index   int // in the job's targets
	tries   int
	attempt *attempt // the last one; nil if there was none
	state   taskState
	outcome sluice.Outcome // the last one, also while the task is tried again; "" if there was none
	ended   time.Time      // when the outcome came
}

type taskState int

const (
	planned taskState = iota // was never tried, or is to be tried again
	running
	settled
)

// attempt is one try of a task.
type attempt struct {
	id       sluice.AttemptID
	job      *job
	host     sluice.Host
	launched uint64
	outcome  sluice.Outcome // "" while it runs
	released bool           // the outcome is unknown, and an operator released the host
}

// open reports whether the attempt runs or may run.
func (a *attempt) open() bool {
	return a.outcome == "" || a.outcome == sluice.Unknown && !a.released
}

func (c *Checker) taskStarted(j *job, b sluice.TaskStarted) {
	t := j.tasks[b.Host]
	if t == nil {
		c.report(Targets, b.Host, "starts on a host that is none of the job's targets")
		return
	}
	id, index, n, ok := b.Attempt.Parse()
	switch {
	case c.attempts[b.Attempt] != nil:
		c.report(NewTry, b.Host, "attempt %s was started before", b.Attempt)
	case !ok:
		c.report(Attempts, b.Host, "%q is no attempt id", b.Attempt)
	case id != j.id || index != t.index:
		c.report(Attempts, b.Host, "attempt %s is named for another job or host", b.Attempt)
	case n != t.tries+1:
		c.report(Attempts, b.Host, "attempt %s is not try %d", b.Attempt, t.tries+1)
	}
	if !slices.ContainsFunc(j.places[b.Host], func(p place) bool {
		return j.Tracks[p.track].Name == b.Track && j.Tracks[p.track].Stages[p.stage].Name == b.Stage
	}) {
		c.report(Attempts, b.Host, "track %q has no stage %q with the host in it", b.Track, b.Stage)
	}
	for _, o := range c.objections(j, b.Host) {
		c.report(o.invariant, b.Host, "starts although %s", o.why)
	}
	c.launch(j, b.Host, b.Attempt)
}

// launch enters an attempt that begins to run.
func (c *Checker) launch(j *job, h sluice.Host, id sluice.AttemptID) {
	t := j.tasks[h]
	a := &attempt{id: id, job: j, host: h, launched: c.seq}
	if !j.Options.ReadOnly {
		c.newest[h] = c.seq
	}
	c.attempts[id] = a
	t.attempt = a
	t.tries++
	j.set(h, running, t.outcome)
	if !j.Options.ReadOnly {
		if c.busy[h] == nil {
			c.busy[h] = map[sluice.AttemptID]bool{}
		}
		c.busy[h][id] = true
	}
}

func (c *Checker) taskFinished(j *job, b sluice.TaskFinished) {
	t := j.tasks[b.Host]
	switch {
	case t == nil:
		c.report(Targets, b.Host, "ends on a host that is none of the job's targets")
		return
	case !slices.Contains(sluice.Outcomes[:], b.Outcome):
		c.report(Attempts, b.Host, "%q is no outcome", b.Outcome)
		return
	}
	if b.Refused {
		j.refused++
	}
	if b.Attempt == "" {
		c.endedWithoutAttempt(j, b)
		return
	}
	a := c.attempts[b.Attempt]
	switch {
	case a == nil || a.job != j || a.host != b.Host:
		c.report(Attempts, b.Host, "attempt %q of this task was never started", b.Attempt)
		return
	case b.Outcome == sluice.Skipped:
		c.report(Attempts, b.Host, "an attempt that was made cannot be skipped")
		return
	case a.outcome == sluice.Unknown && b.Outcome == sluice.Unknown,
		a.outcome != sluice.Unknown && a.outcome != "":
		c.report(FirstResult, b.Host, "attempt %s is %s and has got the outcome %s already", a.id, b.Outcome, a.outcome)
		return
	}
	a.outcome = b.Outcome
	if t.attempt == a && (t.state != settled || t.outcome != sluice.Skipped) { // a skip stays a skip
		j.end(b.Host, b.Outcome, c.event.Time)
	}
	if !j.Options.ReadOnly {
		c.serve(a, b)
	}
}

// serve works out what an outcome does to the host for everybody: whether it is busy, and in or out of service.
func (c *Checker) serve(a *attempt, b sluice.TaskFinished) {
	if b.Outcome != sluice.Unknown {
		c.free(a)
	}
	switch {
	case b.Outcome == sluice.Succeeded:
		// The late outcome of an old attempt says nothing about what a newer one broke.
		if a.launched >= c.bad[a.host] {
			delete(c.bad, a.host)
		}
	case b.Outcome == sluice.Cancelled && b.NotStarted:
		// Nothing ran: the host is as good or bad as before.
	case a.released && c.newest[a.host] > a.launched:
		// An operator put the host back into service, and something newer has run there since: that counts.
	case b.Outcome.Bad():
		c.bad[a.host] = max(c.bad[a.host], a.launched)
	}
}

// endedWithoutAttempt is a skip by an operator, or a task that a cancel kept from starting. It says nothing about
// the host.
func (c *Checker) endedWithoutAttempt(j *job, b sluice.TaskFinished) {
	t := j.tasks[b.Host]
	switch {
	case b.Outcome != sluice.Skipped && b.Outcome != sluice.Cancelled:
		c.report(Attempts, b.Host, "is %s without an attempt", b.Outcome)
		return
	case t.state == running:
		c.report(Attempts, b.Host, "is %s while attempt %s runs", b.Outcome, t.attempt.id)
		return
	case b.Outcome == sluice.Skipped && b.By == "":
		c.report(Sequence, b.Host, "is skipped by nobody; only an operator may open a stage that way")
		return
	}
	j.end(b.Host, b.Outcome, c.event.Time)
}

func (c *Checker) taskRetried(j *job, b sluice.TaskRetried) {
	for _, h := range b.Hosts {
		t := j.tasks[h]
		switch {
		case t == nil:
			c.report(Targets, h, "is to be tried again, but is none of the job's targets")
		case t.state == settled && (t.attempt == nil || !t.attempt.open()):
			j.set(h, planned, t.outcome)
		}
	}
}

// taskWithdrawn is an attempt of which it is proved that it started nothing: the task is as it was before, but for
// the number of its tries, and so is the host. The job starts nothing more until it is resumed.
func (c *Checker) taskWithdrawn(j *job, b sluice.TaskWithdrawn) {
	t, a := j.tasks[b.Host], c.attempts[b.Attempt]
	if t == nil || a == nil || a.job != j || t.attempt != a || t.state != running {
		c.report(Attempts, b.Host, "attempt %q is withdrawn, but it does not run", b.Attempt)
		return
	}
	a.outcome = sluice.Cancelled
	c.free(a)
	j.refused = max(j.refused, 2)
	j.set(b.Host, planned, t.outcome)
}

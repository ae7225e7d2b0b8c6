package schedule

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"sluice"
)

// Input is what a decision must know beside the log.
type Input struct {
	Now time.Time
	// Owns reports whether the caller drives the job: only its events are decided here.
	Owns func(sluice.JobID) bool
	// Driven reports whether anybody drives the job. Jobs that somebody else drives go first where they were
	// submitted first; those that nobody drives are passed over.
	Driven func(sluice.JobID) bool
	// Settling reports whether the true outcomes of the job's unknown attempts are being fetched, so that it
	// is too early to say that the job is halted or finished. May be nil.
	Settling func(sluice.JobID) bool
	// May is asked, at most once in a decision, when something of a job that the caller drives would start. Nil: it may.
	May func(sluice.JobID) Permit
}

// Permit says whether a job may start what it could start. The zero Permit lets it.
type Permit struct {
	Wait bool               // nothing starts for now
	Halt *sluice.JobHalting // nothing starts, and the job halts
}

// Decide returns the events that follow now, in order and without numbers, and applies them: the state is then
// that of a log that ends with them. If they cannot be appended, the state is of no use any more.
func (s *State) Decide(in Input) []sluice.Event {
	d := decision{State: s, in: in}
	for _, j := range slices.Clone(s.open) { // a job that finishes leaves the list
		owned := in.Owns(j.id())
		if !owned && !in.Driven(j.id()) {
			continue
		}
		s.build(j)
		if owned {
			d.own(j)
		} else {
			d.reserve(j)
		}
	}
	d.undo()
	return d.events
}

type decision struct {
	*State
	in       Input
	events   []sluice.Event
	reserved []*task  // starts of jobs that others drive, only tried out
	opened   []*stage // of such jobs, likewise
	shut     []*job   // whose stages those are
	from     *class   // of the task that next returned
}

// emit applies an event and keeps it. The rules made it, so it always applies.
func (d *decision) emit(j *job, b sluice.Body) {
	e := sluice.Event{Time: d.in.Now, Job: j.id(), Body: b}
	if err := d.State.apply(e); err != nil {
		panic("schedule: an event of its own does not apply: " + err.Error())
	}
	d.State.seq++
	d.events = append(d.events, e)
}

// own decides for a job that the caller drives.
func (d *decision) own(j *job) {
	d.limits(j)
	d.skipRetired(j)
	if !j.stopped() && !j.overBudget() && d.lockedBy(j) == nil {
		if why := d.outdated(j); why != "" {
			d.emit(j, sluice.JobFinished{Outcome: sluice.Cancelled, Counts: j.counts(true), Reason: why})
			return
		}
		d.openStages(j)
		d.build(j)
		if d.in.May != nil && d.next(j) != nil {
			if p := d.in.May(j.id()); p.Wait {
				return // what could start is no reason to halt
			} else if p.Halt != nil {
				d.emit(j, *p.Halt)
			}
		}
		if !j.stopped() {
			d.start(j)
		}
	}
	d.conclude(j)
}

// start starts what may.
func (d *decision) start(j *job) {
	for t := d.next(j); t != nil; t = d.next(j) {
		p := t.places[0]
		d.emit(j, sluice.TaskStarted{Host: d.hosts[t.host].name, Attempt: sluice.NewAttemptID(j.id(), int(t.target), int(t.try)+1),
			Track: j.tracks[p.track].name, Stage: j.tracks[p.track].stages[p.stage].name})
		d.from.lookedAt()
	}
}

// reserve tries out what a job that somebody else drives would start now, so that later jobs leave it room.
func (d *decision) reserve(j *job) {
	if j.stopped() || j.overBudget() || d.lockedBy(j) != nil || d.outdated(j) != "" {
		return
	}
	d.tryOpen(j)
	for t := d.next(j); t != nil; t = d.next(j) {
		d.begin(t, d.in.Now)
		d.from.lookedAt()
		d.reserved = append(d.reserved, t)
	}
}

// undo forgets what was only tried out.
func (d *decision) undo() {
	for i := len(d.reserved) - 1; i >= 0; i-- {
		d.takeBack(d.reserved[i])
	}
	for _, st := range d.opened {
		st.opened = false
	}
	for _, j := range d.shut {
		d.tearDown(j)
		j.dirty = true
	}
}

// limits halts a job that took too long, has more failures than it may have, or had logins refused.
func (d *decision) limits(j *job) {
	if j.stopped() {
		return
	}
	o := j.spec.Options
	switch {
	case o.JobTimeout > 0 && j.everUp && !d.in.Now.Before(j.started.Add(o.JobTimeout)):
		d.emit(j, sluice.JobHalting{Rule: sluice.RuleJobTimeout, Kill: true,
			Reason: "the job took longer than " + o.JobTimeout.String()})
	case j.refused >= maxRefused && j.unsettled > 0:
		d.emit(j, sluice.JobHalting{Rule: sluice.RuleAuth,
			Reason: "two logins were refused; no account is to be locked fleet-wide"})
	}
}

// maxRefused logins may be refused before a job halts.
const maxRefused = 2

// skipRetired gives up tasks whose host was retired after the job was submitted: it is no target any more. What a release runs once is
// not passed over for that: the others wait for it, or it was to come after them.
func (d *decision) skipRetired(j *job) {
	if j.unsettled == 0 {
		return
	}
	for _, h := range d.retired {
		t := j.byHost[h]
		host := &d.hosts[h]
		if t != nil && t.phase == pending && host.retired != nil {
			outcome := sluice.Skipped
			if host.name == j.spec.Action.Once() || host.name == j.spec.Action.After() {
				outcome = sluice.Cancelled
			}
			d.emit(j, sluice.TaskFinished{Host: host.name, Outcome: outcome, By: host.retired.by,
				Reason: "retired: " + host.retired.reason, NotStarted: true})
		}
	}
}

// overBudget reports whether the job has more failures than it may have.
func (j *job) overBudget() bool { return j.budget >= 0 && j.failures > j.budget }

// lockedBy returns the job that has the lock that j wants, or nil. Who was submitted first has it until the end, whether or
// not anybody drives it: a lock that a lost process sets free would be none. What a later job runs is waited for, too, where an
// earlier one was opened again. Who undoes or validates another job takes its lock over, before those that wait for it.
func (s *State) lockedBy(j *job) *job {
	if j.spec.Options.Lock == "" {
		return nil
	}
	for _, o := range s.open {
		if o != j && o.spec.Options.Lock == j.spec.Options.Lock && (s.inLine(o, j) < 0 || o.running > 0) {
			return o
		}
	}
	return nil
}

// inLine compares two jobs that want a lock: negative where o comes before j.
func (s *State) inLine(o, j *job) int {
	place := func(j *job) (number, follows int) {
		if of := s.byID[j.spec.Action.Follows()]; of != nil {
			return of.number, -1
		}
		return j.number, 0
	}
	a, x := place(o)
	b, y := place(j)
	return cmp.Or(cmp.Compare(a, b), cmp.Compare(x, y), cmp.Compare(o.number, j.number))
}

// next returns the first task of the job that may start now, or nil. It moves what may not to where it waits.
func (d *decision) next(j *job) *task {
	limit := j.spec.Options.Concurrency
	if j.overBudget() || j.refused >= maxRefused || limit > 0 && j.running >= limit {
		return nil
	}
	for q := &j.queues.candidates; len(*q) > 0; {
		c := (*q)[0]
		t := c.tasks[0]
		if h := &d.hosts[t.host]; h.retired != nil || !j.readOnly() && h.barred() {
			heap.Pop(&c.tasks)
			t.queue, t.onHost = nil, true
			h.waiting = append(h.waiting, t)
			c.changed()
			continue
		}
		g := c.full()
		if g == nil {
			d.from = c
			return t
		}
		c.leave()
		c.waitFor(g)
		c.lookedAt()
	}
	return nil
}

// conclude finishes or halts a job of which nothing runs and nothing can start.
func (d *decision) conclude(j *job) {
	if j.running > 0 || j.finished != "" || d.in.Settling != nil && d.in.Settling(j.id()) {
		return
	}
	switch {
	case j.cancelling != nil && (j.unsettled > 0 || j.outcome() != sluice.Succeeded):
		d.emit(j, sluice.JobFinished{Outcome: sluice.Cancelled, Counts: j.counts(true)})
	case j.unsettled == 0: // a cancel that came when all had succeeded changed nothing
		d.emit(j, sluice.JobFinished{Outcome: j.outcome(), Counts: j.counts(false)})
	case j.halted != nil:
	case j.halting != nil:
		d.emit(j, sluice.JobHalted{Rule: j.halting.Rule, Reason: j.halting.Reason, Generation: j.generation + 1})
	default:
		if w := d.verdict(j); w != nil {
			d.emit(j, sluice.JobHalted{Rule: w.Rule, Reason: w.Text, Constraint: w.Constraint, Group: w.Group,
				Holders: w.hosts(), Generation: j.generation + 1})
		}
	}
}

// outcome is that of a job all of whose tasks have one.
func (j *job) outcome() sluice.Outcome {
	for _, t := range j.tasks {
		if !t.outcome.Passed() {
			return sluice.Failed
		}
	}
	return sluice.Succeeded
}

// counts counts the targets by outcome. Those without one are cancelled when the job is.
func (j *job) counts(cancelled bool) map[sluice.Outcome]int {
	n := make(map[sluice.Outcome]int)
	for _, t := range j.tasks {
		switch {
		case t.phase == settled:
			n[t.outcome]++
		case cancelled:
			n[sluice.Cancelled]++
		}
	}
	return n
}

// NextTimer returns when a decision is due though nothing happens: the end of a pause, or of a job's time.
func (s *State) NextTimer(owns func(sluice.JobID) bool) (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, j := range s.open {
		if j.stopped() || !owns(j.id()) {
			continue
		}
		if limit := j.spec.Options.JobTimeout; limit > 0 && j.everUp {
			sooner(j.started.Add(limit))
		}
		for i := range j.tracks {
			for k := range j.tracks[i].stages {
				if st := &j.tracks[i].stages[k]; !st.pauseTill.IsZero() && !st.paused {
					sooner(st.pauseTill)
				}
			}
		}
	}
	return at, ok
}

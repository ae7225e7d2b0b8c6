package drive

import (
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Right says whether the job may start anything more, as far as its submitter's rights go.
type Right int

const (
	// Given: it may.
	Given Right = iota
	// NotAsked: nobody has asked yet. Nothing starts.
	NotAsked
	// InDoubt: it could not be found out. Nothing starts.
	InDoubt
	// Withdrawn: it may not. The job halts instead of starting anything.
	Withdrawn
)

// Input is what a decision must know.
type Input struct {
	Now time.Time
	// Driven reports whether a live process drives a job.
	Driven func(sluice.JobID) bool
	// Right to start something.
	Right Right
	// Reason of a right that is Withdrawn, for people.
	Reason string
}

// Decision is what a turn comes to.
type Decision struct {
	Events []sluice.Event // to append, without numbers
	// Notices tell the person at the terminal what is no event.
	Notices []string
	// Ask says that something would start, and that it was not asked for the right.
	Ask bool
}

// Asks reports whether the next turn may well start something, so that the right to it should be known by then. Where
// it says no and something can start all the same, the decision says so.
func (m *Machine) Asks() bool {
	if m.cfg.OnlySettle {
		return false
	}
	if m.withheld {
		return true
	}
	steps := len(m.waiting) > 0
	for _, r := range m.waiting {
		_, _, step := onTheWay(r.Body)
		steps = steps && step
	}
	return !steps && m.state.MayStart(m.cfg.Job)
}

// Decide applies what others wrote and what was reported, and lets the schedule decide on that. The machine is then ahead
// of the log: either [Machine.Done] follows, or [Machine.Load].
func (m *Machine) Decide(tail []sluice.Event, in Input) (Decision, error) {
	for _, e := range tail {
		if err := m.state.Apply(e); err != nil {
			return Decision{}, fmt.Errorf("reading the journal: %w", err)
		}
	}
	t := turn{Machine: m, now: in.Now}
	if info, _ := m.state.Job(m.cfg.Job); !info.Started && !m.cfg.OnlySettle {
		t.add(sluice.JobStarted{Driver: m.cfg.Driver})
	}
	t.takeReports(tail)
	m.decided = len(m.waiting)
	m.withheld, m.stale = false, false
	if m.cfg.OnlySettle {
		return t.out, nil
	}
	id := m.cfg.Job
	t.out.Events = append(t.out.Events, m.state.Decide(schedule.Input{Now: in.Now,
		Owns:   func(other sluice.JobID) bool { return other == id },
		Driven: func(other sluice.JobID) bool { return other == id || in.Driven(other) },
		// A job is over when its last host has been told so: a process that is killed before that leaves a job
		// that can be resumed, and then nothing stays behind on a host.
		Settling: func(sluice.JobID) bool { return len(m.flights) > 0 },
		May:      func(sluice.JobID) schedule.Permit { return t.permit(in) },
	})...)
	t.undo(tail)
	t.validate(tail)
	t.undoValidated(tail)
	t.out.Ask = m.withheld && in.Right == NotAsked
	return t.out, nil
}

// turn is a decision that is being made.
type turn struct {
	*Machine
	now time.Time
	out Decision
}

func (t *turn) add(b sluice.Body) bool { return t.addTo(t.cfg.Job, b) }

func (t *turn) addTo(id sluice.JobID, b sluice.Body) bool {
	e := sluice.Event{Time: t.now, Job: id, Body: b}
	if err := t.state.Apply(e); err != nil {
		t.notice("%v", err) // such as an outcome of an attempt that was given up
		return false
	}
	t.out.Events = append(t.out.Events, e)
	return true
}

func (t *turn) notice(format string, args ...any) {
	t.out.Notices = append(t.out.Notices, fmt.Sprintf(format, args...))
}

// takeReports adds what was reported and is news. Of several outcomes of one attempt the first true one stays, whether it
// is in the log, in what others just wrote, or in this same step.
func (t *turn) takeReports(tail []sluice.Event) {
	fresh, told := map[sluice.AttemptID]sluice.Outcome{}, map[string]bool{}
	for _, e := range tail {
		if e.Job != t.cfg.Job {
			continue
		}
		switch b := e.Body.(type) {
		case sluice.TaskFinished:
			fresh[b.Attempt] = b.Outcome
		case sluice.TaskStep, sluice.BalancerChanged:
			key, _, _ := onTheWay(b)
			told[key] = true
		}
	}
	for _, r := range t.waiting {
		switch b := r.Body.(type) {
		case sluice.TaskFinished:
			known, ok := fresh[b.Attempt]
			if !ok {
				known, ok = t.outcomes[b.Attempt]
			}
			if ok && known != sluice.Unknown && b.Outcome != sluice.Unknown && known != b.Outcome {
				t.notice("%s: the target now says %s, but the journal has %s; the journal stands", b.Attempt, b.Outcome, known)
			}
			if ok && (known != sluice.Unknown || b.Outcome == sluice.Unknown) {
				continue
			}
			if t.add(b) {
				fresh[b.Attempt] = b.Outcome
			}
		case sluice.TaskStep, sluice.BalancerChanged:
			if key, _, _ := onTheWay(b); !t.steps[key] && !told[key] { // joined attempts tell it again
				told[key] = true
				t.add(b)
			}
		default:
			t.add(r.Body)
		}
	}
}

// permit says what the schedule may start. It is called when there is something.
func (t *turn) permit(in Input) schedule.Permit {
	switch in.Right {
	case Given:
		return schedule.Permit{}
	case Withdrawn:
		return schedule.Permit{Halt: &sluice.JobHalting{Rule: sluice.RuleRights, Reason: in.Reason}}
	}
	t.withheld = true
	return schedule.Permit{Wait: true}
}

// Done says what follows from a decision that is durable: the tail that it was made on, with the numbers of its own events
// set.
func (m *Machine) Done(tail []sluice.Event, d Decision, now time.Duration) (e Effects) {
	for _, events := range [][]sluice.Event{tail, d.Events} {
		for _, ev := range events {
			m.remember(ev)
			if ev.Job == m.cfg.Job {
				e.Events = append(e.Events, ev)
			}
		}
	}
	for _, r := range m.waiting[:m.decided] {
		if r.Ticket != 0 {
			e.Answers = append(e.Answers, r.Ticket)
		}
	}
	m.waiting = slices.Delete(m.waiting, 0, m.decided) // what came meanwhile is for the next step
	m.decided = 0
	for _, ev := range d.Events {
		if b, ok := ev.Body.(sluice.TaskStarted); ok {
			m.launch(&e, Launch{Host: b.Host, Attempt: b.Attempt}, now)
		}
	}
	if slices.ContainsFunc(tail, func(ev sluice.Event) bool { return ev.Job == m.cfg.Job && ev.Body.Type() == "task.started" }) {
		m.takeUp(&e, now) // an append of ours that was held to be lost, or of whoever drove the job before
	}
	m.takeUpLost(&e, now)
	m.killIfAsked(&e)
	return e
}

const (
	// maxStepDelay is how long the end of a step may wait for company on its way into the log: an append costs as
	// much for one event as for many.
	maxStepDelay = 100 * time.Millisecond
	// maxOutcomeDelay is the same for outcomes, of which none waits longer than this share of the time that its
	// attempt took: the next host waits for the place.
	maxOutcomeDelay = 50 * time.Millisecond
	outcomeShare    = 25
)

// Report keeps a report for the next append, and says how long it may wait for company on the way.
func (m *Machine) Report(r Report, now time.Duration) time.Duration {
	m.waiting = append(m.waiting, r)
	switch b := r.Body.(type) {
	case sluice.TaskStep, sluice.BalancerChanged:
		_, attempt, _ := onTheWay(b)
		if f := m.flights[attempt]; f != nil {
			f.lost = lost{given: f.lost.given} // somebody has it in hand
		}
		return maxStepDelay
	case sluice.TaskFinished:
		f := m.flights[b.Attempt]
		if f == nil {
			return 0
		}
		m.told(f)
		if m.flying == 0 { // nobody else is on the way
			return 0
		}
		return min(maxOutcomeDelay, (now-f.since)/outcomeShare)
	}
	return 0
}

// told notes that a flight has nothing more to say that decisions wait for.
func (m *Machine) told(f *flight) {
	if !f.told {
		f.told = true
		m.flying--
	}
}

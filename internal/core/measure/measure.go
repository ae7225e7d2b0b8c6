// Package measure makes of the events of a log what one wants to know of its course in numbers: how long a job waited for
// its first start, and what a halt took. Events in, samples out; it knows neither the clock nor who collects them.
package measure

import (
	"time"

	"sluice"
)

// Kind says what was measured.
type Kind int

const (
	// FirstStart is from a job's submission to its first attempt.
	FirstStart Kind = iota
	// LastStart is from the wish to halt to the last attempt that began in spite of it; 0 if none did, as it must be.
	LastStart
	// Rest is from the wish to halt until nothing of the job runs any more.
	Rest
)

// Sample is one measurement. It is never below 0: clocks may be set back between two events.
type Sample struct {
	Kind Kind
	Took time.Duration
}

// Meter follows jobs. The zero Meter is ready; it is not safe for concurrent use.
type Meter struct{ jobs map[sluice.JobID]*course }

type course struct {
	submitted time.Time // zero once it has started
	halting   time.Time
	last      time.Time // start of the newest attempt
}

// Waiting tells of a job that was submitted before the first event that Take gets, and that has not started yet.
func (m *Meter) Waiting(id sluice.JobID, submitted time.Time) { m.of(id).submitted = submitted }

func (m *Meter) of(id sluice.JobID) *course {
	if m.jobs == nil {
		m.jobs = map[sluice.JobID]*course{}
	}
	c := m.jobs[id]
	if c == nil {
		c = &course{}
		m.jobs[id] = c
	}
	return c
}

// Take takes the next event.
func (m *Meter) Take(e sluice.Event) (out []Sample) {
	if e.Job == "" {
		return nil
	}
	switch e.Body.(type) {
	case sluice.JobSubmitted:
		m.of(e.Job).submitted = e.Time
	case sluice.TaskStarted:
		c := m.of(e.Job)
		if !c.submitted.IsZero() {
			out = append(out, sample(FirstStart, c.submitted, e.Time))
			c.submitted = time.Time{}
		}
		c.last = e.Time
	case sluice.JobHalting, sluice.JobCancelling:
		if c := m.of(e.Job); c.halting.IsZero() {
			c.halting = e.Time
		}
	case sluice.JobHalted, sluice.JobFinished:
		if c := m.of(e.Job); !c.halting.IsZero() {
			out = append(out, sample(LastStart, c.halting, c.last), sample(Rest, c.halting, e.Time))
		}
		delete(m.jobs, e.Job)
	}
	return out
}

func sample(k Kind, from, to time.Time) Sample { return Sample{k, max(0, to.Sub(from))} }

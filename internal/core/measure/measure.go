// Package measure makes of the events of a log what one wants to know of its course in numbers: how long a job waited for
// its first start, what a halt took, and how long commits took until they were live. Events in, samples out; it knows neither the clock nor who collects them.
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
	// CommitToLive is from a release's commit, or where that is not known from its build, until a host had it by a deploy. Where a host
	// goes back to an older one, nothing is measured.
	CommitToLive
)

// Sample is one measurement. It is never below 0: clocks may be set back between two events.
type Sample struct {
	Kind Kind
	Took time.Duration
	// App and Env are of the release, for CommitToLive.
	App, Env string
}

// Meter follows jobs. The zero Meter is ready; it is not safe for concurrent use.
type Meter struct {
	jobs    map[sluice.JobID]*course
	deploys map[sluice.JobID]time.Time // since when what a deploy brings could have been live; without those of which it is not known
	since   map[version]time.Time      // the same by what hosts say
}

type version struct{ app, env, version string }

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

// Submitted tells of a job that was submitted before the first event that Take gets: a late outcome of it may come, and what it deployed
// may be live.
func (m *Meter) Submitted(id sluice.JobID, j *sluice.Job) {
	r := j.Action.Release
	if r == nil || j.Action.Kind != sluice.DeployTo || r.Commit.Since().IsZero() {
		return
	}
	if m.deploys == nil {
		m.deploys, m.since = map[sluice.JobID]time.Time{}, map[version]time.Time{}
	}
	m.deploys[id], m.since[version{r.App, r.Env, r.Version}] = r.Commit.Since(), r.Commit.Since()
}

// Take takes the next event.
func (m *Meter) Take(e sluice.Event) (out []Sample) {
	if e.Job == "" {
		return nil
	}
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		m.of(e.Job).submitted = e.Time
		m.Submitted(e.Job, &b.Submitted)
	case sluice.TaskStarted:
		c := m.of(e.Job)
		if !c.submitted.IsZero() {
			out = append(out, sample(FirstStart, c.submitted, e.Time))
			c.submitted = time.Time{}
		}
		c.last = e.Time
	case sluice.TaskFinished:
		since, known := m.deploys[e.Job]
		if a := b.Release; known && a != nil && b.Outcome == sluice.Succeeded && a.Live != a.Before && !since.Before(m.since[version{a.App, a.Env, a.Before.Version}]) {
			s := sample(CommitToLive, since, e.Time)
			s.App, s.Env = a.App, a.Env
			out = append(out, s)
		}
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

func sample(k Kind, from, to time.Time) Sample { return Sample{Kind: k, Took: max(0, to.Sub(from))} }

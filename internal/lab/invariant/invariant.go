// Package invariant says whether what a fleet went through kept the promises of the scheduler, as they are numbered in the
// project's safety notes: I1 to I5, I7, I8, I10 and I14 to I20.
//
// It reads two things and nothing else: the log of a namespace, and what truly ran on the targets, as the targets
// themselves wrote it down. It is written from the text of the invariants, plainly: at every step it counts everything
// again. It must not know what decides, and it shares no code with internal/lab/check, which looks at the log alone.
package invariant

import (
	"fmt"
	"time"

	"sluice"
)

// Kind is what happened to a process on a target.
type Kind string

const (
	Started Kind = "started"
	Ended   Kind = "ended"  // by itself, with a code
	Killed  Kind = "killed" // because somebody asked for it
	Cut     Kind = "cut"    // with its host: the power went, and there is no record
	// Orphaned: its supervisor was killed, and there is no record.
	Orphaned Kind = "orphaned"
)

// Mark is one line of what a target wrote down.
type Mark struct {
	Kind    Kind
	Host    sluice.Host
	Attempt sluice.AttemptID
	Code    int
	// At is the true time, which no clock of the parties need know.
	At time.Duration
}

// Ack is what somebody was told to be done: the event as it was when its append was acknowledged.
type Ack struct {
	Seq  uint64
	Text string
}

// Violation is a promise that was not kept.
type Violation struct {
	Invariant string // such as "I3"
	Text      string
}

func (v Violation) String() string { return v.Invariant + ": " + v.Text }

// Checker follows a log and its targets, each in its order. The zero value is not ready; use [New].
type Checker struct {
	// HaltReach is how long after the true time of a halt a process of the job may still start: a lease and its margin.
	HaltReach time.Duration

	found    []Violation
	events   []sluice.Event
	at       []time.Duration // true times of the events
	epochs   map[sluice.JobID]uint64
	rules    map[string]sluice.Rules
	inForce  string
	jobs     map[sluice.JobID]*job
	order    []*job
	attempts map[sluice.AttemptID]*attempt
	on       map[sluice.Host][]*attempt // the same, by host
	hosts    map[sluice.Host]*host
	truth    map[sluice.AttemptID][]Mark
	runs     map[sluice.Host]sluice.AttemptID // processes of jobs that change something, now
	asked    map[sluice.AttemptID]map[string]int
}

type job struct {
	spec       sluice.Job
	targets    map[sluice.Host]bool
	stopped    bool
	stoppedAt  time.Duration
	generation int
	over       *sluice.JobFinished
	last       map[sluice.Host]sluice.AttemptID
	outcome    map[sluice.Host]sluice.Outcome
	retried    map[sluice.Host]bool
}

type attempt struct {
	job     *job
	host    sluice.Host
	outcome sluice.Outcome // "" before the first
	proved  bool           // the outcome says that nothing was started
	dropped bool           // unknown, and an operator released the host
	number  int            // of the launch, in the order of the log
	gone    bool           // withdrawn: it never was
}

type host struct {
	last    int  // number of the launch that was the newest here
	bad     bool // the last outcome was bad, and neither success nor release followed
	held    bool
	retired bool
}

// New returns a checker that has seen nothing.
func New() *Checker {
	return &Checker{epochs: map[sluice.JobID]uint64{}, rules: map[string]sluice.Rules{}, jobs: map[sluice.JobID]*job{},
		attempts: map[sluice.AttemptID]*attempt{}, on: map[sluice.Host][]*attempt{}, hosts: map[sluice.Host]*host{}, truth: map[sluice.AttemptID][]Mark{},
		runs: map[sluice.Host]sluice.AttemptID{}, asked: map[sluice.AttemptID]map[string]int{}}
}

// Found is what was found so far.
func (c *Checker) Found() []Violation { return c.found }

func (c *Checker) report(invariant, format string, args ...any) {
	c.found = append(c.found, Violation{invariant, fmt.Sprintf(format, args...)})
}

// Epoch notes under which epoch an owner appended for a job. Epochs grow (I13).
func (c *Checker) Epoch(j sluice.JobID, epoch uint64) {
	if epoch < c.epochs[j] {
		c.report("I13", "an append for job %s of epoch %d after one of epoch %d", j, epoch, c.epochs[j])
	}
	c.epochs[j] = max(epoch, c.epochs[j])
}

func (c *Checker) host(name sluice.Host) *host {
	if c.hosts[name] == nil {
		c.hosts[name] = &host{}
	}
	return c.hosts[name]
}

// Event takes the next event of the log, which became durable at a true time.
func (c *Checker) Event(e sluice.Event, at time.Duration) {
	if want := uint64(len(c.events) + 1); e.Seq != want {
		c.report("I2", "event %d stands where %d belongs", e.Seq, want)
	}
	c.events, c.at = append(c.events, e), append(c.at, at)
	switch b := e.Body.(type) {
	case sluice.RulesApplied:
		c.rules[b.Rules.Digest], c.inForce = b.Rules, b.Rules.Digest
	case sluice.HostHeld:
		c.host(b.Host).held = true
	case sluice.HostReleased:
		c.release(b.Host)
	case sluice.HostRetired:
		c.host(b.Host).retired = true
	case sluice.HostReturned:
		c.host(b.Host).retired = false
	case sluice.JobSubmitted:
		c.submitted(b.Submitted)
	}
	if j := c.jobs[e.Job]; j != nil {
		c.ofJob(j, e, at)
	}
}

func (c *Checker) release(name sluice.Host) {
	h := c.host(name)
	h.held, h.bad = false, false
	for _, a := range c.attempts {
		if a.host == name && a.outcome == sluice.Unknown {
			a.dropped = true
		}
	}
}

func (c *Checker) submitted(spec sluice.Job) {
	j := &job{spec: spec, targets: map[sluice.Host]bool{}, last: map[sluice.Host]sluice.AttemptID{},
		outcome: map[sluice.Host]sluice.Outcome{}, retried: map[sluice.Host]bool{}}
	for _, h := range spec.Targets {
		j.targets[h] = true
	}
	if len(j.targets) == 0 || len(j.targets) != len(spec.Targets) {
		c.report("I10", "job %s has %d targets in a list of %d", spec.ID, len(j.targets), len(spec.Targets))
	}
	if c.jobs[spec.ID] != nil {
		c.report("I10", "job %s is submitted twice", spec.ID)
	}
	c.jobs[spec.ID], c.order = j, append(c.order, j)
}

func (c *Checker) ofJob(j *job, e sluice.Event, at time.Duration) {
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		c.launch(j, b)
	case sluice.TaskFinished:
		c.outcome(j, b)
	case sluice.TaskWithdrawn:
		if a := c.attempts[b.Attempt]; a != nil {
			a.outcome, a.proved, a.gone = sluice.Cancelled, true, true
			j.retried[b.Host] = true // it waits again
		}
	case sluice.TaskStep:
		if c.asked[b.Attempt] == nil {
			c.asked[b.Attempt] = map[string]int{}
		}
		if c.asked[b.Attempt][b.Step]++; c.asked[b.Attempt][b.Step] > 1 {
			c.report("I19", "step %s of %s is in the log twice", b.Step, b.Attempt)
		}
	case sluice.TaskRetried:
		for _, h := range b.Hosts {
			j.retried[h] = true
		}
	case sluice.JobHalting, sluice.JobHalted, sluice.JobCancelling:
		if !j.stopped {
			j.stopped, j.stoppedAt = true, at
		}
		if b, ok := b.(sluice.JobHalted); ok {
			j.generation = max(j.generation, b.Generation)
		}
	case sluice.JobResumed:
		if b.By == "" {
			c.report("I7", "job %s is resumed, and nobody signed that", j.spec.ID)
		}
		if j.stopped && b.Generation <= j.generation {
			c.report("I7", "job %s is resumed with generation %d after %d", j.spec.ID, b.Generation, j.generation)
		}
		j.stopped, j.generation, j.over = false, max(j.generation, b.Generation), nil
	case sluice.JobFinished:
		c.finished(j, b)
	}
}

// busy reports whether some attempt on the host is launched, runs, or nobody knows.
func (c *Checker) busy(name sluice.Host) bool {
	for _, a := range c.on[name] {
		if !a.job.spec.Options.ReadOnly && (a.outcome == "" || a.outcome == sluice.Unknown && !a.dropped) {
			return true
		}
	}
	return false
}

func (c *Checker) out(name sluice.Host) bool {
	h := c.host(name)
	return c.busy(name) || h.bad || h.held
}

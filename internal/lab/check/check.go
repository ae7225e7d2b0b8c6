// Package check says whether a log of events kept the rules that make Sluice safe to use, and which tasks those
// rules let start next.
//
// It states the rules a second time, by another hand than the scheduler's, and plainly rather than fast. It
// reads nothing but the events of one namespace and works out from them who is busy, who is out of service and
// what is open. It must not know the scheduler, the planner or anything else that decides: a checker that shares
// code with what it checks shares its faults.
//
// # What is read strictly
//
//   - A retry counts only for a task that is over: while its attempt runs or is unknown it is void, also when the
//     truth comes later, and also for jobs that only read. A resume by itself retries nothing.
//   - A task that is to be tried again is not settled, so the stages behind it wait. Until it has another outcome
//     it counts against the budget by the one it had.
//   - A retired host without an outcome is not settled either: somebody must skip it.
//   - The last outcome of a task is the one that counts, also where the truth about an unknown attempt comes after
//     a skip. Only the outcome of an older attempt does not touch that of a newer one.
//   - A host is mended by the success of the attempt that broke it or of a later one, not of an older one. What comes to
//     be known of an attempt that an operator gave up does not break a host on which something newer has run since.
package check

import (
	"fmt"

	"sluice"
)

// The rules, by the names that violations carry. A launch is a task.started event. A host is busy while an
// attempt of a job that changes hosts runs on it or has the outcome unknown; it is bad from an outcome that takes
// it out of service until a later success or a release; it is out when it is busy, bad or held.
const (
	HostBusy    = "I1a"         // no launch on a busy host
	BusyLimit   = "I1b"         // with a launch, no more members of a group are busy than its capacity
	OutLimit    = "I1c"         // nor are more of them out; but a bad host that nobody holds takes its own place
	NewTry      = "I3"          // no attempt id twice; a further try only after a retry, when the last one is over
	Budget      = "I6"          // no launch of a job with more failed hosts than its budget
	Halt        = "I7"          // no launch of a job that was stopped, until somebody resumes it with a higher generation
	Sequence    = "I9"          // no launch before its stage is opened; none opens before those ahead of it are done
	Targets     = "I10"         // a job has targets, each once, and nothing of it happens anywhere else
	FirstResult = "I14"         // an attempt has one outcome; only unknown may be followed by one, the true one
	Success     = "I16"         // a job succeeded if and only if all of its targets succeeded or were skipped
	AllCounted  = "I17"         // a finished job has an outcome for every target and counts each of them once
	Numbering   = "seq"         // events are numbered 1, 2, 3 ...
	Submission  = "submit"      // a job is submitted once, under a job id, and before anything else is said of it
	PlanCovers  = "plan"        // each target is in a stage, in no track twice, and stages hold nothing but targets
	RulesKnown  = "rules"       // the rules that a job was planned under stand in the log before it
	GateKept    = "gate"        // a pause is waited for and an approval is given before the stage behind it opens
	Attempts    = "attempt"     // ids name job, host and number of the try; outcomes belong to attempts that were made
	Counts      = "counts"      // the counts of a finished job are those of its tasks
	Refusals    = "auth"        // after two refused passwords no launch of the job until it is resumed
	Locked      = "lock"        // no launch of a job while an earlier one that is open, or one that runs, has its lock
	Concurrency = "concurrency" // no more attempts of a job at once than it allows itself
	Retired     = "retired"     // no launch on a retired host
	Held        = "held"        // no launch on a host that an operator holds, but of read-only jobs
	Ended       = "end"         // a job is halted or finished only when nothing of it runs, and finished once
)

// Violation is one event that breaks a rule.
type Violation struct {
	Invariant string // one of the names above
	Seq       uint64 // of the event
	Job       sluice.JobID
	Host      sluice.Host
	Text      string // what is wrong, for people
}

func (v Violation) String() string {
	return fmt.Sprintf("event %d, job %q, host %q: %s: %s", v.Seq, v.Job, v.Host, v.Invariant, v.Text)
}

// Log checks the events of one namespace, in order from number 1, and returns what is wrong with them.
func Log(events []sluice.Event) []Violation {
	var found []Violation
	c := New()
	for _, e := range events {
		found = append(found, c.Add(e)...)
	}
	return found
}

// Checker follows a log. Its zero value is not ready; use [New]. It is not safe for concurrent use.
type Checker struct {
	applied  map[string]*rules // by digest
	current  *rules            // applied last; nil before that
	jobs     map[sluice.JobID]*job
	order    []*job // by submission
	attempts map[sluice.AttemptID]*attempt

	busy    map[sluice.Host]map[sluice.AttemptID]bool
	bad     map[sluice.Host]uint64 // when the attempt was launched that made the host bad
	newest  map[sluice.Host]uint64 // the last launch that changed something there
	held    map[sluice.Host]bool
	retired map[sluice.Host]bool

	seq   uint64 // of the last event
	event sluice.Event
	found []Violation // in the event at hand
}

// New returns a checker that has seen nothing.
func New() *Checker {
	return &Checker{
		applied:  map[string]*rules{},
		jobs:     map[sluice.JobID]*job{},
		attempts: map[sluice.AttemptID]*attempt{},
		busy:     map[sluice.Host]map[sluice.AttemptID]bool{},
		bad:      map[sluice.Host]uint64{},
		newest:   map[sluice.Host]uint64{},
		held:     map[sluice.Host]bool{},
		retired:  map[sluice.Host]bool{},
	}
}

// Add takes the next event and returns what is wrong with it. A wrong event still happened: what follows is
// checked on top of it.
func (c *Checker) Add(e sluice.Event) []Violation {
	c.event, c.found = e, nil
	if e.Seq != c.seq+1 {
		c.report(Numbering, "", "number %d follows number %d", e.Seq, c.seq)
	}
	c.seq = e.Seq
	switch b := e.Body.(type) {
	case sluice.RulesApplied:
		c.apply(b.Rules)
	case sluice.HostHeld:
		c.held[b.Host] = true
	case sluice.HostReleased:
		c.release(b.Host)
	case sluice.HostRetired:
		c.retired[b.Host] = true
	case sluice.HostReturned:
		delete(c.retired, b.Host)
	case sluice.JobSubmitted:
		c.submitted(b.Submitted)
	case sluice.StageOpened, sluice.GateWaiting, sluice.GatePassed, sluice.TaskStarted, sluice.TaskFinished,
		sluice.TaskRetried, sluice.TaskWithdrawn, sluice.JobStarted, sluice.JobHalting, sluice.JobHalted, sluice.JobResumed,
		sluice.JobCancelling, sluice.JobFinished:
		if j := c.jobs[e.Job]; j != nil {
			c.addToJob(j, b)
		} else {
			c.report(Submission, "", "%s of a job that was not submitted", b.Type())
		}
	}
	return c.found
}

func (c *Checker) addToJob(j *job, b sluice.Body) {
	switch b := b.(type) {
	case sluice.StageOpened:
		c.stageOpened(j, b)
	case sluice.GateWaiting:
		c.gateWaiting(j, b)
	case sluice.GatePassed:
		c.gatePassed(j, b)
	case sluice.TaskStarted:
		c.taskStarted(j, b)
	case sluice.TaskFinished:
		c.taskFinished(j, b)
	case sluice.TaskRetried:
		c.taskRetried(j, b)
	case sluice.TaskWithdrawn:
		c.taskWithdrawn(j, b)
	case sluice.JobHalting, sluice.JobCancelling:
		j.stopped = b.Type()
		j.cancelling = j.cancelling || b.Type() == sluice.JobCancelling{}.Type()
	case sluice.JobHalted:
		c.jobHalted(j, b)
	case sluice.JobResumed:
		c.jobResumed(j, b)
	case sluice.JobFinished:
		c.jobFinished(j, b)
	}
}

func (c *Checker) report(invariant string, h sluice.Host, format string, args ...any) {
	c.found = append(c.found, Violation{
		Invariant: invariant, Seq: c.event.Seq, Job: c.event.Job, Host: h, Text: fmt.Sprintf(format, args...),
	})
}

// rules are constraints made ready to be asked for the groups of a host.
type rules struct {
	groups map[sluice.Host][]*group
}

// group is a set of hosts that share a capacity.
type group struct {
	name    string
	limit   sluice.Amount
	members map[sluice.Host]bool
}

func newGroup(name string, limit sluice.Amount, members []sluice.Host) *group {
	g := &group{name: name, limit: limit, members: map[sluice.Host]bool{}}
	for _, h := range members {
		g.members[h] = true
	}
	return g
}

func (c *Checker) apply(r sluice.Rules) {
	c.current = &rules{groups: map[sluice.Host][]*group{}}
	for _, con := range r.Constraints {
		for _, g := range con.Groups {
			ready := newGroup(con.Name+" "+g.Name, g.Limit, g.Members)
			for h := range ready.members {
				c.current.groups[h] = append(c.current.groups[h], ready)
			}
		}
	}
	c.applied[r.Digest] = c.current
}

// release puts a host back into service: nobody holds it, its last outcome is forgiven, and an attempt whose
// outcome is unknown is taken to be over. An attempt that runs goes on.
func (c *Checker) release(h sluice.Host) {
	delete(c.held, h)
	delete(c.bad, h)
	for _, j := range c.order {
		t := j.tasks[h]
		if t == nil || t.attempt == nil || t.attempt.outcome != sluice.Unknown {
			continue
		}
		t.attempt.released = true
		c.free(t.attempt)
	}
}

func (c *Checker) free(a *attempt) {
	delete(c.busy[a.host], a.id)
	if len(c.busy[a.host]) == 0 {
		delete(c.busy, a.host)
	}
}

package check

import (
	"fmt"
	"slices"
	"time"

	"sluice"
)

// job is what the log says of a job so far.
type job struct {
	sluice.Job
	id       sluice.JobID
	frozen   *rules // those that the plan was made under; nil if the log has none
	parallel *group // the job's own limit of hosts that are out; nil without one
	budget   *sluice.Amount
	tasks    map[sluice.Host]*task
	places   map[sluice.Host][]place
	running  map[sluice.Host]bool
	failed   map[sluice.Host]bool // their last outcome counts against the budget

	stopped    string // the event that forbids further launches; "" if there is none
	cancelling bool
	finished   bool
	refused    int // since the last resume
	halts      int // the generation of the last halt
	resumes    int // the generation of the last resume

	opened   map[place]bool
	reopened map[place]bool // opened since the last resume
	gates    map[gateKey]gate
	// clear is how many stages at the beginning of each track are known to be done; what is done need not be
	// looked at again for every host behind it.
	clear []int
}

func (j *job) name(p place) string {
	return fmt.Sprintf("stage %d %q of track %q", p.stage, j.Tracks[p.track].Stages[p.stage].Name, j.Tracks[p.track].Name)
}

func (j *job) find(track string, stage int) (place, bool) {
	for i, t := range j.Tracks {
		if t.Name == track && stage >= 0 && stage < len(t.Stages) {
			return place{i, stage}, true
		}
	}
	return place{}, false
}

// bindingOrder lists the hosts as they must start: by track, by stage, and by the order of the targets in it.
func (j *job) bindingOrder() []sluice.Host {
	var all []sluice.Host
	for _, t := range j.Tracks {
		for _, s := range t.Stages {
			hosts := slices.Clone(s.Hosts)
			hosts = slices.DeleteFunc(hosts, func(h sluice.Host) bool { return j.tasks[h] == nil })
			slices.SortFunc(hosts, func(a, b sluice.Host) int { return j.tasks[a].index - j.tasks[b].index })
			all = append(all, hosts...)
		}
	}
	return all
}

// set changes a task.
func (j *job) set(h sluice.Host, state taskState, outcome sluice.Outcome) {
	t := j.tasks[h]
	t.state, t.outcome = state, outcome
	delete(j.running, h)
	delete(j.failed, h)
	if state == running {
		j.running[h] = true
	}
	if outcome.Failure() {
		j.failed[h] = true
	}
	for _, p := range j.places[h] {
		j.clear[p.track] = min(j.clear[p.track], p.stage)
	}
}

// end gives a task its outcome.
func (j *job) end(h sluice.Host, o sluice.Outcome, at time.Time) {
	j.tasks[h].ended = at
	j.set(h, settled, o)
}

func (c *Checker) submitted(s sluice.Job) {
	id := c.event.Job
	switch {
	case c.jobs[id] != nil:
		c.report(Submission, "", "the job is submitted a second time")
		return
	case !id.Valid():
		c.report(Submission, "", "%q is no job id", id)
	}
	j := &job{
		Job: s, id: id, frozen: c.applied[s.Rules], budget: s.Options.MaxFailures,
		tasks: map[sluice.Host]*task{}, places: map[sluice.Host][]place{},
		running: map[sluice.Host]bool{}, failed: map[sluice.Host]bool{},
		opened: map[place]bool{}, reopened: map[place]bool{}, gates: map[gateKey]gate{},
		clear: make([]int, len(s.Tracks)),
	}
	c.jobs[id] = j
	c.order = append(c.order, j)
	if j.frozen == nil {
		c.report(RulesKnown, "", "the rules %q are not in the log before the job", s.Rules)
	}
	if limit := s.Options.MaxParallel; limit != nil {
		j.parallel = newGroup("the job's own limit", *limit, s.Targets)
	}
	if len(s.Targets) == 0 {
		c.report(Targets, "", "the job has no targets")
	}
	for i, h := range s.Targets {
		if j.tasks[h] != nil {
			c.report(Targets, h, "is a target twice")
			continue
		}
		j.tasks[h] = &task{index: i}
	}
	c.readPlan(j)
}

func (c *Checker) readPlan(j *job) {
	for t, track := range j.Tracks {
		seen := map[sluice.Host]bool{}
		for s, stage := range track.Stages {
			for _, h := range stage.Hosts {
				p := place{t, s}
				switch {
				case j.tasks[h] == nil:
					c.report(PlanCovers, h, "is in %s, but is no target", j.name(p))
				case seen[h]:
					c.report(PlanCovers, h, "is in track %q twice", track.Name)
				}
				seen[h] = true
				j.places[h] = append(j.places[h], p)
			}
		}
	}
	for _, h := range j.Targets {
		if len(j.places[h]) == 0 {
			c.report(PlanCovers, h, "is a target, but in no stage")
		}
	}
}

func (c *Checker) jobHalted(j *job, b sluice.JobHalted) {
	c.nothingRuns(j)
	if b.Generation <= j.halts {
		c.report(Halt, "", "halt number %d follows halt number %d", b.Generation, j.halts)
	}
	j.halts = max(j.halts, b.Generation)
	j.stopped = b.Type()
}

func (c *Checker) jobResumed(j *job, b sluice.JobResumed) {
	switch last := max(j.halts, j.resumes); {
	case b.By == "":
		c.report(Halt, "", "the job resumes by itself")
		return
	case b.Generation <= last:
		c.report(Halt, "", "the job resumes with generation %d, which is not above %d", b.Generation, last)
		return
	}
	j.resumes = b.Generation
	j.stopped, j.cancelling, j.finished, j.refused = "", false, false, 0
	j.reopened = map[place]bool{}
	if b.MaxFailures != nil {
		j.budget = b.MaxFailures
	}
}

// nothingRuns reports what still runs of a job that ends. An attempt with the outcome unknown does not count: it
// may never be known.
func (c *Checker) nothingRuns(j *job) bool {
	for _, h := range j.Targets {
		if j.running[h] {
			c.report(Ended, h, "the job ends while attempt %s runs", j.tasks[h].attempt.id)
			return false
		}
	}
	return true
}

func (c *Checker) jobFinished(j *job, b sluice.JobFinished) {
	if j.finished {
		c.report(Ended, "", "the job finishes a second time")
	}
	if c.nothingRuns(j) && c.allCounted(j, b) {
		c.rightOutcome(j, b)
	}
	j.stopped, j.finished = b.Type(), true
	for _, h := range j.Targets { // what was kept from being tried counts as cancelled from here on
		if t := j.tasks[h]; neverStarts(b) && t.state == planned {
			j.end(h, sluice.Cancelled, c.event.Time)
		}
	}
}

// neverStarts says of the end of a job that it may come before all of its targets were tried: because of a cancel, or because the
// job failed and another one takes back what it did.
func neverStarts(b sluice.JobFinished) bool {
	return b.Outcome == sluice.Cancelled || b.Outcome == sluice.Failed && b.Undo != ""
}

// allCounted compares the counts of a finished job with its tasks. Of a cancelled job, what was not tried counts
// as cancelled; what was to be tried again may also count by the outcome that it had.
func (c *Checker) allCounted(j *job, b sluice.JobFinished) bool {
	least, most := map[sluice.Outcome]int{}, map[sluice.Outcome]int{}
	for _, h := range j.Targets {
		t := j.tasks[h]
		switch {
		case t.state == settled:
			least[t.outcome]++
			most[t.outcome]++
		case !neverStarts(b):
			c.report(AllCounted, h, "the job finishes and the host has no outcome")
			return false
		case t.outcome == "" || t.outcome == sluice.Cancelled:
			least[sluice.Cancelled]++
			most[sluice.Cancelled]++
		default:
			most[t.outcome]++
			most[sluice.Cancelled]++
		}
	}
	sum := 0
	for _, n := range b.Counts {
		sum += n
	}
	if sum != len(j.Targets) {
		c.report(AllCounted, "", "the counts %v are not those of %d targets", b.Counts, len(j.Targets))
		return false
	}
	for _, o := range sluice.Outcomes {
		if n := b.Counts[o]; n < least[o] || n > most[o] {
			c.report(Counts, "", "%d hosts count as %s, and by the events %d do", n, o, least[o])
			return false
		}
	}
	return true
}

func (c *Checker) rightOutcome(j *job, b sluice.JobFinished) {
	passed, began, o := true, false, b.Outcome
	for _, t := range j.tasks {
		passed = passed && t.state == settled && t.outcome.Passed()
		began = began || t.tries > 0
	}
	switch {
	case o != sluice.Succeeded && o != sluice.Failed && o != sluice.Cancelled:
		c.report(Success, "", "%q is no outcome of a job", o)
	case passed && o != sluice.Succeeded:
		c.report(Success, "", "the job is %s, but every target succeeded or was skipped", o)
	case !passed && o == sluice.Succeeded:
		c.report(Success, "", "the job succeeded, but not all of its targets did")
	case b.Reason != "" && (o != sluice.Cancelled || j.Look == nil || began):
		c.report(Success, "", "the job says that it started nothing, as what it was made from has changed, but that is not so")
	case o == sluice.Cancelled && !j.cancelling && b.Reason == "":
		c.report(Success, "", "the job is cancelled, but nobody cancelled it")
	}
}

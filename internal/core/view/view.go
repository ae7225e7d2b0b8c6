// Package view folds the events of one job into what people look at: progress, stages, hosts, failures.
//
// It decides nothing; whatever it shows can be thrown away and made anew from the log.
package view

import (
	"time"

	"sluice"
)

// Job is what the events of a job say.
type Job struct {
	Spec      *sluice.Job // nil before job.submitted
	ID        sluice.JobID
	Submitted time.Time
	Started   time.Time // zero before somebody took it up
	Ended     time.Time // when it was finished or halted; zero while it goes on
	Now       time.Time // of the last event
	Seq       uint64
	Stages    []Stage // in order of the plan
	Tasks     []Task  // in order of the targets
	Counts    map[sluice.Outcome]int
	Running   int
	Gates     []sluice.GateWaiting // that wait
	Halting   *sluice.JobHalting
	Halted    *sluice.JobHalted
	Cancel    *sluice.JobCancelling
	Finished  *sluice.JobFinished
	Removed   *sluice.OutputRemoved // the output is not kept here any more
	byHost    map[sluice.Host]int
	byStage   map[stageKey]int
	first     map[stageKey]int // by track and index
}

type stageKey struct {
	track, name string
	index       int
}

// Stage is the progress of a stage.
type Stage struct {
	Track, Name string
	Index       int
	Hosts       int
	Opened      time.Time // zero while it is closed
	Running     int
	Counts      map[sluice.Outcome]int
}

// Settled is the number of hosts with an outcome.
func (s *Stage) Settled() int {
	n := 0
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// Task is the progress on one host.
type Task struct {
	Host     sluice.Host
	Stage    int // index into Stages: the first that it stands in
	Attempt  sluice.AttemptID
	Running  bool
	Since    time.Time // start of the last attempt
	Outcome  sluice.Outcome
	ExitCode *int
	Took     time.Duration
	Reason   string
	At       time.Time // of the outcome
	Steps    []sluice.TaskStep
	// Balanced is what was done for it at its balancers.
	Balanced []sluice.BalancerChanged
	// NotStarted, Truncated and Leftovers are what the outcome says beside.
	NotStarted bool
	Truncated  []string
	Leftovers  []int
	// Earlier are the attempts before the last one, oldest first; see [Task.Attempts].
	Earlier []Attempt
	over    bool // the last attempt is among the earlier ones: the task waits again, or was skipped
}

// New returns the view of a job of which nothing is known yet.
func New() *Job {
	return &Job{Counts: map[sluice.Outcome]int{}, byHost: map[sluice.Host]int{}, byStage: map[stageKey]int{}, first: map[stageKey]int{}}
}

// Fold returns the view of these events.
func Fold(events []sluice.Event) *Job {
	j := New()
	for _, e := range events {
		j.Apply(e)
	}
	return j
}

// Apply takes the next event of the job. Output changes nothing.
func (j *Job) Apply(e sluice.Event) {
	if _, ok := e.Body.(sluice.TaskOutput); ok {
		return
	}
	if b, ok := e.Body.(sluice.OutputRemoved); ok { // which may come long after the job
		j.Removed, j.Seq = &b, e.Seq
		return
	}
	j.Now, j.Seq = e.Time, e.Seq
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		j.submitted(b.Submitted, e)
	case sluice.JobStarted:
		j.Started = e.Time
	case sluice.StageOpened:
		if i, ok := j.first[stageKey{b.Track, "", b.Index}]; ok && j.Stages[i].Opened.IsZero() {
			j.Stages[i].Opened = e.Time
		}
	case sluice.GateWaiting:
		j.Gates = append(j.Gates, b)
	case sluice.GatePassed:
		j.passed(b)
	case sluice.TaskStarted:
		j.started(b, e.Time)
	case sluice.TaskStep:
		if i, ok := j.byHost[b.Host]; ok && j.Tasks[i].Attempt == b.Attempt {
			j.Tasks[i].Steps = append(j.Tasks[i].Steps, b)
		}
	case sluice.BalancerChanged:
		if i, ok := j.byHost[b.Host]; ok && j.Tasks[i].Attempt == b.Attempt {
			j.Tasks[i].Balanced = append(j.Tasks[i].Balanced, b)
		}
	case sluice.TaskFinished:
		j.finished(b, e.Time)
	case sluice.TaskWithdrawn:
		j.withdrawn(b, e.Time)
	case sluice.TaskRetried:
		j.retried(b)
	case sluice.JobHalting:
		j.Halting = &b
	case sluice.JobHalted:
		j.Halted, j.Halting, j.Ended = &b, nil, e.Time
	case sluice.JobCancelling:
		j.Cancel = &b
	case sluice.JobResumed:
		j.Halted, j.Halting, j.Cancel, j.Finished, j.Ended = nil, nil, nil, nil, time.Time{}
	case sluice.JobFinished:
		if b.Undo == "" { // else it is over because it halted, and that says why
			j.Halted = nil
		}
		j.Finished, j.Halting, j.Ended = &b, nil, e.Time
	}
}

func (j *Job) submitted(spec sluice.Job, e sluice.Event) {
	j.Spec, j.ID, j.Submitted = &spec, e.Job, e.Time
	j.Tasks = make([]Task, len(spec.Targets))
	for i, h := range spec.Targets {
		j.Tasks[i] = Task{Host: h, Stage: -1}
		j.byHost[h] = i
	}
	for _, t := range spec.Tracks {
		for k, s := range t.Stages {
			n := len(j.Stages)
			j.first[stageKey{t.Name, "", k}] = n
			j.Stages = append(j.Stages, Stage{Track: t.Name, Name: s.Name, Index: k, Counts: map[sluice.Outcome]int{}})
			for _, h := range s.Hosts {
				if i, ok := j.byHost[h]; ok && j.Tasks[i].Stage < 0 {
					j.Tasks[i].Stage = n
					j.Stages[n].Hosts++
				}
			}
		}
	}
}

func (j *Job) passed(b sluice.GatePassed) {
	for i, g := range j.Gates {
		if g.Track == b.Track && g.Index == b.Index && g.Kind == b.Kind {
			j.Gates = append(j.Gates[:i:i], j.Gates[i+1:]...)
			return
		}
	}
}

func (j *Job) started(b sluice.TaskStarted, at time.Time) {
	i, ok := j.byHost[b.Host]
	if !ok {
		return
	}
	t := &j.Tasks[i]
	t.pass()
	t.Attempt, t.Since, t.Steps, t.Balanced, t.over = b.Attempt, at, nil, nil, false
	t.NotStarted, t.Truncated, t.Leftovers = false, nil, nil
	if !t.Running {
		t.Running = true
		j.Running++
		j.Stages[t.Stage].Running++
	}
}

// withdrawn takes back a start after which nothing ran.
func (j *Job) withdrawn(b sluice.TaskWithdrawn, at time.Time) {
	if i, ok := j.byHost[b.Host]; ok && j.Tasks[i].Running {
		j.Tasks[i].Running, j.Tasks[i].NotStarted = false, true
		j.Tasks[i].withdrew(b.Reason, at)
		j.Running--
		j.Stages[j.Tasks[i].Stage].Running--
	}
}

func (j *Job) finished(b sluice.TaskFinished, at time.Time) {
	i, ok := j.byHost[b.Host]
	if !ok {
		return
	}
	t := &j.Tasks[i]
	stage := &j.Stages[t.Stage]
	if t.Running {
		t.Running = false
		j.Running--
		stage.Running--
	}
	if t.Outcome != "" {
		j.Counts[t.Outcome]--
		stage.Counts[t.Outcome]--
	}
	t.concludes(b)
	t.Outcome, t.ExitCode, t.Reason, t.At = b.Outcome, b.ExitCode, b.Reason, at
	t.NotStarted, t.Truncated, t.Leftovers = b.NotStarted, b.Truncated, b.Leftovers
	t.Took = time.Duration(b.DurationMS) * time.Millisecond
	j.Counts[b.Outcome]++
	stage.Counts[b.Outcome]++
}

// retried takes the outcomes back: the tasks wait again, and count as hosts that are still to be done.
func (j *Job) retried(b sluice.TaskRetried) {
	for _, h := range b.Hosts {
		i, ok := j.byHost[h]
		if !ok || j.Tasks[i].Outcome == "" {
			continue
		}
		t := &j.Tasks[i]
		t.pass()
		j.Counts[t.Outcome]--
		j.Stages[t.Stage].Counts[t.Outcome]--
		t.Outcome, t.ExitCode, t.Reason, t.Took, t.At = "", nil, "", 0, time.Time{}
	}
}

// Task returns the task on a host, or nil.
func (j *Job) Task(h sluice.Host) *Task {
	if i, ok := j.byHost[h]; ok {
		return &j.Tasks[i]
	}
	return nil
}

// Settled is the number of targets with an outcome.
func (j *Job) Settled() int {
	n := 0
	for _, c := range j.Counts {
		n += c
	}
	return n
}

// State is where the job stands in one word: waiting, running, paused, halting, halted, succeeded, failed or
// cancelled.
func (j *Job) State() string {
	switch {
	case j.Finished != nil:
		return string(j.Finished.Outcome)
	case j.Halted != nil:
		return "halted"
	case j.Halting != nil || j.Cancel != nil:
		return "halting"
	case j.Running > 0:
		return "running"
	case len(j.Gates) > 0:
		return "paused"
	}
	return "waiting"
}

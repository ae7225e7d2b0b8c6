package view

import (
	"maps"
	"slices"
	"time"

	"sluice"
)

// Attempt is one try of a task, and how it ended.
type Attempt struct {
	ID         sluice.AttemptID
	Began      time.Time
	Ended      time.Time // zero while it runs
	Running    bool
	Outcome    sluice.Outcome // "" while it runs, and where it was withdrawn
	ExitCode   *int
	Took       time.Duration
	Reason     string
	Steps      []sluice.TaskStep
	Balanced   []sluice.BalancerChanged
	NotStarted bool
	Truncated  []string
	Leftovers  []int
}

// Number counts the attempts of a task from 1; 0 for what is no attempt.
func (a *Attempt) Number() int {
	_, _, n, _ := a.ID.Parse()
	return n
}

// Attempts lists all attempts of a task, oldest first.
func (t *Task) Attempts() []Attempt {
	if t.Attempt == "" || t.over {
		return t.Earlier
	}
	return append(slices.Clip(t.Earlier), t.last())
}

func (t *Task) last() Attempt {
	return Attempt{t.Attempt, t.Since, t.At, t.Running, t.Outcome, t.ExitCode, t.Took, t.Reason, t.Steps, t.Balanced, t.NotStarted, t.Truncated, t.Leftovers}
}

// pass puts the last attempt among the earlier ones.
func (t *Task) pass() {
	if t.Attempt != "" && !t.over {
		t.Earlier, t.over = append(slices.Clip(t.Earlier), t.last()), true
	}
}

// concludes makes the last attempt the one that an outcome is about. A skip is about none; what was not known may become
// known after the task began to wait again.
func (t *Task) concludes(b sluice.TaskFinished) {
	switch {
	case b.Attempt == "":
		t.pass()
	case t.over && b.Attempt == t.Attempt:
		t.Earlier, t.over = t.Earlier[:len(t.Earlier)-1], false
	}
}

// withdrew ends an attempt after which nothing ran, and which has no outcome.
func (t *Task) withdrew(reason string, at time.Time) {
	last := t.last()
	last.Reason, last.Ended, last.Outcome, last.ExitCode, last.Took = reason, at, "", nil, 0
	t.Earlier, t.over = append(slices.Clip(t.Earlier), last), true
}

// Clone is the view as it stands: later events do not change it.
func (j *Job) Clone() *Job {
	c := *j
	c.Stages, c.Tasks, c.Gates = slices.Clone(j.Stages), slices.Clone(j.Tasks), slices.Clone(j.Gates)
	c.Counts = maps.Clone(j.Counts)
	for i := range c.Stages {
		c.Stages[i].Counts = maps.Clone(c.Stages[i].Counts)
	}
	for i := range c.Tasks { // what is appended later must not be shared
		c.Tasks[i].Steps, c.Tasks[i].Balanced = slices.Clip(c.Tasks[i].Steps), slices.Clip(c.Tasks[i].Balanced)
	}
	return &c
}

package validate

import (
	"slices"

	"sluice"
)

// Record is what the events of a job say of the release that it validates. The zero value has seen none.
type Record struct {
	Job     sluice.JobID
	hosts   []word
	outcome sluice.Outcome // of the job; "" while it goes on
	halted  string
	stopped string // why it was cancelled
}

// word is what one host said last.
type word struct {
	host    sluice.Host
	outcome sluice.Outcome
	bad     bool // the command itself ended badly there
	reason  string
}

// Apply takes one more event of the job, in the order of the log. It changes nothing that was copied before.
func (r *Record) Apply(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		r.Job = e.Job
	case sluice.TaskFinished:
		r.hosts = slices.DeleteFunc(slices.Clone(r.hosts), func(w word) bool { return w.host == b.Host })
		bad := b.Outcome == sluice.Failed && b.ExitCode != nil || b.Outcome == sluice.TimedOut && !b.NotStarted
		r.hosts = append(r.hosts, word{b.Host, b.Outcome, bad, b.Reason})
	case sluice.JobHalted:
		r.halted = string(b.Rule) + ": " + b.Reason
	case sluice.JobResumed:
		r.halted, r.stopped, r.outcome = "", "", ""
	case sluice.JobCancelling:
		r.stopped = "cancelled by " + b.By
		if b.Reason != "" {
			r.stopped += ": " + b.Reason
		}
	case sluice.JobFinished:
		r.outcome = b.Outcome
	}
}

// Of is what the events of a job say.
func Of(events []sluice.Event) *Record {
	r := &Record{}
	for _, e := range events {
		r.Apply(e)
	}
	return r
}

// State is what is said of a release.
type State string

const (
	Validated State = "validated"
	Failed    State = "failed"
	Running   State = "running"
	// NotRun says that nothing is known, and the reason says why: also where the command could not be run, or did not come to an end.
	NotRun State = "not run"
)

// Result is what is said of a release, and why.
type Result struct {
	State  State
	Job    sluice.JobID // that says it; "" for none
	Reason string
}

// Waits is what is said of a deploy that is to be validated, while no job does that: why is what [Due] says.
func Waits(why string) Result { return Result{State: NotRun, Reason: why} }

// Result is what the job says.
func (r *Record) Result() Result {
	out := Result{Job: r.Job, State: NotRun}
	switch {
	case r.outcome == "" && r.halted != "":
		out.Reason = "job " + string(r.Job) + " is halted: " + r.halted
	case r.outcome == "":
		out.State = Running
	case r.outcome == sluice.Succeeded && slices.ContainsFunc(r.hosts, func(w word) bool { return w.outcome == sluice.Succeeded }):
		out.State = Validated
	case r.outcome == sluice.Succeeded:
		out.Reason = "all its hosts were skipped"
	case r.bad() != "":
		out.State, out.Reason = Failed, r.bad()
	case r.outcome == sluice.Cancelled && r.stopped != "":
		out.Reason = r.stopped
	default:
		out.Reason = "job " + string(r.Job) + " is " + string(r.outcome)
		for _, w := range r.hosts {
			if !w.outcome.Passed() {
				out.Reason = w.text()
				break
			}
		}
	}
	return out
}

// bad is the first word of a host on which the command itself ended badly; "" where none did.
func (r *Record) bad() string {
	for _, w := range r.hosts {
		if w.bad {
			return w.text()
		}
	}
	return ""
}

func (w word) text() string {
	if w.reason == "" {
		return string(w.host) + ": " + string(w.outcome)
	}
	return string(w.host) + ": " + w.reason
}

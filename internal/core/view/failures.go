package view

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Steps of an attempt that are none of the host's own.
const (
	StepContact = "contact" // the host was not reached
	StepStart   = "start"   // it was reached, and nothing started
)

// FailedStep says what of the last attempt failed: StepContact, StepStart, or the name of a step such as "pre/drain" or
// "command". It is "" where nobody knows, as after a time limit.
func FailedStep(t *Task) string {
	switch {
	case t.Outcome == sluice.Unreachable:
		return StepContact
	case t.NotStarted:
		return StepStart
	case t.Outcome != sluice.Failed:
		return ""
	}
	for _, s := range slices.Backward(t.Steps) {
		if s.ExitCode != 0 {
			return s.Step
		}
	}
	return ""
}

// Signal is the one by which the last attempt ended, such as "KILL"; "" for none.
func Signal(t *Task) string {
	_, after, _ := strings.Cut(t.Reason, "(signal ")
	name, _, found := strings.Cut(after, ")")
	if !found {
		return ""
	}
	return name
}

// Failure is hosts on which a job failed in the same way.
type Failure struct {
	// ID stays the same as long as it is the same failure.
	ID      string
	Outcome sluice.Outcome
	Step    string
	Exit    *int
	Signal  string
	// Reason is in the words of all, with HOST and ADDRESS for what is each host's own.
	Reason         string
	Stdout, Stderr []string // last lines, of the newest
	Tasks          []*Task  // newest first
	last           time.Time
}

// Failures are the hosts of a job that are out by their last outcome, those together that failed alike: what ended last
// comes first. ends gives the last lines that a host printed; nil leaves them out.
func Failures(j *Job, ends func(*Task) (stdout, stderr []string, err error)) ([]*Failure, error) {
	at := map[string]*Failure{}
	var out []*Failure
	var same Plain
	for i := range j.Tasks {
		t := &j.Tasks[i]
		if !t.Outcome.Bad() || t.Outcome == sluice.Cancelled && t.NotStarted {
			continue
		}
		f := &Failure{Outcome: t.Outcome, Step: FailedStep(t), Exit: t.ExitCode, Signal: Signal(t), Reason: t.Reason}
		address := ""
		if j.Spec != nil {
			address = j.Spec.SSHFor(t.Host).Address
		}
		plain := same.Key(t.Host, address, t.Reason)
		var own string
		if ends != nil && t.Attempt != "" {
			var err error
			if f.Stdout, f.Stderr, err = ends(t); err != nil {
				return nil, err
			}
			own = replaceWord(strings.Join(f.Stdout, "\n")+"\x00"+strings.Join(f.Stderr, "\n"), string(t.Host), "HOST")
		}
		exit := -1
		if t.ExitCode != nil {
			exit = *t.ExitCode
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s\x00%s", f.Outcome, f.Step, exit, plain, own))
		f.ID = hex.EncodeToString(sum[:8])
		known := at[f.ID]
		if known == nil {
			at[f.ID], out, known = f, append(out, f), f
		}
		if known.Reason != f.Reason {
			known.Reason = plain
		}
		known.Tasks = append(known.Tasks, t)
		if !t.At.Before(known.last) {
			known.Stdout, known.Stderr, known.last = f.Stdout, f.Stderr, t.At
		}
	}
	for _, f := range out {
		slices.SortStableFunc(f.Tasks, func(a, b *Task) int { return b.At.Compare(a.At) })
	}
	slices.SortStableFunc(out, func(a, b *Failure) int {
		return cmp.Or(b.Tasks[0].At.Compare(a.Tasks[0].At), len(b.Tasks)-len(a.Tasks))
	})
	return out, nil
}

// Package spans makes traces of the events of jobs: a span for each job, each attempt and each step. Events in, spans that
// have ended out; the ids follow from the ids of job and attempt, so that whoever makes them anew makes the same.
//
// A span has nothing of what a command printed and none of its environment; the command's text is left out unless it is
// asked for.
package spans

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// TraceID and SpanID are those of W3C Trace Context.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Span is a span that has ended.
type Span struct {
	Trace      TraceID
	ID, Parent SpanID // a zero parent: none
	Name       string
	Start, End time.Time
	Attributes map[string]any // string or int64
	// Failed says that what it stands for went wrong, and Reason how, in the words of the program.
	Failed bool
	Reason string
	Marks  []Mark
}

// Mark is a point in time within a span.
type Mark struct {
	Time time.Time
	Name string
	Text string // who or why; "" for nothing to say
}

// Parent is the span of somebody else that a job belongs to.
type Parent struct {
	Trace TraceID
	Span  SpanID
}

// ParseParent reads the header traceparent in its version 00. ok is false for whatever else it is.
func ParseParent(header string) (p Parent, ok bool) {
	parts := strings.Split(header, "-")
	if len(header) != 55 || len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 ||
		strings.ToLower(header) != header {
		return Parent{}, false
	}
	_, err1 := hex.Decode(p.Trace[:], []byte(parts[1]))
	_, err2 := hex.Decode(p.Span[:], []byte(parts[2]))
	_, err3 := hex.DecodeString(parts[3])
	if err1 != nil || err2 != nil || err3 != nil || p.Trace == (TraceID{}) || p.Span == (SpanID{}) {
		return Parent{}, false
	}
	return p, true
}

// TraceOf is the trace of a job that belongs to none.
func TraceOf(id sluice.JobID) (t TraceID) {
	copy(t[:], digest("trace", string(id)))
	return t
}

func spanOf(kind, id string) (s SpanID) {
	copy(s[:], digest(kind, id))
	return s
}

func digest(kind, id string) []byte {
	sum := sha256.Sum256([]byte("sluice " + kind + " " + id))
	return sum[:]
}

// Tracer makes spans of events. The zero Tracer is ready; it is not safe for concurrent use.
type Tracer struct {
	// Commands puts the text of commands into the spans of jobs.
	Commands bool
	jobs     map[sluice.JobID]*job
}

type job struct {
	spec     sluice.Job
	trace    TraceID
	parent   SpanID
	begin    time.Time
	marks    []Mark
	attempts map[sluice.AttemptID]begun
}

type begun struct {
	at           time.Time
	track, stage string
}

// maxMarks bounds what is kept of a job that is halted and resumed for ever.
const maxMarks = 100

// Open says how many jobs are being followed.
func (t *Tracer) Open() int { return len(t.jobs) }

// Take takes the next event of a job, and returns the spans that it ends. Events of jobs whose beginning it has not seen
// make none.
func (t *Tracer) Take(e sluice.Event) []Span {
	if b, ok := e.Body.(sluice.JobSubmitted); ok {
		t.begin(e, b.Submitted)
		return nil
	}
	j := t.jobs[e.Job]
	if j == nil {
		return nil
	}
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		j.attempts[b.Attempt] = begun{e.Time, b.Track, b.Stage}
	case sluice.TaskStep:
		return []Span{j.step(e, b)}
	case sluice.TaskFinished:
		return j.finished(e, b)
	case sluice.TaskWithdrawn:
		return j.attempt(e.Time, b.Host, b.Attempt, "withdrawn", b.Reason, map[string]any{})
	case sluice.JobFinished:
		delete(t.jobs, e.Job)
		return []Span{j.span(t.Commands, e.Time, b)}
	default:
		j.mark(e)
	}
	return nil
}

func (t *Tracer) begin(e sluice.Event, spec sluice.Job) {
	if t.jobs == nil {
		t.jobs = map[sluice.JobID]*job{}
	}
	j := &job{spec: sluice.Job{ID: e.Job, Namespace: spec.Namespace, By: spec.By, Command: spec.Command, Expression: spec.Expression,
		Action: sluice.Action{Kind: spec.Action.Kind}, Targets: spec.Targets}, trace: TraceOf(e.Job), begin: e.Time, attempts: map[sluice.AttemptID]begun{}}
	if p, ok := ParseParent(spec.Trace); ok {
		j.trace, j.parent = p.Trace, p.Span
	}
	t.jobs[e.Job] = j
}

func (j *job) id() SpanID { return spanOf("job", string(j.spec.ID)) }

func (j *job) mark(e sluice.Event) {
	if len(j.marks) >= maxMarks {
		return
	}
	m := Mark{Time: e.Time, Name: e.Body.Type()}
	switch b := e.Body.(type) {
	case sluice.JobHalting:
		m.Text = string(b.Rule)
	case sluice.JobHalted:
		m.Text = strings.TrimSpace(string(b.Rule) + " " + b.Group)
	case sluice.JobResumed:
		m.Text = b.By
	case sluice.JobCancelling:
		m.Text = b.By
	case sluice.StageOpened:
		m.Text = b.Track + " " + b.Stage
	case sluice.GateWaiting:
		m.Text = b.Track + " " + b.Stage + " " + string(b.Kind)
	case sluice.GatePassed:
		m.Text = b.Track + " " + b.Stage + " " + string(b.Kind)
	case sluice.JobStarted, sluice.TaskRetried:
	default:
		return
	}
	j.marks = append(j.marks, m)
}

func (j *job) span(commands bool, end time.Time, b sluice.JobFinished) Span {
	at := map[string]any{"sluice.job": string(j.spec.ID), "sluice.namespace": string(j.spec.Namespace), "sluice.by": j.spec.By,
		"sluice.action": string(j.spec.Action.Kind), "sluice.targets": int64(len(j.spec.Targets)), "sluice.outcome": string(b.Outcome)}
	for o, n := range b.Counts {
		at["sluice.hosts."+string(o)] = int64(n)
	}
	if commands {
		at["sluice.command"] = j.spec.Command
	}
	return Span{Trace: j.trace, ID: j.id(), Parent: j.parent, Name: "job", Start: j.begin, End: end, Attributes: at,
		Failed: b.Outcome != sluice.Succeeded, Reason: reason(string(b.Outcome)), Marks: j.marks}
}

// reason is the status text of what went wrong; what went well has none.
func reason(outcome string) string {
	if outcome == string(sluice.Succeeded) {
		return ""
	}
	return outcome
}

func (j *job) finished(e sluice.Event, b sluice.TaskFinished) []Span {
	if b.Attempt == "" { // skipped: nobody tried
		return nil
	}
	at := map[string]any{}
	if b.ExitCode != nil {
		at["sluice.exit_code"] = int64(*b.ExitCode)
	}
	return j.attempt(e.Time, b.Host, b.Attempt, string(b.Outcome), reason(string(b.Outcome)), at)
}

// attempt ends the span of an attempt. What comes once more after the outcome unknown has a span of its own within the
// first: that has been sent.
func (j *job) attempt(end time.Time, h sluice.Host, id sluice.AttemptID, outcome, why string, at map[string]any) []Span {
	at["sluice.job"], at["sluice.attempt"], at["sluice.host"], at["sluice.outcome"] = string(j.spec.ID), string(id), string(h), outcome
	s := Span{Trace: j.trace, ID: spanOf("attempt", string(id)), Parent: j.id(), Name: "attempt", Start: end, End: end,
		Attributes: at, Failed: outcome != string(sluice.Succeeded), Reason: why}
	b, ok := j.attempts[id]
	if !ok {
		s.ID, s.Parent, s.Name = spanOf("late", string(id)), s.ID, "late outcome"
		return []Span{s}
	}
	delete(j.attempts, id)
	s.Start = before(b.at, end)
	at["sluice.track"], at["sluice.stage"] = b.track, b.stage
	if _, _, try, ok := id.Parse(); ok {
		at["sluice.try"] = int64(try)
	}
	return []Span{s}
}

func (j *job) step(e sluice.Event, b sluice.TaskStep) Span {
	s := Span{Trace: j.trace, ID: spanOf("step", string(b.Attempt)+" "+b.Step), Parent: spanOf("attempt", string(b.Attempt)), Name: "step " + b.Step,
		Start: e.Time.Add(-time.Duration(b.DurationMS) * time.Millisecond), End: e.Time,
		Attributes: map[string]any{"sluice.job": string(j.spec.ID), "sluice.attempt": string(b.Attempt), "sluice.host": string(b.Host),
			"sluice.step": b.Step, "sluice.exit_code": int64(b.ExitCode)}}
	if b.ExitCode != 0 {
		s.Failed, s.Reason = true, "exit status "+strconv.Itoa(b.ExitCode)
	}
	return s
}

// before keeps a span from ending before it began: clocks may be set back.
func before(begin, end time.Time) time.Time {
	if begin.After(end) {
		return end
	}
	return begin
}

func (t TraceID) String() string { return fmt.Sprintf("%x", t[:]) }
func (s SpanID) String() string  { return fmt.Sprintf("%x", s[:]) }

package live

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/validate"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/sealed"
)

// StatusOptions say what the events of a job do not.
type StatusOptions struct {
	Driven bool // a live process carries the job out
	Now    time.Time
	// Zone is for the times of day; nil is UTC.
	Zone *time.Location
	// Unplaced says of hosts that run, as far as the log goes, that no worker has taken them yet, and why.
	Unplaced map[sluice.Host]string
	// NotUndone is why hosts are not brought back of a deploy that was to be rolled back when it fails; "" where nobody has to.
	NotUndone string
	// Validation is what the validation of a deploy came to; nil where nobody asked for one.
	Validation *validate.Result
}

// TaskState is where a task stands: waiting, running, or its outcome.
func TaskState(t *view.Task) string {
	switch {
	case t.Running:
		return "running"
	case t.Outcome == "":
		return "waiting"
	}
	return string(t.Outcome)
}

// statusOrder has what went wrong first.
var statusOrder = [...]string{"failed", "timed_out", "unreachable", "unknown", "cancelled", "running", "waiting", "skipped", "succeeded"}

// Status writes where a job stands. Hosts in the same state for the same reason stand together.
func Status(w io.Writer, j *view.Job, o StatusOptions) error {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	var b bytes.Buffer
	statusHead(&b, j, o)
	groups := map[string]*view.Reasons{}
	for i := range j.Tasks {
		t := &j.Tasks[i]
		state, reason := TaskState(t), t.Reason
		if t.Running {
			reason = "" // it is that of an attempt before
			if why, waits := o.Unplaced[t.Host]; waits {
				state, reason = "waiting", why
			}
		}
		if groups[state] == nil {
			groups[state] = &view.Reasons{}
		}
		address := ""
		if j.Spec != nil {
			address = j.Spec.SSHFor(t.Host).Address
		}
		groups[state].Add(t.Host, address, reason)
	}
	for _, state := range statusOrder {
		if groups[state] == nil {
			continue
		}
		reasons := groups[state].All()
		slices.SortStableFunc(reasons, func(a, b *view.Reason) int { return len(b.Hosts) - len(a.Hosts) })
		for _, r := range reasons {
			text := state
			if r.Text != "" {
				text += ": " + clean.Line(r.Text)
			}
			fmt.Fprintf(&b, "%5d  %s\n       %s\n", len(r.Hosts), text, fleet.Fold(r.Hosts))
		}
	}
	statusNext(&b, j, o)
	_, err := w.Write(b.Bytes())
	return err
}

func statusHead(b *bytes.Buffer, j *view.Job, o StatusOptions) {
	state := j.State()
	if j.Ended.IsZero() && !o.Driven {
		state += ", but no process carries it out"
	}
	fmt.Fprintf(b, "job      %s: %s\n", j.ID, state)
	fmt.Fprintf(b, "command  %s\n", clean.Line(j.Spec.Command))
	fmt.Fprintf(b, "by       %s, %s\n", clean.Line(j.Spec.By), j.Submitted.In(o.Zone).Format(time.DateTime))
	if j.Spec.Reason != "" {
		fmt.Fprintf(b, "why      %s\n", clean.Line(j.Spec.Reason))
	}
	end := j.Ended
	if end.IsZero() {
		end = o.Now
	}
	if !j.Started.IsZero() {
		fmt.Fprintf(b, "took     %s\n", end.Sub(j.Started).Round(100*time.Millisecond))
	}
	if h := j.Halted; h != nil {
		fmt.Fprintf(b, "halted   %s: %s\n", h.Rule, clean.Line(h.Reason))
	}
	if j.Finished != nil && j.Finished.Undo != "" {
		fmt.Fprintf(b, "undone   by job %s, which brings the hosts back that it changed\n", j.Finished.Undo)
	}
	if j.Finished != nil && j.Finished.Reason != "" {
		fmt.Fprintf(b, "because  %s\n", clean.Line(j.Finished.Reason))
	}
	if of := j.Spec.Action.Undoes; of != "" {
		fmt.Fprintf(b, "undoes   job %s\n", of)
	}
	if v := j.Spec.Action.Validation(); v != nil {
		fmt.Fprintf(b, "validate %s, on %s, for at most %s\n", clean.Line(v.Run), fleet.Fold(j.Spec.Action.Release.Validating.Hosts), v.Timeout)
	}
	if r := o.Validation; r != nil {
		text := string(r.State)
		if r.Job != "" {
			text += ", by job " + string(r.Job)
		}
		if r.Reason != "" {
			text += ": " + clean.Line(r.Reason)
		}
		fmt.Fprintf(b, "result   %s\n", text)
	}
	if v := j.Spec.Action.Validates; v != nil {
		fmt.Fprintf(b, "of       job %s, which deployed %s@%s to %s\n", v.Job, clean.Line(v.App), clean.Line(v.Version), clean.Line(v.Env))
	}
	if o.NotUndone != "" {
		fmt.Fprintf(b, "not back %s\n", clean.Line(o.NotUndone))
	}
	for _, g := range j.Gates {
		where := "after " + clean.Line(g.Stage)
		if g.Stage == sluice.BeforeStart {
			where = "before the start"
		}
		fmt.Fprintf(b, "gate     %s %s\n", g.Kind, where)
	}
	if slices.ContainsFunc(j.Gates, func(g sluice.GateWaiting) bool { return g.Kind == sluice.GateApproval }) {
		if digest, err := sealed.PlanDigest(j.Spec); err == nil {
			fmt.Fprintf(b, "plan     %s\n", digest)
		}
		if j.Spec.Approval.By == sluice.AnotherApproves {
			fmt.Fprintf(b, "approval by somebody else than %s\n", clean.Line(j.Spec.By))
		}
	}
}

// statusNext names the commands to type next.
func statusNext(b *bytes.Buffer, j *view.Job, o StatusOptions) {
	type next struct{ command, why string }
	id := string(j.ID)
	var out []next
	if j.Finished != nil && j.Finished.Undo != "" {
		out = append(out, next{"status " + string(j.Finished.Undo), "where the rollback stands"})
	}
	if o.NotUndone != "" {
		out = append(out, next{"rollback " + id, "brings its hosts back"})
	}
	switch {
	case j.Ended.IsZero() && !o.Driven:
		out = append(out, next{"resume " + id, "carries it on"})
	case j.Ended.IsZero() && slices.ContainsFunc(j.Gates, func(g sluice.GateWaiting) bool { return g.Kind == sluice.GateApproval }):
		out = append(out, next{"approve " + id, "lets it go on"}, next{"watch " + id, "follows it"})
	case j.Ended.IsZero():
		out = append(out, next{"watch " + id, "follows it"}, next{"why " + id, "says what waits, and why"})
	case j.Halted != nil && j.Finished == nil:
		out = append(out, next{"why " + id, "says what waits, and why"}, next{"retry " + id, "tries what failed again"}, next{"resume " + id, "goes on"})
	case j.Counts[sluice.Unknown] > 0:
		out = append(out, next{"resume " + id, "asks the hosts how it ended"})
	case j.Finished != nil && j.Finished.Outcome == sluice.Failed:
		out = append(out, next{"retry " + id, "tries what failed again"})
	}
	for i := range j.Tasks {
		if t := &j.Tasks[i]; t.Outcome.Failure() && t.Attempt != "" {
			out = append(out, next{"log " + id + " " + string(t.Host), "what it printed"})
			break
		}
	}
	width := 0
	for _, n := range out {
		width = max(width, len(n.command))
	}
	for i, n := range out {
		if i == 0 {
			b.WriteString("\nNext:\n")
		}
		fmt.Fprintf(b, "  sluice %-*s  %s\n", width, n.command, n.why)
	}
}

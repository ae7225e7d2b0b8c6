// Package act is what operators do to jobs and hosts: what an act adds to the log, or why it cannot be done
// ([Act.Events]), and what would follow from it if it were done now ([Foresee]).
//
// It knows no rule of the schedule. What would follow is found by doing it to a copy of the state, with the functions that
// decide in earnest, and looking at what they say.
package act

import (
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Kind is what is done.
type Kind string

const (
	Halt    Kind = "halt"
	Cancel  Kind = "cancel"
	Resume  Kind = "resume"
	Retry   Kind = "retry"
	Skip    Kind = "skip"
	Approve Kind = "approve"
	Settle  Kind = "settle" // ask hosts for outcomes that are not known; not done by events, see the service
	Hold    Kind = "hold"
	Release Kind = "release"
	Retire  Kind = "retire"
	Return  Kind = "return"
)

// OnHosts reports whether an act is about hosts of a namespace, and not about a job.
func (k Kind) OnHosts() bool { return k == Hold || k == Release || k == Retire || k == Return }

// Act is one thing that an operator does.
type Act struct {
	Kind   Kind
	Job    sluice.JobID  // "" for what is done to hosts
	Hosts  []sluice.Host // of a retry: those to try again, none for all that failed; of skip and of acts on hosts: these
	Stage  string        // of an approval: whose gate; "" for all that wait
	Plan   string        // of an approval: digest of what was looked at; "" is whatever the job is
	Reason string
	By     string
	// MaxFailures is a new budget, of a resume or retry; nil leaves the one that there is.
	MaxFailures *sluice.Amount
	// Seen is what an effect said that the act rests on; where that has changed, nothing is done. "" asks for nothing.
	Seen string
	// Digest makes the digest of what is approved.
	Digest func(*sluice.Job) (string, error)
	// Fits says why a signed approval is not of this job, and Signed which gates it lets pass, with the proof. Nil: it is not
	// signed, and lets pass what it names.
	Fits   func(*sluice.Job) error
	Signed func(sluice.GatePassed) (proof []byte, meant bool)
}

// Events are what the act adds to the log that the state is of, without numbers, or why it cannot be done. There are none
// where what is wanted is so already.
func (a Act) Events(s *schedule.State, now time.Time) ([]sluice.Event, error) {
	if err := a.unchanged(s); err != nil {
		return nil, err
	}
	bodies, err := a.bodies(s)
	if err != nil {
		return nil, err
	}
	var out []sluice.Event
	for _, b := range bodies {
		out = append(out, sluice.Event{Time: now, Job: a.Job, Body: b})
	}
	return out, nil
}

func (a Act) bodies(s *schedule.State) ([]sluice.Body, error) {
	if a.Kind.OnHosts() {
		return a.onHosts(s)
	}
	i, ok := s.Job(a.Job)
	if !ok {
		return nil, NoJob(string(a.Job))
	}
	switch a.Kind {
	case Halt:
		return a.halt(i)
	case Cancel:
		return a.cancel(i)
	case Resume:
		return a.resume(s, i)
	case Retry:
		return a.retry(s, i)
	case Skip:
		return a.skip(s, i)
	case Approve:
		return a.approve(i)
	case Settle:
		return a.settle(s, i)
	}
	return nil, fmt.Errorf("there is no act %q", a.Kind)
}

// NoJob says that there is no such job.
func NoJob(id string) error {
	return sluice.Errorf(sluice.NotFound, "there is no job %q", id).WithHint("sluice jobs")
}

func conflict(i schedule.Info, act, hint string) error {
	return sluice.Errorf(sluice.Conflict, "job %s is %s and cannot be %s", i.Spec.ID, i.State, act).WithHint("%s", hint)
}

func (a Act) halt(i schedule.Info) ([]sluice.Body, error) {
	if i.State.Over() || i.State == schedule.Halted {
		return nil, conflict(i, "halted", "sluice status "+string(i.Spec.ID))
	}
	if a.Reason == "" {
		a.Reason = "halted by " + a.By
	}
	return Halting(i, sluice.RuleOperator, a.Reason, a.By), nil
}

// Halting halts a job: at once, if nothing of it runs.
func Halting(i schedule.Info, rule sluice.Rule, reason, by string) []sluice.Body {
	out := []sluice.Body{sluice.JobHalting{Rule: rule, Reason: reason, By: by}}
	if i.Running == 0 {
		out = append(out, sluice.JobHalted{Rule: rule, Reason: reason, Generation: i.Generation + 1})
	}
	return out
}

func (a Act) cancel(i schedule.Info) ([]sluice.Body, error) {
	switch {
	case i.State.Over():
		return nil, conflict(i, "cancelled", "sluice status "+string(i.Spec.ID))
	case i.Cancelling:
		return nil, nil
	}
	return []sluice.Body{sluice.JobCancelling{By: a.By, Reason: a.Reason}}, nil
}

// HaltingFor is Halting as a halt asks for it that a server kept.
func HaltingFor(i schedule.Info, h sluice.KeptHalt) []sluice.Body {
	reason := h.Reason
	if reason == "" {
		reason = "halted by " + string(h.Principal)
	}
	out := Halting(i, sluice.RuleOperator, reason, string(h.Principal))
	halting := out[0].(sluice.JobHalting)
	halting.Request = h.ID
	out[0] = halting
	return out
}

// Since looks in the events of a job whether a halt that a server kept has halted it already, and whether the job was submitted or resumed later
// than that was asked for: it goes on then. Times are those of one clock after the event from: what is no later than that is not taken for later,
// whatever its time says.
func Since(events []sluice.Event, h sluice.KeptHalt, from uint64, asked time.Time) (before, later bool) {
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.JobHalting:
			before = before || b.Request == h.ID
		case sluice.JobSubmitted, sluice.JobResumed:
			later = later || e.Seq > from && e.Time.After(asked)
		}
	}
	return before, later
}

// stopped reports whether a job starts nothing before somebody lets it.
func stopped(i schedule.Info) bool {
	return i.State.Over() || i.State == schedule.Halted || i.State == schedule.Halting
}

// unknown are the hosts of a job whose outcome is not known.
func unknown(s *schedule.State, id sluice.JobID) (out []sluice.Host) {
	for _, a := range s.Attempts(id) {
		if a.Unknown {
			out = append(out, a.Host)
		}
	}
	return out
}

func (a Act) resume(s *schedule.State, i schedule.Info) ([]sluice.Body, error) {
	switch {
	case i.State.Over() && len(unknown(s, a.Job)) == 0:
		return nil, conflict(i, "resumed", "sluice retry "+string(i.Spec.ID))
	case i.Cancelling, !stopped(i) && a.MaxFailures == nil:
		return nil, nil // whoever drives it brings it to its end
	}
	if err := unlocked(s, i); err != nil {
		return nil, err
	}
	return []sluice.Body{a.resumed(i)}, nil
}

// unlocked says why a job that is over cannot be opened again: another one has its lock by now.
func unlocked(s *schedule.State, i schedule.Info) error {
	if !i.State.Over() {
		return nil
	}
	have := s.Locked(i.Spec.Options.Lock)
	if len(have) == 0 {
		return nil
	}
	o := have[0].Spec
	return sluice.Errorf(sluice.Conflict, "job %s of %s has the lock %s until it ends", o.ID, o.By, o.Options.Lock).WithHint("sluice status %s", o.ID)
}

func (a Act) resumed(i schedule.Info) sluice.JobResumed {
	return sluice.JobResumed{By: a.By, Generation: i.Generation + 1, MaxFailures: a.MaxFailures}
}

func (a Act) retry(s *schedule.State, i schedule.Info) ([]sluice.Body, error) {
	again, err := a.retriable(s, i)
	if err != nil {
		return nil, err
	}
	if budget := a.budget(i); budget >= 0 && i.Failures > budget {
		return nil, sluice.Errorf(sluice.Conflict, "%d hosts failed and job %s may have %d, so nothing would start", i.Failures, a.Job, budget).
			WithHint("sluice retry %s --max-failures %d", a.Job, i.Failures)
	}
	if err := unlocked(s, i); err != nil {
		return nil, err
	}
	var out []sluice.Body
	if stopped(i) || a.MaxFailures != nil {
		out = append(out, a.resumed(i))
	}
	if len(again) > 0 {
		out = append(out, sluice.TaskRetried{Hosts: again, By: a.By})
	}
	return out, nil
}

// budget is the number of failures that a job may have once its budget is raised; -1: any.
func (a Act) budget(i schedule.Info) int {
	if a.MaxFailures == nil {
		return i.Budget
	}
	return a.MaxFailures.Floor(len(i.Spec.Targets))
}

func (a Act) retriable(s *schedule.State, i schedule.Info) ([]sluice.Host, error) {
	if len(a.Hosts) == 0 {
		var out []sluice.Host
		for _, t := range s.Tasks(a.Job) {
			if t.Retriable {
				out = append(out, t.Host)
			}
		}
		if len(out) == 0 && (i.State.Over() || i.Unsettled == 0) {
			return nil, sluice.Errorf(sluice.Conflict, "job %s has no host that ended badly and can be tried again", a.Job).
				WithHint("sluice status %s", a.Job)
		}
		return out, nil
	}
	for _, h := range a.Hosts {
		t, ok := s.Task(a.Job, h)
		switch {
		case !ok:
			return nil, noTarget(a.Job, h)
		case t.Outcome == sluice.Unknown && !t.Pending && !t.Running && !t.Retriable:
			return nil, sluice.Errorf(sluice.Conflict, "it is not known how the command on %s ended; it may still run", h).
				WithHint("sluice resume %s asks the host; sluice host release %s --reason ... decides it", a.Job, h)
		case !t.Retriable:
			return nil, sluice.Errorf(sluice.Conflict, "%s cannot be tried again: %s", h, standing(t))
		}
	}
	return a.Hosts, nil
}

func noTarget(id sluice.JobID, h sluice.Host) error {
	return sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, id)
}

func standing(t schedule.Task) string {
	switch {
	case t.Running:
		return "it runs"
	case t.Pending:
		return "it has not run yet"
	}
	return "it " + string(t.Outcome)
}

func (a Act) skip(s *schedule.State, i schedule.Info) ([]sluice.Body, error) {
	if i.State.Over() {
		return nil, conflict(i, "changed", "sluice status "+string(i.Spec.ID))
	}
	var out []sluice.Body
	for _, h := range a.Hosts {
		t, ok := s.Task(a.Job, h)
		switch {
		case !ok:
			return nil, noTarget(a.Job, h)
		case h == i.Spec.Action.Once():
			return nil, sluice.Errorf(sluice.Conflict, "%s cannot be skipped: it runs what this release runs once, and the others wait for that", h).
				WithHint("sluice retry %s; or cancel the job, and deploy anew", a.Job)
		case h == i.Spec.Action.After():
			return nil, sluice.Errorf(sluice.Conflict, "%s cannot be skipped: it runs what this release runs once, after all others", h).
				WithHint("sluice retry %s; or cancel the job, and deploy anew", a.Job)
		case t.Running, t.Outcome.Passed() && !t.Pending:
			return nil, sluice.Errorf(sluice.Conflict, "%s cannot be skipped: %s", h, standing(t))
		}
		out = append(out, sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, Reason: a.Reason, By: a.By})
	}
	return out, nil
}

func (a Act) approve(i schedule.Info) ([]sluice.Body, error) {
	if a.Fits != nil {
		if err := a.Fits(i.Spec); err != nil {
			return nil, err
		}
	}
	digest, err := a.approvable(i)
	if err != nil {
		return nil, err
	}
	var out []sluice.Body
	for _, g := range a.gates(i) {
		pass, meant := sluice.GatePassed{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind, By: a.By, Plan: digest}, true
		if a.Signed != nil {
			pass.Signed, meant = a.Signed(pass)
		}
		if meant {
			out = append(out, pass)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	stage := a.Stage
	a.Stage = ""
	var waiting []string
	for _, g := range a.gates(i) {
		waiting = append(waiting, g.Stage)
	}
	if len(waiting) > 0 {
		return nil, sluice.Errorf(sluice.NotFound, "no stage %q waits for approval; %s does", stage, strings.Join(waiting, ", "))
	}
	return nil, sluice.Errorf(sluice.Conflict, "nothing in job %s waits for approval", a.Job).WithHint("sluice why %s", a.Job)
}

// gates are those that wait for the approval: all, or that behind one stage.
func (a Act) gates(i schedule.Info) (out []schedule.Gate) {
	for _, g := range i.Gates {
		if g.Kind == sluice.GateApproval && (a.Stage == "" || a.Stage == g.Stage) {
			out = append(out, g)
		}
	}
	return out
}

// Approves says why somebody cannot approve a job, whatever their rights are: it is theirs, and another one has to.
func Approves(who string, j *sluice.Job) error {
	if j.Approval.By == sluice.AnotherApproves && who == j.By {
		return sluice.Errorf(sluice.Denied, "%s submitted job %s, and here another one approves", who, j.ID).
			WithHint("somebody else: sluice approve %s", j.ID)
	}
	return nil
}

// approvable says why somebody cannot approve a job, or the digest of what they would.
func (a Act) approvable(i schedule.Info) (string, error) {
	if err := Approves(a.By, i.Spec); err != nil {
		return "", err
	}
	digest, err := a.Digest(i.Spec)
	switch {
	case err != nil && a.Plan == "" && i.Spec.Approval.By == "":
		return "", nil // it has text that is no UTF-8, and nobody asked what they approve
	case err != nil:
		return "", err
	case a.Plan != "" && a.Plan != digest:
		return "", sluice.Errorf(sluice.Conflict, "job %s is %s, and not the %s that was looked at", a.Job, digest, a.Plan).
			WithHint("sluice status %s", a.Job)
	}
	return digest, nil
}

// settle is a resume where the job is over: somebody has to drive it then. It is nothing where it is not.
func (a Act) settle(s *schedule.State, i schedule.Info) ([]sluice.Body, error) {
	switch {
	case len(unknown(s, a.Job)) == 0:
		return nil, sluice.Errorf(sluice.Conflict, "all outcomes of job %s are known", a.Job).WithHint("sluice status %s", a.Job)
	case i.State.Over():
		return a.resume(s, i)
	}
	return nil, nil
}

func (a Act) onHosts(s *schedule.State) ([]sluice.Body, error) {
	out := outOf(s)
	var bodies []sluice.Body
	for _, h := range a.Hosts {
		now := out[h]
		switch a.Kind {
		case Hold:
			bodies = append(bodies, sluice.HostHeld{Host: h, Reason: a.Reason, By: a.By})
		case Release:
			if now.Host == "" || now.Retired {
				return nil, sluice.Errorf(sluice.Conflict, "%s is not out of service", h).WithHint("%s", releaseHint(now))
			}
			bodies = append(bodies, sluice.HostReleased{Host: h, Reason: a.Reason, By: a.By})
		case Retire:
			bodies = append(bodies, sluice.HostRetired{Host: h, Reason: a.Reason, By: a.By})
		case Return:
			if !now.Retired {
				return nil, sluice.Errorf(sluice.Conflict, "%s is not retired", h)
			}
			bodies = append(bodies, sluice.HostReturned{Host: h, Reason: a.Reason, By: a.By})
		}
	}
	return bodies, nil
}

func outOf(s *schedule.State) map[sluice.Host]schedule.HostInfo {
	out := map[sluice.Host]schedule.HostInfo{}
	for _, h := range s.Out() {
		out[h.Host] = h
	}
	return out
}

func releaseHint(h schedule.HostInfo) string {
	if h.Retired {
		return "it is retired: sluice host return " + string(h.Host) + " --reason ..."
	}
	return "sluice host list --out"
}

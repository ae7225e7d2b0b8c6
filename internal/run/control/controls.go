package control

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/sealed"
)

func sortStable[T any](x []T, less func(a, b T) bool) {
	sort.SliceStable(x, func(i, j int) bool { return less(x[i], x[j]) })
}

// over reports whether a job has a result.
func over(i schedule.Info) bool {
	switch i.State {
	case schedule.Succeeded, schedule.Failed, schedule.Cancelled:
		return true
	}
	return false
}

func conflict(i schedule.Info, act, hint string) error {
	return sluice.Errorf(sluice.Conflict, "job %s is %s and cannot be %s", i.Spec.ID, i.State, act).WithHint("%s", hint)
}

// Halt starts nothing more of a job and lets what runs end. If nothing runs, it is halted at once.
func (s *Service) Halt(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		if over(i) || i.State == schedule.Halted {
			return nil, conflict(i, "halted", "sluice status "+string(i.Spec.ID))
		}
		if reason == "" {
			reason = "halted by " + s.By
		}
		return s.halt(i, reason), nil
	})
}

// Lacks halts a job that cannot go on for want of its secrets, if that is still so when it is its turn in the log. What
// runs is still asked how it ended, as far as that takes no secret.
func (s *Service) Lacks(ctx context.Context, id sluice.JobID, reason string, still func() bool) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		if over(i) || i.State == schedule.Halted || i.State == schedule.Halting || i.Cancelling || !still() {
			return nil, nil
		}
		out := []sluice.Event{s.event(i.Spec.ID, sluice.JobHalting{Rule: sluice.RuleSecrets, Reason: reason, By: s.By})}
		if i.Running == 0 {
			out = append(out, s.event(i.Spec.ID, sluice.JobHalted{Rule: sluice.RuleSecrets, Reason: reason, Generation: i.Generation + 1}))
		}
		return out, nil
	})
}

// Cancel starts nothing more of a job and has what runs killed by whoever drives it.
func (s *Service) Cancel(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		switch {
		case over(i):
			return nil, conflict(i, "cancelled", "sluice status "+string(i.Spec.ID))
		case i.Cancelling:
			return nil, nil
		}
		return []sluice.Event{s.event(i.Spec.ID, sluice.JobCancelling{By: s.By, Reason: reason})}, nil
	})
}

// Resume opens a halted job again, or one that ended without knowing all outcomes. A job that is going on stays
// as it is: whoever resumes it drives it on.
func (s *Service) Resume(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(state *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		unknown := false
		for _, a := range state.Attempts(i.Spec.ID) {
			unknown = unknown || a.Unknown
		}
		goesOn := !over(i) && i.State != schedule.Halted && i.State != schedule.Halting
		switch {
		case over(i) && !unknown:
			return nil, conflict(i, "resumed", "sluice retry "+string(i.Spec.ID))
		case i.Cancelling, goesOn && maxFailures == nil:
			return nil, nil // whoever drives it brings it to its end
		}
		return []sluice.Event{s.event(i.Spec.ID, sluice.JobResumed{By: s.By, Generation: i.Generation + 1, MaxFailures: maxFailures})}, nil
	})
}

// Retry tries tasks again that ended badly: those of the hosts, or all. Hosts whose outcome is not known are not
// tried again, unless an operator released them.
func (s *Service) Retry(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(state *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		again, err := retriable(state, i, hosts)
		if err != nil {
			return nil, err
		}
		if budget := newBudget(i, maxFailures); budget >= 0 && i.Failures > budget {
			return nil, sluice.Errorf(sluice.Conflict, "%d hosts failed and job %s may have %d, so nothing would start", i.Failures, i.Spec.ID, budget).
				WithHint("sluice retry %s --max-failures %d", i.Spec.ID, i.Failures)
		}
		var out []sluice.Event
		if over(i) || i.State == schedule.Halted || i.State == schedule.Halting || maxFailures != nil {
			out = append(out, s.event(i.Spec.ID, sluice.JobResumed{By: s.By, Generation: i.Generation + 1, MaxFailures: maxFailures}))
		}
		if len(again) > 0 {
			out = append(out, s.event(i.Spec.ID, sluice.TaskRetried{Hosts: again, By: s.By}))
		}
		return out, nil
	})
}

// newBudget is the number of failures that a job may have once its budget is raised; -1: any.
func newBudget(i schedule.Info, raised *sluice.Amount) int {
	if raised == nil {
		return i.Budget
	}
	return raised.Floor(len(i.Spec.Targets))
}

func retriable(state *schedule.State, i schedule.Info, hosts []sluice.Host) ([]sluice.Host, error) {
	id := i.Spec.ID
	if len(hosts) == 0 {
		var out []sluice.Host
		for _, t := range state.Tasks(id) {
			if t.Retriable {
				out = append(out, t.Host)
			}
		}
		if len(out) == 0 && (over(i) || i.Unsettled == 0) {
			return nil, sluice.Errorf(sluice.Conflict, "job %s has no host that ended badly and can be tried again", id).
				WithHint("sluice status %s", id)
		}
		return out, nil
	}
	for _, h := range hosts {
		t, ok := state.Task(id, h)
		switch {
		case !ok:
			return nil, sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, id)
		case t.Outcome == sluice.Unknown && !t.Pending && !t.Running && !t.Retriable:
			return nil, sluice.Errorf(sluice.Conflict, "it is not known how the command on %s ended; it may still run", h).
				WithHint("sluice resume %s asks the host; sluice host release %s --reason ... decides it", id, h)
		case !t.Retriable:
			return nil, sluice.Errorf(sluice.Conflict, "%s cannot be tried again: %s", h, standing(t))
		}
	}
	return hosts, nil
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

// Skip says that tasks need not run: stages behind them open. It releases no capacity.
func (s *Service) Skip(ctx context.Context, id sluice.JobID, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(state *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		if over(i) {
			return nil, conflict(i, "changed", "sluice status "+string(i.Spec.ID))
		}
		var out []sluice.Event
		for _, h := range hosts {
			t, ok := state.Task(i.Spec.ID, h)
			switch {
			case !ok:
				return nil, sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, i.Spec.ID)
			case t.Running, t.Outcome.Passed() && !t.Pending:
				return nil, sluice.Errorf(sluice.Conflict, "%s cannot be skipped: %s", h, standing(t))
			}
			out = append(out, s.event(i.Spec.ID, sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, Reason: reason, By: s.By}))
		}
		return out, nil
	})
}

// Approve lets the gates of a job pass that wait for approval: all, or that behind one stage. plan is the digest of what was
// looked at; "" is whatever the job is.
func (s *Service) Approve(ctx context.Context, id sluice.JobID, stage, plan string) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		return s.approve(i, stage, plan, func(sluice.GatePassed) ([]byte, bool) { return nil, true })
	})
}

// ApproveSigned lets those gates pass that somebody has signed, if it is they who come with it, and for this job. Whether the
// key is theirs is for the worker to say.
func (s *Service) ApproveSigned(ctx context.Context, id sluice.JobID, stage, plan string, a sealed.Approval) ([]sluice.Event, error) {
	if a == nil {
		return nil, sluice.Errorf(sluice.Usage, "only for a server are approvals signed").WithHint("sluice approve %s", id)
	}
	said, err := a.Read()
	if err != nil {
		return nil, err
	}
	if said.By != s.By {
		return nil, sluice.Errorf(sluice.Denied, "the approval is of %q, and you are %q", said.By, s.By)
	}
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		if err := said.Fits(i.Spec, s.Clock()); err != nil {
			return nil, &sluice.Error{Code: sluice.Conflict, Text: "the approval does not fit", Err: err, Hint: "look at the job, and approve it again"}
		}
		return s.approve(i, stage, plan, func(g sluice.GatePassed) ([]byte, bool) {
			return a, slices.Contains(said.Passes, sealed.Pass{Track: g.Track, Stage: g.Stage, Index: g.Index})
		})
	})
}

// approve makes what lets gates pass, of those that wait and are meant, and how each is signed.
func (s *Service) approve(i schedule.Info, stage, plan string, meant func(sluice.GatePassed) (signed []byte, is bool)) ([]sluice.Event, error) {
	digest, err := s.approvable(i, plan)
	if err != nil {
		return nil, err
	}
	var out []sluice.Event
	var waiting []string
	for _, g := range i.Gates {
		if g.Kind != sluice.GateApproval {
			continue
		}
		waiting = append(waiting, g.Stage)
		if stage == "" || stage == g.Stage {
			pass := sluice.GatePassed{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind, By: s.By, Plan: digest}
			var is bool
			if pass.Signed, is = meant(pass); is {
				out = append(out, s.event(i.Spec.ID, pass))
			}
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(waiting) > 0:
		return nil, sluice.Errorf(sluice.NotFound, "no stage %q waits for approval; %s does", stage, strings.Join(waiting, ", "))
	}
	return nil, sluice.Errorf(sluice.Conflict, "nothing in job %s waits for approval", i.Spec.ID).WithHint("sluice why %s", i.Spec.ID)
}

// approvable says why somebody cannot approve a job, or the digest of what they would.
func (s *Service) approvable(i schedule.Info, plan string) (string, error) {
	if err := Approves(s.By, i.Spec); err != nil {
		return "", err
	}
	digest, err := sealed.PlanDigest(i.Spec)
	switch {
	case err != nil && plan == "" && i.Spec.Approval.By == "":
		return "", nil // it has text that is no UTF-8, and nobody asked what they approve
	case err != nil:
		return "", err
	case plan != "" && plan != digest:
		return "", sluice.Errorf(sluice.Conflict, "job %s is %s, and not the %s that was looked at", i.Spec.ID, digest, plan).
			WithHint("sluice status %s", i.Spec.ID)
	}
	return digest, nil
}

// Approves says why somebody cannot approve a job, whatever their rights are: it is theirs, and another one has to.
func Approves(who string, j *sluice.Job) error {
	if j.Approval.By == sluice.AnotherApproves && who == j.By {
		return sluice.Errorf(sluice.Denied, "%s submitted job %s, and here another one approves", who, j.ID).
			WithHint("somebody else: sluice approve %s", j.ID)
	}
	return nil
}

// HostAct is one change of a host by an operator.
type HostAct string

const (
	Hold    HostAct = "hold"
	Release HostAct = "release"
	Retire  HostAct = "retire"
	Return  HostAct = "return"
)

// ChangeHosts holds, releases, retires or returns hosts of a namespace.
func (s *Service) ChangeHosts(ctx context.Context, ns sluice.Namespace, act HostAct, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return s.change(ctx, ns, func(state *schedule.State) ([]sluice.Event, error) {
		out := map[sluice.Host]schedule.HostInfo{}
		for _, h := range state.Out() {
			out[h.Host] = h
		}
		var events []sluice.Event
		for _, h := range hosts {
			now := out[h]
			var b sluice.Body
			switch act {
			case Hold:
				b = sluice.HostHeld{Host: h, Reason: reason, By: s.By}
			case Release:
				if now.Host == "" || now.Retired {
					return nil, sluice.Errorf(sluice.Conflict, "%s is not out of service", h).WithHint("%s", releaseHint(now))
				}
				b = sluice.HostReleased{Host: h, Reason: reason, By: s.By}
			case Retire:
				b = sluice.HostRetired{Host: h, Reason: reason, By: s.By}
			case Return:
				if !now.Retired {
					return nil, sluice.Errorf(sluice.Conflict, "%s is not retired", h)
				}
				b = sluice.HostReturned{Host: h, Reason: reason, By: s.By}
			default:
				return nil, fmt.Errorf("there is no act %q", act)
			}
			events = append(events, s.event("", b))
		}
		return events, nil
	})
}

func releaseHint(h schedule.HostInfo) string {
	if h.Retired {
		return "it is retired: sluice host return " + string(h.Host) + " --reason ..."
	}
	return "sluice host list --out"
}

// Out lists the hosts of a namespace that are out of service or retired.
func (s *Service) Out(ctx context.Context, ns sluice.Namespace) (out []schedule.HostInfo, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		out = state.Out()
		return nil
	})
	return out, err
}

package control

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
	"sluice/sealed"
)

func sortStable[T any](x []T, less func(a, b T) bool) {
	sort.SliceStable(x, func(i, j int) bool { return less(x[i], x[j]) })
}

// Do does what an operator wants, if it fits the head of the log, and returns what was appended.
func (s *Service) Do(ctx context.Context, ns sluice.Namespace, a act.Act) ([]sluice.Event, error) {
	a = s.mine(a)
	return s.change(ctx, ns, func(state *schedule.State) ([]sluice.Event, error) { return a.Events(state, s.Clock()) })
}

// DoTo is Do to a job, wherever it is.
func (s *Service) DoTo(ctx context.Context, a act.Act) ([]sluice.Event, error) {
	ns, id, err := s.Find(ctx, string(a.Job))
	if err != nil {
		return nil, err
	}
	a.Job = id
	return s.Do(ctx, ns, a)
}

// mine is an act by whoever this service is for.
func (s *Service) mine(a act.Act) act.Act {
	a.By, a.Digest = s.By, sealed.PlanDigest
	return a
}

// Halt starts nothing more of a job and lets what runs end. If nothing runs, it is halted at once.
func (s *Service) Halt(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Halt, Job: id, Reason: reason})
}

// Lacks halts a job that cannot go on for want of its secrets, if that is still so when it is its turn in the log. What
// runs is still asked how it ended, as far as that takes no secret.
func (s *Service) Lacks(ctx context.Context, id sluice.JobID, reason string, still func() bool) ([]sluice.Event, error) {
	return s.changeJob(ctx, id, func(_ *schedule.State, i schedule.Info) ([]sluice.Event, error) {
		if i.State.Over() || i.State == schedule.Halted || i.State == schedule.Halting || i.Cancelling || !still() {
			return nil, nil
		}
		return s.events(i.Spec.ID, act.Halting(i, sluice.RuleSecrets, reason, s.By)), nil
	})
}

// Cancel starts nothing more of a job and has what runs killed by whoever drives it.
func (s *Service) Cancel(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Cancel, Job: id, Reason: reason})
}

// Resume opens a halted job again, or one that ended without knowing all outcomes. A job that is going on stays
// as it is: whoever resumes it drives it on.
func (s *Service) Resume(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Resume, Job: id, MaxFailures: maxFailures})
}

// Retry tries tasks again that ended badly: those of the hosts, or all. Hosts whose outcome is not known are not
// tried again, unless an operator released them.
func (s *Service) Retry(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Retry, Job: id, Hosts: hosts, MaxFailures: maxFailures})
}

// Skip says that tasks need not run: stages behind them open. It releases no capacity.
func (s *Service) Skip(ctx context.Context, id sluice.JobID, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Skip, Job: id, Hosts: hosts, Reason: reason})
}

// Approve lets the gates of a job pass that wait for approval: all, or that behind one stage. plan is the digest of what was
// looked at; "" is whatever the job is.
func (s *Service) Approve(ctx context.Context, id sluice.JobID, stage, plan string) ([]sluice.Event, error) {
	return s.DoTo(ctx, act.Act{Kind: act.Approve, Job: id, Stage: stage, Plan: plan})
}

// ApproveSigned lets those gates pass that somebody has signed, if it is they who come with it, and for this job. Whether the
// key is theirs is for the worker to say.
func (s *Service) ApproveSigned(ctx context.Context, id sluice.JobID, stage, plan string, a sealed.Approval) ([]sluice.Event, error) {
	signed, err := s.Signed(act.Act{Kind: act.Approve, Job: id, Stage: stage, Plan: plan}, a)
	if err != nil {
		return nil, err
	}
	return s.DoTo(ctx, signed)
}

// Signed is an approval that lets pass what somebody has signed, if they are who this service is for.
func (s *Service) Signed(a act.Act, by sealed.Approval) (act.Act, error) {
	if by == nil {
		return a, sluice.Errorf(sluice.Usage, "only for a server are approvals signed").WithHint("sluice approve %s", a.Job)
	}
	said, err := by.Read()
	if err != nil {
		return a, err
	}
	if said.By != s.By {
		return a, sluice.Errorf(sluice.Denied, "the approval is of %q, and you are %q", said.By, s.By)
	}
	a.Fits = func(j *sluice.Job) error {
		if err := said.Fits(j, s.Clock()); err != nil {
			return &sluice.Error{Code: sluice.Conflict, Text: "the approval does not fit", Err: err, Hint: "look at the job, and approve it again"}
		}
		return nil
	}
	a.Signed = func(g sluice.GatePassed) ([]byte, bool) {
		return by, slices.Contains(said.Passes, sealed.Pass{Track: g.Track, Stage: g.Stage, Index: g.Index})
	}
	return a, nil
}

// HostAct is one change of a host by an operator.
type HostAct = act.Kind

const (
	Hold    = act.Hold
	Release = act.Release
	Retire  = act.Retire
	Return  = act.Return
)

// Balanced notes what is asked for at balancers by hand, or what came of it.
func (s *Service) Balanced(ctx context.Context, ns sluice.Namespace, b sluice.Body) ([]sluice.Event, error) {
	switch is := b.(type) {
	case sluice.BalancerAsked:
		is.By = s.By
		b = is
	case sluice.BalancerChanged:
		is.By = s.By
		b = is
	default:
		return nil, sluice.Errorf(sluice.Usage, "%s says nothing of balancers", b.Type())
	}
	return s.change(ctx, ns, func(*schedule.State) ([]sluice.Event, error) { return s.events("", []sluice.Body{b}), nil })
}

// ChangeHosts holds, releases, retires or returns hosts of a namespace.
func (s *Service) ChangeHosts(ctx context.Context, ns sluice.Namespace, what HostAct, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	if !what.OnHosts() {
		return nil, fmt.Errorf("there is no act %q on hosts", what)
	}
	return s.Do(ctx, ns, act.Act{Kind: what, Hosts: hosts, Reason: reason})
}

// Out lists the hosts of a namespace that are out of service or retired.
func (s *Service) Out(ctx context.Context, ns sluice.Namespace) (out []schedule.HostInfo, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		out = state.Out()
		return nil
	})
	return out, err
}

package httpapi

import (
	"context"

	"sluice"
	"sluice/api"
	"sluice/internal/core/act"
	"sluice/sealed"
)

type toApprove struct {
	ByID
	Body struct {
		Stage  string          `json:"stage,omitempty" maxLength:"1000" doc:"whose gate; needed where several wait"`
		Plan   string          `json:"plan,omitempty" maxLength:"80" doc:"digest of what was looked at, as plan_digest of the job says it: if the job is another one, that is a conflict"`
		Signed sealed.Approval `json:"signed,omitempty" maxLength:"90000" doc:"the approval, signed by who gives it, for workers that carry out signed jobs alone; see the route approving"`
		Seen   string          `json:"seen,omitempty" maxLength:"200" doc:"what the effect of this act said as seen: if that is not so any more, it is a conflict, and nothing is done"`
	}
}

type approving struct{ Body api.Approving }

func approve(ctx context.Context, c caller, in *toApprove) (*events, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	b := in.Body
	what := act.Act{Kind: act.Approve, Job: id, Stage: b.Stage, Plan: b.Plan, Seen: b.Seen}
	if len(b.Signed) == 0 {
		if err := c.wantsSigned(id); err != nil {
			return nil, err
		}
		made, err := desk.DoTo(ctx, what)
		return changed(made, c.noted(ctx, "", err))
	}
	what, err = desk.Signed(what, b.Signed)
	if err != nil {
		return changed(nil, c.noted(ctx, "", err))
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	undo := func() {}
	if s := c.api.cfg.Secrets; s != nil && i.Spec.Options.NeedsSecrets() { // first: when the gate is open, workers must be able to see why
		undo = s.Approved(id, b.Signed)
	}
	made, err := desk.DoTo(ctx, what)
	if err != nil {
		undo()
	}
	return changed(made, c.noted(ctx, "", err))
}

func getApproving(ctx context.Context, c caller, in *ByID) (*approving, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, _, err := desk.Job(ctx, string(id))
	if err != nil {
		return nil, err
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	out := &approving{api.Approving{Job: sluice.Event{Time: c.api.cfg.Clock(), Job: id, Body: sluice.JobSubmitted{Submitted: *j.Spec}},
		By: string(c.Principal), Passes: []api.Pass{}}}
	for _, g := range i.Gates {
		if g.Kind == sluice.GateApproval {
			out.Body.Passes = append(out.Body.Passes, api.Pass{Track: g.Track, Stage: g.Stage, Index: g.Index})
		}
	}
	return out, nil
}

package cli

import (
	"context"
	"slices"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/run/control"
)

// draft plans what the flags say, with the hosts that the journal knows to be retired left out. It makes no
// journal.
func (a *app) draft(ctx context.Context, f *jobFlags) (*sluice.Fleet, sluice.Plan, sluice.Job, error) {
	r, err := a.request(ctx, f)
	if err != nil {
		return nil, sluice.Plan{}, sluice.Job{}, err
	}
	d, err := a.prepare(ctx, r)
	if err != nil {
		return nil, sluice.Plan{}, sluice.Job{}, err
	}
	p := d.Plan
	p.Constraints = append(slices.Clip(p.Constraints), ownLimit(r.Options.MaxParallel, d.Job.Targets)...)
	return d.Fleet, p, d.Job, nil
}

func (a *app) prepare(ctx context.Context, r control.Request) (*control.Draft, error) {
	svc, closing, err := a.desk(ctx, false)
	if err != nil {
		return nil, err
	}
	if svc != nil {
		d, err := svc.Prepare(ctx, r)
		if e := closing(); err == nil {
			err = e
		}
		return d, err
	}
	d := &control.Draft{Fleet: r.Fleet}
	if d.Plan, d.Job.Targets, err = plan.Make(r.Fleet, r.Targets); err != nil {
		return nil, err
	}
	d.Job.Namespace, d.Job.Expression, d.Job.Options, d.Job.Tracks = r.Fleet.Namespace, r.Expression, r.Options, d.Plan.Tracks
	return d, nil
}

package cli

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// carryOn carries the jobs out that follow from the one that was just carried out, with the secrets that it had: the one that brings
// hosts back, or the one that validates what is deployed and whatever follows from that.
func (a *app) carryOn(ctx context.Context, svc control.Desk, s showing, action sluice.Action, id sluice.JobID, secrets control.Secrets, ended error) error {
	switch v := action.Validates; {
	case ended == nil && action.Validation() != nil:
		return a.carryValidation(ctx, svc, s, id, secrets)
	case action.UndoneOnFailure(), v != nil && v.OnFailure == sluice.FailureRollsBack:
		of := id
		if v != nil {
			of = v.Job
		}
		return a.carryBack(ctx, svc, s, id, of, secrets, ended)
	}
	return ended
}

// carryValidation validates what a job has deployed. The exit status is that of the validation.
func (a *app) carryValidation(ctx context.Context, svc control.Desk, s showing, id sluice.JobID, secrets control.Secrets) error {
	events, err := svc.Events(ctx, id)
	if err != nil {
		return err
	}
	j := view.Fold(events)
	if j.Finished == nil || j.Finished.Validation == "" {
		r, err := validation(ctx, svc, j)
		if err == nil && r != nil {
			a.say("job %s is not validated: %s", id, r.Reason)
		}
		return err
	}
	by := j.Finished.Validation
	a.say("job %s is done; job %s validates it", id, by)
	s = showing{quiet: s.quiet, verbose: s.verbose, beside: true}
	ended := a.carry(ctx, svc, s, string(by), func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
		o.Secrets = secrets
		return goOn(ctx, svc, by, 0, o)
	})
	var code exitError
	if ended != nil && !errors.As(ended, &code) {
		return ended
	}
	if events, err = svc.Events(ctx, by); err != nil {
		return errors.Join(ended, err)
	}
	rel := j.Spec.Action.Release
	switch r := validate.Of(events).Result(); r.State {
	case validate.Validated:
		a.say("%s@%s is validated in %s", rel.App, rel.Version, rel.Env)
	case validate.Failed:
		a.say("VALIDATION FAILED: %s@%s is live in %s, and %s; sluice log %s", rel.App, rel.Version, rel.Env, clean.Line(r.Reason), by)
	case validate.Running:
		a.say("NOT VALIDATED YET: job %s goes on; sluice watch %s", by, by)
	default:
		a.say("NOT VALIDATED: %s@%s is live in %s, and its validation was not run: %s; sluice status %s", rel.App, rel.Version, rel.Env, clean.Line(r.Reason), by)
		if ended == nil {
			ended = exitError(exitFailures)
		}
	}
	return a.carryBack(ctx, svc, s, by, id, secrets, ended)
}

// validation is what the validation of a deploy came to; nil where nobody asked for one.
func validation(ctx context.Context, svc control.Desk, j *view.Job) (*validate.Result, error) {
	if j.Spec.Action.Validation() == nil {
		return nil, nil
	}
	var events []sluice.Event
	if j.Finished != nil && j.Finished.Validation != "" {
		var err error
		if events, err = svc.Events(ctx, j.Finished.Validation); err != nil {
			return nil, err
		}
	}
	return control.Validated(schedule.Info{Spec: j.Spec, State: schedule.JobState(j.State()), Counts: j.Counts}, events), nil
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"sluice"
	"sluice/internal/core/undo"
	"sluice/internal/core/view"
	"sluice/internal/run/control"
)

// carryBack carries the job out that brings the hosts of a deploy back, where the one that was just carried out ended with one, with
// the secrets that it had: that deploy, or the job that validated it. Whatever becomes of that, it has failed: so says the exit status.
func (a *app) carryBack(ctx context.Context, svc control.Desk, s showing, id, of sluice.JobID, secrets control.Secrets, ended error) error {
	var status exitError
	if !errors.As(ended, &status) || status == exitCancelled {
		return ended
	}
	events, err := svc.Events(ctx, id)
	if err != nil {
		return errors.Join(ended, err)
	}
	by := undo.Undone(events)
	if by == "" {
		return ended
	}
	a.say("job %s failed; job %s brings the hosts back that job %s had changed", id, by, of)
	s = showing{quiet: s.quiet, verbose: s.verbose, beside: true}
	back := a.carry(ctx, svc, s, string(by), func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
		o.Secrets = secrets
		return goOn(ctx, svc, by, 0, o)
	})
	var code exitError
	switch {
	case back == nil:
		a.say("job %s has brought the hosts back that job %s had changed", by, of)
	case !errors.As(back, &code):
		return errors.Join(ended, back)
	default:
		a.say("NOT ALL HOSTS ARE BACK: job %s ended with status %d, and job %s failed before; sluice status %s", by, code, id, by)
	}
	return ended
}

func (a *app) say(format string, args ...any) { a.notice(fmt.Sprintf(format, args...)) }

// notUndone says why hosts of a deploy are not brought back that were to be.
func notUndone(ctx context.Context, svc control.Desk, j *view.Job) (string, error) {
	if !j.Spec.Action.UndoneOnFailure() || j.Ended.IsZero() || j.Finished != nil && j.Finished.Reason != "" {
		return "", nil
	}
	info, _, err := svc.Info(ctx, string(j.ID))
	if err != nil {
		return "", err
	}
	events, err := svc.Events(ctx, j.ID)
	if err != nil {
		return "", err
	}
	info.Spec = j.Spec
	return undo.Why(info, events), nil
}

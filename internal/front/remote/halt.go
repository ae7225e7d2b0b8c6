package remote

import (
	"context"

	"sluice"
	"sluice/internal/core/schedule"
)

// Info returns what is known of a job in short, and whether a live process drives it. Its targets are as many as there are,
// without names.
func (d *Desk) Info(ctx context.Context, prefix string) (schedule.Info, bool, error) {
	j, err := d.job(ctx, prefix)
	if err != nil {
		return schedule.Info{}, false, err
	}
	return infoOf(j), j.Driven, nil
}

// HaltAll is Halt for every job that is not over, of a namespace or of all for "".
func (d *Desk) HaltAll(ctx context.Context, ns sluice.Namespace, reason string) ([]sluice.JobID, error) {
	return d.cfg.Client.HaltAll(ctx, ns, reason)
}

package cli

import (
	"context"

	"sluice"
	"sluice/internal/run/control"
)

// watch follows a job. An interrupt ends the watching.
func (a *app) watch(ctx context.Context, svc *control.Service, id string, show display) (sluice.Event, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-a.Interrupts:
			stop()
		case <-ctx.Done():
		}
	}()
	last, err := svc.Watch(ctx, id, show.Event)
	stop()
	<-ended
	return last, err
}

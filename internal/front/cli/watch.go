package cli

import (
	"context"

	"sluice"
	"sluice/internal/run/control"
)

// interruptible does something until it is done or interrupted.
func (a *app) interruptible(ctx context.Context, do func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		select {
		case <-a.Interrupts:
			stop()
		case <-ctx.Done():
		}
	}()
	err := do(ctx)
	stop()
	<-listening
	return err
}

// watch follows a job. An interrupt ends the watching.
func (a *app) watch(ctx context.Context, svc control.Desk, id string, show display) (last sluice.Event, err error) {
	err = a.interruptible(ctx, func(ctx context.Context) (err error) {
		if !svc.Elsewhere() {
			last, err = svc.Follow(ctx, id, 0, show.Event)
			return err
		}
		_, found, err := svc.Find(ctx, id)
		if err != nil {
			return err
		}
		last, err = svc.Carry(ctx, found, control.DriveOptions{Observe: show.Event, Notice: show.Notice, Waits: show.Waits, NoOutput: true})
		return err
	})
	return last, err
}

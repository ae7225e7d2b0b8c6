package control

import (
	"context"
	"errors"
	"fmt"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

// HaltAll halts every job that is not over and not halted yet, of a namespace or of all for "": in each namespace all of
// them in one step. A namespace that cannot be read keeps no other from being halted; the error tells of it.
func (s *Service) HaltAll(ctx context.Context, ns sluice.Namespace, reason string) ([]sluice.JobID, error) {
	spaces := []sluice.Namespace{ns}
	if ns == "" {
		var err error
		if spaces, err = s.Log.Namespaces(ctx); err != nil {
			return nil, err
		}
	} else if err := ours(ns); err != nil {
		return nil, err
	}
	if reason == "" {
		reason = "all jobs were halted by " + s.By
	}
	var halted []sluice.JobID
	var errs []error
	for _, ns := range spaces {
		if ns.Reserved() {
			continue
		}
		events, err := s.change(ctx, ns, func(state *schedule.State) ([]sluice.Event, error) {
			var out []sluice.Event
			for _, i := range state.Jobs() {
				if !i.State.Over() && i.State != schedule.Halted {
					out = append(out, s.halt(i, reason)...)
				}
			}
			return out, nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("namespace %s: %w", ns, err))
			continue
		}
		for _, e := range events {
			if _, is := e.Body.(sluice.JobHalting); is {
				halted = append(halted, e.Job)
			}
		}
	}
	return halted, errors.Join(errs...)
}

// halt are the events that halt a job: at once, if nothing of it runs.
func (s *Service) halt(i schedule.Info, reason string) []sluice.Event {
	return s.events(i.Spec.ID, act.Halting(i, sluice.RuleOperator, reason, s.By))
}

// HaltRestored halts every job that is not over after a restore. Attempts of which the log says that they run may have
// ended since, and their hosts may have forgotten them: how they ended is not known, and resuming asks.
func (s *Service) HaltRestored(ctx context.Context, reason string) ([]sluice.JobID, error) {
	spaces, err := s.Log.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	var halted []sluice.JobID
	for _, ns := range spaces {
		if ns.Reserved() {
			continue
		}
		_, err := s.change(ctx, ns, func(state *schedule.State) ([]sluice.Event, error) {
			var out []sluice.Event
			for _, i := range state.Jobs() {
				if i.State.Over() || i.State == schedule.Halted {
					continue
				}
				halted = append(halted, i.Spec.ID)
				for _, a := range state.Attempts(i.Spec.ID) {
					if !a.Unknown {
						out = append(out, s.event(i.Spec.ID, sluice.TaskFinished{Host: a.Host, Attempt: a.ID, Outcome: sluice.Unknown, Reason: reason}))
					}
				}
				i.Running = 0
				out = append(out, s.halt(i, reason)...)
			}
			return out, nil
		})
		if err != nil {
			return halted, err
		}
	}
	return halted, nil
}

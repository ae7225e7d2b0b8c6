package control

import (
	"context"
	"errors"
	"fmt"
	"time"

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
				if haltable(i) {
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

// Kept is what came of a halt that a server kept.
type Kept struct {
	Halted []sluice.JobID // by it, now or before
	Later  []sluice.JobID // go on: it is certain that they were resumed or submitted after it was asked for
}

// HaltKept halts what somebody asked a server for that kept it, as if it had been appended then: jobs that are over or halted stay as they
// are, and so do those that were resumed since, or submitted, as far as that is certain. began is the last event of each namespace before the
// term of this server: what came before has times of other clocks, and what is not known to be later is halted. What it has halted before it
// does not halt again.
func (s *Service) HaltKept(ctx context.Context, h sluice.KeptHalt, began map[sluice.Namespace]uint64) (Kept, error) {
	spaces := []sluice.Namespace{h.Namespace}
	if h.Namespace == "" {
		var err error
		if spaces, err = s.Log.Namespaces(ctx); err != nil {
			return Kept{}, err
		}
	}
	asked := s.Clock().Add(-h.Age)
	var all Kept
	var errs []error
	for _, ns := range spaces {
		if ns.Reserved() {
			continue
		}
		got, err := s.haltKept(ctx, ns, h, max(h.Known[ns], began[ns]), asked)
		all.Halted, all.Later = append(all.Halted, got.Halted...), append(all.Later, got.Later...)
		if err != nil {
			errs = append(errs, fmt.Errorf("namespace %s: %w", ns, err))
		}
	}
	return all, errors.Join(errs...)
}

// haltKept is HaltKept in one namespace.
func (s *Service) haltKept(ctx context.Context, ns sluice.Namespace, h sluice.KeptHalt, from uint64, asked time.Time) (out Kept, err error) {
	for {
		meant := map[sluice.JobID]int{} // generations of those that it halts
		out, err = s.meant(ctx, ns, h, from, asked, meant)
		if err != nil || len(meant) == 0 {
			return out, err
		}
		changed := false
		events, err := s.change(ctx, ns, func(state *schedule.State) (events []sluice.Event, err error) {
			changed = false
			for _, i := range state.Jobs() {
				switch generation, is := meant[i.Spec.ID]; {
				case !is || !haltable(i):
				case generation != i.Generation:
					changed = true // somebody resumed it meanwhile
				default:
					events = append(events, s.events(i.Spec.ID, act.HaltingFor(i, h))...)
				}
			}
			return events, nil
		})
		if err != nil {
			return out, err
		}
		if !changed {
			for _, e := range events {
				if _, is := e.Body.(sluice.JobHalting); is {
					out.Halted = append(out.Halted, e.Job)
				}
			}
			return out, nil
		}
	}
}

// meant finds what a halt is still to halt, with its generation, and returns what it has halted already and what it is not to halt.
func (s *Service) meant(ctx context.Context, ns sluice.Namespace, h sluice.KeptHalt, from uint64, asked time.Time, meant map[sluice.JobID]int) (out Kept, err error) {
	var open []schedule.Info
	err = s.look(ctx, ns, func(state *schedule.State) error {
		for _, i := range state.Jobs() {
			if h.Job == "" || h.Job == i.Spec.ID {
				open = append(open, i)
			}
		}
		return nil
	})
	for _, i := range open {
		if err != nil {
			return out, err
		}
		if i.State.Over() && h.Job == "" {
			continue
		}
		id := i.Spec.ID
		var events []sluice.Event
		if events, err = s.Log.ReadJob(ctx, ns, id); err != nil {
			return out, err
		}
		switch before, later := act.Since(events, h, from, asked); {
		case before:
			out.Halted = append(out.Halted, id)
		case !haltable(i):
		case later:
			out.Later = append(out.Later, id)
		default:
			meant[id] = i.Generation
		}
	}
	return out, err
}

// haltable reports whether a job is not over and not halted.
func haltable(i schedule.Info) bool { return !i.State.Over() && i.State != schedule.Halted }

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

package control

import (
	"context"
	"errors"
	"slices"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

// foreseenAtOnce is how many effects are worked out at the same time: each takes a copy of a state.
const foreseenAtOnce = 2

// Foreseen is what would follow from an act.
type Foreseen struct {
	act.Effect
	// Refused is why it cannot be done; nil: it can.
	Refused error
	// ConfirmAbove is the number of hosts above which the fleet has people asked twice; 0: it does not.
	ConfirmAbove int
}

// Foresee says what would follow at once from an act of whoever this service is for. It changes nothing. An error says that
// it cannot be found out, and not that the act cannot be done.
func (s *Service) Foresee(ctx context.Context, ns sluice.Namespace, a act.Act) (out Foreseen, err error) {
	a = s.mine(a)
	first := s.begun()
	select {
	case first.foresees <- struct{}{}:
		defer func() { <-first.foresees }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	var data []byte
	if err := s.look(ctx, ns, func(state *schedule.State) (err error) { data, err = state.Snapshot(); return err }); err != nil {
		return out, err
	}
	state, err := schedule.Restore(data)
	if err != nil {
		return out, err
	}
	in := schedule.Input{Now: s.Clock(), Driven: s.Drivers.Driven}
	var trouble error
	resumes := false
	in.May = func(id sluice.JobID) schedule.Permit {
		p, err := s.permit(ctx, state, id, resumes && id == a.Job)
		trouble = errors.Join(trouble, err)
		return p
	}
	if made, err := a.Events(state, in.Now); err == nil {
		resumes = slices.ContainsFunc(made, func(e sluice.Event) bool { return e.Body.Type() == sluice.JobResumed{}.Type() })
	}
	out.Effect, out.Refused = act.Foresee(state, a, in)
	if trouble != nil {
		return out, trouble
	}
	out.ConfirmAbove, err = s.confirmAbove(ctx, ns)
	return out, err
}

// permit says whether a job may start anything: for who resumes it, or else for whoever it is carried out for.
func (s *Service) permit(ctx context.Context, state *schedule.State, id sluice.JobID, resumed bool) (schedule.Permit, error) {
	may := s.first().May
	i, ok := state.Job(id)
	by := ""
	if resumed {
		by = s.By
	}
	if may == nil || !ok || by == "" && !s.Drivers.Driven(id) {
		return schedule.Permit{}, nil
	}
	err := may(ctx, i.Spec, by)
	switch {
	case err == nil:
		return schedule.Permit{}, nil
	case sluice.CodeOf(err) == sluice.Denied:
		return schedule.Permit{Halt: &sluice.JobHalting{Rule: sluice.RuleRights, Reason: err.Error()}}, nil
	}
	return schedule.Permit{Wait: true}, err
}

func (s *Service) confirmAbove(ctx context.Context, ns sluice.Namespace) (int, error) {
	loaded, _, err := s.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return loaded.Fleet().ConfirmAbove, nil
}

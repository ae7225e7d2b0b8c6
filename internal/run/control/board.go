package control

import (
	"context"
	"slices"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// Standing is where a job stands at one number of the log of its namespace.
type Standing struct {
	Seq    uint64
	Info   schedule.Info
	Driven bool
	Groups []schedule.GroupInfo
	Waits  []schedule.Wait
	Tasks  []schedule.Task // in order of the targets
}

// Standing tells where a job stands.
func (s *Service) Standing(ctx context.Context, id sluice.JobID) (st Standing, err error) {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return st, err
	}
	err = s.look(ctx, ns, func(state *schedule.State) (err error) {
		st, err = s.standing(state, id)
		return err
	})
	return st, err
}

func (s *Service) standing(state *schedule.State, id sluice.JobID) (Standing, error) {
	st, err := s.room(state, id)
	if err == nil {
		st.Waits = schedule.SumUp(slices.Concat(s.unplaced(state, id), state.Why(id)))
	}
	return st, err
}

// room is standing without what hosts wait for, which takes the longest.
func (s *Service) room(state *schedule.State, id sluice.JobID) (Standing, error) {
	info, ok := state.Job(id)
	if !ok {
		return Standing{}, act.NoJob(string(id))
	}
	return Standing{Seq: state.Seq(), Info: info, Driven: s.Drivers.Driven(id), Groups: state.Groups(id)}, nil
}

// Board calls f with where a job stands and with what has been so far, both at the same number of the log. f must not keep or
// change the board.
func (s *Service) Board(ctx context.Context, id sluice.JobID, f func(Standing, *view.Board) error) error {
	return s.board(ctx, id, func(state *schedule.State, id sluice.JobID) (Standing, error) {
		st, err := s.standing(state, id)
		st.Tasks = state.Tasks(id)
		return st, err
	}, f)
}

// Past is Board for somebody who asks for what has been: without tasks and what they wait for.
func (s *Service) Past(ctx context.Context, id sluice.JobID, f func(Standing, *view.Board) error) error {
	return s.board(ctx, id, s.room, f)
}

func (s *Service) board(ctx context.Context, id sluice.JobID, look func(*schedule.State, sluice.JobID) (Standing, error), f func(Standing, *view.Board) error) error {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return err
	}
	var st Standing
	return s.begun().boards.Look(ctx, ns, id, func(state *schedule.State) (err error) {
		st, err = look(state, id)
		return err
	}, func(b *view.Board) error { return f(st, b) })
}

package control

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/core/schedule"
)

// Watch hands on all events of a job, past and to come, until it is finished or halted; it returns that event.
func (s *Service) Watch(ctx context.Context, prefix string, observe func(sluice.Event)) (sluice.Event, error) {
	return s.Follow(ctx, prefix, 0, observe)
}

// errOver ends the following of a job.
var errOver = errors.New("the job is finished or halted")

// Follow is Watch for somebody who has seen the events up to the number seen.
func (s *Service) Follow(ctx context.Context, prefix string, seen uint64, observe func(sluice.Event)) (sluice.Event, error) {
	ns, id, err := s.Find(ctx, prefix)
	if err != nil {
		return sluice.Event{}, err
	}
	past, head, err := s.past(ctx, ns, id, seen)
	if err != nil {
		return sluice.Event{}, err
	}
	var last sluice.Event
	see := func(e sluice.Event) {
		if e.Seq > seen {
			observe(e)
		}
		switch e.Body.(type) {
		case sluice.JobFinished, sluice.JobHalted:
			last = e
		case sluice.JobResumed, sluice.JobCancelling: // it goes on, if only to its end
			last = sluice.Event{}
		}
	}
	seq := seen
	if head == 0 {
		seq = 0
	}
	for _, e := range past {
		see(e)
		seq = e.Seq
	}
	if last.Body != nil {
		return last, nil
	}
	err = s.tail().Follow(ctx, ns, seq, func(events []sluice.Event) error {
		for _, e := range events {
			if e.Job == id {
				see(e)
			}
		}
		// All that came with it was seen; where less was read than there was, it may go on since.
		if last.Body != nil && events[len(events)-1].Seq >= head {
			return errOver
		}
		return nil
	})
	if !errors.Is(err, errOver) {
		return sluice.Event{}, err
	}
	return last, nil
}

// few is how many events of a namespace are sooner read on than all those of a job.
const few = 5000

// past is what somebody who follows a job has to be told before what comes: its events, from the first on. Whoever has seen
// nearly all of them, as those have who come with a board or whose connection was lost, needs none while the job goes on:
// they read on from what they have seen. head is then the number up to which it is known that the job goes on, and else 0.
func (s *Service) past(ctx context.Context, ns sluice.Namespace, id sluice.JobID, seen uint64) (past []sluice.Event, head uint64, err error) {
	if seen > 0 {
		err := s.look(ctx, ns, func(state *schedule.State) error {
			info, ok := state.Job(id)
			if ok && !info.State.Over() && info.Halted == nil && seen <= state.Seq() && state.Seq()-seen < few {
				head = state.Seq()
			}
			return nil
		})
		if err != nil || head > 0 {
			return nil, head, err
		}
	}
	past, err = s.tail().Past(ctx, ns, id)
	return past, 0, err
}

package app

import (
	"context"
	"sync"

	"sluice"
)

// settled knows whether nobody will ask for the outcome of an attempt any more. A worker that comes back asks about all that
// it holds, which are attempts of one job as a rule: its events are read once, and then those that came since. It is safe
// for concurrent use.
type settled struct {
	log sluice.Log

	mu   sync.Mutex
	job  sluice.JobID // the one that was asked for last; "" for none
	seq  uint64       // up to which its namespace was read
	over map[sluice.AttemptID]bool
}

// settledPage is how many events are read at a time.
const settledPage = 10000

// is reads to the head of the log for each answer: what is not settled may be by now.
func (s *settled) is(ctx context.Context, a sluice.AttemptID) (bool, error) {
	id, _, _, ok := a.Parse()
	if !ok {
		return true, nil
	}
	ns, id, err := s.log.FindJob(ctx, string(id))
	if sluice.CodeOf(err) == sluice.NotFound {
		return false, nil // of another server, or of a log that lost its end: that is nothing to forget things for
	}
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job != id {
		events, err := s.log.ReadJob(ctx, ns, id)
		if err != nil {
			return false, err
		}
		s.job, s.seq, s.over = id, 0, map[sluice.AttemptID]bool{}
		s.take(events)
	}
	for !s.over[a] { // what is settled stays so
		events, err := s.log.Read(ctx, ns, s.seq, settledPage)
		if err != nil {
			return false, err
		}
		s.take(events)
		if len(events) < settledPage {
			break
		}
	}
	return s.over[a], nil
}

func (s *settled) take(events []sluice.Event) {
	for _, e := range events {
		s.seq = e.Seq
		if e.Job != s.job {
			continue
		}
		switch b := e.Body.(type) {
		case sluice.TaskFinished:
			if b.Outcome != sluice.Unknown {
				s.over[b.Attempt] = true
			}
		case sluice.TaskWithdrawn:
			s.over[b.Attempt] = true
		}
	}
}

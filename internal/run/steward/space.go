package steward

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
)

const page = 10000

// space is one namespace and what is driven in it.
type space struct {
	*run
	ns sluice.Namespace
	// driven are the jobs that somebody has in hand. An entry is true if an event of the job was read since: if it is
	// still to be driven when its drive ends, something new has happened to it.
	driven map[sluice.JobID]bool
	drives sync.WaitGroup

	mu    sync.Mutex
	ended []end
	again chan struct{} // there is something in ended
}

// end is the end of a drive.
type end struct {
	id     sluice.JobID
	rested bool // it was waited after it; what is known of the job is as old as before it
}

// keep has the jobs of a namespace driven until ctx ends, and returns when all drives have ended.
func (r *run) keep(ctx context.Context, ns sluice.Namespace) {
	s := &space{run: r, ns: ns, driven: map[sluice.JobID]bool{}, again: make(chan struct{}, 1)}
	defer s.drives.Wait()
	for ctx.Err() == nil {
		state, err := fold.Namespace(ctx, s.cfg.Log, ns)
		if err == nil {
			err = s.follow(ctx, state)
		}
		if s.over(err) || ctx.Err() != nil {
			return
		}
		if sluice.IsLasting(err) { // of this namespace alone: the others are carried out
			s.cfg.Trouble(fmt.Sprintf("nothing of the namespace %s is carried out any more: %v", ns, err))
			return
		}
		s.cfg.Trouble(fmt.Sprintf("namespace %s: %v", ns, err))
		s.rest(ctx)
	}
}

// follow starts drives as the log asks for them, until it cannot be read.
func (s *space) follow(ctx context.Context, state *schedule.State) error {
	look := Wanting(state)
	for {
		// First who ended, then the log: so it has all that they appended, and none is driven again for what is past.
		over := s.takeEnded()
		touched, err := s.catchUp(ctx, state)
		if err != nil {
			s.giveBack(over)
			return err
		}
		for _, id := range touched {
			if _, is := s.driven[id]; is {
				s.driven[id] = true
			}
		}
		for _, e := range over {
			s.settle(ctx, state, e)
		}
		for _, id := range append(look, touched...) {
			if _, is := s.driven[id]; !is && wants(state, id) {
				s.start(ctx, id)
			}
		}
		look = nil
		if err := s.news(ctx, state.Seq()); err != nil {
			return err
		}
	}
}

// catchUp reads on to the head of the log, and returns the jobs that there was something of.
func (s *space) catchUp(ctx context.Context, state *schedule.State) (touched []sluice.JobID, err error) {
	for {
		events, err := s.cfg.Log.Read(ctx, s.ns, state.Seq(), page)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if err := state.Apply(e); err != nil {
				return nil, err
			}
			if e.Job != "" {
				touched = append(touched, e.Job)
			}
		}
		if len(events) < page {
			return touched, nil
		}
	}
}

// Wanting are the jobs that somebody has to drive: those that have no result and are not halted. A job that is about to
// halt or to be cancelled is one of them.
func Wanting(state *schedule.State) (out []sluice.JobID) {
	for _, j := range state.Jobs() {
		if open(j) {
			out = append(out, j.Spec.ID)
		}
	}
	return out
}

func wants(state *schedule.State, id sluice.JobID) bool {
	j, ok := state.Job(id)
	return ok && open(j)
}

func open(j schedule.Info) bool {
	switch j.State {
	case schedule.Succeeded, schedule.Failed, schedule.Cancelled, schedule.Halted:
		return false
	}
	return true
}

// news returns when the log is longer than seq, or a drive has ended.
func (s *space) news(ctx context.Context, seq uint64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan error, 1)
	go func() { written <- s.cfg.Log.Wait(ctx, s.ns, seq) }()
	select {
	case err := <-written:
		return err
	case <-s.again:
		stop()
		if err := <-written; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
}

// start has a job driven once.
func (s *space) start(ctx context.Context, id sluice.JobID) {
	s.driven[id] = false
	s.drives.Go(func() {
		err := s.cfg.Carry(ctx, s.ns, id)
		failed := err != nil && ctx.Err() == nil
		if s.over(err) {
			return
		}
		if failed && sluice.IsLasting(err) { // of this namespace alone: it stays in hand, and nobody tries again
			s.cfg.Trouble(fmt.Sprintf("job %s is not carried out any more: %v", id, err))
			return
		}
		if failed {
			if sluice.CodeOf(err) != sluice.Conflict { // nobody needs to know that another process has it
				s.cfg.Trouble(fmt.Sprintf("job %s: %v", id, err))
			}
			s.rest(ctx)
		}
		s.giveBack([]end{{id, failed}})
	})
}

// settle takes a job out of the hands of a drive that has ended, and has it driven again if there is still something to
// do. A drive after which the job is as it was is not repeated at once: it would be again and again.
func (s *space) settle(ctx context.Context, state *schedule.State, e end) {
	fresh := s.driven[e.id]
	delete(s.driven, e.id)
	switch {
	case !wants(state, e.id):
	case fresh || e.rested:
		s.start(ctx, e.id)
	default:
		s.driven[e.id] = true
		s.drives.Go(func() {
			s.rest(ctx)
			s.giveBack([]end{{e.id, true}})
		})
	}
}

func (s *space) giveBack(over []end) {
	if len(over) == 0 {
		return
	}
	s.mu.Lock()
	s.ended = append(s.ended, over...)
	s.mu.Unlock()
	select {
	case s.again <- struct{}{}:
	default: // somebody said so already
	}
}

func (s *space) takeEnded() []end {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.ended
	s.ended = nil
	return out
}

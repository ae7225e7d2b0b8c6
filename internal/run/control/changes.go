package control

import (
	"context"
	"maps"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Changes gathers which jobs changed, for one who looks at lists: which, not what. However slow they are, there is no more to
// gather than there are jobs, and they get what is so when they come.
type Changes struct {
	service *Service
	spaces  func(context.Context) ([]sluice.Namespace, error)
	stop    context.CancelFunc
	all     sync.WaitGroup
	there   chan struct{} // holds one where there is something to take

	mu     sync.Mutex
	jobs   map[sluice.Namespace]map[sluice.JobID]bool
	at     map[sluice.Namespace]uint64 // the last event that was looked at
	follow map[sluice.Namespace]bool
	anew   bool
}

const (
	// newSpaces is how long a namespace that is new may stay unseen.
	newSpaces = time.Second
	// longAgo is how many events may have come since somebody looked last. Who was away for longer had better list anew.
	longAgo = 20_000
)

// Changes begins to gather what changes after the events of those numbers, of the namespaces that spaces names, now and
// again and again; of one that at does not have, all that is new from now on. Close ends it.
func (s *Service) Changes(ctx context.Context, spaces func(context.Context) ([]sluice.Namespace, error), at map[sluice.Namespace]uint64) (*Changes, error) {
	list, err := spaces(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	c := &Changes{service: s.begun(), spaces: spaces, stop: stop, there: make(chan struct{}, 1), jobs: map[sluice.Namespace]map[sluice.JobID]bool{},
		at: map[sluice.Namespace]uint64{}, follow: map[sluice.Namespace]bool{}}
	for _, ns := range list {
		head, err := s.head(ctx, ns)
		if err != nil {
			continue // the next look tries again
		}
		if was, known := at[ns]; known && (was > head || head-was > longAgo) {
			c.anew = true
		} else if known {
			head = was
		} else if at != nil {
			c.anew = true
		}
		c.begin(ctx, ns, head)
	}
	c.all.Go(func() { c.look(ctx) })
	return c, nil
}

// head is the number of the last event of a namespace.
func (s *Service) head(ctx context.Context, ns sluice.Namespace) (head uint64, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		head = state.Seq()
		return nil
	})
	return head, err
}

// Close ends the gathering, and waits for it.
func (c *Changes) Close() {
	c.stop()
	c.all.Wait()
}

// There gets something when there is something to take.
func (c *Changes) There() <-chan struct{} { return c.there }

// Take returns the jobs that changed since the last time, and up to where. anew says that this is not all: who has a list
// had better make it anew.
func (c *Changes) Take() (jobs map[sluice.Namespace]map[sluice.JobID]bool, at map[sluice.Namespace]uint64, anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs, c.jobs = c.jobs, map[sluice.Namespace]map[sluice.JobID]bool{}
	anew, c.anew = c.anew, false
	return jobs, maps.Clone(c.at), anew
}

// look begins to follow namespaces that are new.
func (c *Changes) look(ctx context.Context) {
	t := time.NewTicker(newSpaces)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		list, err := c.spaces(ctx)
		if err != nil {
			continue // it is asked again
		}
		for _, ns := range list {
			c.mu.Lock()
			known := c.follow[ns]
			c.mu.Unlock()
			if known {
				continue
			}
			if head, err := c.service.head(ctx, ns); err == nil {
				c.begin(ctx, ns, head)
				c.mu.Lock()
				c.anew = true
				c.mu.Unlock()
				c.tell()
			}
		}
	}
}

func (c *Changes) begin(ctx context.Context, ns sluice.Namespace, after uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow[ns], c.at[ns] = true, after
	c.all.Go(func() {
		_ = c.service.tail().Follow(ctx, ns, after, func(events []sluice.Event) error {
			c.gather(ns, events)
			return nil
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.follow, ns) // it cannot be read: the next look tries again
	})
}

func (c *Changes) gather(ns sluice.Namespace, events []sluice.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.jobs[ns]
	for _, e := range events {
		if e.Job == "" {
			continue
		}
		if of == nil {
			of = map[sluice.JobID]bool{}
			c.jobs[ns] = of
		}
		of[e.Job] = true
	}
	c.at[ns] = events[len(events)-1].Seq
	c.tell()
}

func (c *Changes) tell() {
	select {
	case c.there <- struct{}{}:
	default:
	}
}

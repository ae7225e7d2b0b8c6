package fold

import (
	"context"
	"sync"

	"sluice"
)

// kept is how many events of a namespace are kept for those who follow it: more than come while one of them is busy.
const kept = 20_000

// Tail reads the new events of namespaces once for all who follow them. It is safe for concurrent use, and owns a
// goroutine for each namespace that somebody follows.
type Tail struct {
	log sluice.Log

	mu     sync.Mutex
	spaces map[sluice.Namespace]*tailSpace
}

// NewTail makes a Tail for a log.
func NewTail(log sluice.Log) *Tail { return &Tail{log: log, spaces: map[sluice.Namespace]*tailSpace{}} }

// tailSpace is one namespace that somebody follows.
type tailSpace struct {
	stop      context.CancelFunc
	ended     chan struct{}
	followers int // guarded by Tail.mu

	looking chan struct{}                   // holds one while somebody reads the past of a job
	pasts   map[sluice.JobID][]sluice.Event // of jobs that somebody asked for; whoever is looking may use it

	mu     sync.Mutex
	events []sluice.Event // the newest, in order
	more   chan struct{}  // closed when there are more, or err is set
	err    error
}

// Follow hands on the events after a number, in order, as they come, until ctx ends, f returns an error, or the log cannot
// be read. f must not change the slice.
func (t *Tail) Follow(ctx context.Context, ns sluice.Namespace, after uint64, f func([]sluice.Event) error) error {
	sp := t.enter(ctx, ns, after)
	defer t.leave(ns, sp)
	for {
		events, more, err := sp.after(after)
		if err != nil {
			return err
		}
		if events == nil { // longer ago than what is kept
			if events, err = t.log.Read(ctx, ns, after, page); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			after = events[len(events)-1].Seq
			if err := f(events); err != nil {
				return err
			}
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pasts is how many jobs' pasts are kept.
const pasts = 8

// Past returns events of a job, from the first on; what came since may follow. Nobody may change them: those who come while
// the namespace is followed share what one of them has read.
func (t *Tail) Past(ctx context.Context, ns sluice.Namespace, id sluice.JobID) ([]sluice.Event, error) {
	t.mu.Lock()
	sp := t.spaces[ns]
	t.mu.Unlock()
	if sp == nil {
		return t.log.ReadJob(ctx, ns, id)
	}
	select {
	case sp.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-sp.looking }()
	if past := sp.pasts[id]; len(past) > 0 {
		if since, _, _ := sp.after(past[len(past)-1].Seq); since != nil {
			return past, nil
		}
	}
	past, err := t.log.ReadJob(ctx, ns, id)
	if err != nil {
		return nil, err
	}
	if len(past) <= kept {
		if _, known := sp.pasts[id]; !known && len(sp.pasts) == pasts {
			clear(sp.pasts)
		}
		sp.pasts[id] = past
	}
	return past, nil
}

// after are the events after a number that are kept: nil if some of them are not, and empty if there are none yet.
func (sp *tailSpace) after(n uint64) (events []sluice.Event, more <-chan struct{}, err error) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	more = sp.more
	if len(sp.events) == 0 {
		return nil, more, sp.err // whoever reads the log finds the same, and waits then
	}
	first, last := sp.events[0].Seq, sp.events[len(sp.events)-1].Seq
	switch {
	case n >= last:
		return []sluice.Event{}, more, sp.err
	case n+1 < first:
		return nil, more, nil
	}
	return sp.events[n+1-first:], more, nil
}

// enter begins to follow a namespace, from its end on: there is one reader, whoever comes first starts it.
func (t *Tail) enter(ctx context.Context, ns sluice.Namespace, after uint64) *tailSpace {
	t.mu.Lock()
	defer t.mu.Unlock()
	sp := t.spaces[ns]
	if sp == nil {
		// It goes on for the others when the first one is gone.
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		sp = &tailSpace{stop: stop, ended: make(chan struct{}), more: make(chan struct{}), looking: make(chan struct{}, 1),
			pasts: map[sluice.JobID][]sluice.Event{}}
		t.spaces[ns] = sp
		go func() {
			defer close(sp.ended)
			sp.read(ctx, t.log, ns, after)
		}()
	}
	sp.followers++
	return sp
}

// leave ends the reader with the last who follows, and waits for it.
func (t *Tail) leave(ns sluice.Namespace, sp *tailSpace) {
	t.mu.Lock()
	sp.followers--
	last := sp.followers == 0
	if (last || sp.failed()) && t.spaces[ns] == sp {
		delete(t.spaces, ns) // after an error the next one begins anew
	}
	t.mu.Unlock()
	if last {
		sp.stop()
		<-sp.ended
	}
}

func (sp *tailSpace) failed() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.err != nil
}

// read keeps what is new until ctx ends or the log cannot be read.
func (sp *tailSpace) read(ctx context.Context, log sluice.Log, ns sluice.Namespace, after uint64) {
	for {
		events, err := log.Read(ctx, ns, after, page)
		if err == nil && len(events) == 0 {
			if err = log.Wait(ctx, ns, after); err == nil {
				continue
			}
		}
		if len(events) > 0 {
			after = events[len(events)-1].Seq
		}
		sp.take(events, err)
		if err != nil {
			return
		}
	}
}

func (sp *tailSpace) take(events []sluice.Event, err error) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.err = err
	sp.events = append(sp.events, events...)
	if over := len(sp.events) - kept; over > 0 {
		// What somebody is reading stays as it is: the rest moves to a place of its own.
		sp.events = append(make([]sluice.Event, 0, 2*kept), sp.events[over:]...)
	}
	close(sp.more)
	sp.more = make(chan struct{})
}

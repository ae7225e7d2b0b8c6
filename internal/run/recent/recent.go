// Package recent keeps the newest events of a log at hand, for a process in which several read what one of them appends:
// each event is read from the log and decoded once at most.
//
// It changes how long reading takes, and nothing else. It decides nothing, and what is not at hand the log is asked for.
package recent

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"sluice"
)

// kept is how many events of a namespace are kept, at least; up to twice as many are.
const kept = 10_000

// Log is a log whose newest events are at hand. Who may do what is not kept: that is always asked of the log.
func Log(l sluice.Log) sluice.Log {
	r := &log{Log: l, spaces: map[sluice.Namespace]*space{}}
	if shots, ok := l.(sluice.Snapshots); ok {
		return struct {
			sluice.Log
			sluice.Snapshots
		}{r, shots}
	}
	return r
}

type log struct {
	sluice.Log

	mu     sync.Mutex
	spaces map[sluice.Namespace]*space
}

// space is what is kept of a namespace: events without a gap.
type space struct {
	mu     sync.Mutex
	events []sluice.Event
}

// space is what is kept of a namespace; nil if there is nothing and none is to be made.
func (l *log) space(ns sluice.Namespace, make bool) *space {
	l.mu.Lock()
	defer l.mu.Unlock()
	sp := l.spaces[ns]
	if sp == nil && make {
		sp = &space{}
		l.spaces[ns] = sp
	}
	return sp
}

// Update appends, and keeps what was appended and what was read before it.
func (l *log) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	var tail, own []sluice.Event
	head, err := l.Log.Update(ctx, ns, after, func(t []sluice.Event) ([]sluice.Event, error) {
		made, err := decide(t)
		tail, own = t, made
		return made, err
	})
	if err == nil && len(tail)+len(own) > 0 && !ns.Reserved() {
		l.space(ns, true).take(tail, own)
	}
	return head, err
}

// take keeps events that are durable.
func (sp *space) take(tail, made []sluice.Event) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.add(tail) {
		sp.add(made)
	}
}

// add keeps events that follow one another. What is kept already is passed over. It reports whether all could be kept.
func (sp *space) add(events []sluice.Event) bool {
	for _, e := range events {
		next := uint64(0)
		if n := len(sp.events); n > 0 {
			next = sp.events[n-1].Seq + 1
		}
		switch {
		case e.Seq < next:
			continue // two appends may end in another order than they were made
		case e.Seq > next:
			sp.events = nil // there is a gap: what is before it is of no use
		}
		mine, err := own(e)
		if err != nil {
			sp.events = nil // cannot be: it is in the log
			return false
		}
		sp.events = append(sp.events, mine)
	}
	if len(sp.events) > 2*kept {
		sp.events = slices.Clone(sp.events[len(sp.events)-kept:])
	}
	return true
}

// read keeps what the log gave up to its end, where that goes on from what is kept or further back. Without it, whoever
// begins before what is kept would read all of it from the log again: after a start of the server, or after somebody read
// an event and appended behind it before [log.Update] had kept it.
func (sp *space) read(events []sluice.Event) {
	events = events[max(0, len(events)-kept):]
	if len(events) == 0 {
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	first, last := events[0].Seq, events[len(events)-1].Seq
	if n := len(sp.events); n > 0 {
		if first < sp.events[0].Seq && last >= sp.events[n-1].Seq {
			sp.events = nil
		} else if first < sp.events[0].Seq || first > sp.events[n-1].Seq+1 {
			return
		}
	}
	sp.add(events)
}

// Read returns what is at hand after an event, and what others appended behind that.
func (l *log) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if ns.Reserved() || ctx.Err() != nil {
		return l.Log.Read(ctx, ns, after, limit)
	}
	var out []sluice.Event
	if sp := l.space(ns, false); sp != nil {
		out = sp.after(after, limit)
	}
	if len(out) == limit && limit > 0 {
		return out, nil
	}
	if len(out) > 0 {
		after = out[len(out)-1].Seq
	}
	more, err := l.Log.Read(ctx, ns, after, limit-len(out))
	if err != nil {
		return nil, err
	}
	if len(more) > 0 && len(more) < limit-len(out) {
		l.space(ns, true).read(more)
	}
	return append(out, more...), nil
}

func (sp *space) after(n uint64, limit int) []sluice.Event {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if len(sp.events) == 0 || n+1 < sp.events[0].Seq || n >= sp.events[len(sp.events)-1].Seq {
		return nil
	}
	out := sp.events[n+1-sp.events[0].Seq:]
	out = slices.Clone(out[:min(limit, len(out))])
	for i, e := range out {
		mine, err := own(e)
		if err != nil {
			return nil
		}
		out[i] = mine
	}
	return out
}

// own is an event as the log would give it: nothing in it is shared with anybody. Of the events of tasks, which are nearly
// all, it is cheap.
func own(e sluice.Event) (out sluice.Event, err error) {
	switch b := e.Body.(type) {
	case sluice.TaskStarted, sluice.TaskStep, sluice.BalancerChanged, sluice.JobStarted, sluice.StageOpened:
	case sluice.JobFinished:
		b.Counts = maps.Clone(b.Counts)
		e.Body = b
	case sluice.TaskFinished:
		if b.ExitCode != nil {
			code := *b.ExitCode
			b.ExitCode = &code
		}
		b.Truncated, b.Leftovers = slices.Clone(b.Truncated), slices.Clone(b.Leftovers)
		e.Body = b
	default:
		text, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(text, &out)
		}
		return out, err
	}
	e.Time = e.Time.UTC().Round(0) // without the reading of a clock
	return e, nil
}

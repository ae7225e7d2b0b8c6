package audit

import (
	"strings"
	"time"

	"sluice"
)

// Wish says which entries somebody wants to see. The zero value wants all.
type Wish struct {
	Who          string
	Namespace    sluice.Namespace
	Since, Until time.Time // from, and before
	Text         string    // anywhere in it, whatever the case
	Refused      bool      // only what was refused
}

// Wants reports whether an entry is wanted.
func (w Wish) Wants(e Entry) bool {
	switch {
	case w.Who != "" && w.Who != e.Who, w.Namespace != "" && w.Namespace != e.Namespace, w.Refused && e.Refused == "",
		e.Time.Before(w.Since), !w.Until.IsZero() && !e.Time.Before(w.Until):
		return false
	}
	return w.Text == "" || strings.Contains(strings.ToLower(e.String()), strings.ToLower(w.Text))
}

// slack is how far back a clock may have been set, and the order of time still holds well enough to know where to stop.
const slack = time.Hour

// Past reports whether nothing wanted can be before an event in its namespace: the wish begins later.
func (w Wish) Past(e sluice.Event) bool { return e.Time.Before(w.Since.Add(-slack)) }

// Ends are the numbers of the last events that are still to be looked at, by namespace. One of 0, or none, is done.
type Ends map[sluice.Namespace]uint64

// Read reads events of a namespace after a number, in order.
type Read func(ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error)

// window is how many events are read at once.
const window = 500

// Back walks a log from its end to its beginning, over all namespaces in the order of time.
type Back struct {
	ends Ends
	read Read
	part map[sluice.Namespace][]sluice.Event // the events before ends, that were read already
}

// NewBack begins at ends, which it changes as it goes.
func NewBack(ends Ends, read Read) *Back {
	return &Back{ends: ends, read: read, part: map[sluice.Namespace][]sluice.Event{}}
}

// Leave is done with a namespace.
func (b *Back) Leave(ns sluice.Namespace) { delete(b.ends, ns) }

// Next is the newest event that it was not at. ok is false at the beginning.
func (b *Back) Next() (ns sluice.Namespace, e sluice.Event, ok bool, err error) {
	for space := range b.ends {
		last, there, err := b.last(space)
		if err != nil {
			return "", sluice.Event{}, false, err
		}
		if !there {
			delete(b.ends, space)
			continue
		}
		// At the same time, by name: the order must be the same every time.
		if !ok || last.Time.After(e.Time) || last.Time.Equal(e.Time) && space > ns {
			ns, e, ok = space, last, true
		}
	}
	if ok {
		b.ends[ns] = e.Seq - 1
		b.part[ns] = b.part[ns][:len(b.part[ns])-1]
	}
	return ns, e, ok, nil
}

// last is the newest event of a namespace that it was not at.
func (b *Back) last(ns sluice.Namespace) (e sluice.Event, ok bool, err error) {
	if len(b.part[ns]) == 0 && b.ends[ns] > 0 {
		n := min(b.ends[ns], window)
		if b.part[ns], err = b.read(ns, b.ends[ns]-n, int(n)); err != nil {
			return e, false, err
		}
	}
	part := b.part[ns]
	if len(part) == 0 {
		return e, false, nil
	}
	return part[len(part)-1], true, nil
}

package httpapi

import (
	"context"
	"sync"
	"time"

	"sluice"
)

// lookedFor is how long one look at an output stands for those that follow: whoever reads a long one reads it in many
// pieces, and a page that shows what a job prints asks again whenever something ended.
const lookedFor = 5 * time.Minute

// mostLooks bounds how many looks are remembered; what does not fit is noted again.
const mostLooks = 10_000

// looked remembers who read what lately.
type looked struct {
	mu sync.Mutex
	at map[look]time.Time
}

type look struct {
	principal sluice.Principal
	token     sluice.TokenID
	what      string
	from      string
}

// first reports whether a look is the first of its kind for a while.
func (l *looked) first(k look, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.at[k]; ok && now.Sub(at) < lookedFor && now.Sub(at) >= 0 {
		return false
	}
	return true
}

// keep remembers a look that was noted.
func (l *looked) keep(k look, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil || len(l.at) >= mostLooks {
		l.at = map[look]time.Time{}
	}
	l.at[k] = now
}

// reads notes that the caller reads output, which may hold secrets: once for all pieces of the same that it reads within
// five minutes.
func (c caller) reads(ctx context.Context, ns sluice.Namespace) error {
	n := c.note(ns)
	k := look{c.Principal, c.Token, n.What, hostOf(n.From)}
	now := c.api.cfg.Clock()
	if !c.api.reading.first(k, now) {
		return nil
	}
	if err := c.api.cfg.Rights.Note(ctx, n); err != nil {
		return err
	}
	c.api.reading.keep(k, now)
	return nil
}

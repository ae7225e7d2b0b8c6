package httpapi

import (
	"sync"
	"time"

	"sluice"
)

// inUse remembers when each session was last used, in memory alone: a restart signs nobody out, and gives those who were
// away the time anew.
type inUse struct {
	mu    sync.Mutex
	seen  map[sluice.TokenID]use
	swept time.Time
}

type use struct {
	open int // requests that are being answered, streams among them
	last time.Time
}

// came counts a request. ok is false for a session that was not used for too long; it is not counted then.
func (u *inUse) came(id sluice.TokenID, now time.Time) (ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	one, known := u.seen[id]
	if known && one.open == 0 && now.Sub(one.last) > sessionIdle {
		return false
	}
	if u.seen == nil {
		u.seen = map[sluice.TokenID]use{}
	}
	u.sweep(now)
	u.seen[id] = use{one.open + 1, now}
	return true
}

// left says that a request was answered.
func (u *inUse) left(id sluice.TokenID, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen[id] = use{u.seen[id].open - 1, now}
}

// sweep forgets sessions that are over, at most once in the life of one.
func (u *inUse) sweep(now time.Time) {
	if now.Sub(u.swept) < sessionLife {
		return
	}
	u.swept = now
	for id, one := range u.seen {
		if one.open == 0 && now.Sub(one.last) > sessionLife {
			delete(u.seen, id)
		}
	}
}

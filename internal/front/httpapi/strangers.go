package httpapi

import (
	"net"
	"sync"
	"time"
)

// strangers counts who comes without a valid token, by address. Anybody can do that as often as they like: the audit gets
// the first at once, and then how many there were, at most once in a while for each address.
type strangers struct {
	mu    sync.Mutex
	seen  map[string]stranger
	swept time.Time
}

type stranger struct {
	noted time.Time
	since int // that came after it was noted
}

const (
	strangerEvery = time.Minute
	maxStrangers  = 1000 // addresses that are counted apart
	others        = ""   // stands for all beyond that, which are counted together
)

// sweep forgets who has not come for a while, at most once in a while.
func (s *strangers) sweep(now time.Time) {
	if now.Sub(s.swept) < strangerEvery {
		return
	}
	s.swept = now
	for host, one := range s.seen {
		if one.since == 0 && now.Sub(one.noted) >= strangerEvery {
			delete(s.seen, host)
		}
	}
}

// came counts one. times is what is to be noted now; 0 is nothing.
func (s *strangers) came(from string, now time.Time) (times int) {
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]stranger{}
	}
	if _, known := s.seen[from]; !known && (len(s.seen) >= maxStrangers || s.seen[others].since > 0) {
		from = others
		s.sweep(now)
	}
	one, known := s.seen[from]
	if known && now.Sub(one.noted) < strangerEvery {
		one.since++
		s.seen[from] = one
		return 0
	}
	s.seen[from] = stranger{noted: now}
	return one.since + 1
}

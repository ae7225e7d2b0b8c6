package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
)

// pace bounds how often somebody comes, by a bucket of tries for each name that fills again with time.
type pace struct {
	rate  float64 // tries a second
	burst float64 // tries at once

	mu    sync.Mutex
	seen  map[string]bucket
	swept time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

// Generous: these stop a loop that went wrong, not work.
const (
	principalRate, principalBurst = 100, 1000
	failedRate, failedBurst       = 1, 60
	// NamespaceRate is how many requests a second a namespace has, if nothing else is set; namespaceBurst how many seconds of
	// them at once.
	NamespaceRate, namespaceBurst = 500, 10
)

// take takes one try. wait is 0 where there was one, and else when there is one again.
func (p *pace) take(name string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	b, known := p.seen[name]
	if !known {
		b = bucket{p.burst, now}
	}
	if gone := now.Sub(b.at).Seconds(); gone > 0 { // a clock that was set back gives nothing
		b.left = min(p.burst, b.left+gone*p.rate)
	}
	b.at = now
	if b.left < 1 {
		wait = time.Duration((1 - b.left) / p.rate * float64(time.Second))
	} else {
		b.left--
	}
	p.seen[name] = b
	return wait
}

// sweep forgets those whose buckets are full again, at most once while one fills.
func (p *pace) sweep(now time.Time) {
	full := time.Duration(p.burst / p.rate * float64(time.Second))
	if p.seen == nil {
		p.seen, p.swept = map[string]bucket{}, now
	}
	if now.Sub(p.swept) < full {
		return
	}
	p.swept = now
	for name, b := range p.seen {
		if now.Sub(b.at) >= full {
			delete(p.seen, name)
		}
	}
}

// slow answers somebody who comes too often.
func slow(ctx huma.Context, wait time.Duration) {
	answer(ctx, tooOften(wait, "too many requests"))
}

func tooOften(wait time.Duration, what string) *problem {
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	p := problemOf(sluice.Errorf(sluice.Contact, "%s", what).WithHint("again in %s s", seconds))
	p.Status, p.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
	p.headers = http.Header{"Retry-After": {seconds}}
	return p
}

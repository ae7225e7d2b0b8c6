package httpapi

import (
	"fmt"
	"testing"
	"time"
)

// TestPace: so many tries at once, then as many as time brings back, for each name by itself; and nobody is kept for ever.
func TestPace(t *testing.T) {
	p := pace{rate: 2, burst: 3}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []struct {
		later time.Duration
		name  string
		wait  time.Duration
	}{
		{0, "ann", 0}, {0, "ann", 0}, {0, "ann", 0}, {0, "ann", 500 * time.Millisecond}, {0, "bob", 0},
		{250 * time.Millisecond, "ann", 250 * time.Millisecond}, {250 * time.Millisecond, "ann", 0}, {0, "ann", 500 * time.Millisecond},
		{-time.Hour, "ann", 500 * time.Millisecond}, {time.Hour, "ann", 0}, {time.Hour, "ann", 0}, {0, "ann", 0}, {0, "ann", 0}, {0, "ann", 500 * time.Millisecond},
	} {
		now = now.Add(c.later)
		if wait := p.take(c.name, now); wait != c.wait {
			t.Errorf("try %d of %s waits %v, want %v", i, c.name, wait, c.wait)
		}
	}
	for i := range 1000 {
		p.take(fmt.Sprint(i), now)
	}
	p.take("ann", now.Add(time.Minute))
	if len(p.seen) != 1 {
		t.Errorf("%d are kept", len(p.seen))
	}
}

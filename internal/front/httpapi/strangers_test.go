package httpapi

import (
	"fmt"
	"testing"
	"time"
)

// TestStrangersFillNoDisk: however many come, from however many addresses, little is noted and nobody is lost.
func TestStrangersFillNoDisk(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var s strangers
	count := func(n int, from func(i int) string) (entries, times int) {
		for i := range n {
			if k := s.came(from(i), now); k > 0 {
				entries++
				times += k
			}
		}
		return entries, times
	}
	one := func(i int) string { return fmt.Sprintf("192.0.2.1:%d", i) }
	if entries, times := count(100, one); entries != 1 || times != 1 {
		t.Errorf("at first %d entries for %d", entries, times)
	}
	now = now.Add(strangerEvery)
	if entries, times := count(1, one); entries != 1 || times != 100 {
		t.Errorf("after a while %d entries for %d, want one for the 99 that came since and this one", entries, times)
	}
	many := func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i) }
	if entries, _ := count(50_000, many); entries > maxStrangers+1 || len(s.seen) > maxStrangers+1 {
		t.Errorf("%d entries and %d kept for 50,000 addresses", entries, len(s.seen))
	}
	now = now.Add(strangerEvery)
	_, times := count(1, func(int) string { return "198.51.100.1:1" }) // known among the others
	if times < 40_000 {
		t.Errorf("of those that were counted together %d are noted", times)
	}
}

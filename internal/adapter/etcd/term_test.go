package etcd

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLasts: a term ends by the time alone, before the lease does, though nobody has noticed yet; and one that was renewed goes on.
func TestLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &term{ttl: 2 * time.Second, over: make(chan struct{})}
		one.renewed(time.Now())
		pass := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d)
			if one.Lasts() != want {
				t.Errorf("it lasts: %t", !want)
			}
		}
		pass(0, true)
		pass(1799*time.Millisecond, true)
		one.renewed(time.Now().Add(-time.Second)) // asked for then, and answered now
		pass(799*time.Millisecond, true)
		pass(time.Millisecond, false)
		pass(time.Hour, false)
		one.renewed(time.Now())
		close(one.over)
		pass(0, false)
	})
}

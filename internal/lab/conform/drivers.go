package conform

import (
	"sync"
	"sync/atomic"
	"testing"

	"sluice"
)

// Drivers is the suite of [sluice.Drivers].
func Drivers(t *testing.T, open func(t *testing.T) sluice.Drivers) {
	SharedDrivers(t, func(t *testing.T) (a, b sluice.Drivers) {
		d := open(t)
		return d, d
	})
}

// SharedDrivers is the suite on two handles of the same claims, as two processes have them.
func SharedDrivers(t *testing.T, open func(t *testing.T) (a, b sluice.Drivers)) {
	t.Run("ClaimAndRelease", func(t *testing.T) {
		a, b := open(t)
		driven(t, a, jobA, false)
		release := claim(t, a, jobA)
		driven(t, a, jobA, true)
		driven(t, b, jobA, true)
		driven(t, b, jobB, false)
		for _, d := range []sluice.Drivers{a, b} {
			if _, err := d.Claim(jobA); sluice.CodeOf(err) != sluice.Conflict {
				t.Errorf("a second claim: %v", err)
			}
		}
		other := claim(t, b, jobB)
		release()
		release() // again does nothing
		driven(t, a, jobA, false)
		driven(t, b, jobA, false)
		driven(t, a, jobB, true)
		claimed := claim(t, b, jobA)
		release() // nor does it take away the claim of the next one
		driven(t, a, jobA, true)
		claimed()
		other()
		driven(t, a, jobB, false)
	})
	t.Run("BadNames", func(t *testing.T) {
		a, _ := open(t)
		for _, job := range []sluice.JobID{"", "../x", "aaaa0000000", "AAAA00000000"} {
			if release, err := a.Claim(job); err == nil {
				t.Errorf("%q is no job id, but was claimed", job)
				release()
			}
			driven(t, a, job, false)
		}
	})
	t.Run("OneAtATime", func(t *testing.T) {
		a, b := open(t)
		var inside, wins atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			d := []sluice.Drivers{a, b}[i%2]
			wg.Go(func() {
				for range 50 {
					release, err := d.Claim(jobA)
					if err != nil {
						if sluice.CodeOf(err) != sluice.Conflict {
							t.Error(err)
						}
						_ = d.Driven(jobA)
						continue
					}
					if inside.Add(1) != 1 {
						t.Error("two have the same job")
					}
					wins.Add(1)
					inside.Add(-1)
					release()
				}
			})
		}
		wg.Wait()
		if wins.Load() == 0 {
			t.Error("nobody ever got the job")
		}
	})
	t.Run("LookingIsNotClaiming", func(t *testing.T) {
		a, b := open(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_ = b.Driven(jobA)
					}
				}
			})
		}
		for range 200 {
			claim(t, a, jobA)()
		}
		close(stop)
		wg.Wait()
	})
}

func claim(t *testing.T, d sluice.Drivers, job sluice.JobID) (release func()) {
	t.Helper()
	release, err := d.Claim(job)
	if err != nil {
		t.Errorf("claim of %s: %v", job, err)
		return func() {}
	}
	return release
}

func driven(t *testing.T, d sluice.Drivers, job sluice.JobID, want bool) {
	t.Helper()
	if got := d.Driven(job); got != want {
		t.Errorf("driven(%s) = %v, want %v", job, got, want)
	}
}

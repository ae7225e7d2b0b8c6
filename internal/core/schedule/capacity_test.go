package schedule_test

import (
	"testing"

	"sluice"
)

// TestCapacity pins what a limit means. Shares are rounded down, but let one host go; nothing means nothing.
func TestCapacity(t *testing.T) {
	for _, tc := range []struct {
		limit          string
		members        int
		capacity, left int // as a constraint, as a budget
	}{
		{"15%", 10, 1, 1}, {"15%", 3, 1, 0}, {"15%", 100, 15, 15}, {"99%", 10, 9, 9}, {"100%", 7, 7, 7}, {"0%", 10, 0, 0},
		{"0", 10, 0, 0}, {"3", 2, 3, 3}, {"0.5%", 1000, 5, 5}, {"0.5%", 10, 1, 0}, {"33.33%", 3, 1, 0}, {"50%", 0, 1, 0},
	} {
		a, err := sluice.ParseAmount(tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Capacity(tc.members); got != tc.capacity {
			t.Errorf("%s of %d hosts lets %d go, want %d", tc.limit, tc.members, got, tc.capacity)
		}
		if got := a.Floor(tc.members); got != tc.left {
			t.Errorf("%s of %d hosts is a budget of %d, want %d", tc.limit, tc.members, got, tc.left)
		}
		if a.String() != tc.limit {
			t.Errorf("%s is written %s", tc.limit, a)
		}
	}
	for _, bad := range []string{"", "-1", "+1", "x", "101%", "-5%", "1.234%", "%", "1.5", "3 hosts", "++1%"} {
		if a, err := sluice.ParseAmount(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, a)
		}
	}
}

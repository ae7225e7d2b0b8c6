package cluster

import (
	"testing"
	"time"

	"sluice"
)

// TestNobodyEverOwnedIt: servers that start where nobody can own the log come to know that, too.
func TestNobodyEverOwnedIt(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := newOutlook(now.Add(-time.Hour))
	for range 3 {
		o.see(sluice.Owner{}, 0, nil, now)
		now = now.Add(waitForOwner)
	}
	if v := o.now(); !v.ownerless(now) {
		t.Errorf("%+v", v)
	}
	o.see(sluice.Owner{Name: "a"}, 7, nil, now)
	if v := o.now(); v.ownerless(now.Add(time.Hour)) {
		t.Errorf("somebody owns it: %+v", v)
	}
}

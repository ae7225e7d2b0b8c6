package etcd_test

import (
	"testing"

	"sluice"
)

// TestYield: another node leads afterwards; a node that does not lead changes nothing, nor does one that is to yield to nobody.
func TestYield(t *testing.T) {
	c := newCluster(t, 3)
	leader := func() int {
		t.Helper()
		for i, n := range c.nodes {
			members, err := n.Members(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				if m.Leader && m.Name == c.cfgs[i].Name {
					return i
				}
			}
		}
		return -1
	}
	was := leader()
	to := (was + 1) % 3
	if err := c.nodes[to].Yield(t.Context(), c.cfgs[(was+2)%3].Name); err != nil {
		t.Fatal(err)
	}
	if now := leader(); now != was {
		t.Fatalf("node %d leads, and node %d that did not lead was to yield", now, to)
	}
	if err := c.nodes[was].Yield(t.Context(), "nobody"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("it yields to nobody: %v", err)
	}
	if err := c.nodes[was].Yield(t.Context(), c.cfgs[to].Name); err != nil {
		t.Fatal(err)
	}
	if now := leader(); now != to {
		t.Errorf("node %d leads, not %d", now, to)
	}
}

package crew

import (
	"testing"

	"pgregory.net/rapid"

	"sluice"
)

// TestAStaleOwnerIsNotFollowed: whoever serves a worker, in any order, with restarts of the worker in between: it never follows a term that
// is lower than one that it has followed before, nor two terms on a line, and never refuses the highest one.
func TestAStaleOwnerIsNotFollowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var highest sluice.SeenTerm // what is on its disk
		var followed []sluice.SeenTerm
		var line *sluice.SeenTerm
		for range rapid.IntRange(1, 30).Draw(t, "messages") {
			if rapid.Bool().Draw(t, "another line") {
				line = nil
			}
			says := &sluice.SeenTerm{Epoch: rapid.IntRange(0, 2).Draw(t, "epoch"), Term: rapid.Uint64Range(0, 3).Draw(t, "term")}
			got, err := Served(highest, line, says)
			newest := true
			for _, f := range followed {
				newest = newest && !says.Before(f)
			}
			same := line == nil || line.Term == says.Term
			if (err == nil) != (newest && same) {
				t.Fatalf("after %v, on a line of %v, %v: %v", followed, line, says, err)
			}
			if err != nil && (got != highest || sluice.CodeOf(err) != sluice.Contact) {
				t.Fatalf("what is refused changes %v to %v, or ends the worker: %v", highest, got, err)
			}
			if err == nil {
				highest, line, followed = got, says, append(followed, *says)
			}
			if got.Before(highest) {
				t.Fatalf("it forgets %v for %v", highest, got)
			}
		}
	})
}

// TestAServerFromBefore says nothing of terms. A worker takes it as before, also after a repair, but not where it has been in a cluster.
func TestAServerFromBefore(t *testing.T) {
	for _, c := range []struct {
		highest sluice.SeenTerm
		fits    bool
	}{{sluice.SeenTerm{}, true}, {sluice.SeenTerm{Epoch: 2}, true}, {sluice.SeenTerm{Term: 1}, false}, {sluice.SeenTerm{Epoch: 2, Term: 7}, false}} {
		got, err := Served(c.highest, nil, nil)
		if (err == nil) != c.fits || got != c.highest {
			t.Errorf("after %v: %v, %v", c.highest, got, err)
		}
	}
}

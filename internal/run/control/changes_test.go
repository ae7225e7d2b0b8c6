package control_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"sluice"
)

// TestChangesAreNoQueue: however much happens before somebody looks, a job that changed is there once; and who looked up to
// somewhere is told what came after that.
func TestChangesAreNoQueue(t *testing.T) {
	w := newDesk(t)
	const ns sluice.Namespace = "test"
	id := w.submit(fleet(1))
	spaces := func(context.Context) ([]sluice.Namespace, error) { return []sluice.Namespace{ns}, nil }
	c, err := w.Changes(t.Context(), spaces, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, at, _ := c.Take()
	for range 50 {
		if _, err := w.Halt(t.Context(), id, "enough"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Resume(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
	}
	head := at[ns] + 150 // to halt, halted, resumed
	n := 0
	for now := at[ns]; now < head; n++ {
		<-c.There()
		jobs, to, anew := c.Take()
		if got := slices.Collect(maps.Keys(jobs[ns])); len(jobs) != 1 || len(got) != 1 || got[0] != id || anew {
			t.Fatalf("changed: %v, anew %v", jobs, anew)
		}
		now = to[ns]
	}
	again, err := w.Changes(t.Context(), spaces, at)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	<-again.There()
	if jobs, _, anew := again.Take(); !jobs[ns][id] || anew {
		t.Errorf("from where it was: %v, anew %v", jobs, anew)
	}
	lost, err := w.Changes(t.Context(), spaces, map[sluice.Namespace]uint64{ns: head + 100})
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	if _, _, anew := lost.Take(); !anew {
		t.Error("who has seen what is not there is not told to begin anew")
	}
}

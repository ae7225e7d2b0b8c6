package control

import (
	"fmt"
	"strings"
	"testing"

	"sluice"
)

// TestFactsAreBounded: what is remembered of outputs has a bound in bytes, of many jobs and of one; what was asked for last stays.
func TestFactsAreBounded(t *testing.T) {
	var f facts
	long := []string{strings.Repeat("x", endBytes)}
	key := func(i int) fact { return fact{"end", sluice.AttemptID(fmt.Sprint(i)), "stdout"} }
	const each = 1000
	for i := range 2 * mostFacts / endBytes {
		f.put(sluice.JobID(fmt.Sprint(i/each)), key(i), long)
		f.put("often", key(0), long)
		if f.n > mostFacts {
			t.Fatalf("%d bytes after %d facts", f.n, i)
		}
	}
	if _, ok := f.get("often", key(0)); !ok {
		t.Error("what was asked for last is forgotten")
	}
	if _, ok := f.get("0", key(0)); ok || len(f.jobs) != len(f.used) {
		t.Errorf("the oldest is remembered; %d jobs, %d in order", len(f.jobs), len(f.used))
	}
	for i := range 2 * mostFacts / endBytes {
		f.put("one", key(i), long)
	}
	if n := room(long) * len(f.jobs["one"]); f.n > mostFacts || n != f.size["one"] {
		t.Errorf("one job: %d bytes, %d of %d its own", f.n, f.size["one"], n)
	}
}

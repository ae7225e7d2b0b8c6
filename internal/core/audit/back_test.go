package audit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/audit"
)

// TestBack: from any log of several namespaces every event comes once, newest first, wherever one stops and goes on.
func TestBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logs := map[sluice.Namespace][]sluice.Event{}
		at := time.Unix(0, 0)
		total := rapid.IntRange(0, 1500).Draw(t, "events")
		step := rapid.IntRange(0, 2).Draw(t, "step")
		for i := range total {
			ns := sluice.Namespace([]string{"a", "b", "c"}[(i*7+i/3)%3])
			at = at.Add(time.Duration(step*(i%2)) * time.Second)
			logs[ns] = append(logs[ns], sluice.Event{Seq: uint64(len(logs[ns])) + 1, Time: at})
		}
		read := func(ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
			l := logs[ns]
			return slices.Clone(l[after:min(uint64(len(l)), after+uint64(limit))]), nil
		}
		ends := audit.Ends{}
		for ns, l := range logs {
			ends[ns] = uint64(len(l))
		}
		stop := rapid.IntRange(1, 700).Draw(t, "stop")
		seen := map[string]bool{}
		last := at
		back := audit.NewBack(ends, read)
		for n := 0; ; n++ {
			if n%stop == 0 {
				back = audit.NewBack(ends, read) // another page
			}
			ns, e, ok, err := back.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			key := fmt.Sprint(ns, e.Seq)
			if seen[key] || e.Time.After(last) {
				t.Fatalf("%s at %v after %v, seen %v", key, e.Time, last, seen[key])
			}
			seen[key], last = true, e.Time
		}
		if len(seen) != total {
			t.Fatalf("%d of %d", len(seen), total)
		}
	})
}

package crew

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestOrderOfServers: whatever a worker hears, its list has each server once, the one that serves it before all others, the one that did
// not behind them, and all that it was told of last; what it was given stays.
func TestOrderOfServers(t *testing.T) {
	address := rapid.SampledFrom([]string{"a:1", "b:1", "c:1", "d:1", "e:1"})
	some := rapid.SliceOfNDistinct(address, 0, 4, rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.SliceOfNDistinct(address, 1, 2, rapid.ID).Draw(t, "given")
		list, now := slices.Clone(given), ""
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			before := slices.Clone(list)
			switch a := rapid.SampledFrom(list).Draw(t, "who"); rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				list, now = ServedBy(list, a), a
				if list[0] != a || len(list) != len(before) {
					t.Fatalf("%s serves: %v", a, list)
				}
			case 1:
				list = Missed(list, a)
				if list[len(list)-1] != a || len(list) != len(before) {
					t.Fatalf("%s does not serve: %v", a, list)
				}
			case 2:
				told := some.Draw(t, "told")
				list = Told(list, given, now, told)
				for _, want := range slices.Concat(told, given) {
					if !slices.Contains(list, want) {
						t.Fatalf("told %v of %v, %v lacks %s", told, given, list, want)
					}
				}
				for _, a := range list {
					if !slices.Contains(told, a) && !slices.Contains(given, a) && a != now {
						t.Fatalf("told %v, %v has %s", told, list, a)
					}
				}
				if now != "" && slices.Index(list, now) < 0 {
					t.Fatalf("%v lacks %s, where it is", list, now)
				}
			}
			if again := slices.Compact(slices.Sorted(slices.Values(list))); len(again) != len(list) {
				t.Fatalf("%v after %v", list, before)
			}
		}
	})
}

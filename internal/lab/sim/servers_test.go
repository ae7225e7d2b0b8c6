package sim

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// TestClusterSeeds plays seeds with several servers while there is time, and tells which faults were met.
func TestClusterSeeds(t *testing.T) {
	if *seedFlag != 0 {
		for _, bad := range playCluster(*seedFlag, *bugFlag, func(s string) { fmt.Println(s) }).bad {
			t.Error(bad)
		}
		return
	}
	start, limit := time.Now(), budget(t)/5 // the rest is for one log
	met := map[string]int{}
	seeds, steps, events, hours := 0, 0, 0, time.Duration(0)
	for seed := first(); time.Since(start) < limit; seed++ {
		p := playCluster(seed, "", nil)
		seeds, steps, events, hours = seeds+1, steps+p.steps, events+len(p.log), hours+p.now
		for k, n := range p.met {
			met[k] += n
		}
		if len(p.bad) > 0 {
			t.Fatalf("seed %d: %s\nto see it: go test ./internal/lab/sim -run TestClusterSeeds -seed %d", seed, p.bad[0], seed)
		}
	}
	t.Logf("%d seeds in %v: %.0f simulated hours, %d steps, %d events in the logs, 0 violations",
		seeds, time.Since(start).Round(time.Second), hours.Hours(), steps, events)
	for _, k := range slices.Sorted(maps.Keys(met)) {
		t.Logf("met %7d x %s", met[k], k)
	}
}

// TestAClusterSeedIsOneGame: nothing but the seed decides.
func TestAClusterSeedIsOneGame(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		a, b := playCluster(seed, "", nil), playCluster(seed, "", nil)
		if a.hash != b.hash || a.steps != b.steps {
			t.Errorf("seed %d: %d steps with hash %x, then %d with %x", seed, a.steps, a.hash, b.steps, b.hash)
		}
	}
}

// clusterBugs are faults that can be planted in servers, each in one guard, with a seed that finds them.
var clusterBugs = []struct {
	name string
	seed uint64
}{
	{"the engine does not compare the term", 1},
	{"the engine does not compare the head", 145},
	{"an unknown result counts as done", 5},
	{"an append is sent again as another one", 5},
	{"a copy commits before the engine", 1},
	{"a new owner begins before it has caught up", 6},
	{"workers take orders of a lower term", 165},
	{"kept halts are handed over late", 7},
	{"kept halts are in memory alone", 60},
	{"the lease counts from the answer", 56},
	{"a term does not end by itself", 1},
	{"a server without data votes", 197},
	{"what a copy has is added once more", 1},
}

// TestPlantedClusterBugsAreFound is TestPlantedBugsAreFound with several servers.
func TestPlantedClusterBugsAreFound(t *testing.T) {
	for _, bug := range clusterBugs {
		if *bugFlag != "" && bug.name != *bugFlag {
			continue
		}
		what, seed := "", bug.seed
		for ; what == "" && seed < bug.seed+40; seed++ {
			if p := playCluster(seed, bug.name, nil); len(p.bad) > 0 {
				what = p.bad[0]
				break
			}
		}
		if what == "" {
			t.Errorf("| %s | not found |", bug.name)
			continue
		}
		t.Logf("| %s | %d | %.150s |", bug.name, seed, what)
	}
}

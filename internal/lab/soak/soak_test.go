package soak

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// built is the program, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sluice-soak-"); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", built.dir, "sluice/internal/lab/simulated").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "simulated")
}

// rounds is how often it is done, over all mixes.
func rounds(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_SOAK_ROUNDS")); err == nil {
		return n
	}
	if testing.Short() {
		return 2
	}
	return 50
}

// TestKilledAtRandom: one job after another, while the server, workers elsewhere and the command line that waits are killed
// at random, and workers stand still for about as long as their lease. Every host runs every job once, within its limits,
// what it printed is kept, and whoever asks is told the truth.
func TestKilledAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SLUICE_SOAK_SEED"), 10, 64); err == nil {
		seed = s
	}
	all, faults := rounds(t), 0
	for _, m := range mixes {
		t.Run(m.name, func(t *testing.T) {
			h := newHouse(t, m, seed)
			n := m.rounds(all)
			for round := range n {
				h.round(fmt.Sprintf("round-%d", round))
				if t.Failed() {
					t.Fatalf("round %d of seed %d", round, seed)
				}
			}
			h.settled()
			h.againstTheLog()
			if status, out := h.run(t.Context(), "audit", "verify"); status != 0 {
				t.Errorf("the log: %s", out)
			}
			faults += h.sum.servers + h.sum.workers + h.sum.frozen
			if !t.Failed() {
				t.Logf("seed %d: %d rounds, kills: %d server, %d worker, %d command line; %d workers stood still; 0 violations; server killed to listening again: %s; to the next start on a host: %s",
					seed, n, h.sum.servers, h.sum.workers, h.sum.lines, h.sum.frozen, quantiles(h.sum.listening), quantiles(h.sum.starting))
			}
		})
	}
	if faults == 0 && !t.Failed() {
		t.Fatalf("seed %d: every job was over before anything was killed", seed)
	}
}

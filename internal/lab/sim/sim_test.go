package sim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

var (
	seedFlag = flag.Uint64("seed", 0, "play this seed alone, and say what happens")
	bugFlag  = flag.String("bug", "", "plant this bug in it")
)

// played is what came of a seed.
type played struct {
	bad   []string
	hash  uint64
	steps int
	now   time.Duration
	seen  map[string]bool
	log   []sluice.Event
	met   map[string]int
}

// play plays a seed to its end.
func play(seed uint64, bug string, talk func(string)) (p played) {
	return playIn(newWorld(seed, bug, false), talk)
}

// playCluster plays a seed with several servers.
func playCluster(seed uint64, bug string, talk func(string)) (p played) {
	return playIn(newWorld(seed, bug, true), talk)
}

func playIn(w *world, talk func(string)) (p played) {
	seed, bug := w.seed, w.bug
	w.talk = talk
	defer func() {
		if r := recover(); r != nil {
			if bug == "" {
				panic(fmt.Sprintf("seed %d at %v: %v", seed, w.now, r))
			}
			p = played{} // to fall over is not to be found
		}
	}()
	storm := 5*time.Minute + w.span(25*time.Minute)
	if w.c != nil {
		storm /= 3 // there is more in a minute
	}
	for w.step(storm) {
	}
	w.now = max(w.now, storm)
	if len(w.bad) == 0 {
		w.settle()
	}
	p = played{w.bad, w.hash.Sum64(), w.steps, w.now, w.seen, w.log, nil}
	if w.c != nil {
		p.met = w.c.met
	}
	return p
}

// settle plays on in fair weather: every job ends or is halted, and what the targets know gets into the log.
func (w *world) settle() {
	w.becalm()
	for round := range 5 {
		end := w.now + 20*time.Minute
		if w.c != nil {
			end -= 12 * time.Minute
		}
		for w.step(end) {
		}
		w.now = max(w.now, end)
		if len(w.bad) > 0 {
			return
		}
		if round < 4 {
			w.people.settle()
		}
	}
	w.ends()
	if w.c != nil {
		w.c.ends()
	}
	w.promises.Healed(w.people.acks, text)
	for _, v := range w.promises.Found() {
		w.wrong("%v", v)
	}
}

// ends is liveness, and that a log has one meaning.
func (w *world) ends() {
	state, half := schedule.New(), schedule.New()
	for i, e := range w.log {
		if err := state.Apply(e); err != nil {
			w.wrong("the log cannot be folded: %v", err)
			return
		}
		if err := half.Apply(e); err != nil {
			w.wrong("the log cannot be folded after a snapshot: %v", err)
			return
		}
		if i == len(w.log)/2 {
			data, err := half.Snapshot()
			if err == nil {
				half, err = schedule.Restore(data)
			}
			if err != nil {
				w.wrong("no snapshot: %v", err)
				return
			}
		}
	}
	one, err1 := state.Snapshot()
	two, err2 := half.Snapshot()
	if err1 != nil || err2 != nil || !slices.Equal(one, two) {
		w.wrong("I18: a fold from a snapshot is another one (%v, %v)", err1, err2)
	}
	for _, j := range state.Jobs() {
		switch j.State {
		case schedule.Halted, schedule.Succeeded, schedule.Failed, schedule.Cancelled:
		default:
			if len(j.Gates) == 0 {
				w.wrong("L1: job %s is still %s: %+v; waits: %+v; claims: %+v", j.Spec.ID, j.State, j, state.Waits(j.Spec.ID), w.claims[j.Spec.ID])
			}
		}
	}
}

// budget is how long to play.
func budget(t *testing.T) time.Duration {
	if s := os.Getenv("SLUICE_SIM_TIME"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("SLUICE_SIM_TIME=%q is no time, such as 5m", s)
		}
		return d
	}
	if testing.Short() {
		return 2 * time.Second
	}
	return 10 * time.Second
}

func first() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SLUICE_SIM_SEED"), 10, 64); err == nil {
		return n
	}
	return 1
}

// TestSeeds plays seed after seed while there is time.
func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		for _, bad := range play(*seedFlag, *bugFlag, func(s string) { fmt.Println(s) }).bad {
			t.Error(bad)
		}
		return
	}
	start, limit := time.Now(), budget(t)
	seen := map[string]bool{}
	seeds, steps, events, hours := 0, 0, 0, time.Duration(0)
	for seed := first(); time.Since(start) < limit; seed++ {
		p := play(seed, "", nil)
		seeds, steps, events, hours = seeds+1, steps+p.steps, events+len(p.log), hours+p.now
		for k := range p.seen {
			seen[k] = true
		}
		if len(p.bad) > 0 {
			t.Fatalf("seed %d: %s\nto see it: go test ./internal/lab/sim -run TestSeeds -seed %d", seed, p.bad[0], seed)
		}
	}
	t.Logf("%d seeds in %v: %.0f simulated hours, %d steps, %d events in the logs, %d pairs of state and event, 0 violations",
		seeds, time.Since(start).Round(time.Second), hours.Hours(), steps, events, len(seen))
}

// TestASeedIsOneGame: nothing but the seed decides.
func TestASeedIsOneGame(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		a, b := play(seed, "", nil), play(seed, "", nil)
		if a.hash != b.hash || a.steps != b.steps {
			t.Errorf("seed %d: %d steps with hash %x, then %d with %x", seed, a.steps, a.hash, b.steps, b.hash)
		}
		if c := play(seed+100, "", nil); c.hash == a.hash {
			t.Errorf("seeds %d and %d are the same game", seed, seed+100)
		}
	}
}

// TestPlantedBugsAreFound shows that the simulation bites: with any one guard broken, some seed soon breaks a promise. It
// begins with the seed that is known to; with SLUICE_SIM_SEEDS=N it counts from the first one up to N.
func TestPlantedBugsAreFound(t *testing.T) {
	from, most := uint64(0), uint64(100)
	if s := os.Getenv("SLUICE_SIM_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SLUICE_SIM_SEEDS=%q is no number", s)
		}
		from, most = 1, n
	}
	found := 0
	for _, bug := range bugs {
		if *bugFlag != "" && bug.name != *bugFlag {
			continue
		}
		seed, what := from, ""
		if from == 0 {
			seed = bug.seed
			if p := play(seed, bug.name, nil); len(p.bad) > 0 {
				what = p.bad[0]
			}
		}
		for next := uint64(1); what == "" && next <= most; next++ {
			seed = next
			if p := play(seed, bug.name, nil); len(p.bad) > 0 {
				what = p.bad[0]
			}
		}
		if what == "" {
			t.Errorf("| %s | not found in %d seeds |", bug.name, most)
			continue
		}
		found++
		t.Logf("| %s | %d | %.150s |", bug.name, seed, what)
	}
	t.Logf("%d of %d found", found, len(bugs))
}

package live_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice"
	"sluice/internal/core/live"
)

// world is hosts as they truly are, and a log of what is seen of them: hosts change by attempts and by hand, links break, and what
// an attempt came to is often known late.
type world struct {
	r      *rand.Rand
	events []sluice.Event
	hosts  []*truth
	jobs   int
}

type truth struct {
	name    sluice.Host
	live    string
	by      sluice.JobID // whose work it is; "" for nobody's on record
	hand    bool         // changed by hand after the last attempt on it began
	touched bool
	late    []sluice.Event // true ends of attempts, that nobody has seen yet
	open    bool           // the newest attempt has no end that anybody has seen
	lost    bool           // or one that did not say what is live
}

func (w *world) log(e sluice.Event) {
	e.Time = at(len(w.events))
	w.events = append(w.events, e)
}

// step lets something happen on a host.
func (w *world) step() {
	h := w.hosts[w.r.IntN(len(w.hosts))]
	switch k := w.r.IntN(10); {
	case k == 0 && h.touched:
		h.live, h.by, h.hand = fmt.Sprint("hand", w.r.IntN(3)), "", true
	case k == 1 && len(h.late) > 0:
		i := w.r.IntN(len(h.late))
		if i == len(h.late)-1 {
			h.open = false
		}
		w.log(h.late[i])
		h.late = append(h.late[:i:i], h.late[i+1:]...)
		if len(h.late) == 0 {
			h.open = false
		}
	default:
		w.attempt(h)
	}
}

func (w *world) attempt(h *truth) {
	w.jobs++
	job, version := sluice.JobID(fmt.Sprint("j", w.jobs)), fmt.Sprint(w.r.IntN(4))
	w.log(submit(0, job, version))
	w.log(start(0, job, h.name, "x"))
	if w.r.IntN(8) == 0 {
		w.log(nothing(end(0, job, h.name, "x", sluice.Unreachable, "", "")))
		return
	}
	h.touched, h.hand, h.lost = true, false, false
	before, outcome := h.live, sluice.Failed
	if k := w.r.IntN(4); k > 0 { // it comes to its swing
		if h.live != version {
			h.live, h.by = version, job
		}
		if k > 1 {
			outcome = sluice.Succeeded
		}
	}
	if outcome == sluice.Succeeded && h.by == "" {
		h.by = job
	}
	known := end(0, job, h.name, "x", outcome, before, h.live)
	switch w.r.IntN(5) {
	case 0:
		w.log(end(0, job, h.name, "x", sluice.Unknown, "", ""))
		h.late, h.open = append(h.late, known), true
	case 1:
		w.log(end(0, job, h.name, "x", outcome, "", ""))
		h.lost, h.open = true, false
	default:
		w.log(known)
		h.open = false
	}
}

// What is said to be known is true, whatever happened and whatever came late: nothing is blamed on a job that did not do it, nor on
// hands that did nothing. What could be known is not said to be unknown.
func TestWhatIsKnownIsTrue(t *testing.T) {
	var known, doubted, named, changed int
	for seed := range uint64(400) {
		w := &world{r: rand.New(rand.NewPCG(seed, 7))}
		for i := range 3 {
			w.hosts = append(w.hosts, &truth{name: sluice.Host(fmt.Sprint("h", i)), live: "0"})
		}
		m, byHand := live.New(), map[sluice.Host]bool{}
		for range 60 {
			from := len(w.events)
			w.step()
			for _, e := range w.events[from:] {
				m.Apply(e)
			}
			states := map[sluice.Host]live.State{}
			for _, s := range m.States(all) {
				states[s.Host] = s
			}
			for _, h := range w.hosts {
				s, there := states[h.name]
				byHand[h.name] = byHand[h.name] || h.hand
				if !h.touched {
					if there {
						t.Fatalf("seed %d: %+v, and nothing ever ran there", seed, s)
					}
					continue
				}
				if can := !h.open && !h.lost; s.Known != can {
					t.Fatalf("seed %d: known %v, want %v: %+v, truly %+v", seed, s.Known, can, s, *h)
				}
				if !s.Known {
					doubted++
				}
				if !s.Known || h.hand { // nobody has looked since
					continue
				}
				known++
				if s.Live.Version != h.live {
					t.Fatalf("seed %d: %+v, truly %+v", seed, s, *h)
				}
				if s.Changed {
					changed++
					if !byHand[h.name] {
						t.Fatalf("seed %d: nobody's hand has touched it: %+v, truly %+v", seed, s, *h)
					}
				}
				if s.Job != "" {
					named++
				}
				if s.Job != "" && h.by != "" && s.Job != h.by && !sameVersion(w, s.Job, h.by) {
					t.Fatalf("seed %d: it is the work of %s: %+v, truly %+v", seed, h.by, s, *h) // one of the same version may have been in doubt as well
				}
			}
		}
	}
	if known < 10000 || doubted < 3000 || named < 5000 || changed < 100 {
		t.Errorf("the histories are dull: %d known, %d not, %d with a job, %d by hand", known, doubted, named, changed)
	}
}

func sameVersion(w *world, a, b sluice.JobID) bool { return versionOf(w, a) == versionOf(w, b) }

func versionOf(w *world, id sluice.JobID) string {
	for _, e := range w.events {
		if b, is := e.Body.(sluice.JobSubmitted); is && e.Job == id {
			return b.Submitted.Action.Release.Version
		}
	}
	return ""
}

// A map takes as much room as there are places, however long the log is.
func TestWhatIsNotNeededIsForgotten(t *testing.T) {
	w := &world{r: rand.New(rand.NewPCG(1, 1)), hosts: []*truth{{name: "a", live: "0"}}}
	for range 50_000 {
		w.step()
	}
	for n := range 1000 { // nor where nothing else is made live any more
		job := sluice.JobID(fmt.Sprint("same", n))
		for _, e := range []sluice.Event{submit(0, job, "1"), start(0, job, "b", "x"), end(0, job, "b", "x", sluice.Succeeded, "1", "1")} {
			w.log(e)
		}
	}
	m := mapOf(w.events)
	if n := live.Held(m); n > 40 {
		t.Errorf("of %d events %d attempts are kept", len(w.events), n)
	}
}

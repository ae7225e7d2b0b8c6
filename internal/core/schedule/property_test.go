package schedule_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/check"
)

// TestInvariants lets a world go any way it likes and has an independent checker read the log.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(1, 3).Draw(t, "drivers"))
		checker := check.New()
		checked := 0
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for _, e := range w.log[checked:] {
					if bad := checker.Add(e); len(bad) > 0 {
						t.Fatalf("%v\n%s", bad, tell(w.log))
					}
				}
				checked = len(w.log)
			},
			"submit":   func(t *rapid.T) { w.t = t; w.submit() },
			"decide":   func(t *rapid.T) { w.t = t; w.compare(rapid.SampledFrom(w.drivers).Draw(t, "who")) },
			"end":      func(t *rapid.T) { w.t = t; w.end(w.running) },
			"end more": func(t *rapid.T) { w.t = t; w.end(w.running) },
			"learn":    func(t *rapid.T) { w.t = t; w.end(w.unknown) },
			"withdraw": func(t *rapid.T) { w.t = t; w.withdraw() },
			"operator": func(t *rapid.T) { w.t = t; w.operator() },
			"control":  func(t *rapid.T) { w.t = t; w.control() },
			"wait":     func(t *rapid.T) { w.now = w.now.Add(time.Minute) },
			"crash": func(t *rapid.T) {
				w.t = t
				rapid.SampledFrom(w.drivers).Draw(t, "who").state = w.fold()
			},
		})
	})
}

// compare lets a driver decide, and compares the starts with those of a naive reading of the rules.
func (w *world) compare(d *driver) {
	before := len(w.log)
	events := w.decide(d)
	jobs := 0
	for range d.owns {
		jobs++
	}
	if jobs != 1 {
		return // what one job's decision changes for the next is not in the naive reading
	}
	var got []check.Start
	first := len(events)
	for i, e := range events {
		switch b := e.Body.(type) {
		case sluice.TaskStarted:
			first = min(first, i)
			got = append(got, check.Start{Job: e.Job, Host: b.Host})
		case sluice.JobHalted, sluice.JobFinished:
			first = min(first, i)
		}
	}
	var want []check.Start
	for _, st := range check.Next(w.log[:before+first], w.driven, w.now) {
		if d.owns[st.Job] {
			want = append(want, st)
		}
	}
	if !reflect.DeepEqual(got, want) {
		w.t.Fatalf("starts %v, a naive reading says %v\n%s", got, want, tell(w.log))
	}
}

// TestEveryJobEnds: with faults over, every job that somebody drives finishes, is halted with a reason that is
// true, or waits at a gate; none waits for ever.
func TestEveryJobEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 2)
		for range rapid.IntRange(1, 3).Draw(t, "jobs") {
			w.submit()
		}
		for round := 0; ; round++ {
			if round > 2000 {
				t.Fatalf("it does not end\n%s", tell(w.log))
			}
			before := len(w.log)
			for _, d := range w.drivers {
				w.decide(d)
			}
			if len(w.running) > 0 {
				w.end(w.running)
			}
			w.now = w.now.Add(time.Minute)
			s := w.fold()
			for _, id := range w.jobs {
				info, _ := s.Job(id)
				for _, g := range info.Gates {
					if g.Kind == sluice.GateApproval {
						w.append(id, sluice.GatePassed{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind, By: "op"})
					}
				}
			}
			if len(w.log) == before && len(w.running) == 0 && !pausing(s, w.jobs) {
				break
			}
		}
		s := w.fold()
		for _, id := range w.jobs {
			switch info, _ := s.Job(id); info.State {
			case schedule.Succeeded, schedule.Failed, schedule.Cancelled:
			case schedule.Halted:
				if info.Halted.Rule == "" || info.Halted.Reason == "" {
					t.Fatalf("halted without a reason: %+v", info.Halted)
				}
				if info.Halted.Rule == sluice.RuleSequence && len(info.Halted.Holders) == 0 {
					t.Fatalf("halted by a sequence, but nobody is named: %+v\n%s", info.Halted, tell(w.log))
				}
			case schedule.Waiting: // behind one that is halted, and has the lock that it wants
				for _, r := range s.Why(id) {
					if r.Rule != sluice.RuleLock {
						t.Fatalf("job %s waits, and says %+v\n%s", id, r, tell(w.log))
					}
				}
			default:
				t.Fatalf("job %s is left %s\n%s", id, info.State, tell(w.log))
			}
		}
		if bad := check.Log(w.log); len(bad) > 0 {
			t.Fatalf("%v\n%s", bad, tell(w.log))
		}
	})
}

func pausing(s *schedule.State, jobs []sluice.JobID) bool {
	for _, id := range jobs {
		if info, _ := s.Job(id); len(info.Gates) > 0 && info.State == schedule.Paused {
			return true
		}
	}
	return false
}

// TestWhyIsTrue: a task that waits has a reason, and none of those that name nothing in the way is left when the
// job has just decided.
func TestWhyIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1)
		w.submit()
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			w.end(w.running)
			w.operator()
			w.decide(w.drivers[0])
			s := w.drivers[0].state
			for _, id := range w.jobs {
				info, _ := s.Job(id)
				reasons := s.Why(id)
				waiting := 0
				for _, task := range s.Tasks(id) {
					if task.Pending {
						waiting++
					}
				}
				if info.State != schedule.Succeeded && info.State != schedule.Failed && waiting != len(reasons) {
					t.Fatalf("%d wait, %d reasons", waiting, len(reasons))
				}
				for _, r := range reasons {
					if r.Rule == sluice.RuleOrder && info.State != schedule.Halted {
						t.Fatalf("%s may start, but does not: %+v\n%s", r.Host, r, tell(w.log))
					}
					if r.Rule == sluice.RuleConstraint && len(r.Holders) == 0 && info.State == schedule.Running {
						continue // a closed group has no holders
					}
				}
			}
		}
	})
}

// TestFoldIsAFunction: a state that decided step by step is the one that folds the log.
func TestFoldIsAFunction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				w.submit()
			case 1, 2:
				w.end(w.running)
			case 3:
				w.operator()
			case 4:
				w.control()
			case 5:
				w.withdraw()
			}
			w.decide(w.drivers[0])
		}
		got, want := picture(w.drivers[0].state), picture(w.fold())
		if got != want {
			t.Fatalf("stepwise\n%s\nfolded\n%s", got, want)
		}
	})
}

func picture(s *schedule.State) string {
	var b strings.Builder
	for _, info := range s.Jobs() {
		spec := info.Spec
		if info.Halted != nil {
			fmt.Fprintf(&b, "%+v ", *info.Halted)
		}
		info.Spec, info.Halted = nil, nil
		fmt.Fprintf(&b, "%s %+v %+v %+v\n", spec.ID, info, s.Tasks(spec.ID), s.Why(spec.ID))
	}
	fmt.Fprintf(&b, "%+v", s.Out())
	return b.String()
}

// tell writes a log for people who look for a mistake.
func tell(events []sluice.Event) string {
	var b strings.Builder
	for _, e := range events {
		line, _ := json.Marshal(e)
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

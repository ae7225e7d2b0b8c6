package view

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func boardOf(readOnly bool, bodies ...sluice.Body) *Board {
	spec := sluice.Job{ID: "000000000001", Targets: []sluice.Host{"a", "b", "c"}, Options: sluice.Options{ReadOnly: readOnly},
		Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "one", Hosts: []sluice.Host{"a", "b", "c"}}}}}}
	b := NewBoard()
	b.Apply(sluice.Event{Seq: 1, Time: at(0), Job: spec.ID, Body: sluice.JobSubmitted{Submitted: spec}})
	for i, body := range bodies {
		b.Apply(sluice.Event{Seq: uint64(i + 2), Time: at(i + 1), Job: spec.ID, Body: body})
	}
	return b
}

func tried(h sluice.Host, o sluice.Outcome) sluice.TaskFinished {
	return sluice.TaskFinished{Host: h, Attempt: "x", Outcome: o}
}

// What keeps a host out of service is on the line for as long as it does so.
func TestTimelineOut(t *testing.T) {
	for name, c := range map[string]struct {
		readOnly bool
		bodies   []sluice.Body
		out      int // at the end
		done     int
	}{
		"failed":           {false, []sluice.Body{start("a"), tried("a", sluice.Failed)}, 1, 1},
		"succeeded":        {false, []sluice.Body{start("a"), tried("a", sluice.Succeeded)}, 0, 1},
		"running":          {false, []sluice.Body{start("a")}, 1, 0},
		"unknown, then so": {false, []sluice.Body{start("a"), tried("a", sluice.Unknown), tried("a", sluice.Succeeded)}, 0, 1},
		"skipped after":    {false, []sluice.Body{start("a"), tried("a", sluice.Failed), end("a", sluice.Skipped)}, 1, 1},
		"waits again":      {false, []sluice.Body{start("a"), tried("a", sluice.Failed), sluice.TaskRetried{Hosts: []sluice.Host{"a"}}}, 1, 0},
		"withdrawn":        {false, []sluice.Body{start("a"), sluice.TaskWithdrawn{Host: "a"}}, 0, 0},
		"never started":    {false, []sluice.Body{sluice.TaskFinished{Host: "a", Attempt: "x", Outcome: sluice.Cancelled, NotStarted: true}}, 0, 1},
		"only read":        {true, []sluice.Body{start("a"), tried("a", sluice.Failed)}, 0, 1},
		"another host":     {false, []sluice.Body{start("stranger")}, 0, 0},
	} {
		b := boardOf(c.readOnly, c.bodies...)
		// The second step begins when all has happened.
		line := b.Timeline(nil, at(1000), 2)
		if n := len(line.Out); line.Out[n-1] != c.out || line.Done[n-1] != c.done {
			t.Errorf("%s: %+v", name, line)
		}
	}
}

// TestTimelineHidesNothing: however coarse the steps, the most that were in flight and out at once are on the line, and the
// lines of two halves add up to no less than the whole.
func TestTimelineHidesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := []sluice.Host{"a", "b", "c"}
		var bodies []sluice.Body
		state := map[sluice.Host]int{} // 1 runs, 2 is bad
		most, out, mostOut := 0, 0, 0
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			h := rapid.SampledFrom(hosts).Draw(t, "host")
			if state[h] != 1 {
				bodies = append(bodies, start(h))
				state[h] = 1
			} else if rapid.Bool().Draw(t, "good") {
				bodies = append(bodies, tried(h, sluice.Succeeded))
				state[h] = 0
			} else {
				bodies = append(bodies, tried(h, sluice.TimedOut))
				state[h] = 2
			}
			running := 0
			out = 0
			for _, s := range state {
				if s == 1 {
					running++
				}
				if s != 0 {
					out++
				}
			}
			most, mostOut = max(most, running), max(mostOut, out)
		}
		b := boardOf(false, bodies...)
		points := rapid.IntRange(1, 50).Draw(t, "points")
		until := at(rapid.IntRange(0, 60).Draw(t, "until"))
		line := b.Timeline(nil, until, points)
		n := len(line.Out)
		if n > points+1 || len(line.InFlight) != n || len(line.Done) != n {
			t.Fatalf("%d points of %d", n, points)
		}
		if slices.Max(line.InFlight) != most || slices.Max(line.Out) != mostOut || line.Out[n-1] < out {
			t.Fatalf("%+v, most in flight %d, most out %d", line, most, mostOut)
		}
		one := b.Timeline(func(i int) bool { return i == 0 }, until, points)
		rest := b.Timeline(func(i int) bool { return i != 0 }, until, points)
		for k := range n {
			if one.Out[k]+rest.Out[k] < line.Out[k] || one.Done[k]+rest.Done[k] != line.Done[k] {
				t.Fatalf("step %d: %+v and %+v, together %+v", k, one, rest, line)
			}
		}
	})
}

func TestRuns(t *testing.T) {
	for _, c := range []struct{ numbers, want []int }{
		{nil, []int{}}, {[]int{4}, []int{4, 1}}, {[]int{0, 1, 2, 5, 7, 8}, []int{0, 3, 5, 1, 7, 2}},
	} {
		if got := Runs(c.numbers); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.numbers, got)
		}
	}
}

// A line of a job that has gone on for a month is as long as any other.
func TestTimelineIsBounded(t *testing.T) {
	b := boardOf(false, start("a"))
	line := b.Timeline(nil, at(30*24*3600), 240)
	if len(line.Out) > 241 || line.Step < 3*time.Hour || line.Out[len(line.Out)-1] != 1 {
		t.Errorf("%d points of %v", len(line.Out), line.Step)
	}
	if line := boardOf(false).Timeline(nil, at(-5), 240); len(line.Out) != 1 { // a clock that was set back
		t.Errorf("%+v", line)
	}
}

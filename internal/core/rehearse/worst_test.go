package rehearse

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/lab/check"
)

// drawFleet makes a fleet whose tags cut it in all ways.
func drawFleet(t *rapid.T) *sluice.Fleet {
	f := &sluice.Fleet{Namespace: "test", Tags: map[sluice.Tag][]sluice.Host{}}
	for i := range rapid.IntRange(1, 25).Draw(t, "hosts") {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("h%02d", i)))
	}
	subset := func() (out []sluice.Host) {
		for _, h := range f.Hosts {
			if rapid.Bool().Draw(t, "member") {
				out = append(out, h)
			}
		}
		return out
	}
	amount := rapid.OneOf(rapid.Map(rapid.IntRange(1, 6), sluice.Count), rapid.Map(rapid.SampledFrom([]int{5, 25, 50, 100}), sluice.Percent))
	for i := range rapid.IntRange(0, 4).Draw(t, "tags") {
		tag := sluice.Tag(fmt.Sprintf("t%d", i))
		f.TagOrder, f.Tags[tag] = append(f.TagOrder, tag), subset()
		if rapid.Bool().Draw(t, "limited") && len(f.Tags[tag]) > 0 {
			f.Constraints = append(f.Constraints, sluice.Constraint{Name: "$" + string(tag), Groups: []sluice.Group{
				{Name: "$" + string(tag), Limit: amount.Draw(t, "limit"), Members: f.Tags[tag]}}})
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "sequences") {
		s := sluice.Sequence{Name: fmt.Sprintf("s%d", i)}
		for k := range rapid.IntRange(1, 4).Draw(t, "entries") {
			e := sluice.Entry{Name: fmt.Sprintf("e%d", k), Hosts: subset()}
			e.Gate.MaxFailures = rapid.OneOf(rapid.Just(sluice.Count(0)), amount).Draw(t, "max failures")
			e.Gate.Ramp = rapid.SliceOfN(amount, 0, 2).Draw(t, "ramp")
			s.Entries = append(s.Entries, e)
		}
		f.Sequences = append(f.Sequences, s)
	}
	return f
}

// Whatever fails, hangs or is lost, a job never has more hosts of a tag out of service than its plan said, and its
// log obeys every rule, also when the controller crashes on the way.
func TestNeverWorseThanThePlanSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFleet(t)
		p, targets, err := plan.Make(f, f.Hosts)
		if err != nil {
			return // sequences that wait for each other
		}
		rules, err := sluice.NewRules(f.Hosts, f.Constraints)
		if err != nil {
			t.Fatal(err)
		}
		job := sluice.Job{ID: "000000000001", Namespace: "test", Targets: targets, Tracks: p.Tracks, Rules: rules.Digest}
		job.Options.Timeout = 5 * time.Minute
		share := rapid.SampledFrom([]float64{0, 0.1, 0.5, 1})
		o := Options{Seed: rapid.Uint64().Draw(t, "seed"), Start: time.Unix(0, 0).UTC(), Duration: time.Minute, Jitter: 0.9,
			Fail: Chance{Share: share.Draw(t, "fail")}, Hang: Chance{Share: share.Draw(t, "hang")}, Lose: Chance{Share: share.Draw(t, "lose")},
			CrashAt: time.Duration(rapid.IntRange(0, 300).Draw(t, "crash")) * time.Second, PatienceFor: DefaultPatience}
		var events []sluice.Event
		r, err := Run(f, rules, job, o, func(e sluice.Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		worst := map[sluice.Tag]int{}
		for _, w := range plan.WorstCase(f, p) {
			worst[w.Tag] = w.Out
		}
		for _, peak := range r.Peaks {
			if peak.Out > worst[peak.Tag] {
				t.Errorf("%d hosts of %s were out, the plan said %d", peak.Out, peak.Tag, worst[peak.Tag])
			}
		}
		if r.Last.Body == nil {
			t.Error("it does not end")
		}
		if bad := check.Log(events); len(bad) > 0 {
			t.Errorf("%v", bad)
		}
	})
}

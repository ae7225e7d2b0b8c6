package rehearse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/plan"
)

func fleet(n int) *sluice.Fleet {
	f := &sluice.Fleet{Namespace: "test", Tags: map[sluice.Tag][]sluice.Host{}}
	for i := range n {
		h := sluice.Host(fmt.Sprintf("web%05d", i))
		f.Hosts = append(f.Hosts, h)
		rack := sluice.Tag(fmt.Sprintf("rack.r%d", i/40))
		if len(f.Tags[rack]) == 0 {
			f.TagOrder = append(f.TagOrder, rack)
		}
		f.Tags[rack] = append(f.Tags[rack], h)
	}
	racks := sluice.Constraint{Name: "$rack"}
	for _, t := range f.TagOrder {
		racks.Groups = append(racks.Groups, sluice.Group{Name: "$" + string(t), Limit: sluice.Percent(10), Members: f.Tags[t]})
	}
	f.Constraints = []sluice.Constraint{racks, {Name: "all", Groups: []sluice.Group{{Name: "all", Limit: sluice.Percent(5), Members: f.Hosts}}}}
	return f
}

func jobOn(tb testing.TB, f *sluice.Fleet, edit func(*sluice.Job)) (sluice.Job, sluice.Rules) {
	tb.Helper()
	p, targets, err := plan.Make(f, f.Hosts)
	if err != nil {
		tb.Fatal(err)
	}
	rules, err := sluice.NewRules(f.Hosts, f.Constraints)
	if err != nil {
		tb.Fatal(err)
	}
	j := sluice.Job{ID: "000000000001", Namespace: f.Namespace, Command: "true", Targets: targets, Tracks: p.Tracks, Rules: rules.Digest}
	if edit != nil {
		edit(&j)
	}
	return j, rules
}

func rehearse(tb testing.TB, f *sluice.Fleet, j sluice.Job, rules sluice.Rules, o Options) ([]sluice.Event, Result) {
	tb.Helper()
	var events []sluice.Event
	o.Start = time.Unix(0, 0).UTC()
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	o.PatienceFor = DefaultPatience
	r, err := Run(f, rules, j, o, func(e sluice.Event) { events = append(events, e) })
	if err != nil {
		tb.Fatal(err)
	}
	return events, r
}

func TestSameSeedSameBytes(t *testing.T) {
	f := fleet(200)
	j, rules := jobOn(t, f, nil)
	var before []byte
	for range 3 {
		events, _ := rehearse(t, f, j, rules, Options{Seed: 7, Jitter: 0.5, Fail: Chance{Share: 0.02}, CrashAt: time.Minute})
		b, err := json.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !bytes.Equal(b, before) {
			t.Fatal("two rehearsals with one seed differ")
		}
		before = b
	}
	other, _ := rehearse(t, f, j, rules, Options{Seed: 8, Jitter: 0.5, Fail: Chance{Share: 0.02}, CrashAt: time.Minute})
	if b, _ := json.Marshal(other); bytes.Equal(b, before) {
		t.Error("another seed gives the same")
	}
}

func TestTimes(t *testing.T) {
	f := fleet(200) // 5 % of all are 10 at once, 10 % of a rack are 4. The last rack goes on alone: 23 waves, not 20
	j, rules := jobOn(t, f, nil)
	_, r := rehearse(t, f, j, rules, Options{})
	if r.Total != 23*DefaultDuration || r.Counts[sluice.Succeeded] != 200 || r.Stages[0].Peak != 10 {
		t.Errorf("total %v, counts %v, stages %+v", r.Total, r.Counts, r.Stages)
	}
	for _, p := range r.Peaks {
		if p.Out > 4 {
			t.Errorf("%+v: a rack may lose four", p)
		}
	}
}

func TestHangsAreCancelledInTheEnd(t *testing.T) {
	f := fleet(10)
	f.Constraints = nil
	j, rules := jobOn(t, f, nil)
	_, r := rehearse(t, f, j, rules, Options{Hang: Chance{Hosts: map[sluice.Host]bool{"web00003": true}}})
	if r.Total != DefaultPatience || r.Counts[sluice.Cancelled] != 1 || r.Counts[sluice.Succeeded] != 9 {
		t.Errorf("total %v, counts %v", r.Total, r.Counts)
	}
	j.Options.Timeout = time.Minute
	_, r = rehearse(t, f, j, rules, Options{Hang: Chance{Hosts: map[sluice.Host]bool{"web00003": true}}})
	if r.Total != time.Minute || r.Counts[sluice.TimedOut] != 1 {
		t.Errorf("with a time limit: total %v, counts %v", r.Total, r.Counts)
	}
}

func BenchmarkRehearse(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := fleet(n)
			j, rules := jobOn(b, f, nil)
			for b.Loop() {
				rehearse(b, f, j, rules, Options{Jitter: 0.5})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/host")
		})
	}
}

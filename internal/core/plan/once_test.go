package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func TestOnce(t *testing.T) {
	all := hosts("h1 h2 h3 h4 h5 h6")
	canary := entry("$canary", "h3")
	canary.Gate = sluice.Gate{Pause: time.Minute, Approve: true}
	ramp := entry("$n", "h1 h2 h3 h4")
	ramp.Gate = sluice.Gate{Ramp: []sluice.Amount{sluice.Count(1), sluice.Percent(50)}, MaxFailures: sluice.Count(2)}
	tags := map[sluice.Tag][]sluice.Host{"migrates": hosts("h2 h5"), "colo.north": hosts("h4")}
	seq := func(name string, of ...sluice.Entry) sluice.Sequence { return sluice.Sequence{Name: name, Entries: of} }
	for _, tc := range []struct {
		name      string
		sequences []sluice.Sequence
		approval  bool
		targets   string
		on        string
		host      sluice.Host
		want      string // the plan, or why there is none
	}{
		{"no sequence", nil, false, "h3 h2", "first", "h2", "unconstrained: once(h2) unconstrained(h3)\n"},
		{"a host", nil, false, "h1 h2 h3", "h3", "h3", "unconstrained: once(h3) unconstrained(h1 h2)\n"},
		{"the first target of a tag", nil, false, "h1 h5 h6", "$migrates", "h5", "unconstrained: once(h5) unconstrained(h1 h6)\n"},
		{"a tag with a value", nil, false, "h1 h4", "$colo.north", "h4", "unconstrained: once(h4) unconstrained(h1)\n"},
		{"one host", nil, false, "h1", "first", "h1", "unconstrained: once(h1)\n"},
		{"the canary goes first, and its gate stays", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, false, "h1 h2 h3", "first", "h3",
			"colo: once(h3) $canary() rest(h1 h2)\n"},
		{"other tracks wait, too", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, false, "h1 h2 h3 h6", "h6", "h6",
			"colo: once(h6) $canary(h3) rest(h1 h2)\nunconstrained: once(h6)\n"},
		{"behind the approval of the start", nil, true, "h1 h2", "first", "h1", "unconstrained: start() once(h1) unconstrained(h2)\n"},
		{"the steps of a ramp are no order", []sluice.Sequence{seq("colo", ramp)}, false, "h1 h2 h3 h4", "h4", "h4",
			"colo: once(h4) $n [1](h1) $n [50%](h2) $n [rest](h3)\n"},
		{"the fleet lets others go first", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, false, "h1 h2 h3", "h2", "", "$canary of colo before h2"},
		{"in one of its sequences", []sluice.Sequence{seq("a", entry("x", "h1"), entry("y", "h2")), seq("b", entry("z", "h2"))}, false, "h1 h2", "$migrates", "", "x of a before h2"},
		{"the second of a tag will do", []sluice.Sequence{seq("a", entry("x", "h1"), entry("y", "h2"))}, false, "h1 h2 h5", "$migrates", "h5",
			"a: once(h5) x(h1) y(h2)\nunconstrained: once(h5)\n"},
		{"none of the hosts", nil, false, "h1", "h2", "", "runs on h2, and that is none of the hosts that are meant"},
		{"no such tag", nil, false, "h1", "$nobody", "", "runs on $nobody"},
	} {
		f := &sluice.Fleet{Hosts: all, Tags: tags, Sequences: tc.sequences, Approval: sluice.Approval{Start: tc.approval}}
		p, targets, err := Make(f, hosts(tc.targets))
		if err != nil {
			t.Fatal(err)
		}
		before := show(p)
		got, host, err := Once(p, targets, f, tc.on)
		if show(p) != before {
			t.Errorf("%s: the plan that was given has changed", tc.name)
		}
		switch {
		case tc.host == "":
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v; it shall say %q", tc.name, err, tc.want)
			}
		case err != nil || host != tc.host || show(got) != tc.want:
			t.Errorf("%s: %s, %v\n%s", tc.name, host, err, show(got))
		}
	}
}

// Whatever the sequences are: the first will do, nobody goes before it, all that is settled before a host starts still is, and no
// failure lets the others pass.
func TestOnceIsBeforeAllOthers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := hosts("h1 h2 h3 h4 h5 h6")
		f := &sluice.Fleet{Hosts: all, Approval: sluice.Approval{Start: rapid.Bool().Draw(rt, "start")}}
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 4, rapid.ID)
		for range rapid.IntRange(0, 3).Draw(rt, "sequences") {
			s := sluice.Sequence{Name: "s" + string(rune('a'+len(f.Sequences)))}
			for range rapid.IntRange(1, 3).Draw(rt, "entries") {
				s.Entries = append(s.Entries, sluice.Entry{Name: "e", Hosts: some.Draw(rt, "members"),
					Gate: sluice.Gate{Approve: rapid.Bool().Draw(rt, "gate"), MaxFailures: sluice.Count(rapid.IntRange(0, 2).Draw(rt, "failures"))}})
			}
			f.Sequences = append(f.Sequences, s)
		}
		was, targets, err := Make(f, rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 6, rapid.ID).Draw(rt, "targets"))
		if err != nil {
			rt.Skip("sequences wait for each other")
		}
		p, first, err := Once(was, targets, f, sluice.OnceFirst)
		if err != nil {
			rt.Fatal(err)
		}
		for i, tr := range p.Tracks {
			stages := tr.Stages
			if f.Approval.Start {
				stages = stages[1:]
			}
			if s := stages[0]; !slices.Equal(s.Hosts, []sluice.Host{first}) || s.MaxFailures != 0 || len(stages) > 1 && stages[1].Entry == s.Entry {
				rt.Fatalf("%s does not begin with %s alone:\n%s", tr.Name, first, show(p))
			}
			var others, before []sluice.Host
			gates, gatesBefore := 0, 0
			for _, s := range stages[1:] {
				others = append(others, s.Hosts...)
				if s.Gate.Approve {
					gates++
				}
			}
			for _, s := range was.Tracks[i].Stages {
				before = append(before, s.Hosts...)
				if s.Gate.Approve && s.Name != sluice.BeforeStart {
					gatesBefore++
				}
			}
			before = slices.DeleteFunc(before, func(h sluice.Host) bool { return h == first })
			if !slices.Equal(others, before) || gates != gatesBefore {
				rt.Fatalf("the order of the others has changed:\n%s%s", show(was), show(p))
			}
		}
	})
}

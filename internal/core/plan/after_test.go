package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func TestAfter(t *testing.T) {
	all := hosts("h1 h2 h3 h4 h5 h6")
	gate := sluice.Gate{Pause: time.Minute, Approve: true}
	canary, rest := entry("$canary", "h3"), entry("rest", "h1 h2")
	canary.Gate, rest.Gate = gate, gate
	ramp := entry("$n", "h1 h2 h3 h4")
	ramp.Gate = sluice.Gate{Ramp: []sluice.Amount{sluice.Count(1), sluice.Percent(50)}, MaxFailures: sluice.Count(2), Approve: true}
	tags := map[sluice.Tag][]sluice.Host{"tidies": hosts("h2 h5"), "colo.north": hosts("h4")}
	seq := func(name string, of ...sluice.Entry) sluice.Sequence { return sluice.Sequence{Name: name, Entries: of} }
	for _, tc := range []struct {
		name      string
		sequences []sluice.Sequence
		targets   string
		once, on  string
		host      sluice.Host
		want      string // the plan, or why there is none
	}{
		{"no sequence", nil, "h3 h2", "", "last", "h3", "unconstrained: unconstrained(h2) after(h3)\n"},
		{"a host", nil, "h1 h2 h3", "", "h1", "h1", "unconstrained: unconstrained(h2 h3) after(h1)\n"},
		{"the last target of a tag", nil, "h2 h5 h6", "", "$tidies", "h5", "unconstrained: unconstrained(h2 h6) after(h5)\n"},
		{"a tag with a value", nil, "h1 h4 h6", "", "$colo.north", "h4", "unconstrained: unconstrained(h1 h6) after(h4)\n"},
		{"one host", nil, "h1", "", "last", "h1", "unconstrained: after(h1)\n"},
		{"one host for both", nil, "h1", "first", "last", "h1", "unconstrained: once(h1)\n"},
		{"one host for both, by name", nil, "h1", "h1", "h1", "h1", "unconstrained: once(h1)\n"},
		{"one host, and another is named", nil, "h1", "first", "h2", "", "runs on h2, and that is none of the hosts that are meant"},
		{"both, among two", nil, "h1 h2", "h2", "last", "h1", "unconstrained: once(h2) after(h1)\n"},
		{"both, and a tag that has another", nil, "h2 h5", "h5", "$tidies", "h2", "unconstrained: once(h5) after(h2)\n"},
		{"both, and a tag that has no other", nil, "h1 h4", "h4", "$colo.north", "", "runs on $colo.north, and it cannot be the last: h4 runs what it runs once before all others"},
		{"both, and the same host", nil, "h1 h2", "first", "h1", "", "runs on h1, and it cannot be the last: h1 runs what it runs once before all others"},
		{"the canary is not the last", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, "h1 h2 h3", "", "last", "h2",
			"colo: $canary!(h3) rest(h1) after(h2)\n"},
		{"its gates hold", []sluice.Sequence{seq("colo", canary, rest)}, "h1 h2 h3", "", "last", "h2", "colo: $canary!(h3) rest!(h1) after(h2)\n"},
		{"of its entry nothing is left, nor the gate", []sluice.Sequence{seq("colo", canary, rest)}, "h1 h3", "", "last", "h1", "colo: $canary!(h3) after(h1)\n"},
		{"once emptied the canary", []sluice.Sequence{seq("colo", canary, rest)}, "h1 h2 h3", "first", "last", "h2", "colo: once(h3) $canary!() rest!(h1) after(h2)\n"},
		{"other tracks come first, too", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, "h1 h2 h3 h6", "", "h6", "h6",
			"colo: $canary!(h3) rest(h1 h2) after(h6)\nunconstrained: after(h6)\n"},
		{"the steps of a ramp are no order, and its gate holds", []sluice.Sequence{seq("colo", ramp)}, "h1 h2 h3 h4", "", "h1", "h1",
			"colo: $n [50%](h2) $n [rest]!(h3 h4) after(h1)\n"},
		{"the rest of a ramp", []sluice.Sequence{seq("colo", ramp)}, "h1 h2", "", "last", "h2", "colo: $n [1](h1) $n [rest]!() after(h2)\n"},
		{"the fleet has others after it", []sluice.Sequence{seq("colo", canary, entry("rest", "h1 h2"))}, "h1 h2 h3", "", "h3", "", "the fleet has rest of colo after h3"},
		{"in one of its sequences", []sluice.Sequence{seq("a", entry("x", "h1"), entry("y", "h2")), seq("b", entry("z", "h2"), entry("w", "h4"))}, "h1 h2 h4", "", "$tidies", "", "the fleet has w of b after h2"},
		{"another of a tag will do", []sluice.Sequence{seq("a", entry("x", "h5"), entry("y", "h1"))}, "h1 h2 h5", "", "$tidies", "h2",
			"a: x(h5) y(h1) after(h2)\nunconstrained: after(h2)\n"},
		{"no such tag", nil, "h1", "", "$nobody", "", "runs on $nobody"},
	} {
		f := &sluice.Fleet{Hosts: all, Tags: tags, Sequences: tc.sequences}
		p, targets, err := Make(f, hosts(tc.targets))
		if err != nil {
			t.Fatal(err)
		}
		first := sluice.Host("")
		if tc.once != "" {
			if p, first, err = Once(p, targets, f, tc.once); err != nil {
				t.Fatal(err)
			}
		}
		before := show(p)
		got, host, err := After(p, targets, f, tc.on, first)
		if show(p) != before {
			t.Errorf("%s: the plan that was given has changed", tc.name)
		}
		switch {
		case tc.host == "":
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v; it shall say %q", tc.name, err, tc.want)
			}
		case err != nil || host != tc.host || showGates(got) != tc.want:
			t.Errorf("%s: %s, %v\n%s", tc.name, host, err, showGates(got))
		}
	}
}

// showGates marks the stages that have a gate behind them.
func showGates(p sluice.Plan) string {
	tracks := slices.Clone(p.Tracks)
	for i, t := range tracks {
		tracks[i].Stages = slices.Clone(t.Stages)
		for k, st := range t.Stages {
			if st.Gate.Approve {
				tracks[i].Stages[k].Name += "!"
			}
		}
	}
	return show(sluice.Plan{Tracks: tracks})
}

// Whatever the sequences are, and with a host before all others or without: there is a last, it comes behind everybody, and for the
// others nothing changes: not their order, and no gate that was between them.
func TestAfterIsBehindAllOthers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := hosts("h1 h2 h3 h4 h5 h6")
		f := &sluice.Fleet{Hosts: all, Approval: sluice.Approval{Start: rapid.Bool().Draw(rt, "start")}}
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 4, rapid.ID)
		for range rapid.IntRange(0, 3).Draw(rt, "sequences") {
			s := sluice.Sequence{Name: "s" + string(rune('a'+len(f.Sequences)))}
			for range rapid.IntRange(1, 3).Draw(rt, "entries") {
				e := sluice.Entry{Name: "e", Hosts: some.Draw(rt, "members"),
					Gate: sluice.Gate{Approve: rapid.Bool().Draw(rt, "gate"), MaxFailures: sluice.Count(rapid.IntRange(0, 2).Draw(rt, "failures"))}}
				if rapid.Bool().Draw(rt, "ramp") {
					e.Gate.Ramp = []sluice.Amount{sluice.Count(1)}
				}
				s.Entries = append(s.Entries, e)
			}
			f.Sequences = append(f.Sequences, s)
		}
		was, targets, err := Make(f, rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 6, rapid.ID).Draw(rt, "targets"))
		if err != nil {
			rt.Skip("sequences wait for each other")
		}
		first := sluice.Host("")
		if rapid.Bool().Draw(rt, "once") {
			if was, first, err = Once(was, targets, f, sluice.OnceFirst); err != nil {
				rt.Fatal(err)
			}
		}
		p, end, err := After(was, targets, f, sluice.AfterLast, first)
		if err != nil {
			rt.Fatal(err)
		}
		if end == first {
			if len(targets) > 1 || show(p) != show(was) {
				rt.Fatalf("%s is both among %s:\n%s", end, targets, show(p))
			}
			return
		}
		// gates are the hosts that a plan has before each of its gates, of the hosts but for the last.
		gates := func(stages []sluice.Stage) (out [][]sluice.Host, hosts []sluice.Host) {
			for _, s := range stages {
				hosts = append(hosts, slices.DeleteFunc(slices.Clone(s.Hosts), func(h sluice.Host) bool { return h == end })...)
				if s.Gate.Approve {
					out = append(out, slices.Clone(hosts))
				}
			}
			return slices.DeleteFunc(out, func(before []sluice.Host) bool { return len(before) == len(hosts) }), hosts
		}
		for i, tr := range p.Tracks {
			n := len(tr.Stages) - 1
			s := tr.Stages[n]
			if s.Name != sluice.AfterStage || !slices.Equal(s.Hosts, []sluice.Host{end}) || s.MaxFailures != 0 || n > 0 && tr.Stages[n-1].Entry == s.Entry {
				rt.Fatalf("%s does not end with %s alone:\n%s", tr.Name, end, show(p))
			}
			for _, s := range tr.Stages[:n] {
				if slices.Contains(s.Hosts, end) {
					rt.Fatalf("%s is there twice:\n%s", end, show(p))
				}
			}
			got, others := gates(tr.Stages[:n])
			want, before := gates(was.Tracks[i].Stages)
			if !slices.Equal(others, before) || !slices.EqualFunc(got, want, slices.Equal[[]sluice.Host]) {
				rt.Fatalf("the order of the others has changed:\n%s%s", show(was), show(p))
			}
		}
	})
}

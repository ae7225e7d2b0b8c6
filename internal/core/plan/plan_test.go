package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func hosts(names string) (out []sluice.Host) {
	for n := range strings.FieldsSeq(names) {
		out = append(out, sluice.Host(n))
	}
	return out
}

func entry(name, members string) sluice.Entry { return sluice.Entry{Name: name, Hosts: hosts(members)} }

// show writes a plan in one line a track: name: stage(host host) stage(...).
func show(p sluice.Plan) string {
	var b strings.Builder
	for _, t := range p.Tracks {
		fmt.Fprintf(&b, "%s:", t.Name)
		for _, s := range t.Stages {
			var names []string
			for _, h := range s.Hosts {
				names = append(names, string(h))
			}
			fmt.Fprintf(&b, " %s(%s)", s.Name, strings.Join(names, " "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestMake(t *testing.T) {
	all := hosts("h1 h2 h3 h4 h5 h6")
	for _, tc := range []struct {
		name    string
		fleet   sluice.Fleet
		targets string
		want    string
	}{
		{"no sequence", sluice.Fleet{Hosts: all}, "h2 h1 h2", "unconstrained: unconstrained(h1 h2)\n"},
		{"one after the other", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{
			{Name: "colo", Entries: []sluice.Entry{entry("$n", "h1 h2 h3"), entry("$s", "h4 h5 h6")}}}},
			"h6 h1 h4", "colo: $n(h1) $s(h4 h6)\n"},
		{"approval before the start", sluice.Fleet{Hosts: all, Approval: sluice.Approval{Start: true}, Sequences: []sluice.Sequence{
			{Name: "colo", Entries: []sluice.Entry{entry("$n", "h1")}}}},
			"h1 h2", "colo: start() $n(h1)\nunconstrained: start() unconstrained(h2)\n"},
		{"entry without a target is left out", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{
			{Name: "colo", Entries: []sluice.Entry{entry("$n", "h1"), entry("$s", "h4")}}}},
			"h4", "colo: $s(h4)\n"},
		{"a host in two entries belongs to the first", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{
			{Name: "s", Entries: []sluice.Entry{entry("a", "h1 h2"), entry("b", "h2 h3")}}}},
			"h1 h2 h3", "s: a(h1 h2) b(h3)\n"},
		{"tracks and the rest", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{
			{Name: "$frontend", Entries: []sluice.Entry{entry("n", "h1"), entry("s", "h4")}},
			{Name: "$backend", Entries: []sluice.Entry{entry("s", "h5"), entry("n", "h2")}}}},
			"h1 h2 h3 h4 h5 h6", "$frontend: n(h1) s(h4)\n$backend: s(h5) n(h2)\nunconstrained: unconstrained(h3 h6)\n"},
		{"ramp", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{{Name: "r", Entries: []sluice.Entry{{Name: "$a",
			Hosts: all, Gate: sluice.Gate{Ramp: []sluice.Amount{sluice.Count(1), sluice.Percent(50), sluice.Percent(100)}}}}}}},
			"h1 h2 h3 h4 h5 h6", "r: $a [1](h1) $a [50%](h2 h3) $a [100%](h4 h5 h6)\n"},
		{"ramp that ends early", sluice.Fleet{Hosts: all, Sequences: []sluice.Sequence{{Name: "r", Entries: []sluice.Entry{{Name: "$a",
			Hosts: all, Gate: sluice.Gate{Ramp: []sluice.Amount{sluice.Percent(1), sluice.Count(1)}}}}}}},
			"h1 h2 h3", "r: $a [1%](h1) $a [rest](h2 h3)\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, ordered, err := Make(&tc.fleet, hosts(tc.targets))
			if err != nil {
				t.Fatal(err)
			}
			if got := show(p); got != tc.want {
				t.Errorf("got\n%swant\n%s", got, tc.want)
			}
			for i := 1; i < len(ordered); i++ {
				if ordered[i-1] >= ordered[i] {
					t.Errorf("targets are not in fleet order: %v", ordered)
				}
			}
		})
	}
}

func TestGateStandsOnTheLastStageOfAnEntry(t *testing.T) {
	gate := sluice.Gate{MaxFailures: sluice.Percent(50), Pause: time.Minute, Approve: true, Ramp: []sluice.Amount{sluice.Count(1)}}
	f := sluice.Fleet{Hosts: hosts("a b c d e"), Sequences: []sluice.Sequence{{Name: "s", Entries: []sluice.Entry{
		{Name: "x", Hosts: hosts("a b c"), Gate: gate}, entry("y", "d e")}}}}
	p, _, err := Make(&f, f.Hosts)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Tracks[0].Stages
	if len(s) != 3 || s[0].Gate.Approve || !s[1].Gate.Approve || s[1].Gate.Pause != time.Minute || s[2].Gate.Approve {
		t.Errorf("gates: %+v", s)
	}
	if s[0].MaxFailures != 1 || s[1].MaxFailures != 1 || s[2].MaxFailures != 0 {
		t.Errorf("half of three is one: %+v", s)
	}
	if s[0].Entry != 0 || s[1].Entry != 0 || s[2].Entry != 1 {
		t.Errorf("entries: %+v", s)
	}
}

func TestMakeRefuses(t *testing.T) {
	crossed := sluice.Fleet{Hosts: hosts("a b"), Sequences: []sluice.Sequence{
		{Name: "one", Entries: []sluice.Entry{entry("x", "a"), entry("y", "b")}, At: sluice.Position{File: "f", Line: 3, Column: 1}},
		{Name: "two", Entries: []sluice.Entry{entry("v", "b"), entry("w", "a")}}}}
	for _, tc := range []struct {
		name, targets, want string
		code                sluice.Code
	}{
		{"crossed", "a b", "wait for each other: x of one, then y of one, then v of two, then w of two", sluice.Config},
		{"nobody", "", "no hosts are meant", sluice.Usage},
		{"stranger", "a z", `no host "z"`, sluice.Usage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Make(&crossed, hosts(tc.targets))
			if err == nil || !strings.Contains(err.Error(), tc.want) || sluice.CodeOf(err) != tc.code {
				t.Fatalf("got %v (%s), want %q (%s)", err, sluice.CodeOf(err), tc.want, tc.code)
			}
		})
	}
	if _, _, err := Make(&crossed, hosts("a")); err != nil {
		t.Errorf("with one host there is nothing to wait for: %v", err)
	}
}

// Property: crossing sequences are refused if and only if some order of the hosts cannot satisfy all of them.
func TestCyclesAreThoseThatCannotEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "hosts")
		f := sluice.Fleet{}
		for i := range n {
			f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("h%d", i)))
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "sequences") {
			seq := sluice.Sequence{Name: fmt.Sprintf("s%d", i)}
			for k := range rapid.IntRange(1, 4).Draw(t, "entries") {
				seq.Entries = append(seq.Entries, sluice.Entry{Name: fmt.Sprintf("e%d", k),
					Hosts: rapid.SliceOfNDistinct(rapid.SampledFrom(f.Hosts), 1, n, rapid.ID[sluice.Host]).Draw(t, "members")})
			}
			f.Sequences = append(f.Sequences, seq)
		}
		p, _, err := Make(&f, f.Hosts)
		if err != nil && !errors.As(err, new(*sluice.Error)) {
			t.Fatalf("not an error for people: %v", err)
		}
		if err != nil {
			p = sluice.Plan{}
			for _, s := range f.Sequences { // the same plan without the check
				named := map[sluice.Host]bool{}
				isTarget := map[sluice.Host]bool{}
				for _, h := range f.Hosts {
					isTarget[h] = true
				}
				p.Tracks = append(p.Tracks, track(s, isTarget, named))
			}
		}
		if ends := canEnd(p.Tracks); ends != (err == nil) {
			t.Fatalf("can end: %v, error: %v\n%s", ends, err, show(p))
		}
	})
}

// canEnd carries the tracks out, naively: a host goes when all stages before its own are done in all tracks.
func canEnd(tracks []sluice.Track) bool {
	done := map[sluice.Host]bool{}
	for {
		progress, open := false, false
		for _, t := range tracks {
			for _, s := range t.Stages {
				for _, h := range s.Hosts {
					if done[h] {
						continue
					}
					open = true
					if free(h, tracks, done) {
						done[h], progress = true, true
					}
				}
			}
		}
		if !open {
			return true
		}
		if !progress {
			return false
		}
	}
}

func free(h sluice.Host, tracks []sluice.Track, done map[sluice.Host]bool) bool {
	for _, t := range tracks {
		clear := true
		for _, s := range t.Stages {
			for _, x := range s.Hosts {
				if x == h && !clear {
					return false
				}
			}
			for _, x := range s.Hosts {
				clear = clear && done[x]
			}
		}
	}
	return true
}

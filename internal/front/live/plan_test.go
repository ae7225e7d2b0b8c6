package live

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/core/rehearse"
)

// planFleet has two tracks, every kind of gate, nested limits and a host that no sequence names.
func planFleet() *sluice.Fleet {
	f := storyFleet(40, sluice.Gate{MaxFailures: sluice.Count(1), Pause: 10 * time.Minute, Approve: true})
	f.Sequences[0].Entries[2].Gate.Ramp = []sluice.Amount{sluice.Count(1), sluice.Percent(25), sluice.Percent(100)}
	var dbs, odd []sluice.Host
	for i := range 6 {
		dbs = append(dbs, sluice.Host(fmt.Sprintf("db%d", i+1)))
	}
	for _, n := range []string{"alpha", "beta", "gamma", "a-host-with-a-long-name.example.org", "another-host-with-a-long-name.example.net"} {
		odd = append(odd, sluice.Host(n))
	}
	f.Hosts = append(append(f.Hosts, dbs...), odd...)
	f.Tags["db"] = dbs
	f.TagOrder = append(f.TagOrder, "db")
	f.Sequences = append(f.Sequences, sluice.Sequence{Name: "$db", Entries: []sluice.Entry{{Name: "db1", Hosts: dbs[:1]}, {Name: "$db", Hosts: dbs[1:]}}})
	f.Constraints = append(f.Constraints, sluice.Constraint{Name: "$db", Groups: []sluice.Group{{Name: "$db", Limit: sluice.Count(1), Members: dbs}}})
	var racks sluice.Constraint
	racks.Name = "$rack"
	for i := 0; i < 40; i += 2 {
		racks.Groups = append(racks.Groups, sluice.Group{Name: fmt.Sprintf("$rack.r%d", i), Limit: sluice.Percent(50), Members: f.Hosts[i : i+2]})
	}
	racks.Groups = append(racks.Groups, sluice.Group{Name: "$rack.odd", Limit: sluice.Percent(50), Members: odd})
	f.Constraints = append(f.Constraints, racks)
	f.Source = "fleet.yaml"
	return f
}

func TestPlan(t *testing.T) {
	f := planFleet()
	for name, s := range map[string]Screen{"80": {Width: 80, Unicode: true}, "200": {Width: 200, Unicode: true}, "ascii": {Width: 50}, "pipe": {Unicode: true}} {
		t.Run(name, func(t *testing.T) {
			p, _, err := plan.Make(f, f.Hosts)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := Plan(&b, f, p, plan.WorstCase(f, p), s); err != nil {
				t.Fatal(err)
			}
			golden(t, "plan/"+name+".txt", b.String())
			for l := range strings.Lines(b.String()) {
				if w := width(strings.TrimSuffix(l, "\n")); s.Width > 0 && w > s.Width {
					t.Errorf("%d columns: %q", w, l)
				}
			}
		})
	}
	t.Run("start", func(t *testing.T) {
		f := &sluice.Fleet{Hosts: web(2), Approval: sluice.Approval{Start: true}}
		p, _, err := plan.Make(f, f.Hosts)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := Plan(&b, f, p, plan.WorstCase(f, p), Screen{Width: 80, Unicode: true}); err != nil {
			t.Fatal(err)
		}
		golden(t, "plan/start.txt", b.String())
	})
	t.Run("bare", func(t *testing.T) {
		f := &sluice.Fleet{Hosts: web(1)}
		p, _, err := plan.Make(f, f.Hosts)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := Plan(&b, f, p, plan.WorstCase(f, p), Screen{Width: 80, Unicode: true}); err != nil {
			t.Fatal(err)
		}
		golden(t, "plan/bare.txt", b.String())
	})
}

func TestRehearsal(t *testing.T) {
	for name, tc := range map[string]struct {
		s Screen
		o rehearse.Options
	}{
		"succeeds": {Screen{Width: 80, Unicode: true}, rehearse.Options{Jitter: 0.2}},
		"wide":     {Screen{Width: 160, Unicode: true}, rehearse.Options{}},
		"halts":    {Screen{Width: 80, Unicode: true}, rehearse.Options{Fail: rehearse.Chance{Share: 0.5}}},
		"hangs":    {Screen{Width: 60}, rehearse.Options{Hang: rehearse.Chance{Hosts: map[sluice.Host]bool{"web30": true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := storyOf(t, planFleet(), tc.o, nil)
			var b strings.Builder
			if err := Rehearsal(&b, r, tc.s); err != nil {
				t.Fatal(err)
			}
			golden(t, "rehearsal/"+name+".txt", b.String())
			for l := range strings.Lines(b.String()) {
				if w := width(strings.TrimSuffix(l, "\n")); w > tc.s.Width {
					t.Errorf("%d columns: %q", w, l)
				}
			}
		})
	}
}

// texts returns what the text elements of an SVG say, and fails if it is not XML.
func texts(t *testing.T, svg []byte) (out []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	inText := false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			inText = tok.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				out = append(out, string(tok))
			}
		}
	}
}

func TestSVG(t *testing.T) {
	events, _ := storyOf(t, storyFleet(40, sluice.Gate{}), rehearse.Options{Jitter: 0.6, Fail: rehearse.Chance{Share: 0.03}}, func(j *sluice.Job) { j.Command = "echo '<a & b>'" })
	s := screen(80, 0, 80*time.Second)
	s.Height = 24
	s.Color = true
	j, waits := upTo(t, events, 80*time.Second)
	svg := SVG(Render(j, waits, s), s, "sluice run <x>")
	golden(t, "svg/static.svg", string(svg))
	said := strings.Join(texts(t, svg), "\n")
	for _, want := range []string{string(storyJob), "echo '<a & b>'", "sluice run <x>"} {
		if !strings.Contains(said, want) {
			t.Errorf("the picture does not say %q:\n%s", want, said)
		}
	}
}

func TestAnimatedSVG(t *testing.T) {
	events, _ := storyOf(t, storyFleet(10, sluice.Gate{}), rehearse.Options{Jitter: 0.3}, nil)
	s := screen(60, 16, 0)
	s.Color = true
	var frames []Frame
	for at := time.Duration(0); at < 100*time.Second; at += 20 * time.Second {
		s.Now = storyStart.Add(at)
		j, waits := upTo(t, events, at)
		frames = append(frames, Frame{at, Render(j, waits, s)})
	}
	svg := AnimatedSVG(frames, s, "sluice run")
	golden(t, "svg/animated.svg", string(svg))
	texts(t, svg)
	for i := range frames {
		if !strings.Contains(string(svg), fmt.Sprintf(`<g id="f%d">`, i)) {
			t.Errorf("frame %d is missing", i)
		}
	}
	if n := strings.Count(string(svg), "> apt-get -y install nginx<"); n != 1 {
		t.Errorf("a line that all frames share is there %d times", n)
	}
	if svg := AnimatedSVG(nil, s, "nothing"); len(texts(t, svg)) != 1 {
		t.Errorf("no frames: %s", svg)
	}
}

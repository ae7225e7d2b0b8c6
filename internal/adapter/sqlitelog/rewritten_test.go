package sqlitelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sluice"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/core/audit"
	"sluice/internal/run/lookout"
)

// rewrite puts other events in place of those of a namespace, as somebody does who has the machine and knows how it is
// done: numbers, chain, anchor and indexes fit.
func rewrite(t *testing.T, dir string, ns sluice.Namespace, records [][]sluice.Event) {
	t.Helper()
	tamper(t, dir, fmt.Sprintf("DELETE FROM record WHERE ns = '%s'; DELETE FROM namespace WHERE name = '%s'", ns, ns))
	if err := os.Remove(filepath.Join(dir, anchorName)); err != nil {
		t.Fatal(err)
	}
	accept(t, dir)
	l := openIn(t, dir)
	for _, events := range records {
		if _, err := l.Update(t.Context(), ns, 0, deciding(events...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tamper(t, dir, "DELETE FROM accepted")
}

// TestRewritten: what is done thoroughly fits together, and only who keeps something elsewhere finds it: by a head that the
// server has signed, and by an earlier export.
func TestRewritten(t *testing.T) {
	five := func() (out [][]sluice.Event) {
		for _, h := range []string{"h1", "h2", "h3", "h4", "h5"} {
			out = append(out, []sluice.Event{held(h)})
		}
		return out
	}
	attacks := map[string]func([][]sluice.Event) [][]sluice.Event{
		"edit": func(r [][]sluice.Event) [][]sluice.Event {
			r[1][0] = held("somebody else")
			return r
		},
		"deletion":   func(r [][]sluice.Event) [][]sluice.Event { return slices.Delete(r, 1, 2) },
		"reorder":    func(r [][]sluice.Event) [][]sluice.Event { r[1], r[2] = r[2], r[1]; return r },
		"truncation": func(r [][]sluice.Event) [][]sluice.Event { return r[:3] },
		"fork": func(r [][]sluice.Event) [][]sluice.Event {
			return append(r[:4], []sluice.Event{held("h6")}, []sluice.Event{held("h7")})
		},
		"insertion": func(r [][]sluice.Event) [][]sluice.Event { return slices.Insert(r, 1, []sluice.Event{held("x")}) },
		"nothing":   func(r [][]sluice.Event) [][]sluice.Event { return r },
		"more":      func(r [][]sluice.Event) [][]sluice.Event { return append(r, []sluice.Event{held("h6")}) },
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openIn(t, dir)
			appendTo(t, l, "lab", "one")
			for _, events := range five() {
				appendTo(t, l, "prod", string(events[0].Body.(sluice.HostHeld).Host))
			}
			seen := guarded(t, dir, l).heads(t)
			var export []sluice.Head
			if err := l.Records(t.Context(), nil, func(r sluice.Record) error {
				export = append(export, r.Head())
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}

			rewrite(t, dir, "prod", attack(five()))
			l = openIn(t, dir)
			if _, err := l.Verify(t.Context()); err != nil {
				t.Fatalf("the attack is not what it should be: the chain does not fit: %v", err)
			}
			innocent := name == "nothing" || name == "more"
			g := guarded(t, dir, l)
			if err := g.Witness(t.Context(), "eve", seen); err != nil {
				t.Fatal(err)
			}
			if alarm := g.Alarm(); (alarm == nil) != innocent {
				t.Errorf("with the heads that were seen: %v", alarm)
			}
			if err := proved(t, l, export); (err == nil) != innocent {
				t.Errorf("against the export: %v", err)
			}
			if err := proved(t, l, nil); err != nil {
				t.Errorf("by itself: %v", err)
			}
		})
	}
}

type watched struct{ *lookout.Guard }

func guarded(t *testing.T, dir string, l *Log) watched {
	t.Helper()
	g, err := lookout.New(t.Context(), lookout.Config{Journal: l, Kept: headsdir.Dir(dir), Clock: sluice.Clock(nil), Trouble: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	return watched{g}
}

func (w watched) heads(t *testing.T) []sluice.SeenHead {
	t.Helper()
	heads, err := w.Heads(t.Context())
	if err != nil || len(heads) != 2 {
		t.Fatalf("%v, error %v", heads, err)
	}
	return heads
}

// proved proves the journal against what was kept.
func proved(t *testing.T, l *Log, kept []sluice.Head) error {
	t.Helper()
	p, err := audit.New(kept...)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Records(t.Context(), nil, func(r sluice.Record) error {
		_, err := p.Add(r)
		return err
	}); err != nil {
		return err
	}
	return p.End()
}

// Records of a reader that has seen some already are those that come after, at one moment.
func TestRecordsAfter(t *testing.T) {
	l := openIn(t, t.TempDir())
	appendTo(t, l, "prod", "h1", "h2")
	appendTo(t, l, "prod", "h3")
	appendTo(t, l, "lab", "one")
	var got []string
	err := l.Records(t.Context(), map[sluice.Namespace]uint64{"prod": 2}, func(r sluice.Record) error {
		if len(got) == 0 { // is not seen: it comes after the moment
			appendTo(t, l, "prod", "h4")
		}
		got = append(got, fmt.Sprintf("%s %d-%d", r.Namespace, r.First, r.Last))
		return nil
	})
	if want := []string{"lab 1-1", "prod 3-3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, error %v; want %v", got, err, want)
	}
	heads, err := l.Heads(t.Context())
	if err != nil || len(heads) != 2 || heads[1].Seq != 4 {
		t.Fatalf("%v, error %v", heads, err)
	}
	for seq, want := range map[uint64]bool{0: false, 1: false, 2: true, 3: true, 4: true, 5: false} {
		if h, ok, err := l.HashAt(t.Context(), "prod", seq); err != nil || ok != want || seq == 4 && h != heads[1].Hash {
			t.Errorf("at %d: %v, %v, error %v", seq, h, ok, err)
		}
	}
}

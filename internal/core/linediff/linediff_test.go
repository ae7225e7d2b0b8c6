package linediff_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/linediff"
)

func show(lines []linediff.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s%s ", map[linediff.Kind]string{linediff.Same: "=", linediff.Gone: "-", linediff.New: "+"}[l.Kind], l.Text)
	}
	return strings.TrimSpace(b.String())
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ was, now, says string }{
		{"", "", ""},
		{"a", "a", "=a"},
		{"a b c", "a c", "=a -b =c"},
		{"a c", "a b c", "=a +b =c"},
		{"a b c", "a x c", "=a -b +x =c"},
		{"a b c a b b a", "c b a b a c", "-a -b =c +b =a =b -b =a +c"},
		{"", "a b", "+a +b"},
		{"a b", "", "-a -b"},
	} {
		if got := show(linediff.Diff(strings.Fields(c.was), strings.Fields(c.now))); got != c.says {
			t.Errorf("%q, %q: %q, want %q", c.was, c.now, got, c.says)
		}
	}
}

// TestDiffIsTrue: both texts can be read out of it, with their numbers, and no shorter one is there.
func TestDiffIsTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 12)
		was, now := words.Draw(t, "was"), words.Draw(t, "now")
		var old, new []string
		edits := 0
		for _, l := range linediff.Diff(was, now) {
			if l.Kind != linediff.New {
				if old = append(old, l.Text); l.Was != len(old) {
					t.Fatalf("line %d is called %d", len(old), l.Was)
				}
			}
			if l.Kind != linediff.Gone {
				if new = append(new, l.Text); l.Now != len(new) {
					t.Fatalf("line %d is called %d", len(new), l.Now)
				}
			}
			if l.Kind != linediff.Same {
				edits++
			}
		}
		if !slices.Equal(old, was) || !slices.Equal(new, now) {
			t.Fatalf("%v and %v, not %v and %v", old, new, was, now)
		}
		if least := len(was) + len(now) - 2*common(was, now); edits != least {
			t.Fatalf("%d edits, %d are enough", edits, least)
		}
	})
}

// common is the length of the longest common subsequence, plainly.
func common(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	row := make([]int, len(b)+1)
	for _, x := range a {
		before := 0
		for j, y := range b {
			before, row[j+1] = row[j+1], max(row[j+1], row[j], map[bool]int{true: before + 1}[x == y])
		}
	}
	return row[len(b)]
}

// TestDiffIsBounded: texts without anything in common are not searched for ever.
func TestDiffIsBounded(t *testing.T) {
	was, now := make([]string, 50_000), make([]string, 50_000)
	for i := range was {
		was[i], now[i] = fmt.Sprint("a", i), fmt.Sprint("b", i)
	}
	if got := linediff.Diff(was, now); len(got) != len(was)+len(now) || got[0].Kind != linediff.Gone {
		t.Errorf("%d lines", len(got))
	}
}

func TestRuns(t *testing.T) {
	was := strings.Fields("a b c d e f g h i j")
	now := strings.Fields("a b X d e f g h i Y")
	for around, want := range map[int]string{
		0: "-c +X|-j +Y",
		1: "=b -c +X =d|=i -j +Y",
		3: "=a =b -c +X =d =e =f =g =h =i -j +Y",
	} {
		var got []string
		for _, r := range linediff.Runs(linediff.Diff(was, now), around) {
			got = append(got, show(r))
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("around %d: %q, want %q", around, s, want)
		}
	}
	if got := linediff.Lines("a\nb\n"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

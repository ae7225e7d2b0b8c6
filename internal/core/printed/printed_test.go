package printed_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/printed"
)

// text is any bytes of a small alphabet, so that things repeat.
func text(t *rapid.T, name string, most int) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte("aAb\nö\xff")), 0, most).Draw(t, name)
}

// pieces cuts a text anywhere.
func pieces(t *rapid.T, b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := rapid.IntRange(1, len(b)).Draw(t, "piece")
		out, b = append(out, b[:n]), b[n:]
	}
	return out
}

// TestFindIsWhatStandsThere: however a text is cut, all that stands in it is found, once, with its line.
func TestFindIsWhatStandsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := text(t, "text", 400)
		what := rapid.SampledFrom([]string{"a", "aa", "ab", "b\na", "ö", "\n"}).Draw(t, "what")
		fold := rapid.Bool().Draw(t, "fold")
		from := rapid.IntRange(0, len(all)).Draw(t, "from")
		at := rapid.IntRange(0, from).Draw(t, "at")
		most := rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "most")
		f := printed.NewFinder(what, fold, int64(from), int64(at), int64(bytes.Count(all[:at], []byte("\n"))), most)
		cut := pieces(t, all[at:])
		for i, p := range cut {
			if f.Done() {
				break
			}
			f.Add(p, i == len(cut)-1)
		}
		in := string(all)
		if fold {
			in = strings.ReplaceAll(in, "A", "a")
		}
		var want []int
		for i := from; len(want) < most; {
			n := strings.Index(in[i:], what)
			if n < 0 {
				break
			}
			want = append(want, i+n)
			i += n + len(what)
		}
		if len(f.Found) != len(want) {
			t.Fatalf("%d places, want %v: %+v", len(f.Found), want, f.Found)
		}
		for i, p := range f.Found {
			line := int64(bytes.Count(all[:want[i]], []byte("\n"))) + 1
			whole := p.Before + p.Text + p.After
			if p.Offset != int64(want[i]) || p.Line != line || !strings.Contains(string(all), whole) || len(p.Text) != len(what) ||
				strings.Contains(p.Before, "\n") || strings.Contains(p.After, "\n") || len(p.Before) > 80 || len(p.After) > 80 {
				t.Fatalf("place %d: %+v, want offset %d, line %d", i, p, want[i], line)
			}
		}
		if next := f.Next(); len(want) > 0 && len(want) == most && next != int64(want[len(want)-1]+len(what)) {
			t.Fatalf("goes on at %d", next)
		}
	})
}

// TestIndex: at each of its places the index knows how many lines end before it, and it does not grow with the text.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := text(t, "unit", 50)
		all := bytes.Repeat(unit, rapid.IntRange(0, 5000).Draw(t, "times"))
		var x printed.Index
		for rest := all; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 60_000).Draw(t, "piece"))
			_, _ = x.Write(rest[:n])
			rest = rest[n:]
		}
		if x.Size != int64(len(all)) || x.Lines != int64(bytes.Count(all, []byte("\n"))) {
			t.Fatalf("%d bytes, %d lines", x.Size, x.Lines)
		}
		offset := int64(rapid.IntRange(0, len(all)).Draw(t, "offset"))
		place, before := x.Near(offset)
		if place > offset || before != int64(bytes.Count(all[:place], []byte("\n"))) || x.Every > 0 && offset-place > x.Every {
			t.Fatalf("near %d: %d, before which %d lines end", offset, place, before)
		}
	})
	var x printed.Index
	piece := bytes.Repeat([]byte("line\n"), 1<<18)
	for range 200 {
		_, _ = x.Write(piece)
	}
	if len(x.Before) > 4096 || x.Lines != 200<<18 {
		t.Errorf("%d places for %d bytes", len(x.Before), x.Size)
	}
	place, before := x.Near(x.Size)
	if before != place/5 {
		t.Errorf("%d lines before %d", before, place)
	}
}

func TestSum(t *testing.T) {
	sum := func(text string, size int64, cut bool) printed.Sum {
		s, err := printed.SumOf(strings.NewReader(text), size, cut)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := sum("one\n", 4, false)
	if b := sum("one\n", 4, false); a != b || a.String() != b.String() || len(a.String()) != 32 || !a.Whole() {
		t.Errorf("%v and %v", a, b)
	}
	for name, b := range map[string]printed.Sum{"another text": sum("two\n", 4, false), "a cut one": sum("one\n", 4, true), "none": sum("", 0, false)} {
		if a == b || a.String() == b.String() {
			t.Errorf("%s counts as the same", name)
		}
	}
	long := strings.Repeat("x", printed.Most)
	if b := sum(long+"y", printed.Most+1, false); b.Whole() || b != sum(long+"z", printed.Most+1, false) || b == sum(long+"yy", printed.Most+2, false) {
		t.Error("of long texts the first part counts, and the length")
	}
	if _, err := printed.SumOf(strings.NewReader("on"), 4, false); err == nil {
		t.Error("a text that ends early has a sum")
	}
}

func TestTail(t *testing.T) {
	for _, c := range []struct {
		text string
		part bool
		want string
	}{
		{"", false, ""},
		{"one\n", false, "one"},
		{"one\ntwo\nthree\n\n \n", false, "two|three"},
		{"ne\ntwo", true, "two"},
		{"ne", true, "ne"},
	} {
		if got := strings.Join(printed.Tail(c.text, c.part, 2), "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if lines, cut := printed.Head("one\ntwo\n", 1); len(lines) != 1 || !cut {
		t.Errorf("%q, cut: %v", lines, cut)
	}
}

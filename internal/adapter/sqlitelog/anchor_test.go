package sqlitelog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sluice"

	"pgregory.net/rapid"
)

func newAnchor(t testing.TB, path string) *anchor {
	t.Helper()
	a, err := openAnchor(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	return a
}

func put(t testing.TB, a *anchor, ns sluice.Namespace, seq uint64) {
	t.Helper()
	if err := a.reserve(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	if err := a.write(t.Context(), ns, mark{seq, hash{byte(seq)}}); err != nil {
		t.Fatal(err)
	}
}

func TestAnchorNeverGoesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), anchorName)
	a, b := newAnchor(t, path), newAnchor(t, path)
	var wg sync.WaitGroup
	for i, h := range []*anchor{a, b, newAnchor(t, path), newAnchor(t, path)} {
		ns := []sluice.Namespace{"prod", "lab"}[i%2]
		wg.Go(func() {
			for seq := range uint64(50) {
				if err := h.reserve(t.Context(), ns); err != nil {
					t.Error(err)
				}
				if err := h.write(t.Context(), ns, mark{seq + 1, hash{byte(seq + 1)}}); err != nil {
					t.Error(err)
				}
				if m, ok, err := h.read(ns); err != nil || !ok || m.seq <= seq || m.hash != (hash{byte(m.seq)}) {
					t.Errorf("after writing %d it is at %v, %v, %v", seq+1, m, ok, err)
				}
			}
		})
	}
	wg.Wait()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, a, "prod", 7) // long past
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a mark that is past was written, error %v", err)
	}
	for _, ns := range []sluice.Namespace{"prod", "lab"} {
		if m, _, err := b.read(ns); err != nil || m.seq != 50 {
			t.Errorf("%s is at %v, error %v; want 50", ns, m, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 2*anchorPair {
		t.Errorf("two namespaces take %d bytes, error %v", info.Size(), err)
	}
}

// TestAnchorOfTwoProcesses: what one remembers of the lines must not hide what the other wrote.
func TestAnchorOfTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "anchor")
	rapid.Check(t, func(rt *rapid.T) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			rt.Fatal(err)
		}
		var both [2]*anchor
		for i := range both {
			a, err := openAnchor(path)
			if err != nil {
				rt.Fatal(err)
			}
			defer a.close()
			both[i] = a
		}
		var seq uint64
		for _, write := range rapid.SliceOfN(rapid.Bool(), 1, 12).Draw(rt, "writes, not only reads") {
			a := both[rapid.IntRange(0, 1).Draw(rt, "process")]
			if write || seq == 0 {
				seq++
				put(t, a, "prod", seq)
			}
			if m, ok, err := a.read("prod"); err != nil || !ok || m.seq != seq || m.hash != (hash{byte(seq)}) {
				rt.Fatalf("the anchor says %v, %v, %v; want %d", m, ok, err, seq)
			}
		}
	})
}

// TestTornAnchor tears the line that is being written, in any way. The one before it is still there.
func TestTornAnchor(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint("anchor", n))
		a, err := openAnchor(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer a.close()
		last := rapid.Uint64Range(1, 5).Draw(rt, "last")
		put(t, a, "other", 9)
		for seq := range last {
			put(t, a, "prod", seq+1)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		put(t, a, "prod", last+1)
		torn, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		first, end := len(torn), 0 // of the bytes that were written
		for i := range torn {
			if torn[i] != before[i] {
				first, end = min(first, i), i+1
			}
		}
		from := rapid.IntRange(first, end).Draw(rt, "from")
		to := rapid.IntRange(from, end).Draw(rt, "to")
		copy(torn[from:to], before[from:to])
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			rt.Fatal(err)
		}
		again, err := openAnchor(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer again.close()
		m, ok, err := again.read("prod")
		if err != nil || !ok || m.seq != last && m.seq != last+1 || m.hash != (hash{byte(m.seq)}) {
			rt.Fatalf("a torn anchor says %v, %v, %v; want %d or %d", m, ok, err, last, last+1)
		}
		if m, ok, err := again.read("other"); err != nil || !ok || m.seq != 9 {
			rt.Fatalf("the other namespace is at %v, %v, %v", m, ok, err)
		}
	})
}

func TestAnchorLockEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), anchorName)
	a, b := newAnchor(t, path), newAnchor(t, path)
	unlock, err := a.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.reserve(ctx, "prod"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("error %v, want code %s", err, sluice.Contact)
	}
	unlock()
	put(t, b, "prod", 1)
}

func FuzzParseLine(f *testing.F) {
	good := formatLine("prod", mark{seq: 120, hash: hash{1, 2, 3}})
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("120"), []byte("121"), 1))
	f.Add(bytes.Repeat([]byte{0}, anchorLine))
	f.Add([]byte("} \n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 {
			return
		}
		ns, m, ok := parseLine(line)
		if !ok {
			return
		}
		if again, back, ok := parseLine(formatLine(ns, m)); !ok || again != ns || back != m {
			t.Fatalf("%q is %s %v, and comes back as %s %v", line, ns, m, again, back)
		}
	})
}

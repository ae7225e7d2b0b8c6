package sqlitelog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sluice"
)

// openCopy opens a journal whose records are elsewhere first.
func openCopy(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(t.Context(), Config{Dir: dir, First: func(context.Context, sluice.Record) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// settled is the number up to which a copy of prod stays.
func settled(t *testing.T, l *Log) uint64 {
	t.Helper()
	heads, err := l.Settled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		if h.Namespace == "prod" {
			return h.Seq
		}
	}
	return 0
}

// TestACopySettles: what is in a copy stays only after a moment, and it says so; a journal that is the only place says nothing before.
func TestACopySettles(t *testing.T) {
	only := openIn(t, t.TempDir())
	appendTo(t, only, "prod", "h1")
	if n := settled(t, only); n != 1 {
		t.Errorf("%d events of the only place stay", n)
	}
	all := recordsOf(t, only, nil)
	synctest.Test(t, func(t *testing.T) {
		l := openCopy(t, t.TempDir())
		var synced atomic.Int32
		l.anchor.sync = func(f *os.File) error {
			if f == l.settler.wal {
				synced.Add(1)
			}
			return nil
		}
		adds(t, l, all...)
		appendTo(t, l, "prod", "h2")
		if n := settled(t, l); n != 0 || synced.Load() != 0 {
			t.Errorf("%d events stay at once, by %d syncs", n, synced.Load())
		}
		_ = pause(t.Context(), 2*settleAfter)
		synctest.Wait()
		if n := settled(t, l); n != 2 || synced.Load() != 1 {
			t.Errorf("%d events stay after a moment, by %d syncs", n, synced.Load())
		}
		appendTo(t, l, "prod", "h3")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if synced.Load() != 2 {
			t.Errorf("closed by %d syncs", synced.Load())
		}
	})
}

// TestThePowerFails: a copy whose machine loses power has an older end, is opened with it, and gets again what it lost.
func TestThePowerFails(t *testing.T) {
	from := openIn(t, t.TempDir())
	for _, h := range []string{"h1", "h2", "h3"} {
		appendTo(t, from, "prod", h)
	}
	all := recordsOf(t, from, nil)
	dir, after := t.TempDir(), t.TempDir()
	l := openCopy(t, dir)
	adds(t, l, all[0])
	if err := l.settler.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(filepath.Join(dir, dbName+"-wal")) // all that the disk has
	if err != nil {
		t.Fatal(err)
	}
	adds(t, l, all[1:]...)
	for _, f := range []string{dbName, anchorName, copyName} { // before it settles
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err == nil {
			err = os.WriteFile(filepath.Join(after, f), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(after, dbName+"-wal"), wal, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openCopy(t, after)
	if got := recordsOf(t, again, nil); len(got) != 1 {
		t.Fatalf("%d records after the power failed", len(got))
	}
	adds(t, again, all...)
	if got := recordsOf(t, again, nil); len(got) != 3 || got[2].Head() != all[2].Head() {
		t.Errorf("%d records after they came again", len(got))
	}
}

// TestACopyThatCannotSettle takes nothing more, and says why.
func TestACopyThatCannotSettle(t *testing.T) {
	l := openCopy(t, t.TempDir())
	appendTo(t, l, "prod", "h1")
	bad := errors.New("the disk is gone")
	l.anchor.sync = func(*os.File) error { return bad }
	if err := l.settler.settle(t.Context()); !errors.Is(err, bad) {
		t.Errorf("settled: %v", err)
	}
	if _, err := l.Update(t.Context(), "prod", 0, deciding(held("h2"))); !errors.Is(err, bad) || !sluice.IsLasting(err) {
		t.Errorf("appended: %v", err)
	}
	// The kernel tells of what it could not write once alone: what a later try says is nothing.
	l.anchor.sync = func(*os.File) error { return nil }
	l.settler.owe(map[sluice.Namespace]mark{"prod": {seq: 1}})
	if err := l.settler.settle(t.Context()); !errors.Is(err, bad) || settled(t, l) != 0 {
		t.Errorf("settled: %v, up to %d", err, settled(t, l))
	}
}

// TestAChangedEndIsFound though the anchor does not name it yet.
func TestAChangedEndIsFound(t *testing.T) {
	l := openCopy(t, t.TempDir())
	appendTo(t, l, "prod", "h1")
	appendTo(t, l, "prod", "h2")
	if _, err := l.w.ExecContext(t.Context(), "DELETE FROM record WHERE last = 2"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Update(t.Context(), "prod", 0, deciding(held("h3"))); err == nil {
		t.Error("it was appended behind what is lost")
	}
}

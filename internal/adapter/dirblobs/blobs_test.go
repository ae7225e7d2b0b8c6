package dirblobs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sluice"
	"sluice/internal/lab/conform"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newBlobs(t *testing.T, dir string) *Blobs {
	t.Helper()
	b, err := New(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	conform.Blobs(t, func(t *testing.T) sluice.Blobs { return newBlobs(t, filepath.Join(t.TempDir(), "a", "b")) })
}

func TestDamage(t *testing.T) {
	content := strings.Repeat("content ", 10_000)
	for name, harm := range map[string]func(path string) error{
		"a bit flipped": func(p string) error {
			return os.WriteFile(p, []byte("C"+content[1:]), 0o600)
		},
		"cut":      func(p string) error { return os.Truncate(p, 100) },
		"emptied":  func(p string) error { return os.Truncate(p, 0) },
		"appended": func(p string) error { return os.WriteFile(p, []byte(content+"x"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBlobs(t, t.TempDir())
			digest, _, err := b.Put(t.Context(), strings.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			before, err := b.Open(t.Context(), digest) // what was proved once is not believed for ever
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			if _, err := io.ReadAll(before); err != nil {
				t.Fatal(err)
			}
			if err := harm(b.path(digest)); err != nil {
				t.Fatal(err)
			}
			r, err := b.Open(t.Context(), digest)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("error %v, want one that says that it is damaged", err)
			}
			// Putting it again heals it.
			if _, _, err := b.Put(t.Context(), strings.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			again, err := b.Open(t.Context(), digest)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got, err := io.ReadAll(again); err != nil || string(got) != content {
				t.Errorf("%d bytes, error %v", len(got), err)
			}
		})
	}
}

// TestProvedOnce: a file that has not changed for long is read without a proof the second time, and with one as soon
// as anything was done to it.
func TestProvedOnce(t *testing.T) {
	b := newBlobs(t, t.TempDir())
	digest, _, err := b.Put(t.Context(), strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	plain := func() bool {
		r, err := b.Open(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || string(got) != "content" {
			t.Fatalf("%q, error %v", got, err)
		}
		_, is := r.(*os.File)
		return is
	}
	for range 2 {
		if plain() {
			t.Error("a new file is believed after one proof")
		}
	}
	info, err := os.Stat(b.path(digest))
	if err != nil {
		t.Fatal(err)
	}
	b.proved[digest] = info
	if !plain() {
		t.Error("a file that was proved is proved again")
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	if plain() {
		t.Error("another file is believed")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	b := newBlobs(t, dir)
	if _, _, err := b.Put(t.Context(), strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if _, _, err := b.Put(t.Context(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Put(ctx, strings.NewReader("y")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, error %v: only what is whole may be there", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

func TestStale(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".new-old": 25 * time.Hour, ".new-young": time.Hour, "sha256-old": 1000 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	newBlobs(t, dir)
	for name, want := range map[string]bool{".new-old": false, ".new-young": true, "sha256-old": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
}

// TestRenew: what somebody needs again is as young as what was just put.
func TestRenew(t *testing.T) {
	dir := t.TempDir()
	b := newBlobs(t, dir)
	digest, _, err := b.Put(t.Context(), strings.NewReader("needed again"))
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "sha256-"+digest[len("sha256:"):]), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	kept, err := b.Kept(t.Context())
	if err != nil || len(kept) != 1 || !kept[0].Changed.After(old.Add(time.Hour)) {
		t.Errorf("it is kept as %+v, error %v", kept, err)
	}
}

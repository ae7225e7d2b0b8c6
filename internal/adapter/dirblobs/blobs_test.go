package dirblobs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
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

// aged puts a blob that was put long ago.
func aged(t *testing.T, b *Blobs, content string) string {
	t.Helper()
	digest, _, err := b.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(b.path(digest), old, old); err != nil {
		t.Fatal(err)
	}
	return digest
}

// TestDiscard: what was put or renewed since stays; what was only looked at does not.
func TestDiscard(t *testing.T) {
	b := newBlobs(t, t.TempDir())
	before := time.Now().Add(-time.Hour)
	renewed, looked, put := aged(t, b, "renewed"), aged(t, b, "looked at"), aged(t, b, "put again")
	if _, err := b.Renew(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	if size, err := b.Size(t.Context(), looked); err != nil || size != int64(len("looked at")) {
		t.Fatal(size, err)
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("put again")); err != nil {
		t.Fatal(err)
	}
	for digest, want := range map[string]bool{renewed: false, looked: true, put: false} {
		gone, err := b.Discard(t.Context(), digest, before)
		if err != nil || gone != want {
			t.Errorf("%s: gone %v, error %v; want %v", digest, gone, err, want)
		}
		if _, err := b.Size(t.Context(), digest); errors.Is(err, fs.ErrNotExist) != want {
			t.Errorf("%s: its size: %v", digest, err)
		}
	}
	if gone, err := b.Discard(t.Context(), looked, before); gone || err != nil {
		t.Errorf("what is not there: gone %v, error %v", gone, err)
	}
}

// TestTurns: between looking how old a blob is and taking it away nobody is told that it is there, and the other way round. Also of
// another process, which opens the directory as another Blobs does.
func TestTurns(t *testing.T) {
	dir := t.TempDir()
	b := newBlobs(t, dir)
	digest := aged(t, b, "x")
	for name, c := range map[string]struct {
		hold  func(context.Context, func() error) error
		do    func(ctx context.Context, b *Blobs) error
		waits bool
	}{
		"renew while it is taken":   {b.alone, func(ctx context.Context, b *Blobs) error { _, err := b.Renew(ctx, digest); return err }, true},
		"put while it is taken":     {b.alone, func(ctx context.Context, b *Blobs) error { _, _, err := b.Put(ctx, strings.NewReader("x")); return err }, true},
		"take while it is renewed":  {b.beside, func(ctx context.Context, b *Blobs) error { _, err := b.Discard(ctx, digest, now); return err }, true},
		"renew while it is renewed": {b.beside, func(ctx context.Context, b *Blobs) error { _, err := b.Renew(ctx, digest); return err }, false},
		"read while it is taken":    {b.alone, func(ctx context.Context, b *Blobs) error { _, err := b.Size(ctx, digest); return err }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithTimeout(t.Context(), time.Second) // by the bubble's clock
				defer stop()
				for _, other := range []*Blobs{b, newBlobs(t, dir)} {
					err := c.hold(t.Context(), func() error { return c.do(ctx, other) })
					if errors.Is(err, context.DeadlineExceeded) != c.waits || !c.waits && err != nil {
						t.Errorf("waits %v: error %v", c.waits, err)
					}
				}
			})
		})
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 1 {
		t.Errorf("%v, error %v: only the blob is to be there", found, err)
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

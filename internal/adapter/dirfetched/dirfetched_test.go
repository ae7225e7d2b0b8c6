package dirfetched_test

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/internal/adapter/dirfetched"
)

const job = "0123456789ab"

func TestShelf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fetched")
	f := dirfetched.New(dir)
	if kept, err := f.Kept(t.Context()); err != nil || len(kept) > 0 {
		t.Errorf("a directory that is not there: %v, %v", kept, err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for path, text := range map[string]string{
		filepath.Join(dir, job, "web1/etc/app.conf"): "12345", filepath.Join(dir, job, "web2/etc/app.conf"): "1234567", outside: "not ours"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, job, "web1/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "no job"), 0o700); err != nil {
		t.Fatal(err)
	}
	came := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(dir, job, "web2/etc"), came, came); err != nil {
		t.Fatal(err)
	}
	kept, err := f.Kept(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Name != job || kept[0].Bytes != 12 || !kept[0].Changed.Equal(came) {
		t.Errorf("kept %+v, %v", kept, err)
	}
	parts := map[string]string{}
	for p, err := range f.Parts(t.Context(), job) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p.From)
		if err != nil || int64(len(text)) != p.Bytes {
			t.Errorf("%s: %d bytes, not %d, %v", p.Name, len(text), p.Bytes, err)
		}
		parts[p.Name] = string(text)
	}
	if want := map[string]string{"web1/fetched/etc/app.conf": "12345", "web2/fetched/etc/app.conf": "1234567"}; !maps.Equal(parts, want) {
		t.Errorf("parts %v", parts)
	}
	for range f.Parts(t.Context(), job) {
		break // and nothing comes after it
	}
	for _, bad := range []string{"", ".", "..", "../" + job, "no job"} {
		if f.Discard(t.Context(), bad) == nil {
			t.Errorf("%q was discarded", bad)
		}
	}
	for range 2 {
		if err := f.Discard(t.Context(), job); err != nil {
			t.Error(err)
		}
	}
	if kept, err := f.Kept(t.Context()); err != nil || len(kept) > 0 {
		t.Errorf("discarded, but there: %v, %v", kept, err)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "not ours" {
		t.Errorf("what a link names: %q, %v", text, err)
	}
}

package tree_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/run/tree"
)

func pack(t *testing.T, root string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tree.Pack(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	src := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/b/c": 0o600, "a/x": 0o755, "top": 0o444} {
		file := filepath.Join(src, name)
		_ = os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Symlink("b/c", filepath.Join(src, "a/link"))
	_ = os.Symlink("/etc/passwd", filepath.Join(src, "a/out"))
	packed := pack(t, src)
	if !bytes.Equal(packed, pack(t, src)) {
		t.Error("the same tree gives other bytes")
	}
	look, err := tree.Inspect(bytes.NewReader(packed))
	if err != nil || look.Single || look.Entries != 7 {
		t.Errorf("%+v, %v", look, err)
	}
	dst := t.TempDir()
	left, err := tree.Unpack(bytes.NewReader(packed), dst, tree.DefaultLimits())
	if err != nil || len(left) != 1 || left[0] != "a/out" {
		t.Fatal(left, err)
	}
	for _, name := range []string{"a/b/c", "a/x", "top"} {
		text, err := os.ReadFile(filepath.Join(dst, name))
		if err != nil || string(text) != name {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if link, _ := os.Readlink(filepath.Join(dst, "a/link")); link != "b/c" {
		t.Errorf("link %q", link)
	}
}

func TestSingle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "name")
	if err := os.WriteFile(file, []byte("hello\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	look, err := tree.Inspect(bytes.NewReader(pack(t, file)))
	sum := "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	if err != nil || !look.Single || look.Name != "name" || look.Mode != 0o640 || look.SHA256 != sum {
		t.Errorf("%+v, %v", look, err)
	}
}

type entry struct {
	h    tar.Header
	data string
}

// hostile are streams that must not be unpacked, neither here nor on a target.
var hostile = map[string][]entry{
	"absolute":        {{tar.Header{Name: "/etc/x", Typeflag: tar.TypeReg}, ""}},
	"parent":          {{tar.Header{Name: "../x", Typeflag: tar.TypeReg}, ""}},
	"parent inside":   {{tar.Header{Name: "app/../../etc/x", Typeflag: tar.TypeReg}, ""}},
	"not clean":       {{tar.Header{Name: "a//b", Typeflag: tar.TypeReg}, ""}},
	"dot inside":      {{tar.Header{Name: "a/./b", Typeflag: tar.TypeReg}, ""}},
	"behind a link":   {{tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, ""}, {tar.Header{Name: "a/b", Typeflag: tar.TypeReg}, ""}},
	"deep in a link":  {{tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "."}, ""}, {tar.Header{Name: "a/b/c", Typeflag: tar.TypeReg}, ""}},
	"hard link":       {{tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, ""}},
	"device":          {{tar.Header{Name: "a", Typeflag: tar.TypeChar}, ""}},
	"fifo":            {{tar.Header{Name: "a", Typeflag: tar.TypeFifo}, ""}},
	"file with slash": {{tar.Header{Name: "a/", Typeflag: tar.TypeSymlink, Linkname: "x"}, ""}},
	"empty name":      {{tar.Header{Name: "", Typeflag: tar.TypeReg}, ""}},
}

func TestHostileStreams(t *testing.T) {
	for name, entries := range hostile {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, e := range entries {
				e.h.Size, e.h.Mode = int64(len(e.data)), 0o644
				if err := w.WriteHeader(&e.h); err != nil {
					t.Fatal(err)
				}
				_, _ = w.Write([]byte(e.data))
			}
			_ = w.Close()
			if _, err := tree.Inspect(bytes.NewReader(b.Bytes())); err == nil {
				t.Error("Inspect lets it pass")
			}
			dir := t.TempDir()
			if _, err := tree.Unpack(bytes.NewReader(b.Bytes()), filepath.Join(dir), tree.DefaultLimits()); err == nil {
				t.Error("Unpack lets it pass")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	src := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		_ = os.WriteFile(filepath.Join(src, name), []byte(strings.Repeat("x", 100)), 0o600)
	}
	packed := pack(t, src)
	for _, lim := range []tree.Limits{{Entries: 2, Bytes: 1000}, {Entries: 10, Bytes: 299}} {
		if _, err := tree.Unpack(bytes.NewReader(packed), t.TempDir(), lim); err == nil {
			t.Errorf("%+v is not kept", lim)
		}
	}
	if _, err := tree.Unpack(bytes.NewReader(packed), t.TempDir(), tree.Limits{Entries: 3, Bytes: 300}); err != nil {
		t.Error(err)
	}
}

func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644})
	_, _ = w.Write([]byte("x"))
	_ = w.WriteHeader(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"})
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = tree.Unpack(bytes.NewReader(data), dir, tree.Limits{Entries: 50, Bytes: 1 << 20})
		if got, _ := os.ReadDir(outer); len(got) != 1 {
			t.Errorf("something was made outside: %v", got)
		}
	})
}

package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/core/manifest"
	"sluice/internal/lab/hostile"
	"sluice/internal/run/tarball"
)

// limits are those that the hostile archives pass.
func limits() tarball.Limits {
	l := tarball.DefaultLimits()
	l.Entries, l.Links, l.Names, l.Bytes, l.Depth = hostile.Entries, hostile.Links, hostile.Names, hostile.Bytes, hostile.Depth
	return l
}

func TestHostileArchives(t *testing.T) {
	all := hostile.Archives()
	if len(all) < 80 {
		t.Fatalf("there are only %d archives", len(all))
	}
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) {
			m, err := tarball.Read(t.Context(), bytes.NewReader(a.Bytes), limits(), nil)
			if err == nil || !strings.Contains(err.Error(), a.Why) || !strings.Contains(err.Error(), "the archive is refused: ") {
				t.Errorf("%v, error %v; it shall say %q", m, err, a.Why)
			}
		})
	}
}

func TestGood(t *testing.T) {
	packed := hostile.Good()
	var got []string
	m, err := tarball.Read(t.Context(), iotest.OneByteReader(bytes.NewReader(packed)), limits(), func(e manifest.Entry, content io.Reader) error {
		b, err := io.ReadAll(content)
		got = append(got, e.Path+": "+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"bin/app: #!/bin/sh\necho app\n", "share/doc/README: read me\n", "share/empty: "}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	const want = `sluice manifest 1
d 0750 bin
f 0755 19 c157672243e95600f30518227e923ff34774aafba350ac9fa33f134d7bde3de6 bin/again
f 0755 19 c157672243e95600f30518227e923ff34774aafba350ac9fa33f134d7bde3de6 bin/app
l current	bin/app
d 0755 share
d 0755 share/doc
f 0644 8 65ce01fcc3e22e78b63419ef0f4493b0950daac7cee97329b428f5cafd395cda share/doc/README
f 0600 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 share/empty
`
	if text := string(m.Encode()); text != want {
		t.Errorf("%s", text)
	}
}

// TestMadeByOthers: what tar itself writes, packed in each way, is one and the same tree.
func TestMadeByOthers(t *testing.T) {
	src := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/run": 0o755, "a/" + strings.Repeat("long", 40): 0o644, "z": 0o600} {
		p := filepath.Join(src, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(name), 0o600), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a/run", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, format := range []string{"gnu", "pax", "posix", "oldgnu"} {
		out, err := exec.Command("tar", "--format="+format, "--owner=0", "-C", src, "-cf", "-", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		var z bytes.Buffer
		w, err := zstd.NewWriter(&z)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(out); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		for _, packed := range [][]byte{out, hostile.Gzip(out), z.Bytes(), append(hostile.Gzip(out[:5000]), hostile.Gzip(out[5000:])...)} {
			m, err := tarball.Read(t.Context(), bytes.NewReader(packed), limits(), nil)
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			digests = append(digests, m.Digest())
		}
	}
	if slices.Sort(digests); digests[0] != digests[len(digests)-1] {
		t.Errorf("%v", digests)
	}
}

func TestEndsWithItsContextAndSource(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tarball.Read(ctx, bytes.NewReader(hostile.Good()), limits(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("broken")
	if _, err := tarball.Read(t.Context(), bytes.NewReader(hostile.Good()), limits(), func(manifest.Entry, io.Reader) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("who reads it fails: %v", err)
	}
	for n := range 100 {
		_, err := tarball.Read(t.Context(), io.MultiReader(bytes.NewReader(hostile.Good()[:n]), iotest.ErrReader(broken)), limits(), nil)
		if !errors.Is(err, broken) {
			t.Errorf("its source fails after %d bytes: %v", n, err)
		}
	}
}

// FuzzRead: whatever is taken is a tree that tar reads as the same one.
func FuzzRead(f *testing.F) {
	f.Add(hostile.Good())
	for _, a := range hostile.Archives() {
		if len(a.Bytes) < 8<<10 {
			f.Add(a.Bytes)
		}
	}
	l := limits()
	l.Bytes, l.Small = 1<<20, 64<<10
	f.Fuzz(func(t *testing.T, text []byte) {
		sizes := map[string]int{}
		m, err := tarball.Read(t.Context(), bytes.NewReader(text), l, func(e manifest.Entry, content io.Reader) error {
			b, err := io.ReadAll(content)
			sizes[e.Path] = len(b)
			return err
		})
		if err != nil {
			if m != nil {
				t.Error("refused, and yet a manifest")
			}
			return
		}
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		for _, e := range m {
			if n, ok := sizes[e.Path]; ok && int64(n) != e.Size {
				t.Errorf("%q has %d bytes, and is said to have %d", e.Path, n, e.Size)
			}
		}
		if text[0] != 0x1f && text[0] != 0x28 {
			count := 0
			for r := tar.NewReader(bytes.NewReader(text)); ; count++ {
				if _, err := r.Next(); err != nil {
					break
				}
			}
			if count == 0 {
				t.Error("taken, and there is nothing in it")
			}
		}
	})
}

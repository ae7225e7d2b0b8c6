package conform

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"sluice"
)

// VerifiedArchive is a [sluice.Archive] that proves itself.
type VerifiedArchive interface {
	sluice.Archive
	Verify(ctx context.Context) (n int, err error)
}

// Shed is where an archive is kept.
type Shed struct {
	// Open opens it, as a process does that starts.
	Open func(t *testing.T) VerifiedArchive
	// Segments are the names of those that are kept whole, and Read what is in one.
	Segments func(t *testing.T) []string
	Read     func(t *testing.T, name string) []byte
	// Change writes something else into a segment.
	Change func(t *testing.T, name string)
}

// Archive is the suite of [sluice.Archive].
func Archive(t *testing.T, build func(t *testing.T) Shed) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Shed)
	}{
		{"PutAndRead", archivePut},
		{"Large", archiveLarge},
		{"Broken", archiveBroken},
		{"Cancelled", archiveCancelled},
		{"NoJob", archiveNoJob},
		{"Again", archiveAgain},
		{"Together", archiveTogether},
		{"Changed", archiveChanged},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, build(t)) })
	}
}

var archived = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const archivedJob sluice.JobID = "0123456789ab"

// archiveParts are parts whose content must be read before the next one is asked for.
func archiveParts(content ...[]byte) iter.Seq2[sluice.Part, error] {
	return func(yield func(sluice.Part, error) bool) {
		for k, b := range content {
			r := bytes.NewReader(b)
			if !yield(sluice.Part{Name: fmt.Sprintf("host/%d.stdout", k), Bytes: int64(len(b)), From: r}, nil) {
				return
			}
			if r.Len() > 0 {
				panic("the next part was asked for before this one was read")
			}
		}
	}
}

func provesItself(t *testing.T, s Shed, want int) {
	t.Helper()
	if n, err := s.Open(t).Verify(t.Context()); err != nil || n != want {
		t.Errorf("Verify: %d segments, %v; want %d", n, err, want)
	}
}

// isArchived looks at a segment.
func isArchived(t *testing.T, s Shed, name, digest string, content ...[]byte) {
	t.Helper()
	b := s.Read(t, name)
	if digest != digestOf(b) {
		t.Errorf("%s has the digest %s, but it was said to be %s", name, digestOf(b), digest)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(z)
	for k, want := range content {
		h, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || h.Name != fmt.Sprintf("host/%d.stdout", k) || !bytes.Equal(got, want) {
			t.Errorf("part %d, %s: %d bytes, %v", k, h.Name, len(got), err)
		}
	}
	if _, err := in.Next(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func archivePut(t *testing.T, s Shed) {
	content := [][]byte{[]byte("{}\n"), nil, bytes.Repeat([]byte("printed\n"), 10_000)}
	name, digest, err := s.Open(t).Put(t.Context(), archivedJob, archived, archiveParts(content...))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(name, string(archivedJob)) || !slices.Equal(s.Segments(t), []string{name}) {
		t.Errorf("the segment is called %q, and kept are %q", name, s.Segments(t))
	}
	isArchived(t, s, name, digest, content...)
	provesItself(t, s, 1)
}

// archiveLarge has more than an archive over a network sends at once, and nothing in it can be made smaller.
func archiveLarge(t *testing.T, s Shed) {
	chance := rand.NewChaCha8([32]byte{1})
	var content [][]byte
	for _, size := range []int{1, 6 << 20, 5 << 20} {
		b := make([]byte, size)
		_, _ = chance.Read(b)
		content = append(content, b)
	}
	name, digest, err := s.Open(t).Put(t.Context(), archivedJob, archived, archiveParts(content...))
	if err != nil {
		t.Fatal(err)
	}
	isArchived(t, s, name, digest, content...)
	provesItself(t, s, 1)
}

// archiveBroken: what cannot be read, or is shorter than was said, leaves nothing behind, and is no obstacle.
func archiveBroken(t *testing.T, s Shed) {
	a := s.Open(t)
	broken := errors.New("broken")
	large := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(large)
	for name, c := range map[string]struct {
		parts iter.Seq2[sluice.Part, error]
		want  error
	}{
		"an error between parts": {func(yield func(sluice.Part, error) bool) { yield(sluice.Part{}, broken) }, broken},
		"an error in a part": {func(yield func(sluice.Part, error) bool) {
			yield(sluice.Part{Name: "x", Bytes: int64(len(large)) + 1, From: io.MultiReader(bytes.NewReader(large), iotest.ErrReader(broken))}, nil)
		}, broken},
		"a short part": {func(yield func(sluice.Part, error) bool) {
			yield(sluice.Part{Name: "x", Bytes: 7, From: strings.NewReader("short")}, nil)
		}, io.EOF},
	} {
		if _, _, err := a.Put(t.Context(), archivedJob, archived, c.parts); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if kept := s.Segments(t); len(kept) > 0 {
			t.Errorf("%s: %q were kept", name, kept)
		}
	}
	if _, _, err := a.Put(t.Context(), archivedJob, archived, archiveParts([]byte("whole"))); err != nil {
		t.Error(err)
	}
	provesItself(t, s, 1)
}

func archiveCancelled(t *testing.T, s Shed) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, _, err := s.Open(t).Put(ctx, archivedJob, archived, func(yield func(sluice.Part, error) bool) {
		if yield(sluice.Part{Name: "x", Bytes: 1, From: strings.NewReader("x")}, nil) {
			cancel()
			yield(sluice.Part{Name: "y", Bytes: 1, From: strings.NewReader("y")}, nil)
		}
	})
	if !errors.Is(err, context.Canceled) || len(s.Segments(t)) > 0 {
		t.Errorf("Put: %v, kept %q", err, s.Segments(t))
	}
}

func archiveNoJob(t *testing.T, s Shed) {
	for _, id := range []sluice.JobID{"", "../x", "a/b"} {
		if _, _, err := s.Open(t).Put(t.Context(), id, archived, archiveParts(nil)); err == nil {
			t.Errorf("%q was archived as a job", id)
		}
	}
}

// archiveAgain: a job comes again, after a restart too, and nothing is written over.
func archiveAgain(t *testing.T, s Shed) {
	type segment struct{ name, digest, text string }
	var all []segment
	for k := range 2 {
		a := s.Open(t)
		for n := range 2 {
			text := fmt.Sprintf("%d.%d", k, n)
			name, digest, err := a.Put(t.Context(), archivedJob, archived, archiveParts([]byte(text)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, segment{name, digest, text})
		}
	}
	for _, g := range all {
		isArchived(t, s, g.name, g.digest, []byte(g.text))
	}
	provesItself(t, s, len(all))
}

func archiveTogether(t *testing.T, s Shed) {
	const many = 4
	a := s.Open(t)
	var wg sync.WaitGroup
	for k := range many {
		wg.Go(func() {
			if _, _, err := a.Put(t.Context(), sluice.JobID(strings.Repeat(fmt.Sprint(k), 12)), archived, archiveParts([]byte("x"))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	provesItself(t, s, many)
}

// archiveChanged: a segment that is not what was written is noticed.
func archiveChanged(t *testing.T, s Shed) {
	a := s.Open(t)
	var names []string
	for range 2 {
		name, _, err := a.Put(t.Context(), archivedJob, archived, archiveParts([]byte("x")))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	s.Change(t, names[0])
	if n, err := s.Open(t).Verify(t.Context()); err == nil || n != 0 {
		t.Errorf("a changed segment was not noticed: %d, %v", n, err)
	}
}

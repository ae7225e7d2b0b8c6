package stock

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/lab/hostile"
	"sluice/internal/run/tarball"
)

const child = "SLUICE_TEST_TAKES_FROM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		takeFor(dir)
	}
	goleak.VerifyTestMain(m)
}

const roomy = 1 << 30

func open(t testing.TB, dir string, most int64) *Stock {
	t.Helper()
	s, err := Open(t.Context(), dir, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// artifact is an archive with its digest and manifest; it counts how often it is opened.
type artifact struct {
	packed []byte
	digest string
	m      manifest.Manifest
	opened atomic.Int32
}

func (a *artifact) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	if digest != a.digest {
		return nil, fs.ErrNotExist
	}
	a.opened.Add(1)
	return io.NopCloser(bytes.NewReader(a.packed)), nil
}

func of(packed []byte) (*artifact, error) {
	m, err := tarball.Read(context.Background(), bytes.NewReader(packed), tarball.DefaultLimits(), nil)
	return &artifact{packed: packed, digest: fmt.Sprintf("sha256:%x", sha256.Sum256(packed)), m: m}, err
}

// made is an artifact of files with these contents.
func made(t testing.TB, files map[string]string) *artifact {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
	}
	_ = w.Close()
	a, err := of(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func take(t testing.TB, s *Stock, a *artifact) *Tree {
	t.Helper()
	tree, err := s.Take(t.Context(), a.digest, a.m, a)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func read(t testing.TB, tree *Tree, sum string) string {
	t.Helper()
	r, err := tree.Open(t.Context(), sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sumOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func TestOnceForAll(t *testing.T) {
	a, err := of(hostile.Good())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stocks := []*Stock{open(t, dir, roomy), open(t, dir, roomy)}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			tree, err := stocks[i%2].Take(t.Context(), a.digest, a.m, a)
			if err != nil {
				t.Error(err)
				return
			}
			for _, text := range []string{"#!/bin/sh\necho app\n", "read me\n", ""} {
				if got := read(t, tree, sumOf(text)); got != text {
					t.Errorf("%q", got)
				}
			}
			if _, err := tree.Open(t.Context(), sumOf("other")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file of no artifact: %v", err)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := a.opened.Load(); n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
	if others := made(t, map[string]string{"elsewhere": "read me\n"}); take(t, stocks[0], others).Close() != nil || others.opened.Load() != 0 {
		t.Error("a file that another artifact has is fetched again")
	}
}

// TestHostileArchives: nothing of them is kept but files under the digests that the manifest says, and nothing anywhere else.
// TestLookedAtOnce: as long as a tree is in use, those who take it, too, look at none of its files: with many hosts and files that would
// keep a worker busy. A file that was taken away all the same is fetched when it is wanted.
func TestLookedAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), roomy)
	a := made(t, map[string]string{"a": "one", "b": "two"})
	first := take(t, s, a)
	if err := os.Remove(s.file(sumOf("one"))); err != nil {
		t.Fatal(err)
	}
	second := take(t, s, a)
	if n := a.opened.Load(); n != 1 {
		t.Errorf("the artifact was read %d times before anything was missed", n)
	}
	if got := read(t, second, sumOf("one")); got != "one" || a.opened.Load() != 2 {
		t.Errorf("%q, and the artifact was read %d times", got, a.opened.Load())
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(s.file(sumOf("one"))); err != nil {
		t.Fatal(err)
	}
	third := take(t, s, a) // of those that had it in use nobody does any more
	if n := a.opened.Load(); n != 3 {
		t.Errorf("the artifact was read %d times", n)
	}
	if err := third.Close(); err != nil || len(s.taken) != 0 {
		t.Error(err, s.taken)
	}
}

func TestHostileArchives(t *testing.T) {
	for _, a := range hostile.Archives() {
		t.Run(a.Name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "1", "2", "3", "cache")
			s := open(t, dir, roomy)
			s.limits = tarball.Limits{Bytes: hostile.Bytes, Entries: hostile.Entries, Links: hostile.Links, Names: hostile.Names, Depth: hostile.Depth, Ratio: 200, Small: 64 << 20}
			x := manifest.Entry{Path: "app/x", Kind: manifest.File, Mode: 0o644, Size: 2, SHA256: sumOf("x\n")}
			y := x
			y.Path = "x"
			m, err := manifest.New([]manifest.Entry{x, y})
			if err != nil {
				t.Fatal(err)
			}
			liar := &artifact{packed: a.Bytes, digest: fmt.Sprintf("sha256:%x", sha256.Sum256(a.Bytes))}
			if tree, err := s.Take(t.Context(), liar.digest, m, liar); err == nil {
				t.Errorf("it was taken: %v", tree)
			}
			err = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				rel, _ := filepath.Rel(dir, p)
				ok := d.Type().IsRegular() && (rel == "lock" || strings.HasPrefix(rel, "trees/") || rel == "files/"+sumOf("x\n"))
				if !ok {
					t.Errorf("there is %s", rel)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryHop: an archive or a manifest that is not the one on record is refused with the reason, whatever bit it is.
func TestEveryHop(t *testing.T) {
	good, err := of(hostile.Good())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good.packed); i += 7 {
		bad := &artifact{packed: bytes.Clone(good.packed), digest: good.digest}
		bad.packed[i] ^= 1 << (i % 8)
		s := open(t, t.TempDir(), roomy)
		if _, err := s.Take(t.Context(), bad.digest, good.m, bad); err == nil || sluice.CodeOf(err) == "" {
			t.Errorf("byte %d of the archive: %v", i, err)
		}
	}
	text := good.m.Encode()
	for i := range text {
		flipped := bytes.Clone(text)
		flipped[i] ^= 1 << (i % 8)
		m, err := manifest.Parse(flipped)
		if err == nil {
			_, err = open(t, t.TempDir(), roomy).Take(t.Context(), good.digest, m, good)
		}
		if err == nil {
			t.Errorf("byte %d of the manifest: it was taken", i)
		}
	}
	s := open(t, t.TempDir(), roomy)
	again := &artifact{packed: good.packed, digest: "sha256:" + sumOf("other")}
	if _, err := s.Take(t.Context(), again.digest, good.m, again); err == nil || !strings.Contains(err.Error(), "its content is sha256:") {
		t.Errorf("another digest: %v", err)
	}
}

// TestDamagedOnDisk: it is noticed when it is read, and fetched again.
func TestDamagedOnDisk(t *testing.T) {
	a := made(t, map[string]string{"x": strings.Repeat("content ", 10_000), "y": "other"})
	sum := sumOf(strings.Repeat("content ", 10_000))
	for what, harm := range map[string]func(p string) error{
		"a bit": func(p string) error {
			b, err := os.ReadFile(p)
			b[70_000] ^= 8
			return errors.Join(err, os.Remove(p), os.WriteFile(p, b, 0o600))
		},
		"cut":  func(p string) error { return errors.Join(os.Chmod(p, 0o600), os.Truncate(p, 10)) },
		"gone": os.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, roomy)
			for _, by := range []*Stock{s, open(t, dir, roomy)} { // who unpacked it, and one who did not
				tree := take(t, by, a)
				read(t, tree, sum)
				if err := harm(s.file(sum)); err != nil {
					t.Fatal(err)
				}
				before := a.opened.Load()
				if got := read(t, tree, sum); sumOf(got) != sum {
					t.Errorf("%d bytes", len(got))
				}
				if a.opened.Load() != before+1 {
					t.Errorf("it was fetched %d times", a.opened.Load()-before)
				}
				if err := tree.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestDamagedWhileRead: the reader ends with an error, and the next one gets what is right.
func TestDamagedWhileRead(t *testing.T) {
	long := strings.Repeat("content ", 100_000)
	a, s := made(t, map[string]string{"x": long}), open(t, t.TempDir(), roomy)
	tree := take(t, s, a)
	defer tree.Close()
	r, err := tree.Open(t.Context(), sumOf(long))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.file(sumOf(long)), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrPermission) {
		err = os.Chmod(s.file(sumOf(long)), 0o600)
		if err == nil {
			f, err = os.OpenFile(s.file(sumOf(long)), os.O_WRONLY, 0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("X"), 700_000); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
	if got := read(t, tree, sumOf(long)); got != long {
		t.Errorf("%d bytes", len(got))
	}
}

func has(s *Stock, a *artifact) bool {
	_, err := os.Stat(s.file(a.m[0].SHA256))
	return err == nil
}

// TestRoom: what was used longest ago goes first, what is in use never, and there is never more than may be.
func TestRoom(t *testing.T) {
	var all []*artifact
	for i := range 4 {
		all = append(all, made(t, map[string]string{"x": strings.Repeat(fmt.Sprint(i), 1000)}))
	}
	dir := t.TempDir()
	s, other := open(t, dir, 2500), open(t, dir, 2500)
	first := take(t, other, all[0]) // in use, by another process as it were
	for i := 1; i < 4; i++ {
		if err := take(t, s, all[i]).Close(); err != nil {
			t.Fatal(err)
		}
		for k, a := range all {
			if want := k == 0 || k == i; has(s, a) != want {
				t.Errorf("after %d: %d is here: %v", i, k, !want)
			}
		}
	}
	third := take(t, s, all[3])
	_, err := s.Take(t.Context(), all[1].digest, all[1].m, all[1])
	if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "it may have 2500 bytes, and what is in use now and this artifact need 3000") {
		t.Errorf("%v", err)
	}
	if got := read(t, first, all[0].m[0].SHA256); got != strings.Repeat("0", 1000) {
		t.Errorf("%q", got)
	}
	for _, tree := range []*Tree{first, third} {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := take(t, s, all[1]).Close(); err != nil {
		t.Error(err)
	}
	if has(s, all[0]) || !has(s, all[3]) {
		t.Error("it is not that which was used longest ago that went")
	}
}

func TestCancelled(t *testing.T) {
	a, s := made(t, map[string]string{"x": "y"}), open(t, t.TempDir(), roomy)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Take(ctx, a.digest, a.m, a); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// numbered are artifacts that share some of their files.
func numbered(i int) *artifact {
	var entries []hostile.Raw
	for k := range 10 {
		entries = append(entries, hostile.Raw{Name: fmt.Sprint("f", k), Kind: '0', Mode: 0o644, Data: bytes.Repeat([]byte{byte(i), byte((i + k) % 7)}, 50_000)})
	}
	a, err := of(hostile.Tar(entries...))
	if err != nil {
		panic(err)
	}
	return a
}

const (
	many   = 6
	narrow = 3_500_000
)

// takeFor takes artifacts and reads them until it is killed.
func takeFor(dir string) {
	s, err := Open(context.Background(), dir, narrow)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for err == nil {
		a := numbered(r.IntN(many))
		var tree *Tree
		if tree, err = s.Take(context.Background(), a.digest, a.m, a); err != nil {
			break
		}
		for _, e := range a.m {
			in, e2 := tree.Open(context.Background(), e.SHA256)
			if e2 == nil {
				_, e2 = io.Copy(io.Discard, in)
				_ = in.Close()
			}
			err = errors.Join(err, e2)
		}
		err = errors.Join(err, tree.Close())
		fmt.Println("took")
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// TestKilled: three processes take and read, and are killed at any moment. The next ones find nothing that is wrong, nothing
// that is left over, and never more than may be.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		var procs []*exec.Cmd
		var outs []io.Reader
		for range 3 {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), child+"="+dir)
			c.Stderr = os.Stderr
			out, err := c.StdoutPipe()
			if err != nil || c.Start() != nil {
				t.Fatal(err)
			}
			procs, outs = append(procs, c), append(outs, out)
		}
		if _, err := io.ReadFull(outs[round%3], make([]byte, 5*(1+round))); err != nil {
			t.Fatal(err)
		}
		for _, c := range procs {
			_ = c.Process.Kill()
		}
		for i, c := range procs {
			_, _ = io.Copy(io.Discard, outs[i])
			if err := c.Wait(); err == nil || c.ProcessState.ExitCode() == 3 {
				t.Fatal("one ended by itself: ", err)
			}
		}
	}
	s := open(t, dir, narrow)
	a := numbered(0)
	tree := take(t, s, a)
	defer tree.Close()
	for _, e := range a.m {
		read(t, tree, e.SHA256)
	}
	// A new one has it sweep.
	if err := take(t, s, made(t, map[string]string{"x": "y"})).Close(); err != nil {
		t.Fatal(err)
	}
	var sum int64
	files, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, "files", f.Name()))
		if err != nil || sumOf(string(text)) != f.Name() {
			t.Errorf("%s is not what it says, %v", f.Name(), err)
		}
		sum += int64(len(text))
	}
	if sum > narrow {
		t.Errorf("%d bytes, and %d may be", sum, narrow)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", slices.Collect(func(yield func(string) bool) {
			for _, l := range left {
				yield(l.Name())
			}
		}), err)
	}
}

// TestNothingWrongIsKept: a file of the right name and size with another content is refused, and not kept under the digest that it
// should have.
func TestNothingWrongIsKept(t *testing.T) {
	good, bad := made(t, map[string]string{"x": "right"}), made(t, map[string]string{"x": "wrong"})
	s := open(t, t.TempDir(), roomy)
	if _, err := s.Take(t.Context(), bad.digest, good.m, bad); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("%v", err)
	}
	if has(s, good) {
		t.Error("it is kept")
	}
}

package dirartifacts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/lab/conform"
)

const child = "SLUICE_TEST_PUSHES_INTO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		pushFor(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConform(t *testing.T) {
	conform.Artifacts(t, func(t *testing.T) func(*testing.T) sluice.Artifacts {
		dir := filepath.Join(t.TempDir(), "a", "b")
		return func(t *testing.T) sluice.Artifacts { return open(t, dir) }
	})
}

var name = sluice.ArtifactName{App: "shop", Target: "master", File: "shop.tar.gz", Version: "17"}

// TestDamage: content that is not what it was is refused with the reason, and sent again heals.
func TestDamage(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 50_000)
	for what, harm := range map[string]func(p string) error{
		"a bit": func(p string) error {
			bad := bytes.Clone(content)
			bad[300_000] ^= 4
			return os.WriteFile(p, bad, 0o600)
		},
		"cut":    func(p string) error { return os.Truncate(p, 100) },
		"empty":  func(p string) error { return os.Truncate(p, 0) },
		"longer": func(p string) error { return os.WriteFile(p, append(bytes.Clone(content), 'x'), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			s, c := open(t, t.TempDir()), conform.Content(content)
			if err := s.Send(t.Context(), c, bytes.NewReader(content), nil); err != nil {
				t.Fatal(err)
			}
			if err := harm(s.file(c.Digest)); err != nil {
				t.Fatal(err)
			}
			read := func() error {
				r, err := s.Open(t.Context(), c.Digest)
				if err != nil {
					return err
				}
				defer r.Close()
				_, err = io.Copy(io.Discard, r)
				return err
			}
			if err := read(); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%v", err)
			}
			if err := s.Send(t.Context(), c, bytes.NewReader(content), nil); err != nil {
				t.Fatal(err)
			}
			if err := read(); err != nil {
				t.Errorf("sent again: %v", err)
			}
		})
	}
}

// TestWhatAKilledPushLeft: it is gone on with where it is good, and begun anew where it is not.
func TestWhatAKilledPushLeft(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 200_000)
	c := conform.Content(content)
	for what, left := range map[string][]byte{"half": content[:800_000], "all": content, "more": append(bytes.Clone(content), "xyz"...), "zeros": make([]byte, 800_000)} {
		s := open(t, t.TempDir())
		if err := s.make(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(s.content(), partPrefix+strings.TrimPrefix(c.Digest, algorithm))
		if err := os.WriteFile(p, left, 0o600); err != nil {
			t.Fatal(err)
		}
		from := &counting{ReadSeeker: bytes.NewReader(content)}
		if err := s.Send(t.Context(), c, from, nil); err != nil {
			t.Fatal(err)
		}
		if what == "half" && from.n > len(content)/2+1 {
			t.Errorf("%d bytes were read of the %d that were missing", from.n, len(content)/2)
		}
		if got, err := os.ReadFile(s.file(c.Digest)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the part is there yet: %v", what, err)
		}
	}
}

type counting struct {
	io.ReadSeeker
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}

func TestNotInSomethingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for _, err := range []error{s.Write(t.Context(), name, []byte("x"), nil), s.Send(t.Context(), conform.Content([]byte("x")), strings.NewReader("x"), nil)} {
		if sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), "something else") {
			t.Error(err)
		}
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(dir, markName), []byte("sluice artifacts 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Names(t.Context(), sluice.ArtifactName{}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a form that is not known: %v", err)
	}
}

func TestWhatIsStaleGoes(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for file, age := range map[string]time.Duration{".part-old": 8 * 24 * time.Hour, ".new-old": 8 * 24 * time.Hour, ".part-young": time.Hour, "sha256-old": 900 * time.Hour} {
		p := filepath.Join(s.content(), file)
		if err := errors.Join(os.WriteFile(p, nil, 0o600), os.Chtimes(p, now, now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	s.tidy(now)
	for file, want := range map[string]bool{".part-old": false, ".new-old": false, ".part-young": true, "sha256-old": true} {
		if _, err := os.Stat(filepath.Join(s.content(), file)); (err == nil) != want {
			t.Errorf("%s is there: %v", file, err == nil)
		}
	}
}

// pushed is what the pushers of the test below push: contents of 1 MiB, and for each a text that names it.
func pushed(i int) (sluice.Content, []byte, sluice.ArtifactName) {
	content := bytes.Repeat([]byte(fmt.Sprintf("content %8d\n", i)), 1<<16)
	n := name
	n.Version = fmt.Sprint(i)
	return conform.Content(content), content, n
}

// pushFor pushes one after the other, and says each that is done, until it is killed.
func pushFor(dir string) {
	s, err := New(dir)
	for i := 0; err == nil; i++ {
		c, content, n := pushed(i)
		err = s.Send(context.Background(), c, bytes.NewReader(content), nil)
		if err == nil {
			err = s.Write(context.Background(), n, []byte(c.Digest), nil)
		}
		if sluice.CodeOf(err) == sluice.Conflict { // the other pusher was here before
			err = nil
		}
		if err == nil {
			fmt.Println(i)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// TestKilled: two push the same things, and are killed at any moment. Whatever has a name is whole, and what one of them said
// is done is there.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	done := -1
	for round := range rounds {
		var pushers []*exec.Cmd
		var said []*bufio.Scanner
		for range 2 {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), child+"="+dir)
			c.Stderr = os.Stderr
			out, err := c.StdoutPipe()
			if err != nil || c.Start() != nil {
				t.Fatal(err)
			}
			pushers, said = append(pushers, c), append(said, bufio.NewScanner(out))
		}
		want := done + 1 + round%3
		for k, s := range said {
			for n := -1; n < want && s.Scan(); {
				if _, err := fmt.Sscan(s.Text(), &n); err != nil {
					t.Fatal(err)
				}
				done = max(done, n)
			}
			_ = pushers[k].Process.Kill() // somewhere in the next one
		}
		for k, c := range pushers {
			for said[k].Scan() {
			}
			if err := c.Wait(); err == nil || c.ProcessState.ExitCode() == 3 {
				t.Fatal("a pusher ended by itself: ", err)
			}
		}
		whole(t, open(t, dir), done)
	}
	if done < rounds {
		t.Errorf("only %d were pushed", done)
	}
}

func whole(t *testing.T, s *Store, done int) {
	t.Helper()
	kept, err := s.Kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		r, err := s.Open(t.Context(), k.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
		_ = r.Close()
	}
	for i := range done + 1 {
		c, _, n := pushed(i)
		if text, err := s.Read(t.Context(), n); err != nil || string(text) != c.Digest {
			t.Errorf("%d: %q, %v", i, text, err)
		}
	}
}

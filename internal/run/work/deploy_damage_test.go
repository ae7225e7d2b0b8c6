package work_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice"
	"sluice/internal/run/work"
)

// A file that is damaged in the store of the worker never gets to a host.
func TestDamageOnTheWorker(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	d.shelf.put(t, "1", map[string]string{"a": "good", "b": "good, too"})
	d.shelf.content[hexSum("good")] = []byte("evil")
	d.deploy("1")
	r := d.go1(work.Assignment{})
	want(t, r, sluice.Failed, -1, `the content of "a": it is damaged`)
	if !r.NotStarted || exists(d.root) {
		t.Errorf("%+v", r)
	}
	d.wantClean()
}

// A byte that changes between worker and host is found before anything runs.
func TestDamageToTheParcel(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	d.shelf.put(t, "1", map[string]string{"a": strings.Repeat("good", 1000)})
	d.deploy("1")
	var mu sync.Mutex
	seen := false
	d.to = &flipping{Transport: d.host, flip: func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if i := bytes.Index(b, []byte("goodgoodgood")); i >= 0 && !seen {
			seen = true
			b[i] = 'f'
		}
	}}
	d.restart()
	r := d.go1(work.Assignment{})
	want(t, r, sluice.Failed, -1, "arrived damaged")
	if !r.NotStarted || !seen || exists(d.root) {
		t.Errorf("%+v", r)
	}
}

// openssl computes digests where it is there, and is believed only where everything is as it should be: whatever it does, what is
// whole goes live, and what is not does not.
func TestDigestsByOpenssl(t *testing.T) {
	real, err := exec.LookPath("openssl")
	slow, err2 := exec.LookPath("sha256sum")
	if err := errors.Join(err, err2); err != nil {
		t.Fatalf("%v: .ci/install-test-deps installs it", err)
	}
	for name, text := range map[string]string{
		"works": "exec " + real + ` "$@"`,
		"fails": "exit 1",
		"mute":  "exit 0",
		"lies":  "shift 3; for f; do echo " + hexSum("something else") + ` "*$f"; done`,
	} {
		t.Run(name, func(t *testing.T) {
			eachDeployShell(t, func(t *testing.T, d *deployBench) {
				used := filepath.Join(d.host.home, "used")
				for program, text := range map[string]string{"openssl": text, "sha256sum": "exec " + slow + ` "$@"`} {
					text = "#!/bin/sh\necho " + program + " \"$1\" >>'" + used + "'\n" + text + "\n"
					if err := os.WriteFile(filepath.Join(d.host.path, program), []byte(text), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				odd := map[string]string{"a": "one", "-b": "two", "c  d/ *e": "three", "empty": "", "much": strings.Repeat("x", 5<<20)}
				d.shelf.put(t, "1", odd)
				d.deploy("1")
				d.wantLive(d.go1(work.Assignment{}), "1", "")
				asked, err := os.ReadFile(used)
				if err != nil || !bytes.Contains(asked, []byte("openssl dgst")) || bytes.Contains(asked, []byte("sha256sum -c")) != (name != "works") {
					t.Errorf("asked: %s (%v)", asked, err)
				}
				odd["new"] = "four"
				d.shelf.put(t, "2", odd)
				if err := os.WriteFile(filepath.Join(d.root, "versions/1/c  d/ *e"), []byte("THREE"), 0o644); err != nil {
					t.Fatal(err)
				}
				d.deploy("2")
				r := d.go1(work.Assignment{})
				want(t, r, sluice.Failed, 1, "is not what its list of files says")
				d.wantLive(r, "1", "1")
			})
		})
	}
}

// flipping changes what is said to a host.
type flipping struct {
	sluice.Transport
	flip func([]byte)
}

type flippingLink struct {
	sluice.Link
	flip func([]byte)
}

type flippingSession struct {
	sluice.Session
	in *flippingWriter
}

type flippingWriter struct {
	io.WriteCloser
	flip func([]byte)
}

func (f *flipping) Connect(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error) {
	l, err := f.Transport.Connect(ctx, h, s)
	if err != nil {
		return nil, err
	}
	return &flippingLink{l, f.flip}, nil
}

func (l *flippingLink) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	s, err := l.Link.Start(ctx, command, tty)
	if err != nil {
		return nil, err
	}
	return &flippingSession{s, &flippingWriter{s.Stdin(), l.flip}}, nil
}

func (s *flippingSession) Stdin() io.WriteCloser { return s.in }

func (w *flippingWriter) Write(p []byte) (int, error) {
	b := slices.Clone(p)
	w.flip(b)
	return w.WriteCloser.Write(b)
}

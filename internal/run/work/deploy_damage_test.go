package work_test

import (
	"bytes"
	"context"
	"io"
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

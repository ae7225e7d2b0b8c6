package simhosts

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"

	"sluice"
)

// Transport reaches simulated hosts at an address: "unix:PATH" or HOST:PORT.
type Transport struct{ Network, Address string }

// Connect implements [sluice.Transport]. A host is reached when its first session is.
func (t Transport) Connect(_ context.Context, h sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	return link{t, h}, nil
}

// Close implements [sluice.Transport].
func (Transport) Close() error { return nil }

type link struct {
	t    Transport
	host sluice.Host
}

func (l link) User() string { return "sim" }
func (l link) Close() error { return nil }

func (l link) Start(ctx context.Context, command string, _ bool) (sluice.Session, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, l.t.Network, l.t.Address)
	if err != nil {
		return nil, &sluice.ConnectError{Host: l.host, Failure: sluice.NoRoute, Err: err}
	}
	b, err := json.Marshal(opening{string(l.host), command})
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(append(b, '\n')); err != nil {
		return nil, &sluice.ConnectError{Host: l.host, Failure: sluice.NoRoute, Err: err}
	}
	s := &remote{c: c, done: make(chan struct{})}
	s.stdout, s.outEnd = io.Pipe()
	s.stderr, s.errEnd = io.Pipe()
	go s.read()
	return s, nil
}

// Dial implements [sluice.Link]: simulated hosts have no network.
func (l link) Dial(_ context.Context, _, address string) (net.Conn, error) {
	return nil, fmt.Errorf("%s is simulated, and connects to nothing, not to %s", l.host, address)
}

// remote is a session from the worker's side.
type remote struct {
	c              net.Conn
	stdout, stderr *io.PipeReader
	outEnd, errEnd *io.PipeWriter
	done           chan struct{}
	once           sync.Once
	status         int
	err            error
}

func (s *remote) read() {
	defer close(s.done)
	s.err = sluice.ErrLinkLost
	defer func() {
		_ = s.outEnd.Close()
		_ = s.errEnd.Close()
	}()
	in := bufio.NewReader(s.c)
	for {
		kind, data, err := readFrame(in)
		if err != nil {
			return
		}
		to := s.outEnd
		switch kind {
		case frameStderr:
			to = s.errEnd
		case frameExit:
			s.status, s.err = int(data[0]), nil
			return
		}
		if _, err := to.Write(data); err != nil {
			return
		}
	}
}

func (s *remote) Stdin() io.WriteCloser { return half{s.c} }
func (s *remote) Stdout() io.Reader     { return s.stdout }
func (s *remote) Stderr() io.Reader     { return s.stderr }

func (s *remote) Wait() (sluice.ExitStatus, error) {
	<-s.done
	return sluice.ExitStatus{Code: s.status}, s.err
}

func (s *remote) Close() error {
	s.once.Do(func() {
		_ = s.c.Close()
		_ = s.stdout.Close()
		_ = s.stderr.Close()
		<-s.done
	})
	return nil
}

// half is the input of a session: its end is the end of what is said, not of the session.
type half struct{ net.Conn }

func (h half) Close() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

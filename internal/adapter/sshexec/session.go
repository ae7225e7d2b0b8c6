package sshexec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// link is one user's hold on a connection.
type link struct {
	t      *Transport
	shared *shared
	once   sync.Once
	closed atomic.Bool
}

func (l *link) User() string { return l.shared.conn.d.user }

func (l *link) Close() error {
	l.once.Do(func() {
		l.closed.Store(true)
		l.t.release(l.shared)
	})
	return nil
}

// Start implements [sluice.Link].
func (l *link) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	if l.closed.Load() {
		return nil, errors.New("the link was given back")
	}
	c := l.shared.conn
	pause := firstPause
	for {
		s, err := c.start(ctx, command, tty)
		if err == nil {
			return s, nil
		}
		var full *ssh.OpenChannelError
		if !errors.As(err, &full) {
			return nil, err
		}
		if full.Reason != ssh.ConnectionFailed && full.Reason != ssh.ResourceShortage {
			return nil, noRoute(c.d, "the host opens no session: %s", printable(full.Message))
		}
		// MaxSessions: a place becomes free when a session ends, here or, a little later, on the host.
		if pause > c.t.cfg.HandshakeTimeout && !c.busy() {
			return nil, noRoute(c.d, "the host opens no session: %s", printable(full.Message))
		}
		if err := c.waitForPlace(ctx, pause); err != nil {
			return nil, noRoute(c.d, "%w", err)
		}
		pause *= 2
	}
}

func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active > 0
}

func (c *conn) waitForPlace(ctx context.Context, pause time.Duration) error {
	c.mu.Lock()
	freed := c.freed
	c.mu.Unlock()
	timer := time.NewTimer(min(pause, maxPause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.dead:
	case <-freed:
	case <-timer.C:
	}
	return nil
}

// Stages of a session. The step to asked is taken by whoever is first: the start, or who gives it up.
const (
	opening int32 = iota
	asked         // the host may have started the command
	abandoned
)

// session is one command.
type session struct {
	c     *conn
	ch    ssh.Channel
	stage atomic.Int32

	status sluice.ExitStatus // valid once known is closed
	known  chan struct{}
	gone   chan struct{} // closed when the channel has ended

	writing sync.Mutex // the library's channels want one writer at a time
	once    sync.Once
}

// start opens a session and has the command run. Its errors are [sluice.ErrLinkLost] if the command may have
// been started, [*ssh.OpenChannelError] if the host has no place, else [*sluice.ConnectError].
func (c *conn) start(ctx context.Context, command string, tty bool) (*session, error) {
	s := &session{c: c, known: make(chan struct{}), gone: make(chan struct{})}
	result := make(chan error, 1)
	if !c.spawn(func() { result <- s.open(command, tty) }) {
		return nil, noRoute(c.d, "%w", c.why())
	}
	timer := time.NewTimer(c.t.cfg.HandshakeTimeout)
	defer timer.Stop()
	var why error
	select {
	case err := <-result:
		if err != nil {
			return nil, err
		}
		return s, nil
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-timer.C:
		why = fmt.Errorf("the host did not open a session within %s", c.t.cfg.HandshakeTimeout)
		c.t.retire(c.shared)
	}
	if s.stage.CompareAndSwap(opening, abandoned) {
		return nil, noRoute(c.d, "%w", why)
	}
	c.spawn(func() {
		if <-result == nil {
			_ = s.Close()
		}
	})
	return nil, fmt.Errorf("%w: %s: %w", sluice.ErrLinkLost, c.d, why)
}

// open asks the host for a channel and for the command.
func (s *session) open(command string, tty bool) error {
	ch, reqs, err := s.c.ssh.OpenChannel("session", nil)
	if err != nil {
		var full *ssh.OpenChannelError
		if errors.As(err, &full) {
			return err
		}
		return noRoute(s.c.d, "%w", s.c.why())
	}
	s.ch = ch
	s.c.count(1)
	if !s.c.spawn(func() { s.listen(reqs) }) {
		s.c.count(-1)
		return noRoute(s.c.d, "%w", s.c.why())
	}
	if tty {
		if ok, err := ch.SendRequest("pty-req", true, terminal()); err != nil || !ok {
			_ = s.Close()
			return noRoute(s.c.d, "the host gives no terminal")
		}
	}
	if !s.stage.CompareAndSwap(opening, asked) {
		_ = s.Close()
		return nil
	}
	ok, err := ch.SendRequest("exec", true, ssh.Marshal(&struct{ Command string }{command}))
	switch {
	case err != nil:
		return s.c.lost()
	case !ok:
		_ = s.Close()
		return noRoute(s.c.d, "the host does not run commands for this user")
	}
	return nil
}

func (c *conn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active += n
	if n < 0 {
		close(c.freed)
		c.freed = make(chan struct{})
	}
}

// terminal is a request for one that does not echo: nobody types there, and what is typed may be a password.
func terminal() []byte {
	const (
		columns, rows = 80, 24
		echo          = 53 // RFC 4254, 8
		end           = 0
	)
	return ssh.Marshal(&struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{"dumb", columns, rows, 0, 0, string([]byte{echo, 0, 0, 0, 0, end})})
}

// listen reads what the host says beside the streams, until the channel ends.
func (s *session) listen(reqs <-chan *ssh.Request) {
	defer s.c.count(-1)
	defer close(s.gone)
	known := false
	for req := range reqs {
		if status, ok := exitStatus(req); ok && !known {
			known = true
			s.status = status
			close(s.known)
		}
		_ = req.Reply(false, nil)
	}
}

// exitStatus reads the end of a command. What is not a status of ours becomes one that is no success.
func exitStatus(req *ssh.Request) (s sluice.ExitStatus, ok bool) {
	switch req.Type {
	case "exit-status":
		if len(req.Payload) < 4 {
			return s, false
		}
		return sluice.ExitStatus{Code: int(min(binary.BigEndian.Uint32(req.Payload), 255))}, true
	case "exit-signal":
		var m struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}
		if ssh.Unmarshal(req.Payload, &m) != nil {
			return s, false
		}
		return sluice.ExitStatus{Signal: signalName(m.Signal)}, true
	}
	return s, false
}

func signalName(s string) string {
	s = strings.TrimPrefix(s, "SIG")
	if s == "" || len(s) > 32 {
		return "unknown"
	}
	for _, c := range []byte(s) {
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '@' || c == '.' || c == '-') {
			return "unknown"
		}
	}
	return s
}

func (s *session) Stdin() io.WriteCloser { return stdin{s} }
func (s *session) Stdout() io.Reader     { return s.ch }
func (s *session) Stderr() io.Reader     { return s.ch.Stderr() }

// Wait implements [sluice.Session].
func (s *session) Wait() (sluice.ExitStatus, error) {
	select {
	case <-s.known:
	case <-s.gone:
	}
	select {
	case <-s.known:
		return s.status, nil
	default:
	}
	// Where the connection ends, too, it does so right after its channels, and can say why.
	timer := time.NewTimer(firstPause)
	defer timer.Stop()
	select {
	case <-s.c.dead:
		return sluice.ExitStatus{}, s.c.lost()
	case <-timer.C:
		return sluice.ExitStatus{}, fmt.Errorf("%w: %s: the session ended without an exit status", sluice.ErrLinkLost, s.c.d)
	}
}

// Close implements [sluice.Session]. A host that does not agree in time loses the connection: the library has
// no other way to let go of a channel.
func (s *session) Close() error {
	s.once.Do(func() {
		select {
		case <-s.gone:
			return
		default:
		}
		s.c.spawn(func() {
			_ = s.ch.Close()
			timer := time.NewTimer(s.c.t.cfg.HandshakeTimeout)
			defer timer.Stop()
			select {
			case <-s.gone:
			case <-timer.C:
				s.c.close(fmt.Errorf("the host did not close a session within %s", s.c.t.cfg.HandshakeTimeout))
			}
		})
	})
	return nil
}

// stdin sends to the command; closing it is the command's end of file.
type stdin struct{ s *session }

func (w stdin) Write(p []byte) (int, error) {
	w.s.writing.Lock()
	defer w.s.writing.Unlock()
	n, err := w.s.ch.Write(p)
	if err != nil {
		err = fmt.Errorf("the command takes no more input: %w", io.ErrClosedPipe)
	}
	return n, err
}

func (w stdin) Close() error {
	w.s.writing.Lock()
	defer w.s.writing.Unlock()
	if err := w.s.ch.CloseWrite(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

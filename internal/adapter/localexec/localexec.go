// Package localexec runs commands on this machine: it implements [sluice.Transport] with os/exec for hosts
// whose transport is "local". It must not know what is run, or why. "Connecting" always works, and commands
// run as whoever runs this program, in a session and process group of their own.
package localexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice"
)

var (
	errClosed     = errors.New("localexec: the transport is closed")
	errLinkClosed = errors.New("localexec: the link was given back")
	errNoTerminal = errors.New("this machine's own commands run without a terminal: leave out --tty, or reach the host by ssh")
)

// shell is what commands are text for.
const shell = "/bin/sh"

// Transport runs commands on this machine. Make one with [New].
type Transport struct {
	env  []string
	user string
	dir  string

	mu       sync.Mutex
	closed   bool
	sessions map[*session]struct{}
	wg       sync.WaitGroup
}

// Config is what commands find around them.
type Config struct {
	// Env is the environment of commands, as from os.Environ; USER and HOME in it say who and where we are.
	Env []string
}

// New makes a transport.
func New(cfg Config) *Transport {
	t := &Transport{env: cfg.Env, sessions: map[*session]struct{}{}}
	t.user = t.lookup("USER", t.lookup("LOGNAME", ""))
	if t.user == "" && os.Getuid() == 0 {
		t.user = "root" // cron and containers set neither
	}
	if t.dir = t.lookup("HOME", "/"); !isDir(t.dir) {
		t.dir = "/"
	}
	return t
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (t *Transport) lookup(name, otherwise string) string {
	for i := len(t.env) - 1; i >= 0; i-- { // the last one counts
		if e := t.env[i]; len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			return e[len(name)+1:]
		}
	}
	return otherwise
}

// Connect implements [sluice.Transport].
func (t *Transport) Connect(ctx context.Context, h sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: context.Cause(ctx)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: errClosed}
	}
	return &link{t: t, host: h}, nil
}

// Close implements [sluice.Transport]: commands that still run are killed.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for s := range t.sessions {
		s.kill()
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

type link struct {
	t    *Transport
	host sluice.Host

	mu     sync.Mutex
	closed bool
}

func (l *link) User() string { return l.t.user }

func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// Start implements [sluice.Link]. The context bounds the start only. Errors are [*sluice.ConnectError]: the
// command was not started.
func (l *link) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	refuse := func(err error) error {
		return &sluice.ConnectError{Host: l.host, Failure: sluice.NoRoute, Err: err}
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, refuse(errLinkClosed)
	case tty:
		return nil, refuse(errNoTerminal)
	case ctx.Err() != nil:
		return nil, refuse(context.Cause(ctx))
	}
	s, err := l.t.start(command)
	if err != nil {
		return nil, refuse(err)
	}
	return s, nil
}

// Dial implements [sluice.Link].
func (l *link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, errLinkClosed
	}
	if network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("a host connects to tcp and unix, not to %q", network)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", sluice.ErrNoAnswer, err)
	}
	return c, err
}

// session is one command.
type session struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File

	done   chan struct{} // closed when status and err are set
	status sluice.ExitStatus
	err    error

	mu     sync.Mutex
	reaped bool // its process group may belong to somebody else
	closed bool
}

func (t *Transport) start(command string) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	cmd := exec.Command(shell, "-c", command)
	cmd.Env, cmd.Dir = t.env, t.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	s := &session{cmd: cmd, done: make(chan struct{})}
	// Pipes of our own: those of os/exec are closed when the command ends, and lose what was not read yet.
	var theirs []*os.File
	defer func() { closeAll(theirs) }()
	for _, p := range []struct {
		ours **os.File
		give func(*os.File)
		in   bool
	}{
		{&s.stdin, func(f *os.File) { cmd.Stdin = f }, true},
		{&s.stdout, func(f *os.File) { cmd.Stdout = f }, false},
		{&s.stderr, func(f *os.File) { cmd.Stderr = f }, false},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			s.closePipes()
			return nil, err
		}
		given := w
		*p.ours = r
		if p.in {
			given, *p.ours = r, w
		}
		p.give(given)
		theirs = append(theirs, given)
	}
	if err := cmd.Start(); err != nil {
		s.closePipes()
		return nil, err
	}
	t.sessions[s] = struct{}{}
	t.wg.Add(1)
	go t.reap(s)
	return s, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (s *session) closePipes() { closeAll([]*os.File{s.stdin, s.stdout, s.stderr}) }

// reap waits for the command itself, not for what it left running.
func (t *Transport) reap(s *session) {
	defer t.wg.Done()
	s.waitExited()
	s.mu.Lock()
	err := s.cmd.Wait()
	s.reaped = true
	s.mu.Unlock()
	s.status, s.err = statusOf(s.cmd.ProcessState, err)
	close(s.done)
	t.mu.Lock()
	delete(t.sessions, s)
	t.mu.Unlock()
}

// waitExited waits until the command is dead and leaves it unreaped, so that its number, which is that of its
// process group, cannot be given to somebody else before kill knows.
func (s *session) waitExited() {
	for {
		err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func statusOf(state *os.ProcessState, err error) (sluice.ExitStatus, error) {
	if state == nil {
		return sluice.ExitStatus{}, fmt.Errorf("%w: %w", sluice.ErrLinkLost, err)
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return sluice.ExitStatus{Signal: signalName(ws.Signal())}, nil
	}
	return sluice.ExitStatus{Code: state.ExitCode()}, nil
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); len(name) > 3 {
		return name[3:]
	}
	return fmt.Sprint(int(s))
}

func (s *session) Stdin() io.WriteCloser { return s.stdin }
func (s *session) Stdout() io.Reader     { return stream{s.stdout} }
func (s *session) Stderr() io.Reader     { return stream{s.stderr} }

// stream ends, without an error, when the session is closed.
type stream struct{ f *os.File }

func (r stream) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// Wait implements [sluice.Session].
func (s *session) Wait() (sluice.ExitStatus, error) {
	<-s.done
	return s.status, s.err
}

// kill ends the command and its process group.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reaped {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Close implements [sluice.Session]: a command that still runs is killed with its process group. What it left
// running when it ended by itself is not.
func (s *session) Close() error {
	s.kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.closePipes()
	}
	return nil
}

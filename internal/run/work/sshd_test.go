package work_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/run/work"
)

// sshd is a real OpenSSH server on loopback, and the transport to it.
type sshd struct {
	t      testing.TB
	config *ssh.ClientConfig
	addr   string
	mu     sync.Mutex
	conns  []*ssh.Client
}

func newSSHD(t testing.TB) *sshd {
	t.Helper()
	path := "/usr/sbin/sshd"
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: no sshd here")
	}
	me, err := user.Current()
	if err != nil {
		t.Skip("skipped: no name of our own")
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Skipf("skipped: ssh-keygen: %s", out)
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signer, err := ssh.ParsePrivateKey(read("user"))
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey(read("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	conf := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxStartups 1000\n", port, dir, dir)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-D", "-e", "-f", filepath.Join(dir, "conf"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: sshd: %v", err)
	}
	s := &sshd{t: t, addr: addr, config: &ssh.ClientConfig{User: me.Username, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey), Timeout: 10 * time.Second}}
	t.Cleanup(func() {
		_ = s.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, "sshd answers", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if c, err := ssh.Dial("tcp", addr, s.config); err == nil {
		_ = c.Close()
	} else if os.Getuid() != 0 {
		t.Skipf("skipped: this user cannot log in to its own sshd: %v", err)
	}
	return s
}

func (s *sshd) Connect(context.Context, sluice.Host, sluice.SSH) (sluice.Link, error) {
	c, err := ssh.Dial("tcp", s.addr, s.config)
	if err != nil {
		return nil, &sluice.ConnectError{Failure: sluice.NoRoute, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return &sshLink{c}, nil
}

func (s *sshd) Close() error {
	s.cut()
	return nil
}

// cut loses every connection.
func (s *sshd) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
		_ = c.Wait()
	}
	s.conns = nil
}

type sshLink struct{ c *ssh.Client }

func (l *sshLink) User() string { return l.c.User() }
func (l *sshLink) Close() error { _ = l.c.Close(); _ = l.c.Wait(); return nil }

func (l *sshLink) Start(_ context.Context, command string, tty bool) (sluice.Session, error) {
	s, err := l.c.NewSession()
	if err != nil {
		return nil, errors.Join(sluice.ErrLinkLost, err)
	}
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	errs, _ := s.StderrPipe()
	if tty {
		if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
			return nil, err
		}
	}
	if err := s.Start(command); err != nil {
		return nil, errors.Join(sluice.ErrLinkLost, err)
	}
	return &sshSession{s: s, in: in, out: out, err: errs}, nil
}

func (l *sshLink) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return l.c.DialContext(ctx, network, address)
}

type sshSession struct {
	s        *ssh.Session
	in       io.WriteCloser
	out, err io.Reader
}

func (s *sshSession) Stdin() io.WriteCloser { return s.in }
func (s *sshSession) Stdout() io.Reader     { return s.out }
func (s *sshSession) Stderr() io.Reader     { return s.err }
func (s *sshSession) Close() error          { return s.s.Close() }
func (s *sshSession) Wait() (sluice.ExitStatus, error) {
	err := s.s.Wait()
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return sluice.ExitStatus{}, nil
	case errors.As(err, &exit):
		return sluice.ExitStatus{Code: exit.ExitStatus(), Signal: exit.Signal()}, nil
	}
	return sluice.ExitStatus{}, sluice.ErrLinkLost
}

// overSSH is a bench whose host is behind the real sshd.
func overSSH(t testing.TB) (*bench, *sshd) {
	s := newSSHD(t)
	b := newBench(t, newHost(t, "dash"))
	b.over(s)
	return b, s
}

func (b *bench) over(s sluice.Transport) {
	b.worker = work.New(work.Config{Transport: func(sluice.SSH) sluice.Transport { return s }, Outputs: b.outputs, Blobs: b.blobs, Credentials: b.creds, HelloTimeout: 20 * time.Second})
}

func TestSSH(t *testing.T) {
	b, _ := overSSH(t)
	b.job.Action.Shell = "echo out; echo err >&2; exit 3"
	want(t, b.run(), sluice.Failed, 3, "ended with 3")
	if b.stdout() != "out\n" || b.stderr() != "err\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
	}
	b.wantClean()
	b.job.ID, b.job.Options.ReadOnly = newJobID(), true
	want(t, b.run(), sluice.Failed, 3, "ended with 3")
	if b.stdout() != "out\n" || b.stderr() != "err\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
	}
}

// BenchmarkSSH runs true on one sshd, a connection for each run, 32 at a time.
func BenchmarkSSH(bb *testing.B) {
	bench, s := overSSH(bb)
	run := func(readOnly bool) func(*testing.B) {
		return func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					job := *bench.job
					job.ID, job.Options.ReadOnly = newJobID(), readOnly
					err := bench.worker.Do(context.Background(), work.Assignment{Job: &job, Host: "web1", Attempt: sluice.NewAttemptID(job.ID, 0, 1), Commit: func(_ context.Context, r sluice.TaskFinished) error {
						if r.Outcome != sluice.Succeeded {
							b.Errorf("%+v", r)
						}
						return nil
					}})
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
	}
	bb.Run("bare", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l, err := s.Connect(context.Background(), "web1", sluice.SSH{})
				if err != nil {
					b.Error(err)
					continue
				}
				session, err := l.(*sshLink).c.NewSession()
				if err == nil {
					err = session.Run("true")
				}
				if err != nil {
					b.Error(err)
				}
				_ = l.Close()
			}
		})
	})
	bb.Run("plain", run(true))
	bb.Run("supervised", run(false))
}

func TestSSHLinksLost(t *testing.T) {
	b, s := overSSH(t)
	b.job.Action.Shell = fmt.Sprintf(`echo ran >>%s/runs; i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo "line $i"; echo "err $i" >&2; sleep 0.002; done; exit 6`, b.host.home)
	next := int64(300)
	r, err := b.do(context.Background(), work.Assignment{Output: func(stream string, offset int64, _ []byte) {
		if stream == "stdout" && offset > next {
			next += 900
			s.cut()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Failed, 6, "ended with 6")
	b.wantOneRun(400)
	b.wantClean()
}

// The script with its bytes goes through a second session of the same link.
func TestSSHScript(t *testing.T) {
	b, _ := overSSH(t)
	text := "#!/bin/sh\n" + strings.Repeat("# filling filling filling\n", 100000) + "echo $1; exit 2\n"
	b.job.Action = sluice.Action{Kind: sluice.RunScript, Script: b.put([]byte(text)), Args: []string{"it's"}}
	want(t, b.run(), sluice.Failed, 2, "ended with 2")
	if b.stdout() != "it's\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
	}
	b.wantClean()
}

// A program that wants a terminal has one, and its prompt there is answered.
func TestTTY(t *testing.T) {
	b, s := overSSH(t)
	b.creds = &credentials{password: canary}
	b.over(s)
	b.job.Options.TTY = true
	b.job.Options.Timeout = 20 * time.Second
	b.job.Options.Prompts = []string{"Passphrase: "}
	b.job.Action.Shell = `tty >/dev/null && echo terminal; printf 'Passphrase: ' >/dev/tty; stty -echo </dev/tty; IFS= read -r x </dev/tty; stty echo </dev/tty; echo "[$x]"; exit 4`
	want(t, b.run(), sluice.Failed, 4, "ended with 4")
	if out := strings.ReplaceAll(b.stdout(), "\r", ""); out != "terminal\nPassphrase: ["+strings.Repeat("*", len(canary))+"]\n" {
		t.Errorf("stdout %q", out)
	}
	b.wantClean()
}

func TestTTYKillAndTimeLimit(t *testing.T) {
	b, _ := overSSH(t)
	b.job.Options.TTY = true
	b.job.Action.Shell = "echo begin; sleep 7601"
	b.job.Options.Timeout = time.Second
	want(t, b.run(), sluice.TimedOut, -1, "killed at its time limit")
	wantNoSleepers(t, "7601")
	b.wantClean()

	b.job.ID, b.job.Options.Timeout = newJobID(), 0
	kill, end := context.WithCancelCause(context.Background())
	r, err := b.do(context.Background(), work.Assignment{Kill: kill, Output: func(string, int64, []byte) { end(nil) }})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "killed by a cancel")
	wantNoSleepers(t, "7601")
	b.wantClean()
}

func TestTTYLinkLost(t *testing.T) {
	b, s := overSSH(t)
	b.job.Options.TTY = true
	b.job.Action.Shell = "echo begin; sleep 1.01; exit 3"
	var once sync.Once
	r, err := b.do(context.Background(), work.Assignment{Output: func(string, int64, []byte) { once.Do(s.cut) }})
	if err != nil {
		t.Fatal(err)
	}
	// It may go on, or be ended by the hang-up; its output is lost either way, and that is told.
	if r.Outcome != sluice.Failed && r.Outcome != sluice.Unknown || len(r.Truncated) != 1 {
		t.Errorf("%+v", r)
	}
}

// Where sudo insists on a terminal it gets one, and the supervisor survives its end.
func TestSudoThatNeedsATerminal(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: not root")
	}
	for _, readOnly := range []bool{false, true} {
		b, s := overSSH(t)
		withSudo(t, b.host, "Defaults requiretty\ntester ALL=(ALL) ALL")
		login := b.host.onStart
		creds := &credentials{password: canary}
		b.creds = creds
		b.over(&rewriting{s, login})
		b.job.Options.Sudo, b.job.Options.ReadOnly = "root", readOnly
		b.job.Action.Shell = "id -u; sleep 0.5; echo second; exit 3"
		var once sync.Once
		r, err := b.do(context.Background(), work.Assignment{Output: func(string, int64, []byte) {
			if !readOnly {
				once.Do(s.cut)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Failed, 3, "ended with 3")
		if out := strings.ReplaceAll(b.stdout(), "\r", ""); out != "0\nsecond\n" {
			t.Errorf("stdout %q, stderr %q", out, b.stderr())
		}
		for _, ok := range creds.verdicts {
			if !ok {
				t.Error("the password was refused")
			}
		}
		b.wantClean()
	}
}

// rewriting changes the commands of a transport.
type rewriting struct {
	sluice.Transport
	rewrite func(string) (string, error)
}

type rewritingLink struct {
	sluice.Link
	rewrite func(string) (string, error)
}

func (r *rewriting) Connect(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error) {
	l, err := r.Transport.Connect(ctx, h, s)
	if err != nil {
		return nil, err
	}
	return &rewritingLink{l, r.rewrite}, nil
}

func (l *rewritingLink) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	command, err := l.rewrite(command)
	if err != nil {
		return nil, err
	}
	return l.Link.Start(ctx, command, tty)
}

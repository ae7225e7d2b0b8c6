package sshexec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sshdPath = "/usr/sbin/sshd"

// home is a user's home directory, with a key pair that the servers of the test let in.
type home struct {
	dir string
	env map[string]string
}

func newHome(t testing.TB) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), env: map[string]string{"USER": me(t)}}
	if err := os.Mkdir(h.path(".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	keygen(t, h.path(".ssh/id_ed25519"))
	return h
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.path(name)
}

func (h *home) read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (h *home) transport(t testing.TB, change ...func(*Config)) *Transport {
	t.Helper()
	cfg := Config{Home: h.dir, Env: func(name string) string { return h.env[name] }, SystemConfig: none}
	for _, f := range change {
		f(&cfg)
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func me(t testing.TB) string {
	t.Helper()
	b, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func keygen(t testing.TB, path string, args ...string) {
	t.Helper()
	all := append([]string{"-q", "-f", path}, args...)
	if !strings.Contains(strings.Join(args, " "), "-N ") {
		all = append(all, "-N", "")
	}
	if !strings.Contains(strings.Join(args, " "), "-t ") {
		all = append(all, "-t", "ed25519")
	}
	run(t, "ssh-keygen", all...)
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sshd is a real OpenSSH server on loopback.
type sshd struct {
	port   int
	dir    string
	hostPu string // its public key, as in a .pub file

	mu  sync.Mutex
	log bytes.Buffer
}

// startSSHD starts one that lets the key of h in and is known to h. Options are lines of sshd_config; they win
// over those that stand here.
func startSSHD(t testing.TB, h *home, options ...string) *sshd {
	t.Helper()
	if _, err := os.Stat(sshdPath); err != nil {
		t.Skip("there is no sshd here")
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &sshd{dir: t.TempDir()}
	keygen(t, filepath.Join(s.dir, "host_key"))
	s.hostPu = readText(t, filepath.Join(s.dir, "host_key.pub"))
	authorized := filepath.Join(s.dir, "authorized_keys")
	writeText(t, authorized, readText(t, h.path(".ssh/id_ed25519.pub")))
	for try := 0; ; try++ {
		s.port = freePort(t)
		conf := append(slices.Clone(options), "ListenAddress 127.0.0.1", "Port "+strconv.Itoa(s.port), "HostKey "+filepath.Join(s.dir, "host_key"),
			"PidFile none", "SetEnv SHLVL=1", "UsePAM no", "StrictModes no", "PermitRootLogin yes", "AuthorizedKeysFile "+authorized,
			"MaxSessions 500", "LoginGraceTime 30", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
			"PrintMotd no", "PrintLastLog no", "LogLevel VERBOSE", "UseDNS no")
		if !strings.Contains(strings.Join(options, "\n"), "MaxStartups") { // of which the last one wins
			conf = append(conf, "MaxStartups 500")
		}
		writeText(t, filepath.Join(s.dir, "sshd_config"), strings.Join(conf, "\n")+"\n")
		if s.start(t) {
			break
		}
		if try == 5 {
			t.Fatalf("sshd does not start:\n%s", s.text())
		}
	}
	s.trust(t, h)
	return s
}

func (s *sshd) start(t testing.TB) bool {
	t.Helper()
	cmd := exec.Command(sshdPath, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan bool, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if strings.HasPrefix(lines.Text(), "Server listening on") {
				select {
				case listening <- true:
				default:
				}
			}
		}
		select {
		case listening <- false:
		default:
		}
	}()
	if <-listening {
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			<-ended
		})
		return true
	}
	_ = cmd.Wait()
	return false
}

func (s *sshd) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// connections counts those that the server saw.
func (s *sshd) connections() int { return strings.Count(s.text(), "Connection from ") }

func (s *sshd) name() string { return fmt.Sprintf("[127.0.0.1]:%d", s.port) }

func (s *sshd) trust(t testing.TB, h *home) {
	t.Helper()
	f, err := os.OpenFile(h.path(".ssh/known_hosts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.WriteString(f, s.name()+" "+s.hostPu); err != nil {
		t.Fatal(err)
	}
}

func (s *sshd) ssh() sluice.SSH { return sluice.SSH{Address: "127.0.0.1", Port: s.port} }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func readText(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// connect connects or fails the test.
func connect(t testing.TB, tr *Transport, host sluice.Host, s sluice.SSH) sluice.Link {
	t.Helper()
	l, err := tr.Connect(t.Context(), host, s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type outcome struct {
	stdout, stderr string
	status         sluice.ExitStatus
	err            error
}

// do runs a command to its end.
func do(t testing.TB, l sluice.Link, command, input string) outcome {
	t.Helper()
	s, err := l.Start(t.Context(), command, false)
	if err != nil {
		t.Fatal(err)
	}
	return collect(s, input)
}

func collect(s sluice.Session, input string) (o outcome) {
	var wg sync.WaitGroup
	for _, stream := range []struct {
		r  io.Reader
		to *string
	}{{s.Stdout(), &o.stdout}, {s.Stderr(), &o.stderr}} {
		wg.Go(func() {
			b, _ := io.ReadAll(stream.r)
			*stream.to = string(b)
		})
	}
	_, _ = io.WriteString(s.Stdin(), input)
	_ = s.Stdin().Close()
	wg.Wait()
	o.status, o.err = s.Wait()
	_ = s.Close()
	return o
}

// failure returns the ConnectError that connecting must end in.
func failure(t testing.TB, tr *Transport, host sluice.Host, s sluice.SSH) *sluice.ConnectError {
	t.Helper()
	l, err := tr.Connect(t.Context(), host, s)
	if err == nil {
		_ = l.Close()
		t.Fatalf("the connection to %s was made", host)
	}
	var c *sluice.ConnectError
	if !errors.As(err, &c) {
		t.Fatalf("%T is no ConnectError: %v", err, err)
	}
	if c.Host != host {
		t.Errorf("the error names the host %s instead of %s: %v", c.Host, host, err)
	}
	return c
}

func wantFailure(t testing.TB, c *sluice.ConnectError, f sluice.ConnectFailure, text ...string) {
	t.Helper()
	if c.Failure != f {
		t.Errorf("the failure is %s, not %s: %v", c.Failure, f, c)
	}
	for _, part := range text {
		if !strings.Contains(c.Error(), part) {
			t.Errorf("the error %q does not say %q", c, part)
		}
	}
}

// short is a bound for what must happen soon; it is not measured, only not waited for longer.
func short(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

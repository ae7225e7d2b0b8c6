package gosshd_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"sluice/internal/lab/gosshd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type client struct {
	signer  ssh.Signer
	private ed25519.PrivateKey
}

func newClient(t testing.TB) client {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return client{signer, private}
}

func (c client) start(t testing.TB, config gosshd.Config) *gosshd.Server {
	t.Helper()
	config.Authorized = append(config.Authorized, c.signer.PublicKey())
	if config.Env == nil {
		config.Env = []string{"PATH=" + os.Getenv("PATH")}
	}
	s, err := gosshd.Start(config)
	must(t, err)
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (c client) dial(s *gosshd.Server, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	if len(auth) == 0 {
		auth = []ssh.AuthMethod{ssh.PublicKeys(c.signer)}
	}
	return ssh.Dial("tcp", s.Addr().String(), &ssh.ClientConfig{User: "anybody", Auth: auth, HostKeyCallback: ssh.FixedHostKey(s.HostKey())})
}

func (c client) session(t testing.TB, s *gosshd.Server) *ssh.Session {
	t.Helper()
	conn, err := c.dial(s)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	session, err := conn.NewSession()
	must(t, err)
	return session
}

func TestCommands(t *testing.T) {
	c := newClient(t)
	dir := t.TempDir()
	s := c.start(t, gosshd.Config{Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "FROM=server"}})
	for _, tt := range []struct {
		command, in, out, errs string
		status                 int
		signal                 string
	}{
		{command: "true"},
		{command: "exit 255", status: 255},
		{command: "echo out; echo err >&2; exit 3", out: "out\n", errs: "err\n", status: 3},
		{command: "cat; echo end", in: "input", out: "inputend\n"},
		{command: "pwd", out: dir + "\n"},
		{command: "echo $FROM $LC_TEST", out: "server client\n"},
		{command: "kill -TERM $$", signal: "TERM"},
		{command: "kill -9 $$", signal: "KILL"},
		{command: "nonesuch 2>/dev/null", status: 127},
		{command: "ps -o sid= -p $$ | tr -d ' '; echo $$ >&2"}, // looked at below
		{command: `printf 'a\0b'; head -c 300000 /dev/zero | wc -c | tr -d ' '`, out: "a\x00b300000\n"},
	} {
		session := c.session(t, s)
		must(t, session.Setenv("LC_TEST", "client"))
		var out, errs bytes.Buffer
		session.Stdin, session.Stdout, session.Stderr = strings.NewReader(tt.in), &out, &errs
		err := session.Run(tt.command)
		status, signal := 0, ""
		var failed *ssh.ExitError
		if errors.As(err, &failed) {
			status, signal = failed.ExitStatus(), failed.Signal()
		} else if err != nil {
			t.Errorf("%q: %v", tt.command, err)
		}
		if strings.HasPrefix(tt.command, "ps ") {
			if out.String() != errs.String() {
				t.Errorf("the command is in the session of %s and its process is %s", &out, &errs)
			}
			continue
		}
		if tt.signal != "" {
			status = 0 // the client makes one up
		}
		if out.String() != tt.out || errs.String() != tt.errs || status != tt.status || signal != tt.signal {
			t.Errorf("%q: %q, %q, status %d, signal %q", tt.command, &out, &errs, status, signal)
		}
	}
	if s.Logins() != 11 || s.Execs() != 11 {
		t.Errorf("%d logins and %d commands were counted", s.Logins(), s.Execs())
	}
}

func TestLogin(t *testing.T) {
	c, stranger := newClient(t), newClient(t)
	s := c.start(t, gosshd.Config{Password: "open", Banner: "hello\n"})
	if conn, err := stranger.dial(s); err == nil {
		_ = conn.Close()
		t.Error("a key that may not was let in")
	}
	if conn, err := stranger.dial(s, ssh.Password("wrong")); err == nil {
		_ = conn.Close()
		t.Error("a wrong password was let in")
	}
	conn, err := stranger.dial(s, ssh.Password("open"))
	must(t, err)
	must(t, conn.Close())
	none := c.start(t, gosshd.Config{})
	if conn, err := stranger.dial(none, ssh.Password("")); err == nil {
		_ = conn.Close()
		t.Error("an empty password was let in where there is none")
	}
	if none.HostKey().Type() != ssh.KeyAlgoED25519 || bytes.Equal(none.HostKey().Marshal(), s.HostKey().Marshal()) {
		t.Error("two servers have the same host key")
	}
}

// A command goes on when its link is lost, as with OpenSSH, and ends with the server.
func TestLostLink(t *testing.T) {
	c := newClient(t)
	s := c.start(t, gosshd.Config{})
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	must(t, exec.Command("mkfifo", fifo).Run())
	session := c.session(t, s)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("echo $$; read x <'"+fifo+"'; echo after >'"+dir+"/file'; echo done >'"+fifo+"'; exec sleep 1000"))
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if _, err := io.ReadAll(out); err != nil {
		t.Errorf("the output of a lost link: %v", err)
	}
	var missing *ssh.ExitMissingError
	if err := session.Wait(); !errors.As(err, &missing) {
		t.Errorf("a lost link ends with %v", err)
	}
	must(t, os.WriteFile(fifo, []byte("go\n"), 0))
	if done, err := os.ReadFile(fifo); string(done) != "done\n" {
		t.Fatalf("the command says %q, %v", done, err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "file")); string(got) != "after\n" {
		t.Errorf("after the link was lost the command wrote %q", got)
	}
	must(t, s.Close())
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the command outlived the server: %v", err)
	}
}

func TestSignal(t *testing.T) {
	c := newClient(t)
	s := c.start(t, gosshd.Config{})
	session := c.session(t, s)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.01; done"))
	ready := make([]byte, 6)
	_, err = io.ReadFull(out, ready)
	must(t, err)
	must(t, session.Signal(ssh.SIGINT))
	rest, err := io.ReadAll(out)
	must(t, err)
	var failed *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &failed) || failed.ExitStatus() != 4 || string(rest) != "caught\n" {
		t.Errorf("after the signal: %v, %q", err, rest)
	}
}

func TestTerminal(t *testing.T) {
	c := newClient(t)
	s := c.start(t, gosshd.Config{})
	session := c.session(t, s)
	must(t, session.RequestPty("vt100", 24, 80, nil))
	must(t, session.WindowChange(25, 81))
	out, err := session.Output("tty -s && stty size && echo $TERM && : >/dev/tty && echo err >&2; exit 5")
	var failed *ssh.ExitError
	if !errors.As(err, &failed) || failed.ExitStatus() != 5 || string(out) != "25 81\r\nvt100\r\nerr\r\n" {
		t.Errorf("on a terminal: %v, %q", err, out)
	}
	session = c.session(t, s)
	if out, err := session.Output("tty -s || echo none"); string(out) != "none\n" {
		t.Errorf("without a terminal: %v, %q", err, out)
	}
}

func TestAnswers(t *testing.T) {
	c := newClient(t)
	s := c.start(t, gosshd.Config{Answer: func(e *gosshd.Exec) (int, bool) {
		switch e.Command {
		case "true":
			return 0, true
		case "ask":
			fmt.Fprintf(e.Stderr, "%s, %v:", e.User, e.TTY)
			var word string
			_, _ = fmt.Fscan(e.Stdin, &word)
			fmt.Fprint(e.Stdout, word)
			return 9, true
		case "drop":
			_, _ = io.WriteString(e.Stdout, "partial")
			e.Drop()
			return 0, true
		}
		return 0, false
	}})
	conn, err := c.dial(s)
	must(t, err)
	defer conn.Close()
	for i := range 2000 { // an answer must not overtake the reply to the request
		session, err := conn.NewSession()
		must(t, err)
		if err := session.Run("true"); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	session := c.session(t, s)
	session.Stdin = strings.NewReader("password\n")
	var errs bytes.Buffer
	session.Stderr = &errs
	out, err := session.Output("ask")
	var failed *ssh.ExitError
	if !errors.As(err, &failed) || failed.ExitStatus() != 9 || string(out) != "password" || errs.String() != "anybody, false:" {
		t.Errorf("the answer is %v, %q, %q", err, out, &errs)
	}
	var missing *ssh.ExitMissingError
	if _, err := c.session(t, s).Output("drop"); !errors.As(err, &missing) {
		t.Errorf("a dropped connection ends with %v", err)
	}
	if out, err := c.session(t, s).Output("echo run"); string(out) != "run\n" {
		t.Errorf("what is not answered is run: %v, %q", err, out)
	}
}

func TestLimits(t *testing.T) {
	c := newClient(t)
	s := c.start(t, gosshd.Config{MaxSessions: 2})
	conn, err := c.dial(s)
	must(t, err)
	defer conn.Close()
	var open []*ssh.Session
	for range 2 {
		session, err := conn.NewSession()
		must(t, err)
		open = append(open, session)
	}
	if _, err := conn.NewSession(); err == nil {
		t.Error("a third session was opened where two are allowed")
	}
	if _, _, err := conn.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("a forwarding was opened")
	}
	must(t, open[0].Run("true"))
	must(t, open[1].Run("true"))
	if err := open[0].RequestSubsystem("sftp"); err == nil {
		t.Error("a subsystem was started on a session that has ended")
	}
}

// Many addresses of the loopback network, as the demonstration uses them, and the real client.
func TestOpenSSHClient(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("skipped: ssh is not installed: run .ci/install-test-deps")
	}
	c := newClient(t)
	dir := t.TempDir()
	block, err := ssh.MarshalPrivateKey(c.private, "")
	must(t, err)
	must(t, os.WriteFile(dir+"/key", pem.EncodeToMemory(block), 0o600))
	var known strings.Builder
	var servers []*gosshd.Server
	for i := range 5 {
		s := c.start(t, gosshd.Config{Addr: fmt.Sprintf("127.1.7.%d:0", i+1), Env: []string{fmt.Sprintf("HOST=h%d", i), "PATH=" + os.Getenv("PATH")}})
		servers = append(servers, s)
		fmt.Fprintln(&known, knownhosts.Line([]string{s.Addr().String()}, s.HostKey()))
	}
	must(t, os.WriteFile(dir+"/known_hosts", []byte(known.String()), 0o600))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() {
			ip, port, _ := net.SplitHostPort(s.Addr().String())
			cmd := exec.Command("ssh", "-F", "/dev/null", "-i", dir+"/key", "-o", `UserKnownHostsFile="`+dir+`/known_hosts"`,
				"-o", "StrictHostKeyChecking=yes", "-p", port, "u@"+ip, "echo $HOST; echo e >&2; exit 6")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.ExitCode() != 6 || out.String() != fmt.Sprintf("h%d\n", i) || errs.String() != "e\n" {
				t.Errorf("host %d: %v, %q, %q", i, err, &out, &errs)
			}
		})
	}
	wg.Wait()
}

// The cost of a login and of a command where nothing is forked, for comparison.
func BenchmarkAnswer(b *testing.B) {
	c := newClient(b)
	s := c.start(b, gosshd.Config{Answer: func(*gosshd.Exec) (int, bool) { return 0, true }})
	conn, err := c.dial(s)
	must(b, err)
	defer conn.Close()
	for b.Loop() {
		session, err := conn.NewSession()
		must(b, err)
		must(b, session.Run("true"))
	}
}

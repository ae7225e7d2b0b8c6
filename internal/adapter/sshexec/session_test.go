package sshexec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

func TestCommands(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	if l.User() != me(t) {
		t.Errorf("logged in as %q", l.User())
	}
	for _, c := range []struct {
		command, input string
		want           outcome
	}{
		{"echo out; echo err >&2; exit 3", "", outcome{stdout: "out\n", stderr: "err\n", status: sluice.ExitStatus{Code: 3}}},
		{"true", "", outcome{}},
		{"exit 255", "", outcome{status: sluice.ExitStatus{Code: 255}}},
		{"cat", "a\x00b\xff\r\n", outcome{stdout: "a\x00b\xff\r\n"}},
		{"kill -TERM $$", "", outcome{status: sluice.ExitStatus{Signal: "TERM"}}},
		{"kill -KILL $$", "", outcome{status: sluice.ExitStatus{Signal: "KILL"}}},
		{"tty >&2; cat >/dev/null; echo \"$1\" '$HOME' \\\"", "x", outcome{stdout: " $HOME \"\n", stderr: "not a tty\n"}},
	} {
		if got := do(t, l, c.command, c.input); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.command, got, c.want)
		}
	}
}

func TestTerminal(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("an sshd that is not root gives no terminals")
	}
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	session, err := l.Start(t.Context(), "tty; echo err >&2; read x; echo \"<$x>\"", true)
	if err != nil {
		t.Fatal(err)
	}
	got := collect(session, "secret\n")
	if !strings.HasPrefix(got.stdout, "/dev/pts/") || !strings.Contains(got.stdout, "err\r\n<secret>\r\n") || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	if strings.Count(got.stdout, "secret") != 1 {
		t.Errorf("the terminal echoes: %q", got.stdout)
	}
}

// The exit status must not wait for what the command left running.
func TestStatusBeforeTheStreamsEnd(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	session, err := l.Start(t.Context(), "sleep 1000 & echo $!; exit 7", false)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 20)
	n, err := session.Stdout().Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	status, err := session.Wait()
	if err != nil || status.Code != 7 || !alive(pid) {
		t.Errorf("got %+v, %v; the sleeper is alive: %v", status, err, alive(pid))
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(session.Stdout()); err != nil || len(b) > 0 {
		t.Errorf("after Close: %q, %v", b, err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestOutputInBulkUsesNoMemory(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	const size = 200 << 20
	session, err := l.Start(t.Context(), fmt.Sprintf("head -c %d /dev/zero; head -c %d /dev/zero >&2", size, size/4), false)
	if err != nil {
		t.Fatal(err)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, onlyReader{session.Stderr()}) })
	total, buf := 0, make([]byte, 64<<10)
	for {
		n, err := session.Stdout().Read(buf)
		if total/(20<<20) != (total+n)/(20<<20) {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
		total += n
		if err != nil {
			break
		}
	}
	wg.Wait()
	if status, err := session.Wait(); err != nil || status.Code != 0 || total != size {
		t.Errorf("%d bytes, %+v, %v", total, status, err)
	}
	if peak > before.HeapAlloc+32<<20 {
		t.Errorf("the heap grew from %d to %d", before.HeapAlloc, peak)
	}
}

// A reader that does not read must slow the command, not fill the memory.
func TestSlowReader(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	session, err := l.Start(t.Context(), "yes", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(t, l, "echo beside it", ""); got.stdout != "beside it\n" {
		t.Errorf("got %+v", got)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 64<<20 {
		t.Errorf("the heap has %d bytes", m.HeapAlloc)
	}
	_ = session.Close()
}

func TestLinkCut(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	tr := h.transport(t)
	l := connect(t, tr, "web1", s.ssh())
	defer func() { _ = l.Close() }()
	session, err := l.Start(t.Context(), "echo $PPID; read x", false)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 20)
	n, err := session.Stdout().Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // the server's side of this connection
		t.Fatal(err)
	}
	if b, err := io.ReadAll(session.Stdout()); err != nil || len(b) > 0 {
		t.Errorf("after the cut: %q, %v", b, err)
	}
	if _, err := session.Wait(); !errors.Is(err, sluice.ErrLinkLost) || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("Wait says %v", err)
	}
	if _, err := l.Start(t.Context(), "true", false); !errors.As(err, new(*sluice.ConnectError)) || errors.Is(err, sluice.ErrLinkLost) {
		t.Errorf("Start on the dead link says %v", err)
	}
	again := connect(t, tr, "web1", s.ssh())
	defer func() { _ = again.Close() }()
	if got := do(t, again, "echo back", ""); got.stdout != "back\n" {
		t.Errorf("got %+v", got)
	}
}

func TestMaxSessions(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h, "MaxSessions 2")
	l := connect(t, h.transport(t), "web1", s.ssh())
	defer func() { _ = l.Close() }()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			session, err := l.Start(t.Context(), fmt.Sprintf("cat; echo %d", i), false)
			if err != nil {
				t.Error(err)
				return
			}
			if got := collect(session, "in "); got.stdout != fmt.Sprintf("in %d\n", i) || got.err != nil {
				t.Errorf("got %+v", got)
			}
		})
	}
	wg.Wait()
	if s.connections() != 1 {
		t.Errorf("%d connections", s.connections())
	}
}

func TestStartAfterClose(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	l := connect(t, h.transport(t), "web1", s.ssh())
	_ = l.Close()
	_ = l.Close() // is harmless
	if _, err := l.Start(t.Context(), "true", false); err == nil {
		t.Error("a link that was given back starts sessions")
	}
}

func TestExitStatusFromAHostileHost(t *testing.T) {
	signal := func(name string) []byte {
		return ssh.Marshal(&struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}{name, false, "", ""})
	}
	for _, c := range []struct {
		kind    string
		payload []byte
		want    sluice.ExitStatus
		ok      bool
	}{
		{"exit-status", []byte{0, 0, 0, 5}, sluice.ExitStatus{Code: 5}, true},
		{"exit-status", []byte{0, 0, 1, 0}, sluice.ExitStatus{Code: 255}, true}, // never a success
		{"exit-status", []byte{255, 255, 255, 255}, sluice.ExitStatus{Code: 255}, true},
		{"exit-status", []byte{0, 0}, sluice.ExitStatus{}, false},
		{"exit-signal", signal("TERM"), sluice.ExitStatus{Signal: "TERM"}, true},
		{"exit-signal", signal("SIGTERM"), sluice.ExitStatus{Signal: "TERM"}, true},
		{"exit-signal", signal("\x1b[2J"), sluice.ExitStatus{Signal: "unknown"}, true},
		{"exit-signal", signal(""), sluice.ExitStatus{Signal: "unknown"}, true},
		{"exit-signal", []byte{1}, sluice.ExitStatus{}, false},
		{"xon-xoff", []byte{0, 0, 0, 0}, sluice.ExitStatus{}, false},
	} {
		if got, ok := exitStatus(&ssh.Request{Type: c.kind, Payload: c.payload}); got != c.want || ok != c.ok {
			t.Errorf("%s %q: %+v, %v", c.kind, c.payload, got, ok)
		}
	}
}

func TestSharing(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	tr := h.transport(t)
	var wg sync.WaitGroup
	links := make([]sluice.Link, 20)
	for i := range links {
		wg.Go(func() { links[i] = connect(t, tr, "web1", s.ssh()) })
	}
	wg.Wait()
	if st := tr.Stats(); st.Dials != 1 || st.Open != 1 {
		t.Errorf("got %+v", st)
	}
	for _, l := range links[1:] {
		_ = l.Close()
	}
	if got := do(t, links[0], "echo still", ""); got.stdout != "still\n" {
		t.Errorf("got %+v", got)
	}
	c := links[0].(*link).shared.conn
	_ = links[0].Close()
	<-c.dead
	other := s.ssh()
	other.Identity = []string{h.path(".ssh/id_ed25519")}
	a, b := connect(t, tr, "web1", s.ssh()), connect(t, tr, "web1", other)
	if st := tr.Stats(); st.Dials != 3 {
		t.Errorf("other identities share a connection: %+v", st)
	}
	_, _ = a.Close(), b.Close()
}

func TestLinger(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	tr := h.transport(t, func(c *Config) { c.Linger = time.Hour })
	for range 3 {
		_ = connect(t, tr, "web1", s.ssh()).Close()
	}
	if st := tr.Stats(); st.Dials != 1 || st.Open != 1 {
		t.Errorf("got %+v", st)
	}
	brief := h.transport(t, func(c *Config) { c.Linger = time.Millisecond })
	l := connect(t, brief, "web1", s.ssh())
	c := l.(*link).shared.conn
	_ = l.Close()
	select {
	case <-c.dead:
	case <-short(t).Done():
		t.Error("the idle connection stays")
	}
}

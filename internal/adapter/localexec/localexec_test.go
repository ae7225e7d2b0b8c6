package localexec

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/lab/conform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) (*Transport, sluice.Link) {
	t.Helper()
	tr := New(Config{Env: append(os.Environ(), "USER=ann", "HOME="+t.TempDir())})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{Transport: "local"})
	if err != nil {
		t.Fatal(err)
	}
	return tr, l
}

func start(t *testing.T, l sluice.Link, command string) sluice.Session {
	t.Helper()
	s, err := l.Start(t.Context(), command, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type outcome struct {
	stdout, stderr string
	status         sluice.ExitStatus
}

func collect(t *testing.T, s sluice.Session, input string) (o outcome) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { b, _ := io.ReadAll(s.Stdout()); o.stdout = string(b) })
	wg.Go(func() { b, _ := io.ReadAll(s.Stderr()); o.stderr = string(b) })
	_, _ = io.WriteString(s.Stdin(), input)
	_ = s.Stdin().Close()
	wg.Wait()
	var err error
	if o.status, err = s.Wait(); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	return o
}

func TestCommands(t *testing.T) {
	_, l := open(t)
	if l.User() != "ann" {
		t.Errorf("the user is %q", l.User())
	}
	for _, c := range []struct {
		command, input string
		want           outcome
	}{
		{"echo out; echo err >&2; exit 3", "", outcome{"out\n", "err\n", sluice.ExitStatus{Code: 3}}},
		{"cat", "a\x00b\xff", outcome{"a\x00b\xff", "", sluice.ExitStatus{}}},
		{"kill -TERM $$", "", outcome{"", "", sluice.ExitStatus{Signal: "TERM"}}},
		{"exit 255", "", outcome{"", "", sluice.ExitStatus{Code: 255}}},
		{`[ "$PWD" = "$HOME" ] && echo home`, "", outcome{"home\n", "", sluice.ExitStatus{}}},
		{`[ "$(ps -o sid= -p $$)" -eq $$ ] && echo own session`, "", outcome{"own session\n", "", sluice.ExitStatus{}}},
		{"no-such-program-anywhere 2>/dev/null", "", outcome{"", "", sluice.ExitStatus{Code: 127}}},
		{"true", strings.Repeat("x", 1<<20), outcome{}}, // nobody reads it
	} {
		if got := collect(t, start(t, l, c.command), c.input); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.command, got, c.want)
		}
	}
}

// What was written is read, even when the command ended long before.
func TestOutputOutlivesTheCommand(t *testing.T) {
	_, l := open(t)
	s := start(t, l, "echo late")
	if _, err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s.Stdout()); string(b) != "late\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	_ = s.Close()
}

func TestStatusBeforeTheStreamsEnd(t *testing.T) {
	_, l := open(t)
	s := start(t, l, "sleep 1000 & echo $!; exit 7")
	pid := readPID(t, s)
	if status, err := s.Wait(); err != nil || status.Code != 7 {
		t.Errorf("got %+v, %v", status, err)
	}
	if syscall.Kill(pid, 0) != nil {
		t.Error("what the command left running is dead")
	}
	_ = s.Close()
	if _, err := io.ReadAll(s.Stdout()); err != nil {
		t.Errorf("after Close: %v", err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func readPID(t *testing.T, s sluice.Session) int {
	t.Helper()
	line, err := bufio.NewReader(s.Stdout()).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Close kills the whole group; the end of file on a FIFO that only the grandchild holds shows that it is dead.
func TestCloseKillsTheGroup(t *testing.T) {
	for _, by := range []string{"session", "transport"} {
		t.Run(by, func(t *testing.T) {
			tr, l := open(t)
			path := t.TempDir() + "/fifo"
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			s := start(t, l, "sh -c 'exec 3>"+path+"; trap \"\" TERM HUP; while :; do sleep 1000; done' & wait")
			held, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = held.Close() }()
			if by == "session" {
				_ = s.Close()
			} else {
				_ = tr.Close()
			}
			if _, err := io.ReadAll(held); err != nil {
				t.Error(err)
			}
			if status, err := s.Wait(); err != nil || status.Signal != "KILL" {
				t.Errorf("got %+v, %v", status, err)
			}
			_ = s.Close()
		})
	}
}

func TestRefusals(t *testing.T) {
	tr, l := open(t)
	var c *sluice.ConnectError
	if _, err := l.Start(t.Context(), "true", true); !errors.As(err, &c) || !strings.Contains(err.Error(), "--tty") {
		t.Errorf("with a terminal: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Start(ctx, "true", false); !errors.As(err, &c) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := tr.Connect(ctx, "here", sluice.SSH{}); !errors.As(err, &c) || c.Host != "here" {
		t.Errorf("cancelled: %v", err)
	}
	other, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	if _, err := other.Start(t.Context(), "true", false); !errors.Is(err, errLinkClosed) {
		t.Errorf("after Close of the link: %v", err)
	}
	_ = tr.Close()
	if _, err := l.Start(t.Context(), "true", false); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := tr.Connect(t.Context(), "here", sluice.SSH{}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDial(t *testing.T) {
	conform.Dialing(t, func(t *testing.T) sluice.Link {
		_, l := open(t)
		return l
	})
}

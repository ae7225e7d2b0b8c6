package localsocket_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/adapter/localsocket"
)

func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s.sock")
	l, err := localsocket.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, is, err := localsocket.PeerOf(s)
	if err != nil || !is || p.UID != os.Getuid() || p.PID != os.Getpid() {
		t.Errorf("%+v %v %v", p, is, err)
	}
	if _, err := localsocket.Listen(t.Context(), path); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a second one: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as when the process is killed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := localsocket.Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := localsocket.Listen(t.Context(), path); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("in place of a file: %v", err)
	}
	if _, err := localsocket.Listen(t.Context(), filepath.Join(dir, strings.Repeat("x", 120))); !errors.Is(err, localsocket.ErrTooLong) {
		t.Errorf("a long path: %v", err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	c2, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if _, is, err := localsocket.PeerOf(c2); is || err != nil {
		t.Errorf("over TCP: %v %v", is, err)
	}
}

package conform

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"sluice"
)

// Dialing is the suite of [sluice.Link.Dial], for a link to a host that has this machine's loopback and files.
func Dialing(t *testing.T, connect func(t *testing.T) sluice.Link) {
	t.Run("Echo", func(t *testing.T) {
		for _, network := range []string{"tcp", "unix"} {
			c := dial(t, connect(t), network, echoing(t, network))
			answers(t, c, "hello")
			answers(t, c, "again")
			closes(t, c)
		}
	})
	t.Run("TheEndArrives", func(t *testing.T) {
		for _, network := range []string{"tcp", "unix"} {
			c := dial(t, connect(t), network, serving(t, network, func(c net.Conn) { _, _ = io.WriteString(c, "all there is") }))
			if b, err := io.ReadAll(c); err != nil || string(b) != "all there is" {
				t.Errorf("%s: read %q, %v", network, b, err)
			}
			closes(t, c)
		}
	})
	t.Run("CloseEndsAWait", func(t *testing.T) {
		for _, network := range []string{"tcp", "unix"} {
			c := dial(t, connect(t), network, echoing(t, network))
			answers(t, c, "x") // the other end is there, and says nothing any more
			ended := make(chan error, 1)
			go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
			closes(t, c)
			if err := <-ended; err == nil {
				t.Error(network + ": a byte came after the end")
			}
		}
	})
	t.Run("Many", func(t *testing.T) {
		l, at := connect(t), echoing(t, "tcp")
		var wg sync.WaitGroup
		for range 20 {
			c := dial(t, l, "tcp", at)
			wg.Go(func() { answers(t, c, "some at once"); closes(t, c) })
		}
		wg.Wait()
	})
	t.Run("NobodyThere", func(t *testing.T) {
		l := connect(t)
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		for network, address := range map[string]string{"tcp": gone.Addr().String(), "unix": filepath.Join(t.TempDir(), "none")} {
			if _, err := l.Dial(t.Context(), network, address); !errors.Is(err, sluice.ErrNoAnswer) {
				t.Errorf("%s: %v", network, err)
			}
		}
		refuses(t, l, "udp", "127.0.0.1:1")
		refuses(t, l, "tcp", "no port")
		answers(t, dial(t, l, "tcp", echoing(t, "tcp")), "the link goes on")
	})
	t.Run("Ended", func(t *testing.T) {
		l, at := connect(t), echoing(t, "tcp")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if c, err := l.Dial(ctx, "tcp", at); err == nil {
			closes(t, c)
			t.Error("a context that has ended opens a connection")
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("the error does not say that the context ended: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		refuses(t, l, "tcp", at)
	})
}

func dial(t *testing.T, l sluice.Link, network, address string) net.Conn {
	t.Helper()
	c, err := l.Dial(t.Context(), network, address)
	if err != nil {
		t.Fatalf("%s %s: %v", network, address, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func refuses(t *testing.T, l sluice.Link, network, address string) {
	t.Helper()
	if c, err := l.Dial(t.Context(), network, address); err == nil {
		_ = c.Close()
		t.Errorf("%s %s: there is a connection", network, address)
	}
}

func answers(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
		return
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Errorf("got %q, %v back for %q", b, err, text)
	}
}

func closes(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func echoing(t *testing.T, network string) string {
	return serving(t, network, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// serving answers each connection until the test ends, and returns the address.
func serving(t *testing.T, network string, answer func(net.Conn)) string {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { answer(c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

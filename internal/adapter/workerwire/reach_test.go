package workerwire_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/workerwire"
	"sluice/internal/adapter/workerwire/wirepb"
)

// gone is an address where nobody listens.
func gone(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// hole is an address whose machine does not answer: the queue of those that were not accepted is full.
func hole(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*syscall.SockaddrInet4).Port}).String()
	for range 10 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("it goes on answering")
	return ""
}

// silent accepts and says nothing.
func silent(t *testing.T) string {
	return accepting(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// hangsUp accepts and closes.
func hangsUp(t *testing.T) string { return accepting(t, func(net.Conn) {}) }

func accepting(t *testing.T, have func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			end := context.AfterFunc(ctx, func() { _ = c.Close() })
			all.Go(func() {
				have(c)
				end()
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// mute is a server that takes a line and does not say hello.
type mute struct {
	wirepb.UnimplementedWorkersServer
}

func (mute) Work(s grpc.BidiStreamingServer[wirepb.ToServer, wirepb.ToWorker]) error {
	<-s.Context().Done()
	return nil
}

func muted(t *testing.T, ca *authority.Workers) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Server() }})))
	wirepb.RegisterWorkersServer(s, mute{})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	return l.Addr().String()
}

func among(t *testing.T, ca *authority.Workers, addresses ...string) *workerwire.Client {
	mine := certified(t, ca, "w1")
	c := workerwire.Dial(workerwire.ClientConfig{Addresses: func() []string { return addresses }, ServerName: authority.ServerName, Roots: ca.Roots(),
		Certificate: func() (*tls.Certificate, error) { return mine, nil }})
	t.Cleanup(c.Close)
	return c
}

// TestAnotherServerAnswers: whatever is the matter with one server, the worker is at another one at once; and the first one is preferred
// where it answers.
func TestAnotherServerAnswers(t *testing.T) {
	ca, other := newAuthority(t, time.Now), newAuthority(t, time.Now)
	all := func(workerwire.Peer) error { return nil }
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 99)
	good := serve(t, ca, lines, all)
	for what, c := range map[string]struct {
		first  string
		within time.Duration
		answer bool
	}{
		"it is gone": {gone(t), 500 * time.Millisecond, false}, "its machine is gone": {hole(t), 700 * time.Millisecond, false},
		"it accepts and is silent": {silent(t), 700 * time.Millisecond, false}, "it hangs up": {hangsUp(t), 500 * time.Millisecond, false},
		"it is another one": {serve(t, other, lines, all), 500 * time.Millisecond, false},
		"it says no hello":  {muted(t, ca), 3 * time.Second, false},
		"all is well":       {serve(t, ca, lines, all), 500 * time.Millisecond, true},
	} {
		client := among(t, ca, c.first, good, gone(t))
		want := good
		if c.answer {
			want = c.first
		}
		for i := range 3 {
			began := time.Now()
			line, err := client.Open(t.Context(), sluice.WorkerHello{Limit: 1})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				break
			}
			if took := time.Since(began); took > c.within || client.At() != want {
				t.Errorf("%s: it is at %s after %v, want %s within %v", what, client.At(), took, want, c.within)
			} else {
				t.Logf("%s, line %d: %v", what, i, took)
			}
			line.Close()
			if took := time.Since(began); took > time.Second {
				break
			}
		}
	}
}

// TestNoServerAnswers: then each is named with what is the matter with it. A server that refuses the worker is heard.
func TestNoServerAnswers(t *testing.T) {
	ca := newAuthority(t, time.Now)
	a, b := gone(t), hangsUp(t)
	_, err := among(t, ca, a, b).Open(t.Context(), sluice.WorkerHello{Limit: 1})
	if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), a+": ") || !strings.Contains(err.Error(), b+": ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 9)
	denies := serve(t, ca, lines, func(workerwire.Peer) error { return sluice.Errorf(sluice.Denied, "the worker was removed") })
	good := serve(t, ca, lines, func(workerwire.Peer) error { return nil })
	if _, err := among(t, ca, a, denies, good).Open(t.Context(), sluice.WorkerHello{Limit: 1}); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("of one that was removed: %v", err)
	}
}

// TestACallOutlivesItsLine: what is read from a server is read to its end, also when the next line goes to another one.
func TestACallOutlivesItsLine(t *testing.T) {
	ca := newAuthority(t, time.Now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	more, text := make(chan struct{}), strings.Repeat("x", 600<<10)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- workerwire.Serve(ctx, l, workerwire.ServerConfig{Certificate: ca.Server, Roots: ca.Roots(), Authority: ca.Certificate(),
			WhoIs: func(*x509.Certificate) (sluice.WorkerName, string, error) { return "w1", "1", nil },
			Admit: func(context.Context, workerwire.Peer) error { return nil },
			Serve: func(ctx context.Context, _ workerwire.Peer, _ sluice.Line[sluice.ToWorker, sluice.ToServer]) error {
				<-ctx.Done()
				return nil
			},
			Blob: func(context.Context, string) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(text), waiting{more}, strings.NewReader(text))), nil
			}})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 9)
	other := serve(t, ca, lines, func(workerwire.Peer) error { return nil })
	at := []string{l.Addr().String()}
	mine := certified(t, ca, "w1")
	c := workerwire.Dial(workerwire.ClientConfig{Addresses: func() []string { return at }, ServerName: authority.ServerName, Roots: ca.Roots(),
		Certificate: func() (*tls.Certificate, error) { return mine, nil }})
	defer c.Close()
	if _, err := c.Open(t.Context(), sluice.WorkerHello{Limit: 1}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Blob(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	at = []string{other}
	if _, err := c.Open(t.Context(), sluice.WorkerHello{Limit: 1}); err != nil || c.At() != other {
		t.Fatalf("at %s, error %v", c.At(), err)
	}
	close(more)
	rest, err := io.ReadAll(r)
	if want := 2*len(text) - 1000; err != nil || len(rest) != want {
		t.Errorf("%d bytes of %d, error %v", len(rest), want, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// waiting is an empty reader that ends when it may.
type waiting struct{ until chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}

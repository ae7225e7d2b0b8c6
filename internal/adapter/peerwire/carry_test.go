package peerwire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/adapter/workerwire"
)

// tcp is a connection over the loopback, both ends of it.
func tcp(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	came := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		came <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, b = c.(*net.TCPConn), (<-came).(*net.TCPConn)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// lines takes connections that are carried.
type lines chan net.Conn

func (l lines) line() func(context.Context, net.Conn) {
	return func(_ context.Context, c net.Conn) { l <- c }
}

// carried is a worker's connection, as the worker has it and as the owner does.
func carried(t *testing.T, c *cluster, p *peerwire.Client, came lines) (worker *net.TCPConn, owner net.Conn, ended chan error, stop func()) {
	t.Helper()
	worker, here := tcp(t)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended = make(chan error, 1)
	go func() { ended <- p.Carry(ctx, here) }()
	select {
	case owner = <-came:
	case err := <-ended:
		t.Fatalf("it is not carried: %v", err)
	}
	return worker, owner, ended, cancel
}

func send(t *testing.T, to, from net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q came as %q: %v", text, got, err)
	}
}

// TestCarry: the owner has the worker's connection as if it had come there: its address, deadlines, and the end of one direction.
func TestCarry(t *testing.T) {
	c := newCluster(t)
	came := make(lines, 1)
	p := c.dial(c.serve(peerwire.ServerConfig{Line: came.line}))
	worker, owner, ended, _ := carried(t, c, p, came)
	if owner.RemoteAddr().String() != worker.LocalAddr().String() {
		t.Errorf("it comes from %s, and not %s", owner.RemoteAddr(), worker.LocalAddr())
	}
	send(t, owner, worker, "hello")
	send(t, worker, owner, strings.Repeat("x", 1<<20))
	if err := owner.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind a deadline: %v", err)
	}
	if err := owner.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	send(t, owner, worker, "again")
	if err := worker.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(owner); err != nil || len(rest) > 0 {
		t.Errorf("at the end %q came, %v", rest, err)
	}
	send(t, worker, owner, "I am not done")
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(worker); err != nil || len(rest) > 0 {
		t.Errorf("at the end %q came, %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLineEnds: whichever end goes away, the other one is told, and nobody waits on.
func TestLineEnds(t *testing.T) {
	for what, end := range map[string]func(worker *net.TCPConn, owner net.Conn, between *between, stop, stopServer func()){
		"worker closed":  func(w *net.TCPConn, _ net.Conn, _ *between, _, _ func()) { _ = w.Close() },
		"worker reset":   func(w *net.TCPConn, _ net.Conn, _ *between, _, _ func()) { _, _ = w.SetLinger(0), w.Close() },
		"owner closed":   func(_ *net.TCPConn, o net.Conn, _ *between, _, _ func()) { _ = o.Close() },
		"way cut":        func(_ *net.TCPConn, _ net.Conn, b *between, _, _ func()) { b.cut() },
		"carrier stops":  func(_ *net.TCPConn, _ net.Conn, _ *between, stop, _ func()) { stop() },
		"owner is ended": func(_ *net.TCPConn, _ net.Conn, _ *between, _, stop func()) { stop() },
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			came := make(lines, 1)
			address, stopServer := c.serveUntil(peerwire.ServerConfig{Line: came.line})
			between := newBetween(t, address)
			worker, owner, ended, stop := carried(t, c, c.dial(between.address), came)
			send(t, owner, worker, "hello")
			end(worker, owner, between, stop, stopServer)
			_, _ = io.Copy(io.Discard, owner) // both end
			_ = owner.Close()
			_, _ = io.Copy(io.Discard, worker)
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestNotCarried: a connection that cannot be carried is left as it is, for another server.
func TestNotCarried(t *testing.T) {
	c := newCluster(t)
	came := make(lines, 1)
	away, err := net.Listen("tcp", "127.0.0.1:0") // takes it, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = away.Close() }()
	worker, here := tcp(t)
	if _, err := io.WriteString(worker, "hello"); err != nil {
		t.Fatal(err)
	}
	for what, address := range map[string]string{"none that owns": c.serve(peerwire.ServerConfig{Line: func() func(context.Context, net.Conn) { return nil }}), "silent": away.Addr().String()} {
		began := time.Now()
		if err := c.dial(address).Carry(t.Context(), here); sluice.CodeOf(err) != sluice.Contact || time.Since(began) > 8*time.Second {
			t.Errorf("%s, after %s: %v", what, time.Since(began), err)
		}
	}
	p := c.dial(c.serve(peerwire.ServerConfig{Line: came.line}))
	ended := make(chan error, 1)
	go func() { ended <- p.Carry(t.Context(), here) }()
	owner := <-came
	got := make([]byte, 5)
	if _, err := io.ReadFull(owner, got); err != nil || string(got) != "hello" {
		t.Errorf("it came as %q, %v", got, err)
	}
	_, _ = owner.Close(), worker.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// carriedListener gives carried connections to a server for workers.
type carriedListener struct {
	lines
	done chan struct{}
}

func (l carriedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.lines:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l carriedListener) Addr() net.Addr { return &net.TCPAddr{} }
func (l carriedListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

// TestWorkerIsCarried: a worker reaches the owner by another server, which sees nothing of what they say, and shows its own certificate.
func TestWorkerIsCarried(t *testing.T) {
	c := newCluster(t)
	came := make(lines)
	p := c.dial(c.serve(peerwire.ServerConfig{Line: came.line}))
	ca, err := authority.OpenWorkers(c.dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	here, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	carries := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := here.Accept()
		if err == nil {
			err = p.Carry(ctx, conn)
		}
		carries <- err
	}()
	served := make(chan error, 1)
	from := make(chan string, 1)
	go func() {
		served <- workerwire.Serve(ctx, carriedListener{came, make(chan struct{})}, workerwire.ServerConfig{Certificate: ca.Server, Roots: ca.Roots(), Authority: ca.Certificate(),
			Enrol: func(_ context.Context, e workerwire.Enrolment) ([]byte, error) {
				from <- e.From
				der, _, _, err := ca.Sign(e.Request, e.Name)
				return der, err
			}})
	}()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := workerwire.EnrolAt(t.Context(), []string{here.Addr().String()}, authority.ServerName, func(x *x509.Certificate) bool { return authority.PinOf(x) == ca.Pin() },
		workerwire.Enrolment{Name: "w1", Secret: "s", Request: request}, "x")
	if err != nil || len(got.Certificate) == 0 {
		t.Fatal(err)
	}
	if at := <-from; !strings.HasPrefix(at, "127.0.0.1:") {
		t.Errorf("the worker comes from %s", at)
	}
	if err := <-carries; err != nil { // the worker is done
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	_ = here.Close()
}

// TestLineNeedsItsOwn: nobody without a certificate opens a line, and none is opened over HTTP/2.
func TestLineNeedsItsOwn(t *testing.T) {
	c := newCluster(t)
	address := c.serve(peerwire.ServerConfig{Line: func() func(context.Context, net.Conn) {
		return func(_ context.Context, conn net.Conn) {
			t.Error("it was opened")
			_ = conn.Close()
		}
	}})
	conn, err := tls.Dial("tcp", address, anybody())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /peer/1/line HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: sluice-line\r\n\r\n")
	some := make([]byte, 12)
	if _, err := io.ReadFull(conn, some); err != nil || string(some) != "HTTP/1.1 403" {
		t.Errorf("it is answered with %q, %v", some, err)
	}
	_ = conn.Close()
}

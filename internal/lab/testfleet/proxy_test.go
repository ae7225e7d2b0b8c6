package testfleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/lab/testfleet"
)

// server answers each connection by handle until the test ends, and returns its address.
func server(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

func proxy(t testing.TB, to string, f testfleet.Faults) *testfleet.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := testfleet.NewProxy(l, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}, f)
	t.Cleanup(func() {
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func through(t testing.TB, p *testfleet.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// fetch connects and reads to the end. A reset may hit the connecting as well as the reading.
func fetch(p *testfleet.Proxy) ([]byte, error) {
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return io.ReadAll(conn)
}

// Whatever is sent comes back whole and in order, half-closed connections included, with delay and rate too.
func TestProxyKeepsBytes(t *testing.T) {
	to := server(t, echo)
	p := proxy(t, to, testfleet.Faults{})
	rapid.Check(t, func(r *rapid.T) {
		flow := func(name string) testfleet.Flow {
			return testfleet.Flow{
				Delay: time.Duration(rapid.IntRange(0, 2).Draw(r, name+" delay")) * time.Millisecond,
				Rate:  rapid.SampledFrom([]int{0, 10 << 20, 100 << 20}).Draw(r, name+" rate"),
			}
		}
		p.Set(testfleet.Faults{ToServer: flow("to server"), ToClient: flow("to client")})
		data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(r, "data"), rapid.IntRange(0, 2000).Draw(r, "times"))
		conn := through(t, p)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = conn.Write(data)
			_ = conn.CloseWrite()
		})
		got, err := io.ReadAll(conn)
		wg.Wait()
		_ = conn.Close()
		if err != nil || !bytes.Equal(got, data) {
			r.Fatalf("%d bytes came back of %d, %v", len(got), len(data), err)
		}
	})
}

func TestProxyDelays(t *testing.T) {
	const delay = 30 * time.Millisecond
	p := proxy(t, server(t, echo), testfleet.Faults{ToServer: testfleet.Flow{Delay: delay}, ToClient: testfleet.Flow{Delay: delay}})
	conn := through(t, p)
	begin := time.Now()
	_, err := conn.Write([]byte("x"))
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	must(t, err)
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("a byte was back after %v, before twice %v", took, delay)
	}
}

func TestProxyLimitsTheRate(t *testing.T) {
	p := proxy(t, server(t, func(c net.Conn) { _, _ = c.Write(make([]byte, 20)) }), testfleet.Faults{ToClient: testfleet.Flow{Rate: 200}})
	conn := through(t, p)
	begin := time.Now()
	got, err := io.ReadAll(conn)
	if took := time.Since(begin); err != nil || len(got) != 20 || took < 90*time.Millisecond {
		t.Errorf("%d bytes at 200 a second after %v, %v", len(got), took, err)
	}
}

func TestProxyCuts(t *testing.T) {
	flood := server(t, func(c net.Conn) {
		for {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	for _, at := range []int64{1, 999, 1000, 1001, 123_456} {
		p := proxy(t, flood, testfleet.Faults{ToClient: testfleet.Flow{Cut: at}})
		if got, err := fetch(p); int64(len(got)) != at || err != nil {
			t.Errorf("cut after %d bytes: %d came, %v", at, len(got), err)
		}
		p.Set(testfleet.Faults{ToClient: testfleet.Flow{Cut: at}, Reset: true})
		if got, err := fetch(p); int64(len(got)) > at || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reset after %d bytes: %d came, %v", at, len(got), err)
		}
	}
	p := proxy(t, server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), testfleet.Faults{ToServer: testfleet.Flow{Cut: 10}})
	conn := through(t, p)
	_, err := conn.Write(make([]byte, 100))
	must(t, err)
	if got, err := io.ReadAll(conn); len(got) != 0 || err != nil {
		t.Errorf("cut on the way to the server: %d bytes, %v", len(got), err)
	}
}

func TestProxyCutsOpenConnections(t *testing.T) {
	p := proxy(t, server(t, echo), testfleet.Faults{Reset: true})
	var conns []net.Conn
	for range 3 {
		conn := through(t, p)
		_, err := conn.Write([]byte("x"))
		must(t, err)
		_, err = io.ReadFull(conn, make([]byte, 1))
		must(t, err)
		conns = append(conns, conn)
	}
	if open, cut := p.Open(), p.Cut(); open != 3 || cut != 3 {
		t.Errorf("%d connections open, %d cut", open, cut)
	}
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a cut connection says %v", err)
		}
	}
}

func TestProxyRefusesAndSwallows(t *testing.T) {
	p := proxy(t, server(t, echo), testfleet.Faults{Refuse: true})
	if got, err := fetch(p); len(got) != 0 || err != nil {
		t.Errorf("refused: %d bytes, %v", len(got), err)
	}
	p.Set(testfleet.Faults{Refuse: true, Reset: true})
	if _, err := fetch(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused with a reset: %v", err)
	}
	p.Set(testfleet.Faults{ToClient: testfleet.Flow{Swallow: true}})
	conn := through(t, p)
	_, err := conn.Write([]byte("lost"))
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(soon)))
	var timeout net.Error
	if n, err := conn.Read(make([]byte, 10)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a swallowed answer: %d bytes, %v", n, err)
	}
	p.Set(testfleet.Faults{})
	must(t, conn.SetReadDeadline(time.Time{}))
	_, err = conn.Write([]byte("kept"))
	must(t, err)
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); string(got) != "kept" {
		t.Errorf("after the swallowing: %q, %v", got, err)
	}
}

func TestProxyBeforeNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	p := proxy(t, l.Addr().String(), testfleet.Faults{})
	if _, err := fetch(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no server behind it: %v", err)
	}
}

// The real client goes through the proxy, and a link that is cut mid-stream ends it.
func TestProxyBeforeAHost(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	p, err := f.Proxy(t.Context(), h, testfleet.Faults{ToClient: testfleet.Flow{Delay: time.Millisecond}})
	must(t, err)
	if out, err := f.SSH(t.Context(), h.Name, "hostname", p.SSHOptions(h)...).CombinedOutput(); string(out) != h.Name+"\n" {
		t.Errorf("through the proxy: %v, %q", err, out)
	}
	p.Set(testfleet.Faults{ToClient: testfleet.Flow{Cut: 100_000}})
	out, err := f.SSH(t.Context(), h.Name, "cat /dev/zero", p.SSHOptions(h)...).Output()
	if err == nil || len(out) == 0 || len(out) > 100_000 {
		t.Errorf("cut mid-stream: %v, %d bytes", err, len(out))
	}
}

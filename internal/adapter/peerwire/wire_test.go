package peerwire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/peerwire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func servers(t testing.TB, dir string, clock sluice.Clock) *authority.Servers {
	t.Helper()
	a, err := authority.OpenServers(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func member(t testing.TB, a *authority.Servers, name string) *authority.Member {
	t.Helper()
	m, err := a.Member(name, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// workersPair is what a worker has to show.
func workersPair(t testing.TB, dir string) func() (*tls.Certificate, error) {
	t.Helper()
	a, err := authority.OpenWorkers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, _, _, err := a.Sign(request, "one")
	if err != nil {
		t.Fatal(err)
	}
	return func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der, a.Certificate()}, PrivateKey: key}, nil
	}
}

// cluster is two servers: "one", which asks, and "two", which answers.
type cluster struct {
	t    testing.TB
	ca   *authority.Servers
	dir  string
	told struct {
		sync.Mutex
		text strings.Builder
	}
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	dir := t.TempDir()
	return &cluster{t: t, ca: servers(t, dir, time.Now), dir: dir}
}

// serve has the server "two" answer until the test ends, and returns where it is.
func (c *cluster) serve(cfg peerwire.ServerConfig) string {
	c.t.Helper()
	address, _ := c.serveUntil(cfg)
	return address
}

// serveUntil has it answer until stop is called.
func (c *cluster) serveUntil(cfg peerwire.ServerConfig) (address string, stop func()) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.Name, cfg.Certificate, cfg.Roots, cfg.WhoIs = "two", member(c.t, c.ca, "two").Certificate, c.ca.Roots(), authority.MemberOf
	cfg.Trouble = func(text string) {
		c.told.Lock()
		defer c.told.Unlock()
		c.told.text.WriteString(text + "\n")
	}
	if cfg.Admit == nil {
		cfg.Admit = func(context.Context, string) error { return nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- peerwire.Serve(ctx, l, cfg) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(stop)
	return l.Addr().String(), stop
}

// dial is the server "two" as "one" reaches it.
func (c *cluster) dial(address string) *peerwire.Client {
	c.t.Helper()
	return c.dialAs(address, member(c.t, c.ca, "one").Certificate)
}

func (c *cluster) dialAs(address string, certificate func() (*tls.Certificate, error)) *peerwire.Client {
	c.t.Helper()
	return c.dialWith(peerwire.ClientConfig{Name: "two", Address: address, ServerName: authority.MemberHost("two"), Roots: c.ca.Roots(), Certificate: certificate})
}

func (c *cluster) dialWith(cfg peerwire.ClientConfig) *peerwire.Client {
	c.t.Helper()
	p, err := peerwire.Dial(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Close)
	return p
}

// asks is a question that tells who has asked.
func asks(called *int) map[string]func(context.Context, string, json.RawMessage) (any, error) {
	return map[string]func(context.Context, string, json.RawMessage) (any, error){
		"who": func(_ context.Context, from string, _ json.RawMessage) (any, error) {
			*called++
			return from, nil
		}}
}

// TestWhoIsRefused: nobody is answered but a member of this cluster, and nobody is asked but the server that is meant.
func TestWhoIsRefused(t *testing.T) {
	c := newCluster(t)
	called := 0
	address := c.serve(peerwire.ServerConfig{Asks: asks(&called), Admit: func(_ context.Context, name string) error {
		if name == "removed" {
			return sluice.Errorf(sluice.Denied, "the server was removed").WithHint("ask")
		}
		return nil
	}, API: api(func(http.ResponseWriter, *http.Request) { called++ }),
		Line: func() func(context.Context, net.Conn) {
			return func(_ context.Context, conn net.Conn) {
				called++
				_ = conn.Close()
			}
		}})
	aged := servers(t, c.dir, func() time.Time { return time.Now().Add(-2 * authority.Life) })
	other := servers(t, t.TempDir(), time.Now)
	workers := workersPair(t, c.dir)
	for what, one := range map[string]struct {
		cert   func() (*tls.Certificate, error)
		denied bool // it is told why
	}{
		"a worker":                    {workers, false},
		"a server of another cluster": {member(t, other, "one").Certificate, false},
		"one whose certificate ended": {member(t, aged, "one").Certificate, false},
		"one that was removed":        {member(t, c.ca, "removed").Certificate, true},
		"nobody":                      {func() (*tls.Certificate, error) { return &tls.Certificate{}, nil }, true},
	} {
		p := c.dialAs(address, one.cert)
		refused := func(how string, err error) {
			t.Helper()
			if err == nil || one.denied && sluice.CodeOf(err) != sluice.Denied || !one.denied && sluice.CodeOf(err) != sluice.Contact {
				t.Errorf("%s: %s: %v", what, how, err)
			}
		}
		refused("asking", p.Ask(t.Context(), "who", nil, nil))
		w := newAnswer()
		refused("handing on", p.Hand(w, newRequest(t, http.MethodGet, "/x", nil), peerwire.From{Remote: "192.0.2.1:1"}))
		if w.written() {
			t.Errorf("%s: something was written", what)
		}
		a, b := net.Pipe()
		short, done := context.WithTimeout(t.Context(), time.Minute)
		refused("carrying", p.Carry(short, a))
		done()
		_, err := p.Blobs().Size(t.Context(), "x")
		refused("blobs", err)
		refused("records", p.Records(t.Context(), "prod", 0, nil))
		_, _ = a.Close(), b.Close()
	}
	if called > 0 {
		t.Errorf("%d calls of them were answered", called)
	}
	var who string
	if err := c.dial(address).Ask(t.Context(), "who", nil, &who); err != nil || who != "one" {
		t.Errorf("the server %q asked, %v", who, err)
	}
	good := peerwire.ClientConfig{Name: "two", Address: address, ServerName: authority.MemberHost("two"), Roots: c.ca.Roots(), Certificate: member(t, c.ca, "one").Certificate}
	for what, change := range map[string]func(*peerwire.ClientConfig){
		"for another server":  func(cfg *peerwire.ClientConfig) { cfg.ServerName = authority.MemberHost("three") },
		"for another cluster": func(cfg *peerwire.ClientConfig) { cfg.Roots = other.Roots() },
	} {
		cfg := good
		change(&cfg)
		called = 0
		if err := c.dialWith(cfg).Ask(t.Context(), "who", nil, nil); sluice.CodeOf(err) != sluice.Contact || called > 0 {
			t.Errorf("what was meant %s was answered: %v", what, err)
		}
	}
}

// TestAdmittedEachTime: who is removed is refused on a connection that was good before.
func TestAdmittedEachTime(t *testing.T) {
	c := newCluster(t)
	called, removed := 0, false
	p := c.dial(c.serve(peerwire.ServerConfig{Asks: asks(&called), Admit: func(_ context.Context, name string) error {
		if removed {
			return sluice.Errorf(sluice.Denied, "the server %s was removed", name)
		}
		return nil
	}}))
	if err := p.Ask(t.Context(), "who", nil, nil); err != nil {
		t.Fatal(err)
	}
	removed = true
	if err := p.Ask(t.Context(), "who", nil, nil); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "one was removed") || called != 1 {
		t.Errorf("%d calls, %v", called, err)
	}
}

// TestJoin: a new server, which has no certificate yet, gets what it needs from the cluster of its token, and tells its secret nobody else.
func TestJoin(t *testing.T) {
	c := newCluster(t)
	joined := make(chan peerwire.Joining, 9)
	address := c.serve(peerwire.ServerConfig{Join: func(_ context.Context, j peerwire.Joining) (json.RawMessage, error) {
		joined <- j
		if j.Secret != "hush" {
			return nil, sluice.Errorf(sluice.Denied, "the token was used").WithHint("make another")
		}
		return json.RawMessage(`{"key":"PRIVATE"}`), nil
	}})
	pinned := func(x *x509.Certificate) bool { return authority.PinOf(x) == c.ca.Pin() }
	got, err := peerwire.JoinAt(t.Context(), address, authority.Members, pinned, peerwire.Joining{Secret: "hush", Name: "three", Address: "127.0.0.1:9"})
	if err != nil || string(got.Reveal()) != `{"key":"PRIVATE"}` {
		t.Errorf("it got %s, %v", got.Reveal(), err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(shown, "PRIVATE") {
		t.Errorf("what it got is shown: %s", shown)
	}
	if j := <-joined; j.Name != "three" || j.Address != "127.0.0.1:9" || !strings.HasPrefix(j.From, "127.0.0.1:") {
		t.Errorf("it came as %+v", j)
	}
	_, err = peerwire.JoinAt(t.Context(), address, authority.Members, pinned, peerwire.Joining{Secret: "x"})
	var e *sluice.Error
	if !errors.As(err, &e) || e.Code != sluice.Denied || e.Text != "the token was used" || e.Hint != "make another" {
		t.Errorf("a bad secret: %v", err)
	}
	<-joined
	for what, try := range map[string]func() (sluice.Secret, error){
		"another authority": func() (sluice.Secret, error) {
			return peerwire.JoinAt(t.Context(), address, authority.Members, func(*x509.Certificate) bool { return false }, peerwire.Joining{Secret: "hush"})
		},
		"no server": func() (sluice.Secret, error) {
			return peerwire.JoinAt(t.Context(), address, "other.sluice.internal", pinned, peerwire.Joining{Secret: "hush"})
		},
	} {
		if _, err := try(); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(joined) > 0 {
		t.Error("the secret was told somebody else")
	}
	c.told.Lock()
	text := c.told.text.String()
	c.told.Unlock()
	if strings.Contains(text, "hush") || strings.Contains(text, "PRIVATE") {
		t.Errorf("it was told: %s", text)
	}
	// One that shows the pinned authority, and a certificate that it has not made.
	forged := servers(t, t.TempDir(), time.Now)
	pair, err := member(t, forged, "two").Certificate()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{pair.Certificate[0], c.ca.Certificate()}, PrivateKey: pair.PrivateKey}}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	shook := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
		shook <- err
	}()
	if _, err := peerwire.JoinAt(t.Context(), l.Addr().String(), authority.Members, pinned, peerwire.Joining{Secret: "hush"}); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a forged chain: %v", err)
	}
	<-shook
	_ = l.Close()
}

// TestErrors: an error keeps its code, its hint, whether it lasts and about what, and no answer grows without a bound.
func TestErrors(t *testing.T) {
	c := newCluster(t)
	errs := map[string]error{
		"coded":   (&sluice.Error{Code: sluice.Conflict, Text: "it is", Err: errors.New("why"), Of: "prod"}).WithHint("type %s", "x").Lasts(),
		"uncoded": errors.New("disk full"),
		"long":    sluice.Errorf(sluice.Usage, "%s", strings.Repeat("x", 1<<20)),
	}
	questions := map[string]func(context.Context, string, json.RawMessage) (any, error){
		"echo/deep": func(_ context.Context, _ string, in json.RawMessage) (any, error) { return in, nil },
		"large":     func(context.Context, string, json.RawMessage) (any, error) { return strings.Repeat("x", 2<<20), nil },
	}
	for name, err := range errs {
		questions[name] = func(context.Context, string, json.RawMessage) (any, error) { return nil, err }
	}
	p := c.dial(c.serve(peerwire.ServerConfig{Asks: questions}))
	var e *sluice.Error
	if err := p.Ask(t.Context(), "coded", nil, nil); !errors.As(err, &e) || e.Code != sluice.Conflict || e.Text != "it is: why" || e.Hint != "type x" ||
		!sluice.IsLasting(err) || sluice.LastingOf(err) != "prod" {
		t.Errorf("it came as %#v", err)
	}
	if err := p.Ask(t.Context(), "uncoded", nil, nil); sluice.CodeOf(err) != "" || !strings.Contains(err.Error(), "the server two: disk full") {
		t.Errorf("it came as %v", err)
	}
	if err := p.Ask(t.Context(), "long", nil, nil); sluice.CodeOf(err) != sluice.Usage || len(err.Error()) > 64<<10 {
		t.Errorf("%d bytes, code %s", len(err.Error()), sluice.CodeOf(err))
	}
	if err := p.Ask(t.Context(), "nothing", nil, nil); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("an unknown question: %v", err)
	}
	var out map[string]int
	if err := p.Ask(t.Context(), "echo/deep", map[string]int{"a": 1}, &out); err != nil || out["a"] != 1 {
		t.Errorf("%v, %v", out, err)
	}
	if err := p.Ask(t.Context(), "large", nil, nil); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a large answer: %v", err)
	}
	if err := p.Ask(t.Context(), "echo/deep", strings.Repeat("x", 1<<20), nil); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("a large question: %v", err)
	}
	if err := p.Ask(t.Context(), "echo/deep", nil, &out); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestGoneServer: one that is away, that stands still before or after it was reached, or that is closed on this side, is known soon to
// be no contact.
func TestGoneServer(t *testing.T) {
	c := newCluster(t)
	blocked := make(chan struct{})
	questions := map[string]func(context.Context, string, json.RawMessage) (any, error){
		"wait": func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
			close(blocked)
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"quick": func(context.Context, string, json.RawMessage) (any, error) { return nil, nil },
	}
	address := c.serve(peerwire.ServerConfig{Asks: questions})
	soon := func(what string, p *peerwire.Client, within time.Duration) {
		t.Helper()
		began := time.Now()
		if err := p.Ask(t.Context(), "quick", nil, nil); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > within {
			t.Errorf("%s: known after %s", what, took)
		}
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	soon("one that does not answer", c.dial(silent.Addr().String()), 5*time.Second)
	_ = silent.Close()
	soon("one that is away", c.dial(silent.Addr().String()), 3*time.Second)
	between := newBetween(t, address)
	p := c.dial(between.address)
	if err := p.Ask(t.Context(), "quick", nil, nil); err != nil {
		t.Fatal(err)
	}
	between.swallow()
	soon("one that stands still", p, 12*time.Second)
	between.cut()
	soon("one that was cut off", p, 3*time.Second)
	q := c.dial(address)
	ended := make(chan error, 1)
	go func() { ended <- q.Ask(t.Context(), "wait", nil, nil) }()
	<-blocked
	q.Close()
	if err := <-ended; sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a client that was closed: %v", err)
	}
	soon("a client that is closed", q, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.dial(address).Ask(ctx, "quick", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("one that nobody waits for: %v", err)
	}
}

// between is a network between two servers.
type between struct {
	address string
	l       net.Listener

	mu       sync.Mutex
	conns    []net.Conn
	ways     sync.WaitGroup
	stopped  bool // what comes is not passed on
	isClosed bool
	passed   int64 // bytes towards the server
}

func newBetween(t testing.TB, to string) *between {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &between{address: l.Addr().String(), l: l}
	b.ways.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			b.mu.Lock()
			b.conns = append(b.conns, in, out)
			if b.isClosed {
				_, _ = in.Close(), out.Close()
			}
			b.mu.Unlock()
			b.ways.Go(func() { b.pass(out, in, true) })
			b.ways.Go(func() { b.pass(in, out, false) })
		}
	})
	t.Cleanup(b.cut)
	return b
}

func (b *between) pass(to, from net.Conn, count bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		b.mu.Lock()
		stopped := b.stopped
		if count {
			b.passed += int64(n)
		}
		b.mu.Unlock()
		if !stopped && n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// swallow has nothing pass any more; nobody is told.
func (b *between) swallow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}

func (b *between) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.passed
}

// cut ends all connections, and lets none pass any more.
func (b *between) cut() {
	b.mu.Lock()
	b.isClosed = true
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.mu.Unlock()
	_ = b.l.Close()
	b.ways.Wait()
}

// answered is where an answer is written.
type answered struct {
	header http.Header
	status int
	body   strings.Builder
}

func newAnswer() *answered { return &answered{header: http.Header{}} }

func (a *answered) Header() http.Header { return a.header }

func (a *answered) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answered) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answered) Flush() {}

func (a *answered) written() bool { return a.status != 0 || len(a.header) > 0 || a.body.Len() > 0 }

func newRequest(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://sluice.example.com"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// anybody is a client that shows nothing, and asks for nothing.
func anybody() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

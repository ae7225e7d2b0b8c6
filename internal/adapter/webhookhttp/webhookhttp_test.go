package webhookhttp_test

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/webhookhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func poster(t *testing.T, c webhookhttp.Config) *webhookhttp.Poster {
	t.Helper()
	p, err := webhookhttp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// refused expects that an address is refused before anything is sent there.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	var e *sluice.Error
	if !errors.As(err, &e) || e.Code != sluice.Denied {
		t.Errorf("%s: %v, want a refusal", what, err)
	}
}

func TestPost(t *testing.T) {
	var got *http.Request
	var body string
	status := http.StatusNoContent
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		w.WriteHeader(status)
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	p := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.1"}, Roots: roots, Version: "1.2"})
	if err := p.Post(t.Context(), server.URL+"/in?a=b", map[string]string{"Sluice-Delivery": "d1"}, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if body != `{"a":1}` || got.Header.Get("Sluice-Delivery") != "d1" || got.Header.Get("Content-Type") != "application/json" ||
		got.UserAgent() != "sluice/1.2" || got.URL.String() != "/in?a=b" || got.Method != http.MethodPost {
		t.Errorf("%q %v %v", body, got.Header, got.URL)
	}
	for _, status = range []int{400, 404, 410, 429, 500, 503} {
		if err := p.Post(t.Context(), server.URL, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "status ") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if err := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.1"}}).Post(t.Context(), server.URL+"/CANARY", nil, nil); err == nil ||
		strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

// TestInsideIsRefused: whoever may make webhooks reaches none of what only the server can reach.
func TestInsideIsRefused(t *testing.T) {
	p := poster(t, webhookhttp.Config{HTTP: true})
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0", "[::]", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254",
		"169.254.1.1", "[fe80::1]", "[fd00:ec2::254]", "[fc00::1]", "100.64.0.1", "224.0.0.1", "[ff02::1]", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
		"[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[64:ff9b::a9fe:a9fe]",
		"[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[64:ff9b:1::7f00:1]", "localhost"} {
		for _, scheme := range []string{"http://", "https://"} {
			refused(t, scheme+host, p.Post(t.Context(), scheme+host+":1/", nil, nil))
		}
	}
	// However an address is written, it is what is dialled that counts: such names reach a resolver, or nothing at all.
	for _, odd := range []string{"2130706433", "0x7f000001", "0177.0.0.1", "127.1"} {
		if err := p.Post(t.Context(), "http://"+odd+":1/", nil, nil); err == nil {
			t.Errorf("%s is reached", odd)
		}
	}
}

func TestOnlyHTTPSUnlessAllowed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	refused(t, "http", poster(t, webhookhttp.Config{Allow: []string{"127.0.0.0/8"}}).Post(t.Context(), server.URL, nil, nil))
	if err := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.0/8"}, HTTP: true}).Post(t.Context(), server.URL, nil, nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "file:///etc/passwd", "http://u:p@127.0.0.1/", "gopher://127.0.0.1/", "//127.0.0.1/", "http:///x"} {
		refused(t, bad, poster(t, webhookhttp.Config{HTTP: true}).Post(t.Context(), bad, nil, nil))
	}
}

// TestNoRedirect: a receiver cannot send the server elsewhere.
func TestNoRedirect(t *testing.T) {
	var reached atomic.Int32
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inner.Close()
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
	}))
	defer outer.Close()
	err := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.0/8"}, HTTP: true}).Post(t.Context(), outer.URL, nil, []byte("x"))
	if err == nil || !strings.Contains(err.Error(), "redirects are not followed") || reached.Load() != 0 {
		t.Errorf("%v, reached %d times", err, reached.Load())
	}
}

// names answers for names, each time with the next of a list of addresses.
type names struct {
	mu    sync.Mutex
	list  []string
	asked int
}

// resolver asks names alone: over a pipe, no network is used.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go n.serve(there)
		return here, nil
	}}
}

// serve answers questions over TCP's form of DNS, which a pipe gets.
func (n *names) serve(c net.Conn) {
	defer c.Close()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		a := n.answer(q)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

// answer makes a response to a question for A; others get none.
func (n *names) answer(q []byte) []byte {
	end := 12
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5
	kind := binary.BigEndian.Uint16(q[end-4:])
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
	if kind != 1 {
		return out
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ip := netip.MustParseAddr(n.list[min(n.asked, len(n.list)-1)]).As4()
	n.asked++
	out[7] = 1
	out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
	return append(out, ip[:]...)
}

// TestRebinding: a name that meant something harmless when it was looked at, and means the loopback when it is sent to, is
// refused each time anew.
func TestRebinding(t *testing.T) {
	var reached atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("skipped: 127.0.0.2 cannot be listened on here")
	}
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n := &names{list: []string{"127.0.0.2", "127.0.0.1", "169.254.169.254", "10.0.0.1", "127.0.0.2"}}
	p := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.2"}, HTTP: true, Resolver: n.resolver()})
	to := "http://rebind.example.com:" + port + "/"
	if err := p.Post(t.Context(), to, nil, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		refused(t, "rebound", p.Post(t.Context(), to, nil, nil))
	}
	if err := p.Post(t.Context(), to, nil, nil); err != nil || reached.Load() != 2 || n.asked != 5 {
		t.Errorf("error %v, reached %d times, asked %d times", err, reached.Load(), n.asked)
	}
}

// TestAllowedNames: a name may mean an address inside, but not the machine itself or its cloud's metadata.
func TestAllowedNames(t *testing.T) {
	for address, reach := range map[string]bool{"127.0.0.1": false, "169.254.169.254": false, "0.0.0.0": false} {
		n := &names{list: []string{address}}
		p := poster(t, webhookhttp.Config{Allow: []string{"Chat.example.com"}, HTTP: true, Resolver: n.resolver()})
		err := p.Post(t.Context(), "http://chat.example.com:1/", nil, nil)
		if !reach {
			refused(t, address, err)
		}
	}
	if _, err := webhookhttp.New(webhookhttp.Config{Allow: []string{"not a host"}}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("%v", err)
	}
}

func TestEndlessAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1<<16)
		for r.Context().Err() == nil {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if err := poster(t, webhookhttp.Config{Allow: []string{"127.0.0.1"}, HTTP: true}).Post(t.Context(), server.URL, nil, nil); err != nil {
		t.Error(err)
	}
}

package peerwire_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/peerwire"
)

// front is the API of a server that does not own the log: it hands on, to the first that takes it.
func front(t testing.TB, secure bool, failed func(error), to ...*peerwire.Client) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		for _, p := range to {
			if err = p.Hand(w, r, peerwire.From{Remote: r.RemoteAddr, Secure: r.TLS != nil, Proof: json.RawMessage(`{"is":"root"}`)}); err == nil {
				return
			}
			if failed != nil {
				failed(err)
			}
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}))
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func api(h http.HandlerFunc) func() func(http.ResponseWriter, *http.Request) bool {
	return func() func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { h(w, r); return true }
	}
}

// seen is a request as an API got it.
type seen struct {
	method, uri, host, remote, body string
	secure                          bool
	chains                          int
	header                          http.Header
	from                            peerwire.From
	handed                          bool
}

func see(r *http.Request) (s seen, err error) {
	body, err := io.ReadAll(r.Body)
	s = seen{method: r.Method, uri: r.RequestURI, host: r.Host, remote: r.RemoteAddr, body: string(body), secure: r.TLS != nil, header: r.Header}
	if r.TLS != nil {
		s.chains = len(r.TLS.VerifiedChains) + len(r.TLS.PeerCertificates)
	}
	s.from, s.handed = peerwire.HandedOn(r.Context())
	return s, err
}

// TestHand: the owner gets a request as it came, and knows where from; its answer comes back as it is.
func TestHand(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			got := make(chan seen, 1)
			p := c.dial(c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
				s, err := see(r)
				if err != nil {
					t.Error(err)
				}
				got <- s
				w.Header()["X-Many"] = []string{"a", "b"}
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "short and stout")
			})}))
			s := front(t, secure, func(err error) { t.Error(err) }, p)
			for _, body := range []string{"", strings.Repeat("x", 3<<20)} {
				r := newRequest(t, http.MethodPost, "/a%2Fb/c?x=1;y&z=%zz", strings.NewReader(body))
				r.URL.Host, r.URL.Scheme, r.Host = s.Listener.Addr().String(), "http", "sluice.example.com"
				if secure {
					r.URL.Scheme = "https"
				}
				for k, v := range map[string]string{"X-Forwarded-For": "10.1.1.1", "Authorization": "Bearer x", "Sluice-From": "bm9uZQ", "Sluice-Peer": "fine"} {
					r.Header.Set(k, v)
				}
				if !secure { // there is no such header in HTTP/2
					r.Header.Set("Connection", "Sluice-From")
				}
				res, err := s.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != http.StatusTeapot || string(text) != "short and stout" || len(res.Header["X-Many"]) != 2 {
					t.Errorf("it is answered with %s, %v, %q, %v", res.Status, res.Header, text, err)
				}
				is := <-got
				if is.method != http.MethodPost || is.uri != "/a%2Fb/c?x=1;y&z=%zz" || is.host != "sluice.example.com" || is.body != body {
					t.Errorf("it came as %s %s for %s with %d bytes", is.method, is.uri, is.host, len(is.body))
				}
				if !strings.HasPrefix(is.remote, "127.0.0.1:") || is.remote != is.from.Remote || is.secure != secure || is.from.Secure != secure || is.chains > 0 {
					t.Errorf("it came from %s, %+v, over TLS %v, with %d certificates", is.remote, is.from, is.secure, is.chains)
				}
				if !is.handed || string(is.from.Proof) != `{"is":"root"}` {
					t.Errorf("it proves %s, %v", is.from.Proof, is.handed)
				}
				if is.header.Get("Sluice-From") != "" || is.header.Get("Expect") != "" || is.header.Get("X-Forwarded-For") != "10.1.1.1" || is.header.Get("Authorization") != "Bearer x" {
					t.Errorf("its headers are %v", is.header)
				}
			}
		})
	}
}

// TestEventsAreHandedOn: an answer that goes on comes as it is written, and ends when nobody listens any more.
func TestEventsAreHandedOn(t *testing.T) {
	c := newCluster(t)
	next, ended := make(chan string), make(chan struct{})
	p := c.dial(c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		for {
			select {
			case text := <-next:
				_, _ = io.WriteString(w, text+"\n")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})}))
	s := front(t, false, nil, p)
	ctx, stop := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "0" }() // headers come with the first event
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(res.Body)
	for i := range 5 {
		if i > 0 {
			next <- fmt.Sprint(i)
		}
		if !lines.Scan() || lines.Text() != fmt.Sprint(i) {
			t.Fatalf("event %d came as %q: %v", i, lines.Text(), lines.Err())
		}
	}
	stop()
	<-ended
	_ = res.Body.Close()
}

// TestNotOwner: a server that does not own the log takes nothing of a request, which goes to another one then, whole.
func TestNotOwner(t *testing.T) {
	not := func(http.ResponseWriter, *http.Request) bool { return false } // it has just ceased to
	for n, expect := range []bool{false, true, false, true} {
		c := newCluster(t)
		between := newBetween(t, c.serve(peerwire.ServerConfig{API: func() func(http.ResponseWriter, *http.Request) bool {
			if n < 2 {
				return nil
			}
			return not
		}}))
		var want, got string
		second := c.dial(c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
			s, err := see(r)
			if err != nil {
				t.Error(err)
			}
			got = s.body
		})}))
		var errs []error
		s := front(t, false, func(err error) { errs = append(errs, err) }, c.dial(between.address), second)
		want = strings.Repeat("abc", 1<<20)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, strings.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		if expect {
			r.Header.Set("Expect", "100-continue")
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s, %d bytes came", res.Status, len(got))
		}
		if len(errs) != 1 || sluice.CodeOf(errs[0]) != sluice.Contact || !strings.Contains(errs[0].Error(), "two does not own the log") {
			t.Errorf("the first said %v", errs)
		}
		if n := between.bytes(); n > 64<<10 {
			t.Errorf("the first was sent %d bytes", n)
		}
	}
}

// TestNothingWasWritten: where nothing was done, nothing was answered, and nothing of the body read.
func TestNothingWasWritten(t *testing.T) {
	c := newCluster(t)
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close()
	for what, address := range map[string]string{"away": away.Addr().String(), "not the owner": c.serve(peerwire.ServerConfig{})} {
		w := newAnswer()
		r := newRequest(t, http.MethodPost, "/", io.NopCloser(unread{t}))
		r.ContentLength = 5
		if err := c.dial(address).Hand(w, r, peerwire.From{}); sluice.CodeOf(err) != sluice.Contact || w.written() {
			t.Errorf("%s: %v, and %+v was written", what, err, w)
		}
	}
	w := newAnswer()
	r := newRequest(t, http.MethodPost, "/", nil)
	if err := c.dial(away.Addr().String()).Hand(w, r, peerwire.From{Proof: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}); sluice.CodeOf(err) != sluice.Usage || w.written() {
		t.Errorf("a huge proof: %v", err)
	}
}

type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// TestLostInTheMiddle: where the owner is lost after it got a request, it is said that nobody knows; a question is just asked again.
func TestLostInTheMiddle(t *testing.T) {
	for _, one := range []struct {
		method, body string
		again        bool
	}{{http.MethodPost, "", false}, {http.MethodPost, "x", false}, {http.MethodDelete, "", false}, {http.MethodGet, "", true}, {http.MethodGet, "x", false}} {
		c := newCluster(t)
		began := make(chan struct{})
		between := newBetween(t, c.serve(peerwire.ServerConfig{API: api(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(began)
			<-r.Context().Done()
		})}))
		p := c.dial(between.address)
		w := newAnswer()
		ended := make(chan error, 1)
		go func() {
			ended <- p.Hand(w, newRequest(t, one.method, "/", bytes.NewReader([]byte(one.body))), peerwire.From{})
		}()
		<-began
		between.cut()
		err := <-ended
		if one.again {
			if sluice.CodeOf(err) != sluice.Contact || w.written() {
				t.Errorf("%+v: %v, and %+v was written", one, err, w)
			}
			continue
		}
		var problem struct{ Detail, Code, Hint string }
		bad := json.Unmarshal([]byte(w.body.String()), &problem)
		if err != nil || w.status != http.StatusBadGateway || bad != nil || !strings.Contains(problem.Detail, "not known whether") || problem.Code != "contact" || problem.Hint == "" ||
			w.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%+v: %v, %d, %s", one, err, w.status, w.body.String())
		}
	}
}

// TestCutAnswer: an answer that was cut off is none that ended.
func TestCutAnswer(t *testing.T) {
	c := newCluster(t)
	between := newBetween(t, c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}))
	s := front(t, false, func(err error) { t.Errorf("it was tried elsewhere: %v", err) }, c.dial(between.address))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	some := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, some); err != nil {
		t.Fatal(err)
	}
	between.cut()
	if rest, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("it ended after %q", rest)
	}
	_ = res.Body.Close()
}

// TestHandedOnOnce: a request that was handed on is not handed on again.
func TestHandedOnOnce(t *testing.T) {
	c := newCluster(t)
	var back *peerwire.Client
	errs := make(chan error, 9)
	address := c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
		errs <- back.Hand(w, r, peerwire.From{})
	})})
	back = c.dial(address)
	if err := c.dial(address).Hand(newAnswer(), newRequest(t, http.MethodGet, "/", nil), peerwire.From{}); err != nil {
		t.Error(err)
	}
	if len(errs) != 1 {
		t.Fatalf("it was handed on %d times", len(errs))
	}
	if err := <-errs; sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "already") {
		t.Errorf("the second time: %v", err)
	}
}

// TestSpoofed: what a client says about where it comes from is believed by nobody: not at the API, and not at the port for servers.
func TestSpoofed(t *testing.T) {
	c := newCluster(t)
	const header = "eyJyZW1vdGUiOiIxMjcuMC4wLjE6MSIsInByb29mIjp7ImlzIjoicm9vdCJ9fQ"
	called := 0
	address := c.serve(peerwire.ServerConfig{API: api(func(http.ResponseWriter, *http.Request) { called++ })})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anybody(), ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	for _, path := range []string{"/v1/jobs", "/peer/1/join", "/peer/1/ask/x", "/peer/1/line"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sluice-From", header)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden || called > 0 {
			t.Errorf("%s: %s, %s", path, res.Status, text)
		}
	}
	direct := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if from, ok := peerwire.HandedOn(r.Context()); ok {
			t.Errorf("at the API it is believed to come from %+v", from)
		}
	}))
	defer direct.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, direct.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sluice-From", header)
	res, err := direct.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// TestNoContinue: that the owner wants a body is nothing that a client is told which has not asked.
func TestNoContinue(t *testing.T) {
	c := newCluster(t)
	p := c.dial(c.serve(peerwire.ServerConfig{API: api(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })}))
	s := front(t, false, nil, p)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for expect, want := range map[string]string{"": "HTTP/1.1 200 OK", "Expect: 100-continue\r\n": "HTTP/1.1 100 Continue"} {
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"+expect+"\r\nhello"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		if line, err := in.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Errorf("with %q it is answered with %q, %v", expect, line, err)
		}
		for line := "x"; !strings.HasPrefix(line, "Content-Length: 0"); { // to the end of the answer
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHandedOnPaths: by no path does a client's request get to what servers alone may ask.
func TestHandedOnPaths(t *testing.T) {
	c := newCluster(t)
	called := 0
	var got []string
	p := c.dial(c.serve(peerwire.ServerConfig{Asks: asks(&called), API: api(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path)
		if len(r.Header) > 1 { // Content-Length
			t.Errorf("it came with %v", r.Header)
		}
	}),
		Join: func(context.Context, peerwire.Joining) (json.RawMessage, error) {
			called++
			return nil, nil
		}}))
	paths := []string{"/peer/1/join", "/peer/1/ask/who", "/x/../peer/1/ask/who", "/"}
	for _, path := range paths {
		if err := p.Hand(newAnswer(), newRequest(t, http.MethodPost, path, strings.NewReader("{}")), peerwire.From{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if called > 0 || !slices.Equal(got, paths) {
		t.Errorf("the API got %v, and %d others were called", got, called)
	}
}

// TestManyAreHandedOn: streams that nobody reads leave room for all others.
func TestManyAreHandedOn(t *testing.T) {
	c := newCluster(t)
	stop := make(chan struct{})
	p := c.dial(c.serve(peerwire.ServerConfig{API: api(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			_, _ = io.Copy(w, r.Body)
			return
		}
		_, _ = io.ReadFull(r.Body, make([]byte, 1)) // it wants the body, and does not go on reading
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}), Asks: map[string]func(context.Context, string, json.RawMessage) (any, error){}}))
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		all.Go(func() {
			r := newRequest(t, http.MethodPost, "/slow", bytes.NewReader(make([]byte, 1<<20)))
			if err := p.Hand(newAnswer(), r.WithContext(ctx), peerwire.From{}); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for range 20 {
		w := newAnswer()
		late, done := context.WithTimeout(t.Context(), time.Minute)
		err := p.Hand(w, newRequest(t, http.MethodPost, "/quick", strings.NewReader("hello")).WithContext(late), peerwire.From{})
		done()
		if err != nil || w.body.String() != "hello" {
			t.Fatalf("%v, %d, %q", err, w.status, w.body.String())
		}
	}
	cancel()
	all.Wait()
	close(stop)
}

// TestGivenUpInTheMiddle: who hands a request on that changes something, and stops waiting after the other server has it, must not take it
// for one that was not carried out: it would be handed on again.
func TestGivenUpInTheMiddle(t *testing.T) {
	for method, again := range map[string]bool{http.MethodPost: false, http.MethodDelete: false, http.MethodGet: true} {
		t.Run(method, func(t *testing.T) {
			c := newCluster(t)
			ctx, giveUp := context.WithCancel(t.Context())
			p := c.dial(c.serve(peerwire.ServerConfig{API: api(func(_ http.ResponseWriter, r *http.Request) {
				giveUp()
				<-r.Context().Done()
			})}))
			w := newAnswer()
			err := p.Hand(w, newRequest(t, method, "/x", nil).WithContext(ctx), peerwire.From{})
			if again && (err == nil || w.status != 0) || !again && (err != nil || w.status != http.StatusBadGateway) {
				t.Errorf("status %d, error %v", w.status, err)
			}
		})
	}
}

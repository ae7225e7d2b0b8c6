package peerwire

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"sync"
	"sync/atomic"

	"sluice"
)

// From says where a request came from that is handed on.
type From struct {
	Remote string `json:"remote"`
	// Secure says that it came over TLS.
	Secure bool `json:"secure,omitempty"`
	// Proof is what its connection proved of its sender, for those who use this package.
	Proof json.RawMessage `json:"proof,omitempty"`
}

type fromKey struct{}

// HandedOn is where a request came from, for the handler of one that was handed on.
func HandedOn(ctx context.Context) (From, bool) {
	from, ok := ctx.Value(fromKey{}).(From)
	return from, ok
}

// Hand hands a request to the API on, and its answer back. An error says that nothing was done: it has the code Contact where the other
// server cannot be reached, or does not own the log, and the same request may be handed to another one then. Nothing of it was read, and
// nothing written. Where it is not known whether it was done, that is the answer.
func (c *Client) Hand(w http.ResponseWriter, r *http.Request, from From) error {
	if _, again := HandedOn(r.Context()); again {
		return sluice.Errorf(sluice.Contact, "the request was handed on already, and is not a second time: who owns the log is changing")
	}
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	if len(text) > maxFrom {
		return sluice.Errorf(sluice.Usage, "what the connection proves makes %d bytes: at most %d are handed on", len(text), maxFrom)
	}
	h := &handing{c: c, r: r}
	proxy := &httputil.ReverseProxy{Transport: c.calls, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), ModifyResponse: c.taken, ErrorHandler: h.failed,
		Rewrite: func(p *httputil.ProxyRequest) { h.rewrite(p, base64.RawURLEncoding.EncodeToString(text)) }}
	// Not WroteHeaders: the other server can have the request, and its caller be gone, before that is said.
	trace := &httptrace.ClientTrace{WroteHeaderField: func(string, []string) { h.sent.Store(true) }, Got100Continue: h.agreed}
	defer h.end()
	proxy.ServeHTTP(quiet{w}, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	return h.err
}

// handing is one request that is handed on.
type handing struct {
	c    *Client
	r    *http.Request
	body *gate       // nil: there is none
	sent atomic.Bool // or about to be
	err  error
}

// rewrite leaves a request as it came, but for where it goes and what is said about where it came from.
func (h *handing) rewrite(p *httputil.ProxyRequest, from string) {
	in, out := p.In, p.Out
	out.URL.Scheme, out.URL.Host, out.Host = "https", h.c.cfg.Address, in.Host
	out.URL.RawQuery = in.URL.RawQuery
	for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[k]; ok {
			out.Header[k] = v
		}
	}
	out.Header.Del("Expect")
	out.Header.Set(fromHeader, from)
	out.Header.Set(protocolHeader, spoken)
	if out.Body != nil && out.Body != http.NoBody {
		// Nothing of it goes out before somebody wants to have it: so another server can still be asked after one that does not.
		h.body = &gate{inner: out.Body, open: make(chan struct{}), shut: make(chan struct{})}
		out.Body = h.body
		out.Header.Set("Expect", "100-continue")
	}
}

func (h *handing) agreed() {
	if h.body != nil {
		h.body.let()
	}
}

// end has nothing of the body be read any more.
func (h *handing) end() {
	if h.body != nil {
		_ = h.body.Close()
	}
}

// untaken is an answer that says that the other server did not take the request.
type untaken struct{ err error }

func (u untaken) Error() string { return u.err.Error() }

// taken looks whose answer it is: the API's, or one of the way there.
func (c *Client) taken(res *http.Response) error {
	if res.Header.Get(ownHeader) == "" {
		return nil
	}
	err := c.said("that owns the log", res)
	if err == nil {
		err = sluice.Errorf(sluice.Contact, "the server took the request for another one")
	}
	return untaken{err}
}

// failed is told that there is no answer of the API. Nothing has been written yet.
func (h *handing) failed(w http.ResponseWriter, _ *http.Request, err error) {
	h.end()
	var u untaken
	safe := h.r.Method == http.MethodGet || h.r.Method == http.MethodHead || h.r.Method == http.MethodOptions // to ask again does no harm
	switch {
	case errors.As(err, &u):
		h.err = u.err
	case (!h.sent.Load() || safe) && (h.body == nil || !h.body.read()):
		h.err = h.c.contact(h.r.Context(), err)
	default: // also where the caller gave up waiting: whoever sent it may still be there, and must not have it done twice
		unknown(w, h.c.cfg.Name, err)
	}
}

// unknown answers that it is not known whether a request was carried out, in the form of the API.
func unknown(w http.ResponseWriter, who string, err error) {
	text, failed := json.Marshal(struct {
		Title  string      `json:"title"`
		Status int         `json:"status"`
		Detail string      `json:"detail"`
		Code   sluice.Code `json:"code"`
		Hint   string      `json:"hint"`
	}{http.StatusText(http.StatusBadGateway), http.StatusBadGateway,
		fmt.Sprintf("the server %s, which owns the log, was lost before it answered: it is not known whether this was done (%v)", who, err),
		sluice.Contact, "look whether it was done before you ask again"})
	if failed != nil {
		panic(fmt.Sprintf("an answer that cannot be written: %v", failed)) // strings and numbers can
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = w.Write(text) // who does not read it is gone
}

// gate is a body of which nothing is read before it is opened.
type gate struct {
	inner      io.ReadCloser
	open, shut chan struct{}

	mu             sync.Mutex
	isOpen, isShut bool
	wasRead        bool
}

var errShut = errors.New("the body is not wanted")

func (g *gate) let() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isOpen {
		g.isOpen = true
		close(g.open)
	}
}

func (g *gate) Read(p []byte) (int, error) {
	select {
	case <-g.open:
	case <-g.shut:
		return 0, errShut
	}
	g.mu.Lock()
	shut := g.isShut
	g.wasRead = g.wasRead || !shut
	g.mu.Unlock()
	if shut {
		return 0, errShut
	}
	return g.inner.Read(p)
}

// read reports whether any of it may have been read. After it was closed, that does not change.
func (g *gate) read() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wasRead
}

func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isShut {
		g.isShut = true
		close(g.shut)
	}
	return nil // the inner one is that of the request that came
}

// quiet keeps from a client that the other server wants the body: its own server says that when it is read.
type quiet struct{ http.ResponseWriter }

func (q quiet) WriteHeader(status int) {
	if status != http.StatusContinue {
		q.ResponseWriter.WriteHeader(status)
	}
}

func (q quiet) Unwrap() http.ResponseWriter { return q.ResponseWriter }

// handedOn has the API answer a request of another server's client.
func (s *server) handedOn(w http.ResponseWriter, r *http.Request, header []string) {
	var from From
	text, err := base64.RawURLEncoding.DecodeString(header[0])
	if err == nil {
		err = json.Unmarshal(text, &from)
	}
	if err != nil || len(header) != 1 {
		refuse(w, sluice.Errorf(sluice.Usage, "it is not understood where the request comes from"))
		return
	}
	var api func(http.ResponseWriter, *http.Request) bool
	if s.cfg.API != nil {
		api = s.cfg.API()
	}
	if api == nil {
		s.notOwner(w)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), fromKey{}, from))
	r.Header.Del(fromHeader)
	r.Header.Del(protocolHeader)
	r.RemoteAddr, r.TLS = from.Remote, nil
	if from.Secure { // what the server proved that hands it on is no proof of who sent it
		r.TLS = &tls.ConnectionState{}
	}
	if !api(w, r) {
		s.notOwner(w)
	}
}

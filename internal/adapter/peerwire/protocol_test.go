package peerwire_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/peerwire"
)

const protocolHeader = "Sluice-Peer-Protocol"

// versions are some that others speak, and whether they are understood. The first version did not say which it was.
var versions = map[string]bool{"": peerwire.Oldest == 1, "0": false, "x": false, strconv.Itoa(peerwire.Oldest - 1): false, strconv.Itoa(peerwire.Oldest): true,
	strconv.Itoa(peerwire.Protocol): true, strconv.Itoa(peerwire.Protocol + 1): true, strconv.Itoa(peerwire.Protocol + 2): false}

// tooFar says whether an error says that versions are too far apart, and what is to be done.
func tooFar(err error) bool {
	var e *sluice.Error
	return errors.As(err, &e) && e.Code == sluice.Config && strings.Contains(e.Text, "of what servers say to each other") && strings.Contains(e.Hint, "one server after the other")
}

// TestVersionsThatCall: one that is too far away is refused, whatever it wants, and told why; it is noted who spoke what.
func TestVersionsThatCall(t *testing.T) {
	c := newCluster(t)
	called := 0
	var heard []int
	address := c.serve(peerwire.ServerConfig{Asks: asks(&called), Heard: func(name string, protocol int) {
		if name != "one" {
			t.Errorf("the server %q was heard", name)
		}
		heard = append(heard, protocol)
	}, API: api(func(http.ResponseWriter, *http.Request) { called++ }),
		Join: func(context.Context, peerwire.Joining) (json.RawMessage, error) {
			called++
			return json.RawMessage("{}"), nil
		},
		Line: func() func(context.Context, net.Conn) {
			return func(_ context.Context, conn net.Conn) { called++; _ = conn.Close() }
		}})
	mine := member(t, c.ca, "one").Certificate
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: c.ca.Roots(), ServerName: authority.MemberHost("two"),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return mine() }}}
	defer transport.CloseIdleConnections()
	for version, fits := range versions {
		for what, header := range map[string]http.Header{"POST /peer/1/ask/who": {}, "GET /x": {"Sluice-From": {"e30"}}, "POST /peer/1/join": {}, "GET /peer/1/records": {}, "GET /peer/1/line": {}} {
			method, path, _ := strings.Cut(what, " ")
			called, heard = 0, nil
			r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = header.Clone()
			if version != "" {
				r.Header.Set(protocolHeader, version)
			}
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			refused := res.StatusCode == http.StatusUnprocessableEntity && strings.Contains(string(text), "of what servers say to each other, and the server two 1 to 1")
			if refused == fits || !fits && called > 0 {
				t.Errorf("version %q, %s: %s %s", version, what, res.Status, text)
			}
			if res.Header.Get("Sluice-Peer") != "" && res.Header.Get(protocolHeader) != strconv.Itoa(peerwire.Protocol) {
				t.Errorf("%s: the answer is of version %q", what, res.Header.Get(protocolHeader))
			}
			if want, err := strconv.Atoi(version); err == nil && path != "/peer/1/join" && !slices.Equal(heard, []int{want}) {
				t.Errorf("version %q, %s: heard %v", version, what, heard)
			}
		}
	}
}

// TestVersionsThatAnswer: what one says that is too far away counts for nothing, whatever was asked.
func TestVersionsThatAnswer(t *testing.T) {
	c := newCluster(t)
	pair, err := member(t, c.ca, "two").Certificate()
	if err != nil {
		t.Fatal(err)
	}
	version, called := "", 0
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	s := &http.Server{Protocols: &protocols, TLSConfig: &tls.Config{Certificates: []tls.Certificate{*pair}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called++
			if got := r.Header.Get(protocolHeader); got != strconv.Itoa(peerwire.Protocol) {
				t.Errorf("%s is of version %q", r.URL, got)
			}
			if version != "" {
				w.Header().Set(protocolHeader, version)
			}
			w.Header().Set("Sluice-Peer", "problem")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"conflict","text":"no","unknown":1}`)
		})}
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, "", "") }()
	defer func() { _ = s.Close(); <-served }()
	for v, fits := range versions {
		heard := -1
		p := c.dialWith(peerwire.ClientConfig{Name: "two", Address: l.Addr().String(), ServerName: authority.MemberHost("two"), Roots: c.ca.Roots(),
			Certificate: member(t, c.ca, "one").Certificate, Heard: func(protocol int) { heard = protocol }})
		version, called = v, 0
		a, b := net.Pipe()
		_, size := p.Blobs().Size(t.Context(), "x")
		errs := map[string]error{"a question": p.Ask(t.Context(), "who", nil, nil), "a line": p.Carry(t.Context(), a), "a blob": size,
			"a request": p.Hand(newAnswer(), newRequest(t, http.MethodGet, "/x", nil), peerwire.From{Remote: "192.0.2.1:1"})}
		_, _ = a.Close(), b.Close()
		for what, err := range errs {
			if fits != (sluice.CodeOf(err) == sluice.Conflict) || !fits != tooFar(err) {
				t.Errorf("version %q: %s: %v", v, what, err)
			}
		}
		if want, err := strconv.Atoi(v); err == nil && heard != want || called != len(errs) {
			t.Errorf("version %q: heard %d, %d calls", v, heard, called)
		}
		p.Close()
	}
}

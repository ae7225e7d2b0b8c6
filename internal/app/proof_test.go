package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/localsocket"
	"sluice/internal/core/access"
)

// serveFor starts a server and returns its address and the first token. It ends with the test.
func serveFor(t *testing.T, s *Server) (address, token string) {
	t.Helper()
	if s.Data == "" {
		s.Data = filepath.Join(t.TempDir(), "d")
	}
	s.Listen, s.Home, s.Env = "127.0.0.1:0", t.TempDir(), func(string) string { return "" }
	s.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if s.Clock == nil {
		s.Clock = Now
	}
	ready, ended := make(chan string, 1), make(chan error, 1)
	s.FirstToken = func(secret string) error { token = secret; return nil }
	s.Started = func(address string) { ready <- address }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.Run(ctx) }()
	select {
	case address = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("the server ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address, token
}

func clientOf(t *testing.T, server, token string, h *http.Client) *client.Client {
	t.Helper()
	c, err := client.New(server, token, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestTheSocketIsForTheLocalAdministrator: whoever runs the server needs no token on its own machine, and what came in that
// way is noted with who it was.
func TestTheSocketIsForTheLocalAdministrator(t *testing.T) {
	s := &Server{}
	address, token := serveFor(t, s)
	path := filepath.Join(s.Data, socketName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	c := clientOf(t, "unix://"+path, "", nil)
	who, err := c.Me(t.Context())
	if err != nil || who.Principal != "admin" || who.Token != nil {
		t.Fatalf("%+v %v", who, err)
	}
	for range 3 {
		if _, err := c.People(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	notes := 0
	err = c.Records(t.Context(), func(r sluice.Record) error {
		notes += strings.Count(string(r.Payload), "at the socket, pid")
		return nil
	})
	if err != nil || notes != 2 { // one for the connection, and one for this look at the audit
		t.Errorf("%d notes, %v", notes, err)
	}
	// By TCP there is nobody without a token.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d without a token", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
	// A token is what counts where one is shown, also here.
	if err := c.AddPrincipal(t.Context(), "ann", false); err != nil {
		t.Fatal(err)
	}
	made, err := c.MakeToken(t.Context(), api.TokenWish{Principal: "ann"})
	if err != nil || made.Parent != "" {
		t.Fatalf("%+v %v", made, err)
	}
	if who, err := clientOf(t, "unix://"+path, made.Secret, nil).Me(t.Context()); err != nil || who.Principal != "ann" {
		t.Errorf("%+v %v", who, err)
	}
	// And whoever has been removed is not let in by a socket either.
	root := clientOf(t, "http://"+address, token, nil)
	if err := root.AddPrincipal(t.Context(), "root", false); err != nil {
		t.Fatal(err)
	}
	if err := root.Grant(t.Context(), sluice.Grant{Principal: "root", Role: access.Admin}); err != nil {
		t.Fatal(err)
	}
	if err := root.RemovePrincipal(t.Context(), "admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Me(t.Context()); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("somebody removed: %v", err)
	}
}

func TestOthersAreRefusedAtTheSocket(t *testing.T) {
	for uid, may := range map[int]bool{0: true, 1000: true, 1001: false, 65534: false} {
		p, err := (&atSocket{peer: localsocket.Peer{UID: uid, PID: 7}}).prove(1000)
		if (err == nil) != may || may != (p.Principal == "admin") || err != nil && sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("uid %d: %+v %v", uid, p, err)
		}
	}
}

func TestASecondServerOnTheSameData(t *testing.T) {
	s := &Server{}
	serveFor(t, s)
	second := &Server{Data: s.Data, Listen: "127.0.0.1:0", Home: t.TempDir(), Env: func(string) string { return "" }, Clock: Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), FirstToken: func(string) error { return nil }}
	if err := second.Run(t.Context()); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("%v", err)
	}
}

// certifier is an authority of somebody else.
type certifier struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertifier(t *testing.T) *certifier {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &certifier{t: t, key: key}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: Now().Add(-time.Hour),
		NotAfter: Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// file has the certificate of the authority in it.
func (a *certifier) file() string {
	path := filepath.Join(a.t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// make certifies a key. change changes the certificate before.
func (a *certifier) make(cn string, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotBefore: Now().Add(-time.Minute),
		NotAfter: Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// files are a certificate and its key.
func (a *certifier) files(c tls.Certificate) (cert, key string) {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func uris(list ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, s := range list {
			u, err := url.Parse(s)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

// TestMachinesComeByCertificate: one that the authority made lets in whom it names, if they are known, and nobody else.
func TestMachinesComeByCertificate(t *testing.T) {
	ca, stranger := newCertifier(t), newCertifier(t)
	s := &Server{ClientCA: ca.file()}
	s.Certificate, s.Key = ca.files(ca.make("server", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}))
	address, token := serveFor(t, s)
	server := "https://localhost:" + address[strings.LastIndexByte(address, ':')+1:]
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	with := func(own ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // also one that the server says it does not take
				if len(own) == 0 {
					return &tls.Certificate{}, nil
				}
				return &own[0], nil
			}}}}
	}
	root := clientOf(t, server, token, with())
	for _, p := range []sluice.Principal{"ci", "ci2", "gone"} {
		if err := root.AddPrincipal(t.Context(), p, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := root.RemovePrincipal(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert tls.Certificate
		who  sluice.Principal
		code sluice.Code
	}{
		"its name":          {ca.make("ci", nil), "ci", ""},
		"a URI":             {ca.make("whatever it is", uris("sluice:ci2")), "ci2", ""},
		"SPIFFE":            {ca.make("ci2", uris("spiffe://example.org/ci")), "ci", ""},
		"a longer path":     {ca.make("ci", uris("spiffe://example.org/ci/ci2")), "", sluice.Denied},
		"another scheme":    {ca.make("ci", uris("https://example.org/ci")), "", sluice.Denied},
		"two URIs":          {ca.make("ci", uris("sluice:ci", "sluice:ci2")), "", sluice.Denied},
		"nobody known":      {ca.make("c", nil), "", sluice.Denied},
		"somebody removed":  {ca.make("gone", nil), "", sluice.Denied},
		"no name":           {ca.make("", nil), "", sluice.Denied},
		"another authority": {stranger.make("ci", nil), "", sluice.Contact},
		"expired":           {ca.make("ci", func(c *x509.Certificate) { c.NotAfter = Now().Add(-time.Second) }), "", sluice.Contact},
		"not yet":           {ca.make("ci", func(c *x509.Certificate) { c.NotBefore = Now().Add(time.Hour / 2) }), "", sluice.Contact},
		"for servers":       {ca.make("ci", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "", sluice.Contact},
		"no certificate":    {tls.Certificate{}, "", sluice.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			h := with(c.cert)
			if len(c.cert.Certificate) == 0 {
				h = with()
			}
			got, err := clientOf(t, server, "", h).Me(t.Context())
			if sluice.CodeOf(err) != c.code || got.Principal != c.who {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	// A token counts where one is shown.
	if got, err := clientOf(t, server, token, with(ca.make("ci", nil))).Me(t.Context()); err != nil || got.Principal != "admin" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestACertificateEndsDuringAConnection: it was good when the connection was made, and is looked at again.
func TestACertificateEndsDuringAConnection(t *testing.T) {
	ca := newCertifier(t)
	cert, err := x509.ParseCertificate(ca.make("ci", nil).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	now := Now()
	s := &Server{Clock: func() time.Time { return now }}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert, ca.cert}}}
	if p, err := s.prove(t.Context(), state); err != nil || p.Principal != "ci" {
		t.Errorf("%+v %v", p, err)
	}
	now = cert.NotAfter.Add(time.Second)
	if p, err := s.prove(t.Context(), state); sluice.CodeOf(err) != sluice.Denied || p.Principal != "" {
		t.Errorf("%+v %v", p, err)
	}
}

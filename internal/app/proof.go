package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"sluice"
	"sluice/internal/adapter/localsocket"
	"sluice/internal/app/cluster"
	"sluice/internal/front/httpapi"
)

// socketName is the socket in the server's data.
const socketName = "sluice.sock"

// listenSocket opens the socket for the local administrator. Where its path is too long for one there is none, which is no
// reason not to serve.
func (s *Server) listenSocket(ctx context.Context) (net.Listener, error) {
	l, err := localsocket.Listen(ctx, filepath.Join(s.Data, socketName))
	if errors.Is(err, localsocket.ErrTooLong) {
		s.Log.Warn("there is no socket for the local administrator: " + err.Error())
		return nil, nil
	}
	if err != nil && sluice.CodeOf(err) == "" {
		err = &sluice.Error{Code: sluice.Config, Text: "the server's socket", Err: err}
	}
	return l, err
}

type atSocketKey struct{}

// atSocket is a connection at the socket.
type atSocket struct {
	peer  localsocket.Peer
	err   error
	noted atomic.Bool
}

// withPeer keeps who opened a connection at the socket, for [Server.prove].
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p, is, err := localsocket.PeerOf(c)
	if !is {
		return ctx
	}
	return context.WithValue(ctx, atSocketKey{}, &atSocket{peer: p, err: err})
}

// prove says who is at the other end of a connection: root or the server's own user at the socket, or whoever the
// certificate names. Of a request that another server hands on, that one says so.
func (s *Server) prove(ctx context.Context, state *tls.ConnectionState) (httpapi.Proof, error) {
	if p, is, err := cluster.HandedProof(ctx); is {
		return p, err
	}
	if at, is := ctx.Value(atSocketKey{}).(*atSocket); is {
		return at.prove(os.Getuid())
	}
	if state == nil || len(state.VerifiedChains) == 0 {
		return httpapi.Proof{}, nil
	}
	cert := state.PeerCertificates[0]
	proof := httpapi.Proof{From: "certificate " + cert.SerialNumber.Text(16)}
	if now := s.Clock(); now.After(cert.NotAfter) || now.Before(cert.NotBefore) { // it was good when the connection was made
		return proof, sluice.Errorf(sluice.Denied, "the certificate is valid from %s to %s alone", cert.NotBefore.UTC(), cert.NotAfter.UTC())
	}
	var err error
	proof.Principal, err = namedBy(cert)
	return proof, err
}

func (at *atSocket) prove(own int) (httpapi.Proof, error) {
	if at.err != nil {
		return httpapi.Proof{}, at.err
	}
	proof := httpapi.Proof{From: fmt.Sprintf("uid %d at the socket, pid %d", at.peer.UID, at.peer.PID)}
	if at.peer.UID != 0 && at.peer.UID != own {
		return proof, sluice.Errorf(sluice.Denied, "only root and the server's own user come in by the socket, and you are uid %d", at.peer.UID)
	}
	proof.Principal, proof.Note = firstAdmin, !at.noted.Load()
	proof.Noted = func() { at.noted.Store(true) }
	return proof, nil
}

// namedBy is the principal that a certificate names: by its one URI, sluice:NAME or spiffe://DOMAIN/NAME, or else by its
// common name.
func namedBy(cert *x509.Certificate) (sluice.Principal, error) {
	name := cert.Subject.CommonName
	if len(cert.URIs) > 1 {
		return "", sluice.Errorf(sluice.Denied, "the certificate names %d URIs, and could mean several principals", len(cert.URIs))
	}
	if len(cert.URIs) == 1 {
		name = nameIn(cert.URIs[0])
	}
	p, err := sluice.ParsePrincipal(name)
	if err != nil {
		return "", sluice.Errorf(sluice.Denied, "the certificate names no principal: %v", err).
			WithHint("its URI is sluice:NAME or spiffe://DOMAIN/NAME, or its common name is NAME")
	}
	return p, nil
}

func nameIn(u *url.URL) string {
	switch u.Scheme {
	case "sluice":
		return u.Opaque
	case "spiffe":
		return strings.TrimPrefix(u.Path, "/")
	}
	return ""
}

// clientCertificates makes a configuration of TLS let machines in by their certificates.
func clientCertificates(c *tls.Config, file string) error {
	text, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = errors.New("there is no certificate in it")
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "--client-ca", Err: err}
	}
	c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
	return nil
}

// ownCertificate is the certificate that the environment says to show to servers, as a machine does that has no token.
func ownCertificate(env func(string) string) ([]tls.Certificate, error) {
	cert, key := env("SLUICE_CLIENT_CERT"), env("SLUICE_CLIENT_KEY")
	if cert == "" && key == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "SLUICE_CLIENT_CERT and SLUICE_CLIENT_KEY", Err: err}
	}
	return []tls.Certificate{pair}, nil
}

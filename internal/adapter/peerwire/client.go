package peerwire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice"
)

// ClientConfig is how a server reaches another one.
type ClientConfig struct {
	Name    string
	Address string // HOST:PORT
	// ServerName is the name that the certificate of the server with this Name has and no other, and Roots is the authority.
	ServerName string
	Roots      *x509.CertPool
	// Certificate is that of the server that asks, as it is now.
	Certificate func() (*tls.Certificate, error)
	// Heard is told which version of the protocol the other one speaks, with every answer of its; nil: nobody is told.
	Heard func(protocol int)
}

// Client is another server of the cluster, as this one reaches it. It is safe for concurrent use.
type Client struct {
	cfg    ClientConfig
	tls    *tls.Config
	dialer *net.Dialer
	// What is small must not wait behind what is large.
	calls, bulk *http.Transport

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
}

// Dial makes a client; it connects when it is used.
func Dial(cfg ClientConfig) (*Client, error) {
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil || cfg.ServerName == "" {
		return nil, sluice.Errorf(sluice.Usage, "%q is no address of a server: HOST:PORT is", cfg.Address)
	}
	return dial(cfg, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.Roots, ServerName: cfg.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cfg.Certificate() }}), nil
}

func dial(cfg ClientConfig, t *tls.Config) *Client {
	c := &Client{cfg: cfg, tls: t, conns: map[net.Conn]struct{}{}, dialer: &net.Dialer{Timeout: dialTime, KeepAliveConfig: alive}}
	c.calls, c.bulk = c.transport(), c.transport()
	return c
}

func (c *Client) transport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	return &http.Transport{DialContext: c.connect, TLSClientConfig: c.tls, TLSHandshakeTimeout: shakeTime, Protocols: &protocols,
		IdleConnTimeout: idleTime, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{SendPingTimeout: quietTime, PingTimeout: pingTime, WriteByteTimeout: writeTime,
			MaxReceiveBufferPerStream: streamWindow}}
}

var errClosed = errors.New("the client is closed")

// connect opens a connection, which ends with the client.
func (c *Client) connect(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t := &tracked{Conn: conn, c: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil, errors.Join(errClosed, conn.Close())
	}
	c.conns[t] = struct{}{}
	return t, nil
}

// tracked is a connection that its client knows of.
type tracked struct {
	net.Conn
	c *Client
}

func (t *tracked) Close() error {
	t.c.mu.Lock()
	delete(t.c.conns, t)
	t.c.mu.Unlock()
	return t.Conn.Close()
}

// Close ends it, with everything that goes on.
func (c *Client) Close() {
	c.mu.Lock()
	c.over = true
	var all []net.Conn
	for conn := range c.conns {
		all = append(all, conn)
	}
	c.mu.Unlock()
	for _, conn := range all {
		_ = conn.Close()
	}
	c.calls.CloseIdleConnections()
	c.bulk.CloseIdleConnections()
}

// Name is that of the server.
func (c *Client) Name() string { return c.cfg.Name }

// call asks for something; the answer is none of an error.
func (c *Client) call(ctx context.Context, t *http.Transport, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://"+c.cfg.Address+prefix+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	return c.send(r, t)
}

func (c *Client) send(r *http.Request, t *http.Transport) (*http.Response, error) {
	r.Header.Set(protocolHeader, spoken)
	res, err := t.RoundTrip(r)
	if err != nil {
		return nil, c.contact(r.Context(), err)
	}
	if err := c.said(c.cfg.Name, res); err != nil {
		return nil, err
	}
	return res, nil
}

func (c *Client) contact(ctx context.Context, err error) error {
	return contact(ctx, c.cfg.Name, c.cfg.Address, err)
}

// value reads an answer of at most so many bytes.
func (c *Client) value(ctx context.Context, res *http.Response, most int64, out any) error {
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return c.contact(ctx, err)
	}
	if int64(len(text)) > most {
		return sluice.Errorf(sluice.Contact, "the server %s answers with more than %d bytes", c.cfg.Name, most)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &sluice.Error{Code: sluice.Contact, Text: "the answer of the server " + c.cfg.Name + " is not understood", Err: err}
	}
	return nil
}

// Ask asks a question, which ServerConfig.Asks has under a path. out may be nil.
func (c *Client) Ask(ctx context.Context, path string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if len(text) > maxAsk {
		return sluice.Errorf(sluice.Usage, "a question of %d bytes is not asked: at most %d are", len(text), maxAsk)
	}
	res, err := c.call(ctx, c.calls, http.MethodPost, "ask/"+path, nil, bytes.NewReader(text))
	if err != nil {
		return err
	}
	return c.value(ctx, res, maxAsk, out)
}

// JoinAt asks a server to be let in. The server proves that it is of the cluster that made the token: its chain leads to the authority that
// pinned accepts. What is returned holds keys.
func JoinAt(ctx context.Context, address, serverName string, pinned func(*x509.Certificate) bool, j Joining) (sluice.Secret, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return sluice.Secret{}, sluice.Errorf(sluice.Usage, "%q is no address of a server: HOST:PORT is", address)
	}
	c := dial(ClientConfig{Name: "of the cluster", Address: address}, &tls.Config{MinVersion: tls.VersionTLS13, ServerName: serverName,
		// The authority is not known yet but for its digest, so the chain is checked here and not by the library.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, one := range s.PeerCertificates {
				if !pinned(one) {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(one)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: serverName,
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
				return err
			}
			return errors.New("this is no server of the cluster that the token is for")
		}})
	defer c.Close()
	text, err := json.Marshal(wireJoining{j.Secret, j.Name, j.Address})
	if err != nil {
		return sluice.Secret{}, err
	}
	ctx, done := context.WithTimeout(ctx, joinTime+time.Second)
	defer done()
	res, err := c.call(ctx, c.calls, http.MethodPost, "join", nil, bytes.NewReader(text))
	if err != nil {
		return sluice.Secret{}, err
	}
	var got json.RawMessage
	if err := c.value(ctx, res, maxJoin, &got); err != nil {
		return sluice.Secret{}, err
	}
	return sluice.NewSecret(got), nil
}

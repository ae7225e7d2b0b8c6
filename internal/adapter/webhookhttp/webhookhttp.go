// Package webhookhttp posts to URLs that people gave, and lets nobody use that to reach what only this server can: every
// address is checked right before it is connected to, whatever a name resolved to before; no redirect is followed; no
// proxy stands between.
//
// It knows nothing of what it posts.
package webhookhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"sluice"
)

// Config says what may be reached.
type Config struct {
	// Allow are networks, addresses and names of hosts that may be reached although they are inside: the loopback only by
	// network or address.
	Allow []string
	// HTTP allows it beside https.
	HTTP    bool
	Version string
	// Resolver and Roots are the machine's where they are nil.
	Resolver *net.Resolver
	Roots    *x509.CertPool
}

// Limits of one post.
const (
	timeout     = 15 * time.Second
	dialTimeout = 5 * time.Second
	maxHeader   = 64 << 10
	maxAnswer   = 64 << 10
)

// Poster posts. It is safe for concurrent use.
type Poster struct {
	cfg    Config
	allow  allowed
	client *http.Client
}

// New makes a poster.
func New(cfg Config) (*Poster, error) {
	allow, err := parseAllowed(cfg.Allow)
	if err != nil {
		return nil, err
	}
	p := &Poster{cfg: cfg, allow: allow}
	p.client = &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, // none, whatever the environment says
			// A connection is for one post: so each has been checked.
			DisableKeepAlives: true, DisableCompression: true, DialContext: p.dial, TLSHandshakeTimeout: dialTimeout,
			ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
		},
	}
	return p, nil
}

// dial connects to an address that was checked after it was resolved.
func (p *Poster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout, Resolver: p.cfg.Resolver, Control: func(network, resolved string, _ syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return sluice.Errorf(sluice.Denied, "nothing is sent over %s", network)
		}
		return p.allow.check(host, resolved)
	}}
	return d.DialContext(ctx, network, address)
}

// Post sends a body, once. An answer from 200 to 299 is nil. Errors name neither the URL nor a header.
func (p *Poster) Post(ctx context.Context, to string, header map[string]string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" || req.URL.User != nil || req.URL.Scheme != "https" && (req.URL.Scheme != "http" || !p.cfg.HTTP) {
		return sluice.Errorf(sluice.Denied, "nothing is sent to that URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sluice/"+p.cfg.Version)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // it repeats the URL, which may have a secret in it
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // so that a receiver sees its answer taken; what it says does not count
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("status %d: redirects are not followed", resp.StatusCode)
	}
	return fmt.Errorf("status %d", resp.StatusCode)
}

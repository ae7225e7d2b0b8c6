package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/oidc"
	"sluice/internal/front/cli"
	"sluice/internal/front/httpapi"
)

// OIDC says which OpenID provider a server believes; the zero value is none.
type OIDC struct{ Issuer, ClientID, SecretFile, Claim string }

// providerTimeout bounds a question to the provider: whoever logs in waits for it.
const providerTimeout = 10 * time.Second

// provider is the one that is believed; nil for none. It need not be there yet.
func (o OIDC) provider(clock sluice.Clock) (httpapi.OpenID, error) {
	if o.Issuer == "" {
		if o.ClientID != "" || o.SecretFile != "" {
			return nil, sluice.Errorf(sluice.Usage, "the other --oidc- flags need --oidc-issuer")
		}
		return nil, nil
	}
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !httpapi.IsLoopback(u.Host)) {
		return nil, sluice.Errorf(sluice.Usage, "--oidc-issuer: %q is no https address", o.Issuer)
	}
	if o.ClientID == "" {
		return nil, sluice.Errorf(sluice.Usage, "--oidc-issuer needs --oidc-client-id")
	}
	if o.Claim == "" {
		o.Claim = oidc.Email
	}
	claim, err := oidc.ParseClaim(o.Claim)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "--oidc-claim: %v", err)
	}
	cfg := oidc.Config{Issuer: o.Issuer, ClientID: o.ClientID, Claim: claim, Clock: clock, HTTP: &http.Client{Timeout: providerTimeout}}
	if o.SecretFile != "" {
		text, err := os.ReadFile(o.SecretFile)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Config, Text: "--oidc-client-secret-file", Err: err}
		}
		cfg.Secret = sluice.NewSecret(bytes.TrimSpace(text))
	}
	return oidc.New(cfg), nil
}

// publicURL is the address by which browsers reach the server, without a slash at its end; nil where it is not known.
func publicURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !httpapi.IsLoopback(u.Host)) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, sluice.Errorf(sluice.Usage, "--public-url: %q is no https address of a server", text).WithHint("such as https://sluice.example.com, with the path under which a proxy has it, if it has one")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// logIn logs a person in to a server with OpenID.
func logIn(ctx context.Context, s cli.Server, show func(string) error) (made api.NewToken, err error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	defer t.CloseIdleConnections()
	if s.CAFile != "" {
		if t.TLSClientConfig.RootCAs, err = authorities(s.CAFile); err != nil {
			return made, err
		}
	}
	return client.LoginOIDC(ctx, s.URL, &http.Client{Transport: t}, show)
}

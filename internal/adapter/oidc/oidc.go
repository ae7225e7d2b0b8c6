// Package oidc asks an OpenID provider who somebody is: it redeems a code and proves the ID token that it gets for it. It
// does not know what anybody may do, and starts no login: that is for whoever sits at the browser.
package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"sluice"
)

// The claims that can name a principal.
const (
	Email    = "email" // it must be verified
	Username = "preferred_username"
	Subject  = "sub"
)

// Config says which provider is asked, and as whom.
type Config struct {
	Issuer, ClientID string
	// Secret is set where the provider wants one of this client.
	Secret sluice.Secret
	// Claim names the principal: [Email], [Username] or [Subject].
	Claim string
	Clock sluice.Clock
	HTTP  *http.Client
}

// Provider is one that is asked when it is needed: it need not be there when a server starts. It is safe for concurrent use.
type Provider struct {
	cfg Config

	mu    sync.Mutex
	found *oidc.Provider
}

// New makes a provider.
func New(cfg Config) *Provider { return &Provider{cfg: cfg} }

// provider learns once where things are.
func (p *Provider) provider(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	// What it keeps outlives the request that needed it first.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.cfg.HTTP), p.cfg.Issuer)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Contact, Text: "the OpenID provider " + p.cfg.Issuer, Err: err}
	}
	p.found = found
	return found, nil
}

// Start is where somebody logs in, and as which client.
func (p *Provider) Start(ctx context.Context) (authorize, clientID, scope string, err error) {
	found, err := p.provider(ctx)
	if err != nil {
		return "", "", "", err
	}
	scope = oidc.ScopeOpenID
	switch p.cfg.Claim {
	case Email:
		scope += " email"
	case Username:
		scope += " profile"
	}
	return found.Endpoint().AuthURL, p.cfg.ClientID, scope, nil
}

// Redeem changes a code into the name of whoever logged in. An error with the code Denied says that the provider, or what
// it says, proves nobody.
func (p *Provider) Redeem(ctx context.Context, code, verifier, redirect, nonce string) (string, error) {
	found, err := p.provider(ctx)
	if err != nil {
		return "", err
	}
	c := oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: string(p.cfg.Secret.Reveal()), Endpoint: found.Endpoint(), RedirectURL: redirect}
	token, err := c.Exchange(oidc.ClientContext(ctx, p.cfg.HTTP), code, oauth2.VerifierOption(verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode/100 == 4:
		return "", sluice.Errorf(sluice.Denied, "the OpenID provider does not take the code: %s", refused.ErrorCode)
	case err != nil:
		return "", &sluice.Error{Code: sluice.Contact, Text: "the OpenID provider " + p.cfg.Issuer, Err: err}
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", sluice.Errorf(sluice.Denied, "the OpenID provider gives no ID token")
	}
	return p.Name(ctx, raw, nonce)
}

// Name is whom an ID token names: it must be signed by the provider, for this client, not over, and for this login.
func (p *Provider) Name(ctx context.Context, raw, nonce string) (string, error) {
	found, err := p.provider(ctx)
	if err != nil {
		return "", err
	}
	token, err := found.VerifierContext(oidc.ClientContext(ctx, p.cfg.HTTP), &oidc.Config{ClientID: p.cfg.ClientID, Now: p.cfg.Clock}).Verify(ctx, raw)
	if err != nil {
		return "", &sluice.Error{Code: sluice.Denied, Text: "what the OpenID provider says proves nobody", Err: err}
	}
	if nonce == "" || subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return "", sluice.Errorf(sluice.Denied, "what the OpenID provider says is for another login")
	}
	if late := token.IssuedAt.Sub(p.cfg.Clock()); late > time.Minute {
		return "", sluice.Errorf(sluice.Denied, "what the OpenID provider says is from %v in the future", late.Round(time.Second))
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return "", &sluice.Error{Code: sluice.Denied, Text: "what the OpenID provider says", Err: err}
	}
	name, ok := claims[p.cfg.Claim].(string)
	switch {
	case !ok || name == "":
		return "", sluice.Errorf(sluice.Denied, "the OpenID provider does not say %s", p.cfg.Claim)
	case p.cfg.Claim == Email && claims["email_verified"] != true:
		return "", sluice.Errorf(sluice.Denied, "the OpenID provider has not verified the address %s", name)
	}
	return name, nil
}

// ParseClaim checks the name of a claim.
func ParseClaim(s string) (string, error) {
	switch s {
	case Email, Username, Subject:
		return s, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s, %s", s, Email, Username, Subject)
}

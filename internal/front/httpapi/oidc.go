package httpapi

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

// OpenID asks an OpenID provider who somebody is.
type OpenID interface {
	Start(ctx context.Context) (authorize, clientID, scope string, err error)
	Redeem(ctx context.Context, code, verifier, redirect, nonce string) (name string, err error)
}

type loginStart struct{ Body api.OIDCStart }

type toLogin struct{ Body api.OIDCLogin }

// addOIDC adds the one way in for those who are nobody yet, beside health.
func (a *API) addOIDC() {
	if a.cfg.OpenID == nil {
		return
	}
	op := func(id, method, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/login/oidc", Tags: []string{accessTag}, Summary: summary,
			Description: "Needs no token.", MaxBodyBytes: 64 << 10, BodyReadTimeout: bodyTimeout, Errors: []int{http.StatusForbidden, http.StatusServiceUnavailable}}
	}
	huma.Register(a.huma, op("start-oidc", http.MethodGet, "Where to log in with OpenID"), func(ctx context.Context, _ *struct{}) (*loginStart, error) {
		authorize, client, scope, err := a.cfg.OpenID.Start(ctx)
		if err != nil {
			return nil, problemOf(err)
		}
		return &loginStart{api.OIDCStart{Authorize: authorize, ClientID: client, Scope: scope}}, nil
	})
	login := op("login-oidc", http.MethodPost, "Change the code of a login with OpenID into a token")
	login.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		if wait := a.failed.take(hostOf(ctx.RemoteAddr()), a.cfg.Clock()); wait > 0 { // each costs a question to the provider
			slow(ctx, wait)
			return
		}
		next(huma.WithValue(ctx, fromKey{}, ctx.RemoteAddr()))
	}}
	huma.Register(a.huma, login, func(ctx context.Context, in *toLogin) (*oneNewToken, error) {
		from, _ := ctx.Value(fromKey{}).(string)
		out, err := a.loginOIDC(ctx, in.Body, from)
		if err != nil {
			return nil, problemOf(err)
		}
		return out, nil
	})
}

type fromKey struct{}

// loginOIDC gives a token to whoever the provider names, if they are known. Every login is noted, and so are refusals.
func (a *API) loginOIDC(ctx context.Context, in api.OIDCLogin, from string) (*oneNewToken, error) {
	note := sluice.AccessNoted{What: "login by OpenID", From: from}
	p, err := a.named(ctx, in)
	if err == nil {
		note.Principal = p
		b := access.As(p)
		var secret string
		var made sluice.Token
		ends := a.cfg.Clock().Add(sessionLife)
		if secret, made, err = a.cfg.Keeping.MakeToken(ctx, b, sluice.Token{Principal: p, Label: "login by OpenID", Expires: ends}); err == nil {
			note.Token = made.ID
			if err := a.cfg.Rights.Note(ctx, note); err != nil {
				return nil, err
			}
			return &oneNewToken{api.NewToken{Token: caller{Bearer: b, api: a}.tokenOf(made), Secret: secret}}, nil
		}
	}
	if sluice.CodeOf(err) == sluice.Denied {
		if n := a.strangers.came(from, a.cfg.Clock()); n > 0 {
			note.Refused, note.Times = err.Error(), n
			_ = a.cfg.Rights.Note(ctx, note) // what cannot be noted is refused all the same
		}
	}
	return nil, err
}

// named is the principal that the provider names.
func (a *API) named(ctx context.Context, in api.OIDCLogin) (sluice.Principal, error) {
	if u, err := url.Parse(in.Redirect); err != nil || u.Scheme != "http" || !isLoopbackIP(u.Hostname()) {
		return "", sluice.Errorf(sluice.Usage, "redirect: %q is not on the loopback", in.Redirect)
	}
	name, err := a.cfg.OpenID.Redeem(ctx, in.Code, in.Verifier, in.Redirect, in.Nonce)
	if err != nil {
		return "", err
	}
	p, err := sluice.ParsePrincipal(name)
	if err != nil {
		return "", sluice.Errorf(sluice.Denied, "the OpenID provider names %q, which can be no principal", name)
	}
	return p, nil
}

func isLoopbackIP(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

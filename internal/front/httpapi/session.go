package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
)

// How long somebody stays signed in: at most, and without doing anything.
const (
	sessionLife = 12 * time.Hour
	sessionIdle = time.Hour
	// sessionListed is how long after its end a session is still in lists: there is one for each sign-in, for ever.
	sessionListed = 7 * 24 * time.Hour
)

// A browser holds its session in a cookie that no script can read, and that goes along with no request of another site. It
// has no path: browsers take the directory of the address at which they got it, PREFIX/api/v1, whatever a proxy made of it.
const (
	cookieName   = "sluice-session-"
	securePrefix = "__Secure-" // browsers take and send those over TLS alone
)

// jar are the cookies that a request has.
type jar struct{ session, login string }

// cookies of two servers on one machine must not be taken for each other: browsers tell ports apart nowhere in them.
func (a *API) nameOfCookie(base, host string) string {
	if a.cfg.Public != nil {
		host = a.cfg.Public.Host
	}
	sum := sha256.Sum256([]byte(strings.ToLower(host)))
	return base + hex.EncodeToString(sum[:4])
}

// overTLS reports whether the browser at the other end surely speaks TLS, here or with a proxy.
func (a *API) overTLS(ctx huma.Context) bool {
	return ctx.TLS() != nil || a.cfg.Public != nil && a.cfg.Public.Scheme == "https" && strings.EqualFold(nameOf(ctx.Host()), a.cfg.Public.Hostname())
}

// cookies finds the session, and the login that goes on. Over TLS only those count that could come over TLS alone: nobody can
// slip in another.
func (a *API) cookies(ctx huma.Context) (j jar) {
	all, err := http.ParseCookie(ctx.Header("Cookie"))
	if err != nil {
		return j
	}
	find := func(base string) string {
		name := a.nameOfCookie(base, ctx.Host())
		plain := ""
		for _, c := range all {
			if c.Name == securePrefix+name {
				return c.Value
			}
			if c.Name == name {
				plain = c.Value
			}
		}
		if a.overTLS(ctx) {
			return ""
		}
		return plain
	}
	return jar{session: find(cookieName), login: find(loginCookie)}
}

// bake makes a cookie; without a value, one that takes it away.
func (v visit) bake(base, value string, life time.Duration, site http.SameSite) *http.Cookie {
	c := &http.Cookie{Name: v.api.nameOfCookie(base, v.host), Value: value, HttpOnly: true, SameSite: site, Secure: v.secure, MaxAge: int(life / time.Second)}
	if v.secure {
		c.Name = securePrefix + c.Name
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// visit is what a browser's request says of itself.
type visit struct {
	api    *API
	host   string
	from   string
	secure bool
	jar    jar
}

type visitKey struct{}

// visiting has a request's own words at hand where it is answered.
func (a *API) visiting(ctx huma.Context, next func(huma.Context)) {
	// A browser says in Origin how it reached us, also through a proxy. Who lies about that harms the own cookie.
	secure := a.overTLS(ctx) || strings.HasPrefix(ctx.Header("Origin"), "https://")
	next(huma.WithValue(ctx, visitKey{}, visit{api: a, host: ctx.Host(), from: ctx.RemoteAddr(), secure: secure, jar: a.cookies(ctx)}))
}

// ownPage says why a request is not believed to come from a page of this server, or by the hand of a person. Whatever changes
// something has to prove it: it is not enough that nothing speaks against it.
func (a *API) ownPage(ctx huma.Context) error {
	safe := ctx.Method() == http.MethodGet || ctx.Method() == http.MethodHead
	site, origin := ctx.Header("Sec-Fetch-Site"), ctx.Header("Origin")
	switch {
	case site == "same-origin", site == "none" && safe, site == "" && origin == "" && safe:
		return nil
	case site == "" && origin != "":
		u, err := url.Parse(origin)
		if err == nil && (strings.EqualFold(u.Host, ctx.Host()) || a.cfg.Public != nil && strings.EqualFold(u.Host, a.cfg.Public.Host)) {
			return nil
		}
	}
	return sluice.Errorf(sluice.Denied, "this does not come from a page of this server").
		WithHint("a program shows its token in the header Authorization")
}

// bySession lets somebody in by the cookie of a browser.
func (c *caller) bySession(ctx huma.Context, secret string) *problem {
	if err := c.api.ownPage(ctx); err != nil {
		c.stranger(ctx.Context(), err.Error())
		return problemOf(err)
	}
	b, refused := c.known(ctx.Context(), secret, c.api.cfg.Rights.Session)
	if refused != nil {
		return refused
	}
	c.Bearer = b
	if !c.api.inUse.came(b.Token, c.api.cfg.Clock()) {
		// Should it fail, the next request of this session ends here, too.
		_ = c.api.cfg.Keeping.Change(ctx.Context(), b, sluice.TokenRevoked{ID: b.Token, Ended: "not used for " + sessionIdle.String()})
		return unauthorized(sluice.Errorf(sluice.Denied, "you were away for more than %v, and are signed out", sessionIdle).WithHint("sign in again"))
	}
	return nil
}

type toOpen struct {
	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"200" doc:"the secret of a token"`
	}
}

type opened struct {
	Cookie []http.Cookie `header:"Set-Cookie"`
	Body   api.Session
}

type oneSession struct{ Body api.Session }

type closed struct {
	Cookie []http.Cookie `header:"Set-Cookie"`
	Body   struct {
		Done bool `json:"done"`
	}
}

type waysIn struct{ Body api.Ways }

const sessionTag = "session"

// addSession adds what a browser needs to sign in and out.
func (a *API) addSession() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/session" + path, Tags: []string{sessionTag}, Summary: summary, Errors: errors,
			MaxBodyBytes: 64 << 10, BodyReadTimeout: bodyTimeout}
	}
	open := op("open-session", http.MethodPost, "", "Sign a browser in with a token", http.StatusUnauthorized, http.StatusForbidden)
	open.Description = "Needs no token but the one in the body. The answer has a cookie that no script can read, with a token of its own that ends with the other, " +
		"and after 12 hours at the latest. Taken from pages of this server alone."
	open.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		if err := a.ownPage(ctx); err != nil { // or else a page of somebody else signs one in as them
			answer(ctx, problemOf(err))
			return
		}
		a.visiting(ctx, next)
	}}
	unnamed(a, open, a.openSession)
	ways := op("get-ways-in", http.MethodGet, "/ways", "How one can sign in with a browser")
	ways.Description = "Needs no token."
	unnamed(a, ways, func(context.Context, *struct{}) (*waysIn, error) { return &waysIn{a.ways()}, nil })
	route(a, "", op("get-session", http.MethodGet, "", "Who one is here, until when, and what one may do where"), getSession)
	end := op("end-session", http.MethodDelete, "", "Sign the browser out", http.StatusConflict)
	end.Middlewares = huma.Middlewares{a.visiting}
	route(a, "", end, endSession)
	a.mux.HandleFunc("GET /api/v1/session/oidc", a.startOIDC)
	a.mux.HandleFunc("GET /api/v1/session/oidc/callback", a.endOIDC)
}

// unnamed registers a way in for those who are nobody yet.
func unnamed[I, O any](a *API, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	a.open = append(a.open, Route{op.Method, op.Path, ""})
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				a.cfg.Trouble(op.Method + " " + op.Path + ": " + err.Error())
			}
			return nil, p
		}
		return out, nil
	})
}

func (a *API) ways() api.Ways {
	w := api.Ways{Token: true}
	switch {
	case a.cfg.OpenID == nil:
	case a.cfg.Public == nil:
		w.Lacks = "the server was not told by which address browsers reach it: --public-url"
	default:
		w.OpenID = true
	}
	return w
}

// openSession signs a browser in by a token.
func (a *API) openSession(ctx context.Context, in *toOpen) (*opened, error) {
	v, _ := ctx.Value(visitKey{}).(visit)
	c := caller{api: a, what: "POST /api/v1/session", from: v.from}
	b, refused := c.known(ctx, in.Body.Token, a.cfg.Rights.Login)
	if refused != nil {
		return nil, refused
	}
	c.Bearer = b
	noteSeen(ctx, func(s *seen) { s.principal = b.Principal })
	if wait := a.callers.take(string(b.Principal), a.cfg.Clock()); wait > 0 {
		return nil, tooOften(wait, "too many requests")
	}
	own, err := a.cfg.Rights.Token(ctx, b)
	if err != nil {
		return nil, err
	}
	ends := a.cfg.Keeping.Until(sessionLife)
	if !own.Expires.IsZero() && own.Expires.Before(ends) {
		ends = own.Expires
	}
	cookie, err := c.signIn(ctx, v, sluice.Token{Only: own.Only, Namespace: own.Namespace, Expires: ends})
	if err != nil {
		return nil, err
	}
	s, err := getSession(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	return &opened{[]http.Cookie{*cookie}, s.Body}, nil
}

// signIn makes a session, of which the caller is from then on, and notes from where. Whoever was signed in with this browser is
// not any more.
func (c *caller) signIn(ctx context.Context, v visit, t sluice.Token) (*http.Cookie, error) {
	t.Principal, t.Kind, t.Label = c.Principal, sluice.BySession, "browser at "+hostOf(c.from)
	secret, made, err := c.api.cfg.Keeping.MakeToken(ctx, c.Bearer, t)
	if err != nil {
		return nil, err
	}
	c.Token, c.session = made.ID, true
	if err := c.api.cfg.Rights.Note(ctx, c.note("")); err != nil {
		return nil, err
	}
	if v.jar.session != "" {
		if old, err := c.api.cfg.Rights.Session(ctx, v.jar.session); err == nil {
			_ = c.api.cfg.Keeping.Change(ctx, old, sluice.TokenRevoked{ID: old.Token, Ended: "signed in anew"})
		}
	}
	return v.bake(cookieName, secret, made.Expires.Sub(c.api.cfg.Clock()), http.SameSiteStrictMode), nil
}

func getSession(ctx context.Context, c caller, _ *struct{}) (*oneSession, error) {
	m, err := whoami(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	out := &oneSession{api.Session{Me: m.Body, Browser: c.session}}
	if m.Body.Token != nil {
		out.Body.Until = m.Body.Token.Expires
	}
	if c.session {
		out.Body.Idle = sessionIdle.String()
	}
	return out, nil
}

func endSession(ctx context.Context, c caller, _ *struct{}) (*closed, error) {
	if !c.session {
		return nil, sluice.Errorf(sluice.Conflict, "there is no session to end: this is no browser that is signed in").WithHint("sluice logout; sluice access token revoke")
	}
	if err := c.api.cfg.Keeping.Change(ctx, c.Bearer, sluice.TokenRevoked{ID: c.Token, Ended: "signed out"}); err != nil {
		return nil, err
	}
	v, _ := ctx.Value(visitKey{}).(visit)
	out := &closed{Cookie: []http.Cookie{*v.bake(cookieName, "", 0, http.SameSiteStrictMode)}}
	out.Body.Done = true
	return out, nil
}

package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
)

// A login with OpenID goes from a page of ours to the provider, and comes back with a code. What is to be secret of it is made
// of one seed, which the browser keeps in a cookie: state, which binds the answer to this browser; nonce, which binds what the
// provider signs to this login; and the verifier of PKCE, without which a code that somebody saw is of no use. The server
// keeps nothing.
const (
	loginCookie = "sluice-login-"
	loginLife   = 10 * time.Minute
	maxBack     = 2000
)

// made is what a login derives from its seed. Who knows one of them knows none of the others.
func made(seed, of string) string {
	sum := sha256.Sum256([]byte("sluice " + of + "\x00" + seed))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

const (
	stateOf    = "state"
	nonceOf    = "nonce"
	verifierOf = "verifier"
)

// public is an address below the one by which browsers reach the server.
func (a *API) public(path string) string { return a.cfg.Public.String() + path }

const oidcCallback = "/api/v1/session/oidc/callback"

// startOIDC sends a browser to the provider. back is the page that the person wants to see afterwards.
func (a *API) startOIDC(w http.ResponseWriter, r *http.Request) {
	back := r.URL.Query().Get("back")
	if ways := a.ways(); !ways.OpenID {
		detail := ways.Lacks
		if detail == "" {
			detail = "this server asks no OpenID provider"
		}
		writeProblem(w, problemOf(sluice.Errorf(sluice.NotFound, "nobody signs in to a browser with OpenID here: %s", detail).WithHint("sign in with a token")))
		return
	}
	if a.ownPage(humago.NewContext(&huma.Operation{}, r, w)) != nil {
		a.notIn(w, "", back, "") // a page of somebody else begins no sign-in: the person is asked
		return
	}
	v := a.visitOf(w, r)
	authorize, client, scope, err := a.cfg.OpenID.Start(r.Context())
	if err != nil {
		a.cfg.Trouble("GET /api/v1/session/oidc: " + err.Error())
		a.notIn(w, "provider", back, "")
		return
	}
	u, err := url.Parse(authorize)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		a.notIn(w, "provider", back, "")
		return
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // does not fail
	seed := base64.RawURLEncoding.EncodeToString(b)
	challenge := sha256.Sum256([]byte(made(seed, verifierOf)))
	q := u.Query()
	for name, value := range map[string]string{"response_type": "code", "client_id": client, "scope": scope, "redirect_uri": a.public(oidcCallback),
		"state": made(seed, stateOf), "nonce": made(seed, nonceOf),
		"code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256"} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	// Lax: the answer comes from the provider's site.
	http.SetCookie(w, v.bake(loginCookie, seed+"."+base64.RawURLEncoding.EncodeToString([]byte(a.place(back))), loginLife, http.SameSiteLaxMode))
	toPlace(w, u.String())
}

// endOIDC signs a browser in that comes back from the provider.
func (a *API) endOIDC(w http.ResponseWriter, r *http.Request) {
	if !a.ways().OpenID {
		a.startOIDC(w, r)
		return
	}
	v := a.visitOf(w, r)
	seed, rest, _ := strings.Cut(v.jar.login, ".")
	text, _ := base64.RawURLEncoding.DecodeString(rest) // what is not readable leads to the first page
	back := a.place(string(text))
	gone := v.bake(loginCookie, "", 0, http.SameSiteLaxMode)
	gone.Path = a.cfg.Public.Path + "/api/v1/session" // where it was set, by the browser's own rule
	http.SetCookie(w, gone)
	q := r.URL.Query()
	if seed == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(made(seed, stateOf))) != 1 {
		a.notIn(w, "late", back, "") // not begun in this browser, or long ago
		return
	}
	if wait := a.failed.take(hostOf(v.from), a.cfg.Clock()); wait > 0 { // each costs a question to the provider
		writeProblem(w, tooOften(wait, "too many requests"))
		return
	}
	cookie, why, name := a.redeem(r.Context(), v, seed, q.Get("code"))
	if why != "" {
		a.notIn(w, why, back, name)
		return
	}
	cookie.Path = a.cfg.Public.Path + "/api/v1" // as a sign-in with a token has it, from another directory
	http.SetCookie(w, cookie)
	toPlace(w, a.public("/ui/")+back)
}

// redeem has the provider say who it is, and signs them in. why says in a word what is wrong, and name whom the provider
// named.
func (a *API) redeem(ctx context.Context, v visit, seed, code string) (cookie *http.Cookie, why, name string) {
	c := &caller{api: a, what: "sign-in by OpenID", from: v.from}
	if code == "" {
		c.stranger(ctx, "the OpenID provider lets nobody in")
		return nil, "refused", ""
	}
	name, err := a.cfg.OpenID.Redeem(ctx, code, made(seed, verifierOf), a.public(oidcCallback), made(seed, nonceOf))
	switch {
	case sluice.CodeOf(err) == sluice.Denied:
		c.stranger(ctx, err.Error())
		return nil, "refused", ""
	case err != nil:
		a.cfg.Trouble(c.what + ": " + err.Error())
		return nil, "provider", ""
	}
	p, err := sluice.ParsePrincipal(name)
	if err != nil {
		c.stranger(ctx, "the OpenID provider names one who can be no principal")
		return nil, "unknown", ""
	}
	c.Principal = p
	cookie, err = c.signIn(ctx, v, sluice.Token{Expires: a.cfg.Keeping.Until(sessionLife)})
	switch code := sluice.CodeOf(err); {
	case code == sluice.Denied || code == sluice.NotFound:
		c.stranger(ctx, err.Error())
		return nil, "unknown", string(p)
	case err != nil:
		a.cfg.Trouble(c.what + ": " + err.Error())
		return nil, "server", ""
	}
	return cookie, "", string(p)
}

// visitOf is what a navigation of a browser says of itself.
func (a *API) visitOf(w http.ResponseWriter, r *http.Request) (v visit) {
	a.visiting(humago.NewContext(&huma.Operation{}, r, w), func(ctx huma.Context) { v, _ = ctx.Context().Value(visitKey{}).(visit) })
	v.secure = v.secure || a.cfg.Public.Scheme == "https"
	return v
}

// notIn leads to the page to sign in, which says in words what a word says here.
func (a *API) notIn(w http.ResponseWriter, why, back, name string) {
	q := url.Values{}
	if why != "" {
		q.Set("wrong", why)
	}
	if back != "" {
		q.Set("back", a.place(back))
	}
	if name != "" {
		q.Set("name", name)
	}
	toPlace(w, a.public("/ui/signin?")+q.Encode())
}

func toPlace(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// place is a place of our own pages, relative to their first; "" for whatever leads elsewhere: nobody makes a link to us that ends
// at a page of theirs.
func (a *API) place(back string) string {
	u, err := url.Parse(back)
	if err != nil || len(back) > maxBack || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || strings.HasPrefix(u.Path, "/") ||
		strings.ContainsAny(u.Path, "\\") || strings.Contains(u.Path, "..") {
		return ""
	}
	return u.String()
}

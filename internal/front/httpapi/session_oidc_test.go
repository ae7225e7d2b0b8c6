package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

func address(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

// provider names whoever it is told to, for one code.
type provider struct {
	name string
	err  error
	got  []string
}

func (p *provider) Start(context.Context) (string, string, string, error) {
	return "https://id.example.com/authorize?tenant=7", "sluice", "openid email", p.err
}

func (p *provider) Redeem(_ context.Context, code, verifier, redirect, nonce string) (string, error) {
	p.got = []string{code, verifier, redirect, nonce}
	if p.err == nil && code != "good" {
		return "", sluice.Errorf(sluice.Denied, "no such code")
	}
	return p.name, p.err
}

const behind = "https://sluice.example.com/fleet" // a proxy has it under a path

func withProvider(t *testing.T) (*world, *provider) {
	p := &provider{name: "ann@example.com"}
	w, _ := atRest(t, func(c *httpapi.Config) { c.OpenID, c.Public = p, address(behind) })
	w.token("ann@example.com", sluice.Grant{Role: access.Viewer})
	return w, p
}

// begin starts a login: what the provider is asked, and the cookie of it.
func (w *world) begin(back string) (q url.Values, cookie *http.Cookie) {
	w.t.Helper()
	resp := w.browser(http.MethodGet, "/api/v1/session/oidc?back="+url.QueryEscape(back), "", "", "Host", "sluice.example.com")
	u, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther || u.Host != "id.example.com" || len(resp.Cookies()) != 1 {
		w.t.Fatalf("%s to %v with %v: %v", resp.Status, u, resp.Cookies(), err)
	}
	return u.Query(), resp.Cookies()[0]
}

// comeBack is the browser that comes back from the provider.
func (w *world) comeBack(c *http.Cookie, query url.Values) *http.Response {
	cookie := ""
	if c != nil {
		cookie = c.Name + "=" + c.Value
	}
	return w.browser(http.MethodGet, "/api/v1/session/oidc/callback?"+query.Encode(), "", cookie, "Host", "sluice.example.com", "Sec-Fetch-Site", "cross-site")
}

// TestOpenIDInTheBrowser: code, PKCE, state and nonce, all of one seed that the browser keeps; behind a proxy with a path.
func TestOpenIDInTheBrowser(t *testing.T) {
	w, p := withProvider(t)
	q, c := w.begin("jobs/9f2k?host=web1")
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !c.Secure || c.Path != "" || c.MaxAge != 600 {
		t.Errorf("the cookie of the login: %+v", c)
	}
	if q.Get("tenant") != "7" || q.Get("response_type") != "code" || q.Get("redirect_uri") != behind+"/api/v1/session/oidc/callback" || q.Get("code_challenge_method") != "S256" ||
		q.Get("state") == "" || q.Get("nonce") == "" || q.Get("state") == q.Get("nonce") {
		t.Errorf("the provider is asked %v", q)
	}
	resp := w.comeBack(c, url.Values{"code": {"good"}, "state": q["state"]})
	if to, err := resp.Location(); err != nil || to.String() != behind+"/ui/jobs/9f2k?host=web1" {
		t.Fatalf("leads to %v: %v", to, err)
	}
	sum := sha256.Sum256([]byte(p.got[1]))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || p.got[2] != q.Get("redirect_uri") || p.got[3] != q.Get("nonce") {
		t.Errorf("redeemed with %v after %v", p.got, q)
	}
	var session, gone *http.Cookie
	for _, set := range resp.Cookies() {
		if strings.Contains(set.Name, "session") {
			session = set
		} else {
			gone = set
		}
	}
	if gone == nil || gone.MaxAge >= 0 || gone.Path != "/fleet/api/v1/session" || gone.Name != c.Name {
		t.Errorf("the cookie of the login stays: %+v", gone)
	}
	if session == nil || !session.HttpOnly || !session.Secure || session.SameSite != http.SameSiteStrictMode || session.Path != "/fleet/api/v1" {
		t.Fatalf("%+v", session)
	}
	got := told[api.Session](t, w.browser(http.MethodGet, "/api/v1/session", "", session.Name+"="+session.Value, "Host", "sluice.example.com"))
	if got.Principal != "ann@example.com" || !got.Browser || got.Token.Parent != "" {
		t.Errorf("%+v", got)
	}
}

// TestOpenIDRefused: what does not fit signs nobody in, and the page to sign in says why.
func TestOpenIDRefused(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *provider, q url.Values, c *http.Cookie) *http.Cookie
		want string
	}{
		"another state":      {func(_ *provider, q url.Values, c *http.Cookie) *http.Cookie { q.Set("state", "x"); return c }, "late"},
		"no state":           {func(_ *provider, q url.Values, c *http.Cookie) *http.Cookie { q.Del("state"); return c }, "late"},
		"another browser":    {func(*provider, url.Values, *http.Cookie) *http.Cookie { return nil }, "late"},
		"a cookie of nobody": {func(_ *provider, _ url.Values, c *http.Cookie) *http.Cookie { c.Value = ""; return c }, "late"},
		"another code":       {func(_ *provider, q url.Values, c *http.Cookie) *http.Cookie { q.Set("code", "bad"); return c }, "refused"},
		"no code":            {func(_ *provider, q url.Values, c *http.Cookie) *http.Cookie { q.Del("code"); return c }, "refused"},
		"nobody known":       {func(p *provider, _ url.Values, c *http.Cookie) *http.Cookie { p.name = "eve@example.com"; return c }, "unknown"},
		"no name of anybody": {func(p *provider, _ url.Values, c *http.Cookie) *http.Cookie { p.name = "<b>"; return c }, "unknown"},
		"no provider there": {func(p *provider, _ url.Values, c *http.Cookie) *http.Cookie {
			p.err = sluice.Errorf(sluice.Contact, "down")
			return c
		}, "provider"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{name: "ann@example.com"}
			w, _ := atRest(t, func(c *httpapi.Config) { c.OpenID, c.Public, c.Trouble = p, address(behind), func(string) {} })
			w.token("ann@example.com")
			q, cookie := w.begin("jobs/1")
			query := url.Values{"code": {"good"}, "state": q["state"]}
			resp := w.comeBack(c.do(p, query, cookie), query)
			to, err := resp.Location()
			if err != nil || to.Host != "sluice.example.com" || to.Path != "/fleet/ui/signin" || to.Query().Get("wrong") != c.want {
				t.Errorf("leads to %v: %v", to, err)
			}
			for _, set := range resp.Cookies() {
				if strings.Contains(set.Name, "session") {
					t.Errorf("somebody is signed in: %v", set)
				}
			}
			if noted := len(w.refusals()) > 0; noted != (c.want == "refused" || c.want == "unknown") {
				t.Errorf("refusals: %+v", w.refusals())
			}
		})
	}
}

// TestOpenIDLeadsNowhereElse: nobody makes a link to a sign-in that ends at a page of theirs.
func TestOpenIDLeadsNowhereElse(t *testing.T) {
	w, _ := withProvider(t)
	for back, want := range map[string]string{
		"jobs/1?a=b&c=d": "jobs/1?a=b&c=d", "": "", "hosts/web1#log": "hosts/web1#log",
		"https://evil.example.com/": "", "//evil.example.com/": "", "/\\evil.example.com": "", "\\\\evil.example.com": "", "/api/v1/jobs": "",
		"javascript:alert(1)": "", "javascript:": "", "//evil.example.com": "", "../../evil": "", "x/../../../evil": "", "%2e%2e/%2e%2e/evil": "", "jobs/%5cevil": "", "//user@evil.example.com": "",
		strings.Repeat("x", 2001): "", "jobs/\r\nSet-Cookie: a=b": "", "\tjavascript:alert(1)": "",
	} {
		q, c := w.begin(back)
		resp := w.comeBack(c, url.Values{"code": {"good"}, "state": q["state"]})
		if got := resp.Header.Get("Location"); got != behind+"/ui/"+want {
			t.Errorf("%q leads to %q", back, got)
		}
	}
	forged := &http.Cookie{}
	q, c := w.begin("")
	seed, _, _ := strings.Cut(c.Value, ".")
	forged.Name, forged.Value = c.Name, seed+"."+base64.RawURLEncoding.EncodeToString([]byte("//evil.example.com/"))
	if got := w.comeBack(forged, url.Values{"code": {"good"}, "state": q["state"]}).Header.Get("Location"); got != behind+"/ui/" {
		t.Errorf("a cookie leads to %q", got)
	}
}

// TestOpenIDBegunElsewhere: a page of somebody else leads to our page to sign in, and begins nothing.
func TestOpenIDBegunElsewhere(t *testing.T) {
	w, _ := withProvider(t)
	for _, site := range []string{"cross-site", "same-site"} {
		resp := w.browser(http.MethodGet, "/api/v1/session/oidc?back=jobs", "", "", "Host", "sluice.example.com", "Sec-Fetch-Site", site)
		if got := resp.Header.Get("Location"); got != behind+"/ui/signin?back=jobs" || len(resp.Cookies()) != 0 {
			t.Errorf("%s: to %q with %v", site, got, resp.Cookies())
		}
	}
}

// TestWaysIn: the page to sign in is told what there is, and why not the rest.
func TestWaysIn(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(*httpapi.Config)
		openID bool
		lacks  string
	}{
		"tokens alone":       {func(*httpapi.Config) {}, false, ""},
		"a provider":         {func(c *httpapi.Config) { c.OpenID, c.Public = &provider{}, address(behind) }, true, ""},
		"no address of ours": {func(c *httpapi.Config) { c.OpenID = &provider{} }, false, "--public-url"},
	} {
		w, _ := atRest(t, c.set)
		got := told[api.Ways](t, w.browser(http.MethodGet, "/api/v1/session/ways", "", ""))
		if !got.Token || got.OpenID != c.openID || !strings.Contains(got.Lacks, c.lacks) {
			t.Errorf("%s: %+v", name, got)
		}
		if c.openID {
			continue
		}
		for _, path := range []string{"/api/v1/session/oidc?back=x", "/api/v1/session/oidc/callback"} {
			if resp := w.browser(http.MethodGet, path, "", ""); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s has status %d", name, path, resp.StatusCode)
			}
		}
	}
}

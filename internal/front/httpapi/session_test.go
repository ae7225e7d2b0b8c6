package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// wrist is a clock that is set by hand.
type wrist struct {
	mu sync.Mutex
	at time.Time
}

func (w *wrist) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *wrist) on(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// atRest is a world whose API has a clock of its own.
func atRest(t *testing.T, set ...func(*httpapi.Config)) (*world, *wrist) {
	c := &wrist{at: clock()}
	return newWorldWith(t, func(cfg *httpapi.Config) {
		cfg.Clock = c.now
		for _, s := range set {
			s(cfg)
		}
	}), c
}

// browser sends a request as a browser does, from a page of ours unless headers say otherwise; "" takes one away.
func (w *world) browser(method, path, body, cookie string, headers ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	c := *w.server.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// signIn is the cookie of whoever signs in with a token.
func (w *world) signIn(token string) string {
	w.t.Helper()
	resp := w.browser(http.MethodPost, "/api/v1/session", `{"token":"`+token+`"}`, "")
	if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
		b, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("status %d, cookies %v: %s", resp.StatusCode, resp.Cookies(), b)
	}
	c := resp.Cookies()[0]
	return c.Name + "=" + c.Value
}

func (w *world) status(cookie string) int {
	w.t.Helper()
	return w.browser(http.MethodGet, "/api/v1/session", "", cookie).StatusCode
}

func told[T any](t *testing.T, resp *http.Response) (v T) {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("status %d: %s: %v", resp.StatusCode, b, err)
	}
	return v
}

// TestSignIn: a browser gets a cookie that no script reads and no other site sends, with a token of its own.
func TestSignIn(t *testing.T) {
	w, _ := atRest(t)
	token := w.token("ann", sluice.Grant{Role: access.Operator, Namespace: "prod"})
	for name, c := range map[string]struct {
		headers []string
		secure  bool
	}{
		"on the loopback":    {[]string{"Origin", w.server.URL}, false},
		"a proxy has TLS":    {[]string{"Origin", "https://sluice.example.com", "Host", "sluice.example.com"}, true},
		"an older browser":   {[]string{"Sec-Fetch-Site", "", "Origin", w.server.URL}, false},
		"origin and no site": {[]string{"Sec-Fetch-Site", "", "Origin", "https://sluice.example.com:443", "Host", "sluice.example.com:443"}, true},
	} {
		resp := w.browser(http.MethodPost, "/api/v1/session", `{"token":"`+token+`"}`, "", c.headers...)
		if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
			t.Errorf("%s: status %d, cookies %v", name, resp.StatusCode, resp.Cookies())
			continue
		}
		set := resp.Cookies()[0]
		if !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Path != "" || set.Domain != "" || set.Secure != c.secure || set.MaxAge != 12*3600 ||
			strings.HasPrefix(set.Name, "__Secure-") != c.secure {
			t.Errorf("%s: %s", name, resp.Header.Get("Set-Cookie"))
		}
		if strings.Contains(set.Value, token) {
			t.Errorf("%s: the cookie has the token itself", name)
		}
	}
	cookie := w.signIn(token)
	s := told[api.Session](t, w.browser(http.MethodGet, "/api/v1/session", "", cookie))
	if s.Principal != "ann" || !s.Browser || s.Idle != "1h0m0s" || s.Until == nil || !s.Until.Equal(clock().Add(12*time.Hour)) ||
		s.Token == nil || s.Token.Kind != sluice.BySession || s.Token.Parent == "" || len(s.Rights) != 8 || s.Rights[0].Everywhere || s.Rights[0].Places[0].Namespace != "prod" {
		t.Errorf("%+v", s)
	}
	_, secret, _ := strings.Cut(cookie, "=")
	name, _, _ := strings.Cut(cookie, "=")
	for what, c := range map[string]struct {
		cookie  string
		headers []string
	}{
		"the cookie's secret as a token": {"", []string{"Authorization", "Bearer " + secret}},
		"a token as a cookie":            {name + "=" + token, nil},
		"garbage":                        {name + "=x", nil},
		"no cookie":                      {"", nil},
		"one of another server":          {"sluice-session-00000000=" + secret, nil},
	} {
		if got := w.browser(http.MethodGet, "/api/v1/session", "", c.cookie, c.headers...).StatusCode; got != http.StatusUnauthorized {
			t.Errorf("%s: status %d", what, got)
		}
	}
	who := w.client(token) // a program is told, too
	if s, err := who.Session(t.Context()); err != nil || s.Browser || s.Until != nil || s.Principal != "ann" {
		t.Errorf("%+v %v", s, err)
	}
}

// TestCookiesOverTLS: where TLS is known to be there, only those count that could come over TLS alone.
func TestCookiesOverTLS(t *testing.T) {
	w, _ := atRest(t, func(c *httpapi.Config) { c.Public = address("https://sluice.example.com") })
	token := w.token("ann")
	resp := w.browser(http.MethodPost, "/api/v1/session", `{"token":"`+token+`"}`, "", "Host", "sluice.example.com")
	set := resp.Cookies()[0]
	if !set.Secure || !strings.HasPrefix(set.Name, "__Secure-") {
		t.Fatal(resp.Header.Get("Set-Cookie"))
	}
	plain := strings.TrimPrefix(set.Name, "__Secure-") + "=" + set.Value
	for cookie, want := range map[string]int{set.Name + "=" + set.Value: http.StatusOK, plain: http.StatusUnauthorized} {
		if got := w.browser(http.MethodGet, "/api/v1/session", "", cookie, "Host", "sluice.example.com").StatusCode; got != want {
			t.Errorf("%s: status %d, want %d", cookie, got, want)
		}
	}
	if got := w.browser(http.MethodGet, "/api/v1/session", "", plain).StatusCode; got != http.StatusOK {
		t.Errorf("on the loopback, without TLS: status %d", got)
	}
}

// TestOnlyOurPagesUseTheCookie: what changes something has to prove where it comes from; a sign-in, too.
func TestOnlyOurPagesUseTheCookie(t *testing.T) {
	w, _ := atRest(t)
	token := w.token("ann", sluice.Grant{Role: access.Operator, Namespace: "prod"})
	cookie := w.signIn(token)
	for _, c := range []struct {
		name        string
		headers     []string
		get, change bool
	}{
		{"our page", nil, true, true},
		{"our page, by its origin", []string{"Sec-Fetch-Site", "", "Origin", w.server.URL}, true, true},
		{"nothing said", []string{"Sec-Fetch-Site", ""}, true, false},
		{"by hand", []string{"Sec-Fetch-Site", "none"}, true, false},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false, false},
		{"another port, or a neighbour", []string{"Sec-Fetch-Site", "same-site"}, false, false},
		{"another site, by its origin", []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example.com"}, false, false},
		{"no site at all", []string{"Sec-Fetch-Site", "", "Origin", "null"}, false, false},
	} {
		job := "/api/v1/jobs/" + string(w.submit("web1"))
		want := func(ok bool) int {
			if ok {
				return http.StatusOK
			}
			return http.StatusForbidden
		}
		if got := w.browser(http.MethodGet, job, "", cookie, c.headers...).StatusCode; got != want(c.get) {
			t.Errorf("%s: a look has status %d", c.name, got)
		}
		if got := w.browser(http.MethodPost, job+"/halt", `{}`, cookie, c.headers...).StatusCode; got != want(c.change) {
			t.Errorf("%s: a change has status %d", c.name, got)
		}
		if got := w.browser(http.MethodPost, "/api/v1/session", `{"token":"`+token+`"}`, "", c.headers...).StatusCode; got != want(c.change) {
			t.Errorf("%s: a sign-in has status %d", c.name, got)
		}
	}
	if got := w.browser(http.MethodPost, "/api/v1/session", "token="+token, "", "Content-Type", "application/x-www-form-urlencoded").StatusCode; got != http.StatusUnsupportedMediaType {
		t.Errorf("a form: status %d", got)
	}
	// A program needs none of it.
	if _, err := w.client(token).Halt(t.Context(), w.submit("web1"), ""); err != nil {
		t.Error(err)
	}
}

// TestSessionEnds: by signing out, with the token that it came from, when nobody uses it, when somebody else signs in there;
// and not by a restart.
func TestSessionEnds(t *testing.T) {
	w, hand := atRest(t)
	token := w.token("ann")
	out := w.signIn(token)
	resp := w.browser(http.MethodDelete, "/api/v1/session", "", out)
	if set := resp.Cookies(); resp.StatusCode != http.StatusOK || len(set) != 1 || set[0].MaxAge >= 0 || set[0].Name != out[:strings.Index(out, "=")] || set[0].Path != "" {
		t.Errorf("signing out: status %d, %v", resp.StatusCode, resp.Header)
	}
	if got := w.status(out); got != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", got)
	}
	if err := func() error { _, err := w.client(token).Me(t.Context()); return err }(); err != nil {
		t.Errorf("the token itself is gone, too: %v", err)
	}
	if got := w.browser(http.MethodDelete, "/api/v1/session", "", "", "Authorization", "Bearer "+token).StatusCode; got != http.StatusConflict {
		t.Errorf("a program signs out: %d", got)
	}

	first := w.signIn(token)
	resp = w.browser(http.MethodPost, "/api/v1/session", `{"token":"`+w.token("bob")+`"}`, first)
	if got := w.status(first); resp.StatusCode != http.StatusOK || got != http.StatusUnauthorized {
		t.Errorf("after somebody else signed in: %d", got)
	}

	idle, busy := w.signIn(token), w.signIn(token)
	for range 3 {
		hand.on(25 * time.Minute)
		if got := w.status(busy); got != http.StatusOK {
			t.Fatalf("in use: %d", got)
		}
	}
	_ = w.status(idle) // known from now on: its time began when it was first used
	hand.on(61 * time.Minute)
	for range 2 {
		if got := w.status(idle); got != http.StatusUnauthorized {
			t.Errorf("away for long: %d", got)
		}
	}

	if list, err := w.client(token).Tokens(t.Context(), ""); err != nil || len(list) < 4 || !slices.ContainsFunc(list, func(t api.Token) bool { return t.Ended }) {
		t.Errorf("%+v %v", list, err)
	}
	hand.on(8 * 24 * time.Hour)
	if list, err := w.client(token).Tokens(t.Context(), ""); err != nil || len(list) != 1 || list[0].Kind != "" {
		t.Errorf("long after: %+v %v", list, err)
	}
	hand.on(-8 * 24 * time.Hour)

	stays := w.signIn(token)
	again := httpapi.New(httpapi.Config{Rights: w.keeper, Keeping: w.keeper, Clock: hand.now, Version: "test"})
	w.server.Config.Handler = again
	if got := w.status(stays); got != http.StatusOK {
		t.Errorf("after a restart: %d", got)
	}
	if got := w.status(idle); got != http.StatusUnauthorized {
		t.Errorf("away for long, after a restart: %d", got)
	}

	own, err := w.client(token).Me(t.Context())
	must(t, err)
	must(t, w.keeper.Change(t.Context(), w.admin, sluice.TokenRevoked{ID: own.Token.ID}))
	if got := w.status(stays); got != http.StatusUnauthorized {
		t.Errorf("after its token was revoked: %d", got)
	}

	short, _, err := w.keeper.MakeToken(t.Context(), w.admin, sluice.Token{Principal: "ann", Namespace: "prod", Only: []sluice.Right{sluice.SeeJobs}, Expires: clock().Add(time.Hour)})
	must(t, err)
	s := told[api.Session](t, w.browser(http.MethodGet, "/api/v1/session", "", w.signIn(short)))
	if s.Until == nil || !s.Until.Equal(clock().Add(time.Hour)) || s.Token.Namespace != "prod" || len(s.Token.Only) != 1 {
		t.Errorf("a session is more than its token: %+v", s.Token)
	}
}

// TestWatchingIsUse: a page that shows live news is used, however long nobody touches it.
func TestWatchingIsUse(t *testing.T) {
	w, hand := atRest(t)
	cookie := w.signIn(w.token("ann", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	resp := w.browser(http.MethodGet, "/api/v1/jobs/"+string(w.submit("web1"))+"/events", "", cookie, "Accept", "text/event-stream")
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	hand.on(3 * time.Hour)
	if got := w.status(cookie); got != http.StatusOK {
		t.Errorf("while a stream is open: %d", got)
	}
}

// TestJobsOutliveASession: what was submitted in a browser goes on when its owner signs out, and not when the token is taken back
// with which they signed in.
func TestJobsOutliveASession(t *testing.T) {
	w, _ := atRest(t)
	token := w.token("ann", sluice.Grant{Role: access.Operator, Namespace: "prod"}, sluice.Grant{Role: access.Admin})
	_, err := w.client(token).ApplyFleet(t.Context(), "prod", bundle(t, "namespace: prod\ntag:\n  web: [web1, web2]\n"), "", -1)
	must(t, err)
	cookie := w.signIn(token)
	job := told[api.Job](t, w.browser(http.MethodPost, "/api/v1/jobs", `{"namespace":"prod","targets":"web1","command":"true"}`, cookie))
	i, _, err := w.service.Info(t.Context(), string(job.ID))
	must(t, err)
	own, err := w.client(token).Me(t.Context())
	must(t, err)
	if i.Spec.Token == "" || i.Spec.Token == own.Token.ID || i.Spec.By != "ann" {
		t.Fatalf("submitted by %s with %q", i.Spec.By, i.Spec.Token)
	}
	by := access.Bearer{Principal: "ann", Token: i.Spec.Token}
	w.browser(http.MethodDelete, "/api/v1/session", "", cookie)
	must(t, w.keeper.MaySubmit(t.Context(), by, "prod", i.Spec.Targets, nil))
	must(t, w.keeper.Change(t.Context(), w.admin, sluice.TokenRevoked{ID: own.Token.ID}))
	wantCode(t, "after the token was revoked", w.keeper.MaySubmit(t.Context(), by, "prod", i.Spec.Targets, nil), sluice.Denied)
}

// TestSignInTooOften: bad tokens are tried as seldom here as anywhere, and noted; so are bad cookies.
func TestSignInTooOften(t *testing.T) {
	w, _ := atRest(t)
	name, _, _ := strings.Cut(w.signIn(w.token("ann")), "=")
	try := []func() *http.Response{
		func() *http.Response {
			return w.browser(http.MethodPost, "/api/v1/session", `{"token":"sluice_x"}`, "")
		},
		func() *http.Response { return w.browser(http.MethodGet, "/api/v1/whoami", "", name+"=x") },
	}
	n, status := 0, 0
	for ; n < 100 && status != http.StatusTooManyRequests; n++ {
		resp := try[n%2]()
		status = resp.StatusCode
		if status == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "1" {
			t.Errorf("again in %q", resp.Header.Get("Retry-After"))
		}
	}
	if n != 61 {
		t.Errorf("%d tries", n)
	}
	if notes := w.refusals(); len(notes) != 1 || notes[0].What != "POST /api/v1/session" || notes[0].From == "" {
		t.Errorf("%+v", notes)
	}
}

// TestStreamEnds: who watches for hours is asked now and then whether they still may.
func TestStreamEnds(t *testing.T) {
	for name, end := range map[string]func(*world, string) error{
		"signed out": func(w *world, cookie string) error {
			w.browser(http.MethodDelete, "/api/v1/session", "", cookie)
			return nil
		},
		"the grant is taken back": func(w *world, _ string) error {
			return w.keeper.Change(w.t.Context(), w.admin, sluice.GrantTaken{Grant: sluice.Grant{Principal: "ann", Role: access.Viewer, Namespace: "prod"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := atRest(t, func(c *httpapi.Config) { c.LookAgain = time.Millisecond })
			cookie := w.signIn(w.token("ann", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
			job := w.submit("web1")
			resp := w.browser(http.MethodGet, "/api/v1/jobs/"+string(job)+"/events", "", cookie, "Accept", "text/event-stream")
			begin := make([]byte, 10)
			if _, err := io.ReadFull(resp.Body, begin); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %v", resp.Status, err)
			}
			must(t, end(w, cookie))
			rest, _ := io.ReadAll(resp.Body) // it has an end
			if strings.Contains(string(rest), "\nevent: end") {
				t.Errorf("it says that the job is at its end: %s", rest)
			}
		})
	}
}

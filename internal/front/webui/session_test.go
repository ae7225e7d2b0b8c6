package webui_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"sluice"
	"sluice/api"
	"sluice/internal/front/clean"
	"sluice/internal/lab/browser"
)

// person makes somebody with roles, and a token.
func (s *stage) person(name sluice.Principal, grants ...sluice.Grant) string {
	s.t.Helper()
	if err := s.client.AddPrincipal(s.t.Context(), name, false); err != nil {
		s.t.Fatal(err)
	}
	for _, g := range grants {
		g.Principal = name
		if err := s.client.Grant(s.t.Context(), g); err != nil {
			s.t.Fatal(err)
		}
	}
	made, err := s.client.MakeToken(s.t.Context(), api.TokenWish{Principal: name, Label: "her laptop"})
	if err != nil {
		s.t.Fatal(err)
	}
	return made.Secret
}

// signIn types a token and sends it by the keyboard.
func signIn(b *browser.Tab, token string) {
	b.Has("heading", "Sign in")
	b.Type("textbox", "Token", token)
	b.Keys("Enter")
}

// everywhere looks for what shuts somebody out on a wide screen and on a phone, light and dark.
func everywhere(b *browser.Tab, name string) {
	for _, wide := range []bool{false, true} {
		if wide {
			b.Size(1280, 900, false)
		} else {
			b.Size(390, 844, true)
		}
		for _, scheme := range []string{"dark", "light"} {
			b.Scheme(scheme)
			b.Accessible()
		}
	}
	b.Keep(name)
}

// TestSignIn: a link leads through the sign-in to where it leads, behind a prefix too; a wrong token is said to be wrong; who
// signs out is out, in every tab; and no script can read the secret.
func TestSignIn(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	id := string(s.run("all", "sim 10ms 0"))
	ann := s.person("ann", sluice.Grant{Role: "operator", Namespace: "default"})
	for _, prefix := range []string{"", "/tools/sluice"} {
		b := browser.New(t)
		d := s.door(prefix, "")
		b.Open(d.URL + "jobs/" + id + "?host=web1")
		b.Has("heading", "Sign in")
		everywhere(b, "signin")
		signIn(b, "sluice_wrong")
		b.Sees("This token is not valid, or not any more.")
		everywhere(b, "signin-wrong")
		signIn(b, ann)
		b.Has("heading", "sim 10ms 0")
		b.Until(`location.pathname + location.search === "` + prefix + `/ui/jobs/` + id + `?host=web1"`)
		b.Sees("succeeded") // over the hub, too
		if js := browser.Eval[string](b, `document.cookie + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})`); strings.Contains(js, "sluice_") {
			t.Errorf("a script can read %s", js)
		}
		api := strings.TrimSuffix(d.URL, "ui/") + "api/v1/jobs"
		got := browser.Call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{api}}).Cookies
		if len(got) != 1 || !got[0].HTTPOnly || got[0].SameSite != network.CookieSameSiteStrict || got[0].Path != prefix+"/api/v1" {
			t.Errorf("the browser keeps %+v", got)
		}
		if got := browser.Call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{d.URL, strings.Replace(api, "/v1/", "/v2/", 1)}}).Cookies; len(got) != 0 {
			t.Errorf("the browser sends it along elsewhere: %+v", got)
		}
		b.Click("button", "You are ann")
		b.Sees("Signed in in this browser until")
		everywhere(b, "who")
		other := b.Another()
		other.Open(d.URL)
		other.Sees("sim 10ms 0")
		b.Click("button", "Sign out")
		b.Has("heading", "Sign in")
		other.Has("heading", "Sign in")
		other.SeesNot("sim 10ms 0")
		b.Open(d.URL + "jobs/" + id)
		b.Has("heading", "Sign in")
		if other.Until("!document.querySelector('dialog')"); d.count("DELETE "+prefix+"/api/v1/session") != 1 {
			t.Error("nobody signed out at the server")
		}
	}
}

// TestNeighbours: pages of others, on another site and on another port of the same name, where the browser sends the cookie along,
// do nothing with it: they change nothing, read nothing, and sign nobody in.
func TestNeighbours(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	id := string(s.run("all", "sim 10m 0"))
	b := browser.New(t)
	b.Expected = []string{"CORS", "Cross-Origin", "Failed to fetch"}
	d := s.door("", "")
	b.Open(d.URL)
	signIn(b, s.token)
	b.Sees("sim 10m 0")
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<title>evil</title>"))
	}))
	t.Cleanup(evil.Close)
	api := strings.TrimSuffix(d.URL, "ui/") + "api/v1/"
	for _, from := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} {
		before := d.count("")
		b.Open(from)
		got := browser.Eval[string](b, `(async () => {
			const said = [];
			for (const [method, path, body, kind, mode] of [['POST', 'jobs/`+id+`/halt', '{}', 'text/plain', 'no-cors'], ['POST', 'jobs/`+id+`/cancel', '{}', 'application/json', 'cors'],
				['POST', 'session', '{"token":"`+s.token+`"}', 'text/plain', 'no-cors'], ['DELETE', 'session', undefined, '', 'cors'], ['GET', 'jobs', undefined, '', 'cors'], ['GET', 'jobs', undefined, '', 'no-cors']]) {
				const headers = kind ? {'Content-Type': kind} : {};
				await fetch('`+api+`' + path, {method, body, mode, headers, credentials: 'include'}).then(async (a) => said.push(a.status + (await a.text())), () => {});
			}
			const form = document.createElement('form');
			form.method = 'post'; form.enctype = 'text/plain'; form.action = '`+api+`jobs/`+id+`/halt'; form.target = 'there';
			const there = document.createElement('iframe');
			there.name = 'there';
			document.body.append(there, form);
			const loaded = new Promise((r) => { there.onload = r; });
			form.submit();
			await loaded;
			return said.join();
		})()`)
		if strings.Trim(got, "0,") != "" {
			t.Errorf("%s reads %s", from, got)
		}
		if d.count("") <= before {
			t.Errorf("%s: nothing came to the server", from)
		}
	}
	j, err := s.client.Job(t.Context(), id)
	if err != nil || j.State != "running" && j.State != "waiting" {
		t.Errorf("somebody else's page did something: %+v %v", j, err)
	}
	b.Open(d.URL)
	b.Has("button", "You are admin")
	if _, err := s.client.Cancel(t.Context(), sluice.JobID(id), ""); err != nil {
		t.Fatal(err)
	}
}

// TestLapsed: a session that is taken back while a page is open leaves the page there; who signs in again goes on, and what is
// live goes on, too. Another person sees nothing of the one before.
func TestLapsed(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	s.run("all", "sim 10ms 0")
	ann := s.person("ann", sluice.Grant{Role: "viewer", Namespace: "default"})
	b := browser.New(t)
	d := s.door("", "")
	b.Open(d.URL)
	signIn(b, ann)
	b.Sees("sim 10ms 0")
	browser.Eval[bool](b, `(window.stays = true)`)
	end := func() {
		t.Helper()
		tokens, err := s.client.Tokens(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range tokens {
			if one.Kind == sluice.BySession && !one.Ended {
				if err := s.client.RevokeToken(t.Context(), one.ID, false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	end()
	b.Has("dialog", "Sign in again")
	b.Sees("sim 10ms 0") // behind it
	everywhere(b, "lapsed")
	s.run("all", "sim 11ms 0")
	b.Type("textbox", "Token", ann)
	b.Keys("Enter")
	b.Until("!document.querySelector('dialog')")
	b.Sees("sim 11ms 0")
	b.SeesNot("What you see is from before")
	if !browser.Eval[bool](b, `window.stays === true`) {
		t.Error("the page was loaded anew, and what was typed is lost")
	}
	end()
	b.Has("dialog", "Sign in again")
	b.Keys("Escape")
	b.Sees("What you see is from before")
	b.Accessible()
	b.Click("button", "Sign in")
	b.Type("textbox", "Token", s.person("bob"))
	b.Keys("Enter")
	b.Until("window.stays === undefined")
	b.Has("button", "You are bob")
	b.SeesNot("sim 1")
}

// TestStreamWaits: a stream that is refused for want of a session asks again when somebody signs in, and not all the while: the
// server counts sign-ins that fail, and the audit has them.
func TestStreamWaits(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	id := string(s.run("all", "sim 10ms 0"))
	b := browser.New(t)
	d := s.door("", "")
	b.Open(d.URL)
	b.Has("heading", "Sign in")
	browser.Eval[bool](b, `import(document.querySelector('script[src]').src.replace('app.js', 'live/stream.js')).then((m) => {
		window.said = [];
		m.stream({path: () => 'jobs/`+id+`/events', hear: () => {}, connection: (c) => said.push(c.connection), signedOut: () => said.push('out'), over: () => true});
		return true;
	})`)
	b.Until(`said.join() === 'out,lost'`)
	signIn(b, s.token)
	b.Until(`said.join() === 'out,lost,live'`)
	if n := d.count("GET /api/v1/jobs/" + id + "/events"); n != 2 {
		t.Errorf("it asked %d times", n)
	}
}

// TestUserPage: who somebody is, what they may do where, what they have; a token is revoked there, and who may not is told why.
func TestUserPage(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	ann := s.person("ann", sluice.Grant{Role: "operator", Namespace: "default"}, sluice.Grant{Role: "approver", Namespace: "prod", Tags: []sluice.Tag{"web"}})
	if _, err := s.as(ann).Submit(t.Context(), api.Submit{Namespace: "default", Targets: "all", Command: "sim 10ms 0"}); err != nil {
		t.Fatal(err)
	}
	hostile := `<img src=x onerror=alert(1)>` + "\u202egpj.exe\x1b[31m" + strings.Repeat("W", 150)
	made, err := s.as(ann).MakeToken(t.Context(), api.TokenWish{Label: hostile, Expires: "1h", Only: []sluice.Right{sluice.SeeJobs}})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := s.visit("users")
	b.Sees("approver in prod on $web")
	everywhere(b, "users")
	b.Click("link", "ann")
	b.Has("heading", "ann")
	b.Sees("in prod on $web")
	b.Sees("her laptop")
	b.Sees("made the token " + string(made.ID))
	b.Has("link", "sim 10ms 0") // her job
	b.SeesNot("not shown")
	b.Sees(`gpj.exe\e[31mWWW`)
	b.Sees(`\u{202e}`)
	everywhere(b, "user")
	if n := browser.Eval[int](b, `document.querySelectorAll('img').length`); n != 0 {
		t.Error("a label became markup")
	}
	b.Click("button", "Revoke "+string(made.Label[:4]))
	b.Has("dialog", "Revoke "+made.Label[:4])
	b.Accessible()
	b.Click("button", "Revoke it")
	b.Until("!document.querySelector('dialog')")
	b.SeesNot("only job.see")

	b = browser.New(t) // ann herself, by the keyboard
	b.Open(s.door("", "").URL + "users/admin")
	signIn(b, ann)
	b.Sees("ann may not do access.see: no grant allows it")
	b.Keep("user-other")
	b.Sees("ann may not do audit.see")
	b.Accessible()
	b.Click("button", "You are ann")
	b.Click("link", "Your rights")
	b.Sees("in use here")
	b.Sees("operator in default")
	everywhere(b, "user-self")
	page, err := s.client.Audit(t.Context(), url.Values{"refused": {"true"}})
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("a look at a page is noted as a refusal: %+v %v", page.Entries, err)
	}
}

// TestClean: what a name or label has in it that does something instead of showing something is shown as the command line does.
func TestClean(t *testing.T) {
	s := newStage(t, "")
	b, _ := s.visit("users")
	var all strings.Builder
	for r := rune(0); r < 0x3200; r++ {
		all.WriteRune(r)
	}
	for _, r := range []rune{0xfeff, 0xffa0, 0xfff9, 0xfffb, 0xe0001, 0xe007f, 0xe0080, 0x1f600} {
		all.WriteRune(r)
	}
	text, err := json.Marshal(all.String())
	if err != nil {
		t.Fatal(err)
	}
	got := browser.Eval[string](b, `import(document.querySelector('script[src]').src.replace('app.js', 'lib/clean.js')).then((m) => m.clean(`+string(text)+`))`)
	if want := clean.Line(all.String()); got != want {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("from %d on: %q, want %q", i, got[i:min(i+60, len(got))], want[i:min(i+60, len(want))])
	}
}

// TestAuditPage: newest first, filtered by what stands in the address, further back on demand; what was refused stands out.
func TestAuditPage(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	eve := s.person("eve")
	if _, err := s.as(eve).People(t.Context()); err == nil {
		t.Fatal("eve sees people")
	}
	for range 120 {
		if err := s.client.DefineRole(t.Context(), "night", []sluice.Right{sluice.SeeJobs}); err != nil {
			t.Fatal(err)
		}
	}
	s.run("all", "echo '<script>alert(1)</script>\u202e'")
	b, _ := s.visit("audit")
	b.Sees("submitted \"echo '<script>alert(1)</script>")
	b.Sees("The log has all that others have seen of it")
	b.Sees("100 entries, looked back")
	everywhere(b, "audit")
	b.SeesNot("made eve known")
	b.Click("button", "Further back")
	b.Sees("made eve known")
	b.Sees("these are all")
	b.Type("textbox", "Who", "eve")
	b.Keys("Enter")
	b.Until(`new URLSearchParams(location.search).get('who') === 'eve'`)
	b.Sees("1 entry: these are all")
	b.Sees("eve may not do access.see")
	browser.Eval[bool](b, `(history.back(), true)`)
	b.Until(`location.search === ''`)
	b.Sees("100 entries")
	b.Open(strings.TrimSuffix(browser.Eval[string](b, `location.href`), "audit") + "audit?refused=true&text=ACCESS.SEE")
	b.Sees("1 entry: these are all")
	everywhere(b, "audit-refused")
}

// TestForbidden: a control that one may not use is there, takes the focus, says why, and does nothing.
func TestForbidden(t *testing.T) {
	s := newStage(t, "")
	s.person("ann")
	if err := s.client.DefineRole(t.Context(), "seer", []sluice.Right{sluice.SeeAccess}); err != nil {
		t.Fatal(err)
	}
	b := browser.New(t)
	d := s.door("", "")
	b.Open(d.URL + "users/ann")
	signIn(b, s.person("eve", sluice.Grant{Role: "seer"}))
	b.Has("button", "Revoke her laptop")
	const why = "eve may not do access.give: no grant allows it. It takes the role admin everywhere."
	b.Until(`document.querySelector('[data-pointed]').getAttribute('aria-disabled') === 'true' &&
		document.getElementById(document.querySelector('[data-pointed]').getAttribute('aria-describedby')).textContent === ` + "`" + why + "`")
	b.SeesNot(why)
	for range 40 {
		if strings.HasPrefix(b.Focused(), "Revoke") {
			break
		}
		b.Keys("Tab")
	}
	b.Sees(why)
	b.Keys("Enter")
	everywhere(b, "forbidden")
	if browser.Eval[bool](b, `!!document.querySelector('dialog')`) || d.count("DELETE") != 0 {
		t.Error("it did something")
	}
}

package webui_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"sluice"
	"sluice/internal/app"
	"sluice/internal/lab/browser"
)

// withProvider is a server behind a proxy with a path, which asks a provider of another site.
func withProvider(t *testing.T) (*stage, *door, *mockoidc.MockOIDC) {
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(m.ClientSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	d := s.door("/tools/sluice", "")
	// Another name than the provider's address: another site, to a browser.
	d.URL = strings.Replace(d.URL, "127.0.0.1", "localhost", 1)
	s.stop()
	s.set = append(s.set, func(server *app.Server) {
		server.OIDC = app.OIDC{Issuer: m.Issuer(), ClientID: m.ClientID, SecretFile: secret}
		server.PublicURL = strings.TrimSuffix(d.URL, "/ui/")
	})
	s.start(s.address)
	return s, d, m
}

// TestOpenID: a link leads through the sign-in at the provider to where it leads, behind a prefix; who is not known there is told
// so, by name; and one who signed out can come back.
func TestOpenID(t *testing.T) {
	s, d, m := withProvider(t)
	id := string(s.run("all", "sim 10ms 0"))
	s.person("ann@example.org", sluice.Grant{Role: "viewer", Namespace: "default"})
	b := browser.New(t)
	b.Open(d.URL + "jobs/" + id + "?host=web1")
	b.Has("link", "Sign in with OpenID")
	everywhere(b, "signin-openid")
	m.QueueUser(&mockoidc.MockUser{Subject: "1", Email: "eve@example.org", EmailVerified: true})
	b.Click("link", "Sign in with OpenID")
	b.Sees("The provider says that you are eve@example.org, and nobody is known here by that name.")
	b.Sees("sluice access add eve@example.org")
	everywhere(b, "signin-unknown")
	m.QueueUser(&mockoidc.MockUser{Subject: "2", Email: "ann@example.org", EmailVerified: true})
	b.Click("link", "Sign in with OpenID")
	b.Has("heading", "sim 10ms 0")
	b.Until(`location.pathname + location.search === "/tools/sluice/ui/jobs/` + id + `?host=web1"`)
	b.Has("button", "You are ann@example.org")
	b.Sees("succeeded")
	b.Open(d.URL)
	b.Sees("sim 10ms 0")
	b.Click("button", "You are ann@example.org")
	b.Click("button", "Sign out")
	b.Has("link", "Sign in with OpenID")

	b.Open(strings.TrimSuffix(d.URL, "ui/") + "api/v1/session/oidc/callback?code=stolen&state=x")
	b.Sees("That sign-in was not begun in this browser")

	if err := m.Shutdown(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start(s.address) // it has not asked the provider yet
	b.Open(d.URL)
	b.Click("link", "Sign in with OpenID")
	b.Sees("The OpenID provider cannot be reached.")
	b.Accessible()
}

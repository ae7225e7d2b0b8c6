package app

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"

	"sluice"
	"sluice/client"
)

// TestLoginByOpenID: a person logs in at a provider, with a browser, and gets a token of the server, if they are known.
func TestLoginByOpenID(t *testing.T) {
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(m.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{OIDC: OIDC{Issuer: m.Issuer(), ClientID: m.ClientID, SecretFile: secret}}
	address, token := serveFor(t, s)
	server := "http://" + address
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h := &http.Client{Transport: transport}
	root := clientOf(t, server, token, h)
	if err := root.AddPrincipal(t.Context(), "ann@example.org", false); err != nil {
		t.Fatal(err)
	}
	user := func(address string, verified bool) *mockoidc.MockUser {
		return &mockoidc.MockUser{Subject: "4711", Email: address, EmailVerified: verified}
	}
	visit := func(address string) error { // what a browser does
		resp, err := h.Get(address)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	m.QueueUser(user("ann@example.org", true))
	made, err := client.LoginOIDC(t.Context(), server, h, visit)
	if err != nil {
		t.Fatal(err)
	}
	who, err := clientOf(t, server, made.Secret, h).Me(t.Context())
	if err != nil || who.Principal != "ann@example.org" || who.Token.Expires == nil || time.Until(*who.Token.Expires) > 12*time.Hour {
		t.Errorf("%+v %v", who, err)
	}
	for name, c := range map[string]struct {
		user *mockoidc.MockUser
		show func(string) error
		code sluice.Code
	}{
		"nobody known":            {user("eve@example.org", true), visit, sluice.Denied},
		"no name of anybody":      {user("a b@example.org", true), visit, sluice.Denied},
		"an address not verified": {user("ann@example.org", false), visit, sluice.Denied},
		"another nonce":           {user("ann@example.org", true), changed(visit, "nonce", "of another login"), sluice.Denied},
		"another challenge":       {user("ann@example.org", true), changed(visit, "code_challenge", strings.Repeat("x", 43)), sluice.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			m.QueueUser(c.user)
			made, err := client.LoginOIDC(t.Context(), server, h, c.show)
			if sluice.CodeOf(err) != c.code || made.Secret != "" {
				t.Errorf("%+v %v", made, err)
			}
		})
	}
	t.Run("another state", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m.QueueUser(user("ann@example.org", true))
		_, err := client.LoginOIDC(ctx, server, h, func(address string) error {
			defer cancel() // nobody came back
			return changed(visit, "state", "of somebody else")(address)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	var notes strings.Builder
	if err := root.Records(t.Context(), func(r sluice.Record) error { notes.Write(r.Payload); return nil }); err != nil {
		t.Fatal(err)
	}
	if text := notes.String(); !strings.Contains(text, `"principal":"ann@example.org","token":"`+string(made.ID)) || !strings.Contains(text, "login by OpenID") {
		t.Error("the login is not noted")
	}
}

// changed shows another address than the one that is to be shown.
func changed(show func(string) error, name, value string) func(string) error {
	return func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
		return show(u.String())
	}
}

func TestOIDCFlags(t *testing.T) {
	for name, o := range map[string]OIDC{
		"no client":        {Issuer: "https://id.example.org"},
		"no issuer":        {ClientID: "sluice"},
		"no TLS":           {Issuer: "http://id.example.org", ClientID: "sluice"},
		"no address":       {Issuer: "id.example.org", ClientID: "sluice"},
		"another claim":    {Issuer: "https://id.example.org", ClientID: "sluice", Claim: "groups"},
		"a secret no file": {Issuer: "https://id.example.org", ClientID: "sluice", SecretFile: "/nowhere/secret"},
	} {
		if p, err := o.provider(Now); sluice.CodeOf(err) != sluice.Usage && sluice.CodeOf(err) != sluice.Config || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := (OIDC{}).provider(Now); p != nil || err != nil {
		t.Errorf("%v %v", p, err)
	}
}

func TestPublicURL(t *testing.T) {
	for text, want := range map[string]string{"": "", "https://sluice.example.com": "https://sluice.example.com", "https://sluice.example.com/": "https://sluice.example.com",
		"https://sluice.example.com:8443/fleet/": "https://sluice.example.com:8443/fleet", "http://localhost:7657": "http://localhost:7657", "http://127.0.0.1/x": "http://127.0.0.1/x"} {
		u, err := publicURL(text)
		if err != nil || (u == nil) != (want == "") || u != nil && u.String() != want {
			t.Errorf("%q: %v %v", text, u, err)
		}
	}
	for _, bad := range []string{"sluice.example.com", "http://sluice.example.com", "ftp://localhost", "https://", "https://ann@sluice.example.com", "https://sluice.example.com/?x=1",
		"https://sluice.example.com/#x", "/fleet", "https://sluice.example.com:port"} {
		if u, err := publicURL(bad); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), "--public-url") {
			t.Errorf("%q: %v %v", bad, u, err)
		}
	}
}

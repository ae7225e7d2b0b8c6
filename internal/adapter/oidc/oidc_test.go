package oidc_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/oidc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func started(t *testing.T) *mockoidc.MockOIDC {
	t.Helper()
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	return m
}

func provider(t *testing.T, m *mockoidc.MockOIDC, claim string) *oidc.Provider {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return oidc.New(oidc.Config{Issuer: m.Issuer(), ClientID: m.ClientID, Secret: sluice.NewSecret([]byte(m.ClientSecret)), Claim: claim,
		Clock: time.Now, HTTP: &http.Client{Transport: transport}})
}

// TestWhatProvesNobody: each thing that an ID token must be, against a provider that is real, and signs what it is told to.
func TestWhatProvesNobody(t *testing.T) {
	m := started(t)
	other, err := mockoidc.RandomKeypair(2048) // its id is not that of the provider's, whose keys are all the same
	if err != nil {
		t.Fatal(err)
	}
	mine := m.Keypair
	now := time.Now()
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": m.Issuer(), "aud": m.ClientID, "sub": "4711", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nonce": "the nonce of this login",
			"email": "ann@example.org", "email_verified": true, "preferred_username": "ann"}
	}
	with := func(name string, v any) func() jwt.MapClaims {
		return func() jwt.MapClaims {
			c := good()
			if c[name] = v; v == nil {
				delete(c, name)
			}
			return c
		}
	}
	for name, c := range map[string]struct {
		claims func() jwt.MapClaims
		signer *mockoidc.Keypair
		claim  string
		want   string // "": nobody
	}{
		"good":                     {good, mine, oidc.Email, "ann@example.org"},
		"by name":                  {good, mine, oidc.Username, "ann"},
		"by subject":               {good, mine, oidc.Subject, "4711"},
		"several audiences":        {with("aud", []string{"another", m.ClientID}), mine, oidc.Email, "ann@example.org"},
		"another audience":         {with("aud", "another"), mine, oidc.Email, ""},
		"no audience":              {with("aud", nil), mine, oidc.Email, ""},
		"another issuer":           {with("iss", "https://evil.example.org"), mine, oidc.Email, ""},
		"expired":                  {with("exp", now.Add(-time.Second).Unix()), mine, oidc.Email, ""},
		"no end":                   {with("exp", nil), mine, oidc.Email, ""},
		"from the future":          {with("iat", now.Add(time.Hour).Unix()), mine, oidc.Email, ""},
		"another nonce":            {with("nonce", "that of another login"), mine, oidc.Email, ""},
		"no nonce":                 {with("nonce", nil), mine, oidc.Email, ""},
		"signed by another":        {good, other, oidc.Email, ""},
		"an address not verified":  {with("email_verified", false), mine, oidc.Email, ""},
		"an address perhaps":       {with("email_verified", nil), mine, oidc.Email, ""},
		"verified, as a text says": {with("email_verified", "true"), mine, oidc.Email, ""},
		"no address":               {with("email", nil), mine, oidc.Email, ""},
		"a number":                 {with("preferred_username", 7), mine, oidc.Username, ""},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := c.signer.SignJWT(c.claims())
			if err != nil {
				t.Fatal(err)
			}
			got, err := provider(t, m, c.claim).Name(t.Context(), raw, "the nonce of this login")
			if got != c.want || (err == nil) != (c.want != "") || err != nil && sluice.CodeOf(err) != sluice.Denied {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, good()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good()).SignedString([]byte(m.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"unsigned": unsigned, "signed with a secret": shared, "garbage": "a.b.c", "nothing": ""} {
		if got, err := provider(t, m, oidc.Email).Name(t.Context(), raw, "the nonce of this login"); got != "" || sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	raw, err := mine.SignJWT(with("nonce", "")())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := provider(t, m, oidc.Email).Name(t.Context(), raw, ""); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a login without a nonce: %q %v", got, err)
	}
}

func TestAProviderThatIsNotThere(t *testing.T) {
	p := oidc.New(oidc.Config{Issuer: "http://127.0.0.1:1/oidc", ClientID: "x", Claim: oidc.Email, Clock: time.Now, HTTP: http.DefaultClient})
	if _, _, _, err := p.Start(t.Context()); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("Start: %v", err)
	}
	if _, err := p.Redeem(t.Context(), "c", "v", "http://127.0.0.1:2/", "n"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("Redeem: %v", err)
	}
}

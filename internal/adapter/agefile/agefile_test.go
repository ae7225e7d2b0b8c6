package agefile_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice"
	"sluice/internal/adapter/agefile"
)

const good = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"

// Whoever gives a recipient that is none is told which one it is, and what is wrong with it; no private key is shown.
func TestBadRecipients(t *testing.T) {
	for text, want := range map[string]string{
		"age1xx": "the recipient age1xx is none",
		good + "\n# mine\n\n" + strings.Replace(good, "z", "y", 1) + "\n": "age1yvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj is none",
		"age1pq1xx":              "the recipient age1pq1xx is none",
		"AGE-SECRET-KEY-1GEHEIM": "what opens it",
		"ssh-ed25519 GEHEIM ann": "ssh-ed25519 ...",
		"GEHEIM":                 "does not begin with age1",
		"# none":                 "no recipient",
	} {
		_, err := agefile.Lock{Recipients: []byte(text)}.Seal(io.Discard)
		var e *sluice.Error
		if !errors.As(err, &e) || e.Code != sluice.Usage || e.Hint == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if said := err.Error() + e.Hint; strings.Contains(said, "GEHEIM") || strings.Contains(said, "malformed") || strings.Contains(said, "line") {
			t.Errorf("%q: it says %s", text, said)
		}
	}
	if _, err := (agefile.Lock{Recipients: []byte("# mine\n" + good + "\n")}).Seal(io.Discard); err != nil {
		t.Error(err)
	}
}

// A sealed value opens with the key that it was sealed to, and with no other; errors do not show what is in it.
func TestUnlock(t *testing.T) {
	ids := [2]*age.X25519Identity{}
	for i := range ids {
		var err error
		if ids[i], err = age.GenerateX25519Identity(); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, ids[0].Recipient())
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, "canary")
	if err = errors.Join(err, w.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	key := func(i int) agefile.Key {
		return agefile.Key{Identities: sluice.NewSecret([]byte(ids[i].String()))}
	}
	if s, err := key(0).Unlock(b.String()); err != nil || string(s.Reveal()) != "canary" {
		t.Errorf("%v", err)
	}
	for name, c := range map[string]struct {
		key  agefile.Key
		text string
		want string
	}{
		"another key": {key(1), b.String(), "sealed to others"},
		"no key":      {agefile.Key{}, b.String(), "no identity"},
		"no armor":    {key(0), "canary", "not sealed this"},
		"cut off":     {key(0), b.String()[:len(b.String())/2], "damaged"},
	} {
		s, err := c.key.Unlock(c.text)
		if err == nil || s.Set() || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

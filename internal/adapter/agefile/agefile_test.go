package agefile_test

import (
	"errors"
	"io"
	"strings"
	"testing"

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

package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/app"
	"sluice/sealed"
)

func aWorker(t *testing.T, name string) sealed.Named {
	t.Helper()
	k, err := sealed.NewWorkerKey()
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Named{Name: name, Key: k.Public()}
}

// TestTrustedWorkers: a worker is met once, by its fingerprint; one whose key is another gets nothing, whatever anybody says.
func TestTrustedWorkers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sluice")
	var told []string
	asked, answer := 0, false
	trusted := &app.Trusted{Dir: dir, Server: "sluice.example.com:7657", Tell: func(text string) { told = append(told, text) },
		Confirm: func(string) (bool, error) { asked++; return answer, nil }}
	trust := func(ws ...sealed.Named) error {
		t.Helper()
		s, err := trusted.Sealer(app.Now)
		if err != nil {
			t.Fatal(err)
		}
		return s.Trust(t.Context(), ws)
	}
	denied := func(err error, says string) {
		t.Helper()
		if sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want denied with %q", err, says)
		}
	}
	one, two := aWorker(t, "w1"), aWorker(t, "w2")
	denied(trust(one), one.Key.Fingerprint())
	if len(told) != 1 || !strings.Contains(told[0], one.Key.Fingerprint()) {
		t.Errorf("told: %q", told)
	}
	answer = true
	for range 2 {
		if err := trust(one); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	other := aWorker(t, "w1")
	trusted.Fingerprints = []string{other.Key.Fingerprint()}
	denied(trust(other), "IS ANOTHER ONE")
	denied(trust(one, other), "IS ANOTHER ONE")
	trusted.Confirm = nil
	denied(trust(one, two), "not known here")
	trusted.Fingerprints = []string{two.Key.Fingerprint()}
	if err := trust(one, two); err != nil {
		t.Error(err)
	}
	trusted.Fingerprints = nil
	if err := trust(two); err != nil {
		t.Error(err)
	}
	trusted.Server = "other.example.com:7657"
	denied(trust(one), "not known here")
}

// TestSigningKey: it is made once, and not used where others may read it.
func TestSigningKey(t *testing.T) {
	trusted := &app.Trusted{Dir: filepath.Join(t.TempDir(), "sluice"), Server: "s"}
	first, err := trusted.Sealer(app.Now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := trusted.Sealer(app.Now)
	if err != nil || again.Signer.Public() != first.Signer.Public() {
		t.Errorf("another key, error %v", err)
	}
	file := filepath.Join(trusted.Dir, "signing.key")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := trusted.Sealer(app.Now); sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), "others may read") {
		t.Errorf("readable by others: %v", err)
	}
	if left, err := os.ReadDir(trusted.Dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, error %v", left, err)
	}
}

package headsdir

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sluice"
)

func TestKept(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "state", "heads"))
	key, err := d.Key()
	if err != nil || len(key) != keySize || bytes.Equal(key, make([]byte, keySize)) {
		t.Fatalf("key %x, error %v", key, err)
	}
	if again, err := d.Key(); err != nil || !bytes.Equal(again, key) {
		t.Errorf("then %x, error %v", again, err)
	}
	info, err := os.Stat(filepath.Join(string(d), keyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info, err)
	}
	a := []sluice.SeenHead{{Head: sluice.Head{Namespace: "prod", Seq: 3, Hash: sluice.ChainHash{1, 31: 2}}, Epoch: 1, Sign: "ab"}}
	b := []sluice.SeenHead{{Head: sluice.Head{Namespace: "lab", Seq: 1}}}
	if err := d.SetSeen("https://a:1/../b", a); err != nil {
		t.Fatal(err)
	}
	if err := d.SetSeen("https://a:1", b); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string][]sluice.SeenHead{"https://a:1/../b": a, "https://a:1": b, "https://c": nil} {
		if got, err := d.Seen(server); err != nil || len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("of %s %v, error %v", server, got, err)
		}
	}
	term := sluice.SeenTerm{Epoch: 1, Term: 1 << 40}
	if err := d.SetTerm("https://a:1", term); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]sluice.SeenTerm{"https://a:1": term, "https://c": {}} {
		if got, err := d.Term(server); err != nil || got != want {
			t.Errorf("the term of %s is %v, error %v", server, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(string(d), termOf("https://a:1")), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Term("https://a:1"); err == nil {
		t.Error("half a term is taken for none")
	}
	for _, heads := range [][]sluice.SeenHead{a, nil, nil} {
		if err := d.SetAlarm(heads); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Alarm(); err != nil || len(got) != len(heads) {
			t.Errorf("alarm %v, error %v", got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(string(d), keyName), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Key(); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a short key: %v", err)
	}
}

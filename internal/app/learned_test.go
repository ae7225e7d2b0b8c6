package app_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
)

// TestAllServersLearnAKey: the key of a host that one server is told to know is known to all that reach hosts, also to one that joins later;
// what a person takes out stays out, and no key is put in the place of another.
func TestAllServersLearnAKey(t *testing.T) {
	homes := map[sluice.ServerName]string{"a": t.TempDir(), "b": t.TempDir(), "c": t.TempDir()}
	file := func(name sluice.ServerName) string { return filepath.Join(homes[name], ".ssh", "known_hosts") }
	text := func(name sluice.ServerName) string {
		b, err := os.ReadFile(file(name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	write := func(name sluice.ServerName, s string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(name), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); {
			if time.Now().After(end) {
				t.Fatalf("%s: a %q, b %q, c %q", what, text("a"), text("b"), text("c"))
			}
			select {
			case <-t.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	c := newCrowdOn(t, func(s *app.Server) { s.Home = homes[s.Cluster.Name] }, "a", "b")
	a := c.servers["a"]
	a.apply("tag: {web: [web1, web2]}\nhost:\n  web1: {address: 127.0.0.9, port: 2201}\n  web2: {address: 127.0.0.9, port: 2202}\n")
	one, other, two := hostKey(t), hostKey(t), hostKey(t)
	line := func(port int, k ssh.PublicKey) string {
		return fmt.Sprintf("[127.0.0.9]:%d %s", port, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))))
	}
	write("b", line(2202, other)+"\n")
	add := func(h sluice.Host, k ssh.PublicKey) {
		t.Helper()
		got, err := c.servers["b"].client.AddHostKeys(t.Context(), api.AddHostKeys{Keys: []api.PublicKey{{Host: h, Type: k.Type(), Key: k.Marshal()}}})
		if err != nil || got[0].State != "added" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	has := func(name sluice.ServerName, k ssh.PublicKey) bool { // the name may be hashed
		return strings.Contains(text(name), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))))
	}
	done := func() (at struct{ Seq uint64 }) { // up to where the first one knows all keys
		b, err := os.ReadFile(filepath.Join(a.data, "hostkeys.json"))
		if err == nil {
			err = json.Unmarshal(b, &at)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return at
	}
	add("web1", one)
	until("the first one has dealt with one key", func() bool { return done().Seq > 0 })
	first := done().Seq
	add("web2", two)
	until("the first one has dealt with both", func() bool { return done().Seq > first })
	until("both are known to the first, and one to the second", func() bool { return has("a", one) && has("a", two) && has("b", one) })
	if has("b", two) || !has("b", other) {
		t.Errorf("beside another key: %q", text("b"))
	}
	write("b", line(2201, one)+"\n")
	until("the other one was taken out", func() bool { return has("b", two) })

	write("a", "")
	c.at["c"] = twoPorts(t)
	c.join("c")
	until("one that joins", func() bool { return has("c", one) && has("c", two) })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.start()
	c.until("a", "copy", "owner")
	if text("a") != "" {
		t.Errorf("what was taken out is back: %q", text("a"))
	}
}

func hostKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

package app_test

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/lab/testfleet"
)

// knows is the known_hosts of a fleet's home.
func knows(t *testing.T, f *testfleet.Fleet) string {
	t.Helper()
	b, err := os.ReadFile(f.KnownHosts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// at is a server whose own worker is at home in a fleet.
func at(t *testing.T, f *testfleet.Fleet) *served {
	return &served{t: t, data: filepath.Join(t.TempDir(), "data"), workersListen: "127.0.0.1:0", set: func(s *app.Server) {
		env := map[string]string{}
		for _, v := range f.Env() {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
		s.Home, s.Env = f.Home, func(name string) string { return env[name] }
	}}
}

// TestHostKeysOfAServer: whoever may run the server has it learn the keys of hosts, as its jobs will meet them. What is
// known is not replaced; what is revoked, weak or somebody else's is refused; what was learned is in the audit.
func TestHostKeysOfAServer(t *testing.T) {
	f := testfleet.StartPlain(t, 2)
	if err := os.Remove(f.KnownHosts); err != nil {
		t.Fatal(err)
	}
	s := at(t, f)
	s.start()
	// Where they are is in the fleet alone.
	s.apply(fmt.Sprintf("tag: {web: [web1, web2, far]}\nhost:\n  web1: {address: %s, port: %d}\n  web2: {address: %s, port: %d}\n  far: {pool: dmz}\n",
		f.Hosts[0].IP, f.Hosts[0].Port, f.Hosts[1].IP, f.Hosts[1].Port))
	id := s.submit("web1", "true")
	if b, ok := s.end(id).Body.(sluice.JobFinished); !ok || b.Counts[sluice.Unreachable] != 1 {
		t.Errorf("before its key is known it ended with %+v", b)
	}
	if story := s.story(id); !strings.Contains(story, "sluice host enrol web1; or on the server's machine") {
		t.Errorf("nobody is told what to type: %s", story)
	}

	// Without the right to it.
	s.must(s.client.AddPrincipal(t.Context(), "eve", false))
	s.must(s.client.Grant(t.Context(), sluice.Grant{Principal: "eve", Role: "operator"}))
	made, err := s.client.MakeToken(t.Context(), api.TokenWish{Principal: "eve"})
	s.must(err)
	eve, err := client.New("http://"+s.address, made.Secret, nil)
	s.must(err)
	defer eve.Close()
	ask := api.AskHostKeys{Hosts: []sluice.Host{"web1", "far"}}
	key := func(h sluice.Host, k ssh.PublicKey) api.AddHostKeys {
		return api.AddHostKeys{Keys: []api.PublicKey{{Host: h, Type: k.Type(), Key: k.Marshal()}}}
	}
	_, err = eve.AskHostKeys(t.Context(), ask)
	if sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("eve asks: %v", err)
	}
	_, err = eve.AddHostKeys(t.Context(), key("web1", f.Hosts[0].Key()))
	if sluice.CodeOf(err) != sluice.Denied || knows(t, f) != "" {
		t.Errorf("eve adds: %v; known is %q", err, knows(t, f))
	}

	s.worker("w1", "dmz")
	asked, err := s.client.AskHostKeys(t.Context(), ask)
	s.must(err)
	right := f.Hosts[0].Key()
	where := fmt.Sprintf("[%s]:%d", f.Hosts[0].IP, f.Hosts[0].Port)
	if a := asked[0]; a.State != "new" || a.Fingerprint != ssh.FingerprintSHA256(right) || string(a.Key) != string(right.Marshal()) || a.Address != where {
		t.Errorf("%+v", a)
	}
	if e := asked[1].Error; !strings.Contains(e, "dmz (w1)") || !strings.Contains(e, "sluice host enrol --server local far") {
		t.Errorf("a host that another worker reaches: %+v", asked[1])
	}
	if knows(t, f) != "" {
		t.Errorf("asking makes known %q", knows(t, f))
	}
	add := func(k api.AddHostKeys) api.HostKey {
		t.Helper()
		added, err := s.client.AddHostKeys(t.Context(), k)
		s.must(err)
		return added[0]
	}
	if a := add(key("web1", right)); a.State != "added" || a.Address != where || strings.Count(knows(t, f), "\n") != 1 {
		t.Errorf("%+v; known is %q", a, knows(t, f))
	}
	s.succeeded(s.submit("web1", "true"), 1)

	// Nothing of this makes another key known.
	other := f.Hosts[1].Key()
	before := knows(t, f) + "@revoked * " + string(ssh.MarshalAuthorizedKey(other))
	s.must(os.WriteFile(f.KnownHosts, []byte(before), 0o600))
	weak, err := ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	s.must(err)
	lies := key("web2", right)
	lies.Keys[0].Type = "ssh-rsa"
	for says, k := range map[string]api.AddHostKeys{"HAS CHANGED": key("web1", f.Signer.PublicKey()), "revoked": key("web2", other), "1024 bits": key("web2", weak),
		"was said to be": lies, "no key of a host": {Keys: []api.PublicKey{{Host: "web2", Type: "ssh-rsa", Key: []byte("x")}}},
		"--server local far": key("far", right)} {
		if a := add(k); a.State != "" || !strings.Contains(a.Error, says) {
			t.Errorf("%s: %+v", says, a)
		}
	}
	if a := add(key("web1", right)); a.State != "known" {
		t.Errorf("once more: %+v", a)
	}
	if knows(t, f) != before {
		t.Errorf("known is %q, was %q", knows(t, f), before)
	}

	var log strings.Builder
	s.must(s.client.Records(t.Context(), func(r sluice.Record) error { log.Write(r.Payload); return nil }))
	if what := "learned the key of "; strings.Count(log.String(), what) != 1 || !strings.Contains(log.String(), what+"web1: ssh-ed25519 "+ssh.FingerprintSHA256(right)) {
		t.Errorf("the audit has %d of them", strings.Count(log.String(), what))
	}
}

// TestHostKeysWithoutAWorker: a server that reaches no host itself trusts none.
func TestHostKeysWithoutAWorker(t *testing.T) {
	f := testfleet.StartPlain(t, 1)
	s := at(t, f)
	s.noWorker = true
	s.start()
	before := knows(t, f)
	got, err := s.client.AskHostKeys(t.Context(), api.AskHostKeys{Hosts: []sluice.Host{"host1"}})
	s.must(err)
	if !strings.Contains(got[0].Error, "pool default (there is none yet)") {
		t.Errorf("%+v", got)
	}
	k := f.Signer.PublicKey()
	got, err = s.client.AddHostKeys(t.Context(), api.AddHostKeys{Keys: []api.PublicKey{{Host: "away", Type: k.Type(), Key: k.Marshal()}}})
	s.must(err)
	if got[0].Error == "" || knows(t, f) != before {
		t.Errorf("%+v; known is %q", got, knows(t, f))
	}
}

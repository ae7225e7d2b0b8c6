package sshexec

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
)

func resolved(t *testing.T, tr *Transport, host sluice.Host, s sluice.SSH) *destination {
	t.Helper()
	d, err := tr.destination(host, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The fleet wins over ssh_config, which wins over the defaults.
func TestPrecedence(t *testing.T) {
	h := newHome(t)
	h.env["USER"] = "ann"
	h.env["SSH_AUTH_SOCK"] = "/run/agent"
	h.env["KEYS"] = "/keys"
	tr := h.transport(t)
	d := resolved(t, tr, "web1", sluice.SSH{})
	if d.String() != "ann@web1:22" || d.named || d.identities[0] != h.path(".ssh/id_ed25519") || d.agent != "/run/agent" ||
		d.keepAlive != DefaultKeepAlive || d.connectTimeout != DefaultConnectTimeout || d.network != "tcp" ||
		!slices.Equal(d.methods, []string{publicKey, password, keyboardInteractive}) {
		t.Errorf("defaults: %+v", d)
	}
	h.write(t, ".ssh/config", strings.Join([]string{
		"Host web1", " HostName %h.Example.com", " User bob", " Port 2222", " IdentityFile ~/k1", " IdentityFile ${KEYS}/%r-%n-%h-%p",
		" IdentityAgent none", " ConnectTimeout 3", " ServerAliveInterval 4", " ServerAliveCountMax 5", " AddressFamily inet6",
		" PreferredAuthentications keyboard-interactive,hostbased,publickey", " PasswordAuthentication no", " UserKnownHostsFile ~/kh1 %d/kh2",
		" GlobalKnownHostsFile none", " HostKeyAlias al",
	}, "\n"))
	d = resolved(t, tr, "web1", sluice.SSH{}) // without a new transport: the change is noticed
	if d.String() != "bob@web1.example.com:2222" || !slices.Equal(d.identities, []string{h.path("k1"), "/keys/bob-web1-web1.example.com-2222"}) ||
		!d.named || d.agent != "" || d.connectTimeout != 3*time.Second || d.keepAlive != 4*time.Second || d.misses != 5 || d.network != "tcp6" ||
		!slices.Equal(d.methods, []string{keyboardInteractive, publicKey}) || !slices.Equal(d.knownHosts, []string{h.path("kh1"), h.path("kh2")}) || d.alias != "al" {
		t.Errorf("ssh_config: %+v", d)
	}
	d = resolved(t, tr, "web1", sluice.SSH{User: "carol", Port: 99, Address: "10.0.0.1", Identity: []string{"~/k3"}, Jump: []string{"j1", "x@j2:7"}})
	if d.user != "carol" || d.address != "10.0.0.1" || d.port != 99 || !slices.Equal(d.identities, []string{h.path("k3")}) ||
		d.via.String() != "x@j2:7 via ann@j1:22" {
		t.Errorf("fleet: %+v", d)
	}
	if _, err := tr.destination("web1", sluice.SSH{Transport: "local"}); err == nil {
		t.Error("a local host is reached by ssh")
	}
}

func TestIncludedFilesAreWatched(t *testing.T) {
	h := newHome(t)
	h.write(t, ".ssh/config", "Include conf.d/*\nInclude one\n")
	tr := h.transport(t)
	if d := resolved(t, tr, "a", sluice.SSH{}); d.port != 22 {
		t.Errorf("port %d", d.port)
	}
	if err := os.Mkdir(h.path(".ssh/conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write(t, ".ssh/conf.d/x", "Port 23\n")
	if d := resolved(t, tr, "a", sluice.SSH{}); d.port != 23 {
		t.Errorf("port %d: a new file in a directory was not seen", d.port)
	}
	h.write(t, ".ssh/one", "User one\n")
	if d := resolved(t, tr, "a", sluice.SSH{}); d.user != "one" {
		t.Errorf("user %s: a new file was not seen", d.user)
	}
}

func TestConfigurationErrors(t *testing.T) {
	h := newHome(t)
	tr := h.transport(t)
	for _, c := range []struct{ config, text string }{
		{"Host web1\n ProxyCommand nc %h %p\n", "config:2:2: ProxyCommand is not supported: it runs text from a config; use ProxyJump"},
		{"Match exec \"true\"\n User x\n", "config:1:1: Match exec is not supported"},
		{"Port x\n", "config:1:1: port"},
		{"AddressFamily ipx\n", "AddressFamily"},
		{"IdentityFile %C\n", "the token %C"},
		{"IdentityFile ${NOTHING}/x\n", "NOTHING is not set"},
		{"KexAlgorithms diffie-hellman-group1-sha1\n", "leaves none that is trusted"},
	} {
		h.write(t, ".ssh/config", c.config)
		wantFailure(t, failure(t, tr, "web1", sluice.SSH{}), sluice.NoRoute, c.text)
	}
	h.write(t, ".ssh/config", "Host other\n ProxyCommand nc %h %p\nHost web1\n ProxyCommand none\nHost *\n ProxyCommand nc\n") // of which none means web1
	if d := resolved(t, tr, "web1", sluice.SSH{User: "x"}); d.via != nil {
		t.Errorf("got %+v", d)
	}
	delete(h.env, "USER")
	h.write(t, ".ssh/config", "")
	if d, err := tr.destination("x", sluice.SSH{}); os.Getuid() == 0 && (err != nil || d.user != "root") || os.Getuid() != 0 && err == nil {
		t.Errorf("without USER: %v, %v", d, err)
	}
	if _, err := New(Config{Home: "relative"}); err == nil {
		t.Error("a relative home is taken")
	}
}

// Whatever makes a connection another one is in its key.
func TestKeysOfDestinations(t *testing.T) {
	h := newHome(t)
	tr := h.transport(t)
	base := sluice.SSH{User: "u", Port: 1, Address: "a", Identity: []string{"/i"}, Jump: []string{"j"}}
	seen := map[string]int{resolved(t, tr, "h", base).key: -1}
	for i, change := range []func(*sluice.SSH){
		func(s *sluice.SSH) { s.User = "v" },
		func(s *sluice.SSH) { s.Port = 2 },
		func(s *sluice.SSH) { s.Address = "b" },
		func(s *sluice.SSH) { s.Identity = []string{"/k"} },
		func(s *sluice.SSH) { s.Identity = []string{"/i", "/k"} },
		func(s *sluice.SSH) { s.Jump = []string{"k"} },
		func(s *sluice.SSH) { s.Jump = nil },
		func(s *sluice.SSH) { s.Jump = []string{"j:2"} },
		func(s *sluice.SSH) { s.Jump = []string{"j", "k"} },
		func(s *sluice.SSH) { s.Jump = []string{"k", "j"} },
	} {
		s := base
		change(&s)
		key := resolved(t, tr, "h", s).key
		if other, ok := seen[key]; ok {
			t.Errorf("%d has the key of %d", i, other)
		}
		seen[key] = i
	}
	if resolved(t, tr, "another name", base).key != resolved(t, tr, "h", base).key {
		t.Error("two names of one host do not share its connection")
	}
}

func TestNarrow(t *testing.T) {
	allowed := []string{"a-1", "a-2", "b-1"}
	for spec, want := range map[string]string{
		"": "a-1 a-2 b-1", "+x": "a-1 a-2 b-1", "b-1,x,a-1": "b-1 a-1", "-a-*": "b-1", "^b-*": "b-1 a-1 a-2", "x": "", "-*": "", "a-?": "a-1 a-2",
	} {
		if got := strings.Join(narrow(spec, allowed), " "); got != want {
			t.Errorf("%q: %s, want %s", spec, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "two words": `"two words"`, "\x1b[2J": `"\x1b[2J"`, strings.Repeat("x", 300): strings.Repeat("x", 200) + "...",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if n := strings.Count(quoteAll(slices.Repeat([]string{"x"}, 100)), "x"); n > 10 {
		t.Errorf("%d of a host's words are shown", n)
	}
}

package sshexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

func TestHostKeys(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	good := h.read(t, ".ssh/known_hosts")
	keygen(t, h.path("other"))
	other := h.read(t, "other.pub")
	host := func(known string) string { return s.name() + " " + known }
	for _, c := range []struct {
		name  string
		known string
		fails bool
		text  []string
	}{
		{"known", good, false, nil},
		{"hashed", hostkeys.Line(s.name(), parseKey(t, s.hostPu), true) + "\n", false, nil},
		{"wildcard", "[127.0.0.*]:* " + s.hostPu, false, nil},
		{"without the port", "127.0.0.1 " + s.hostPu, false, nil},
		{"both keys", host(other) + good, false, nil},
		{"unknown", "", true, []string{"no host key is known", "sluice host enrol web1"}},
		{"negated", "!*127.0.0.1*,* " + s.hostPu, true, []string{"no host key is known"}},
		{"changed", host(other), true, []string{"HAS CHANGED", fingerprint(t, other), fingerprint(t, s.hostPu), "known_hosts:1"}},
		{"revoked", good + "@revoked * " + s.hostPu, true, []string{"revoked", "known_hosts:2"}},
		{"unreadable revocation", good + "@revoked * ssh-ed25519 AAAA!\n", true, []string{"known_hosts:2", "may revoke"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.write(t, ".ssh/known_hosts", c.known)
			tr := h.transport(t)
			if !c.fails {
				_ = connect(t, tr, "web1", s.ssh()).Close()
				return
			}
			wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, c.text...)
		})
	}
}

// Whoever sits elsewhere is told on which machine the key is missing, and what to type there.
func TestWhereToEnrol(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	h.write(t, ".ssh/known_hosts", "")
	for machine, want := range map[string]string{"": "its key with: sluice host enrol web1",
		"the server's machine": "its key on the server's machine, as the user that Sluice runs as there, with: sluice host enrol --server local web1"} {
		tr := h.transport(t, func(c *Config) { c.Machine = machine })
		wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, want)
	}
	tr := h.transport(t, func(c *Config) { c.Machine, c.Learns = "the server's machine", true })
	wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad,
		"its key with: sluice host enrol web1; or on the server's machine, as the user that Sluice runs as there, with --server local")
}

// A key is made known beside no other one, and never one that is not trusted, whoever says that it is right.
func TestKeysThatAreNotMadeKnown(t *testing.T) {
	h := newHome(t)
	keygen(t, h.path("one"))
	keygen(t, h.path("two"))
	keygen(t, h.path("weak"), "-t", "rsa", "-b", "1024")
	one, two := parseKey(t, h.read(t, "one.pub")), parseKey(t, h.read(t, "two.pub"))
	for name, c := range map[string]struct {
		known string
		key   ssh.PublicKey
		says  string
	}{
		"changed": {"web1 " + h.read(t, "one.pub"), two, "HAS CHANGED"},
		"revoked": {"@revoked * " + h.read(t, "two.pub"), two, "revoked"},
		"weak":    {"", parseKey(t, h.read(t, "weak.pub")), "1024 bits"},
	} {
		h.write(t, ".ssh/known_hosts", c.known)
		tr := h.transport(t)
		if _, _, err := tr.Knows("web1", sluice.SSH{}, c.key); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: looked up with %v", name, err)
		}
		if err := tr.AppendKnownHost(t.Context(), "web1", sluice.SSH{}, c.key, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: added with %v", name, err)
		}
		if is := h.read(t, ".ssh/known_hosts"); is != c.known {
			t.Errorf("%s: known is %q", name, is)
		}
	}
	if key, err := ParseHostKey(one.Type(), one.Marshal()); err != nil || ssh.FingerprintSHA256(key) != ssh.FingerprintSHA256(one) {
		t.Errorf("%v, error %v", key, err)
	}
	keygen(t, h.path("ca"))
	run(t, "ssh-keygen", "-q", "-s", h.path("ca"), "-h", "-I", "id", "-n", "web1", h.path("one.pub"))
	signed := parseKey(t, h.read(t, "one-cert.pub"))
	if _, err := ParseHostKey(signed.Type(), signed.Marshal()); err == nil {
		t.Error("a certificate is a key")
	}
}

// There is no way to turn the check off.
func TestStrictHostKeyCheckingIsAlwaysOn(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	h.write(t, ".ssh/known_hosts", "")
	h.write(t, ".ssh/config", "Host *\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n CheckHostIP no\n")
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.HostKeyBad)
	h.write(t, ".ssh/config", "Host *\n StrictHostKeyChecking accept-new\n")
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.HostKeyBad)
	if s.connections() > 0 {
		t.Error("an unknown host was connected to")
	}
}

// A host that also has a key of another type than the known one must be asked for the known one.
func TestKnownTypeIsAskedFor(t *testing.T) {
	h := newHome(t)
	dir := t.TempDir()
	keygen(t, filepath.Join(dir, "rsa"), "-t", "rsa", "-b", "2048")
	keygen(t, filepath.Join(dir, "ecdsa"), "-t", "ecdsa")
	s := startSSHD(t, h, "HostKey "+filepath.Join(dir, "rsa"), "HostKey "+filepath.Join(dir, "ecdsa"))
	for _, kind := range []string{"rsa", "ecdsa"} {
		h.write(t, ".ssh/known_hosts", s.name()+" "+readText(t, filepath.Join(dir, kind+".pub")))
		_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
	}
	only := startSSHD(t, h)
	h.write(t, ".ssh/known_hosts", only.name()+" "+readText(t, filepath.Join(dir, "rsa.pub")))
	wantFailure(t, failure(t, h.transport(t), "web1", only.ssh()), sluice.HostKeyBad, "HAS CHANGED", fingerprint(t, only.hostPu))
}

func TestHostCertificates(t *testing.T) {
	h := newHome(t)
	dir := t.TempDir()
	keygen(t, filepath.Join(dir, "ca"))
	keygen(t, filepath.Join(dir, "key"))
	run(t, "ssh-keygen", "-q", "-s", filepath.Join(dir, "ca"), "-h", "-I", "id", "-n", "127.0.0.1,alias.test", filepath.Join(dir, "key.pub"))
	s := startSSHD(t, h, "HostKey "+filepath.Join(dir, "key"), "HostCertificate "+filepath.Join(dir, "key-cert.pub"))
	ca, key := readText(t, filepath.Join(dir, "ca.pub")), readText(t, filepath.Join(dir, "key.pub"))
	for _, c := range []struct {
		name, known, config string
		text                string
	}{
		{"authority", "@cert-authority 127.* " + ca, "", ""},
		{"authority with port", "@cert-authority " + s.name() + " " + ca, "", ""},
		{"alias", "@cert-authority *.test " + ca, "HostKeyAlias alias.test\n", ""},
		{"plain key of a host with a certificate", s.name() + " " + key, "", ""},
		{"not for this name", "@cert-authority *.test " + ca, "HostKeyAlias other.test\n", "principal"},
		{"authority of others", "@cert-authority *.test " + ca, "", "no host key is known"},
		{"authority as plain key", s.name() + " " + ca, "", "HAS CHANGED"},
		{"revoked authority", "@cert-authority * " + ca + "@revoked * " + ca, "", "revoked"},
		{"revoked key", "@cert-authority * " + ca + "@revoked * " + key, "", "revoked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.write(t, ".ssh/known_hosts", c.known)
			h.write(t, ".ssh/config", c.config)
			tr := h.transport(t)
			if c.text == "" {
				_ = connect(t, tr, "web1", s.ssh()).Close()
				return
			}
			wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, c.text)
		})
	}
}

func TestHostKeyAliasAndFiles(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	h.write(t, ".ssh/known_hosts", "")
	h.write(t, "theirs", "one-name "+s.hostPu)
	h.write(t, ".ssh/config", "Host web*\n HostKeyAlias One-Name\n UserKnownHostsFile ~/none %d/theirs\n")
	tr := h.transport(t)
	_ = connect(t, tr, "web1", s.ssh()).Close()
	wantFailure(t, failure(t, tr, "db1", s.ssh()), sluice.HostKeyBad, "no host key is known for "+s.name())
	override := h.transport(t, func(c *Config) { c.KnownHosts = []string{h.path("nothing")} })
	wantFailure(t, failure(t, override, "web1", s.ssh()), sluice.HostKeyBad)
}

func TestRevokedHostKeys(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	h.write(t, ".ssh/config", "RevokedHostKeys ~/revoked\n")
	tr := h.transport(t)
	wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, "cannot be used")
	h.write(t, "revoked", "# none yet\n")
	_ = connect(t, tr, "web1", s.ssh()).Close()
	h.write(t, "revoked", s.hostPu)
	wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, "revoked:1")
	run(t, "ssh-keygen", "-q", "-k", "-f", h.path("revoked"), filepath.Join(s.dir, "host_key.pub"))
	wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad, "binary key revocation lists")
}

func TestEnrol(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	for _, hash := range []string{"no", "yes"} {
		h.write(t, ".ssh/known_hosts", "# no newline at the end")
		h.write(t, ".ssh/config", "HashKnownHosts "+hash+"\n")
		tr := h.transport(t)
		key, print, err := tr.Enrol(t.Context(), "web1", s.ssh())
		if err != nil || print != fingerprint(t, s.hostPu) {
			t.Fatalf("%s, %v", print, err)
		}
		wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.HostKeyBad)
		for range 2 {
			if err := tr.AppendKnownHost(t.Context(), "web1", s.ssh(), key, nil); err != nil {
				t.Fatal(err)
			}
		}
		text := h.read(t, ".ssh/known_hosts")
		if strings.Count(text, "ssh-ed25519") != 1 || strings.Contains(text, s.name()) == (hash == "yes") {
			t.Errorf("known_hosts is %q", text)
		}
		_ = connect(t, tr, "web1", s.ssh()).Close()
		if _, _, err := tr.Enrol(t.Context(), "web1", s.ssh()); err != nil {
			t.Errorf("known already: %v", err)
		}
	}
	if strings.Contains(s.text(), "preauth") && strings.Contains(s.text(), "Failed publickey") {
		t.Error("enrolling logs in")
	}
	keygen(t, h.path("other"))
	h.write(t, ".ssh/known_hosts", s.name()+" "+h.read(t, "other.pub"))
	key, _, err := h.transport(t).Enrol(t.Context(), "web1", s.ssh())
	if err == nil || !strings.Contains(err.Error(), "HAS CHANGED") || key == nil {
		t.Errorf("changed: %v, %v", key, err)
	}
}

func TestKnownHostsHaveNoLostEntries(t *testing.T) {
	h := newHome(t)
	if err := os.RemoveAll(h.path(".ssh")); err != nil {
		t.Fatal(err)
	}
	keygen(t, h.path("key"))
	key := parseKey(t, h.read(t, "key.pub"))
	var wg sync.WaitGroup
	for writer := range 8 {
		tr := h.transport(t)
		wg.Go(func() {
			for i := range 10 {
				if err := tr.AppendKnownHost(t.Context(), sluice.Host(fmt.Sprintf("h%d-%d", writer, i)), sluice.SSH{}, key, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	db, err := hostkeys.Parse("known_hosts", []byte(h.read(t, ".ssh/known_hosts")))
	if err != nil {
		t.Fatal(err)
	}
	for writer := range 8 {
		for i := range 10 {
			if name := fmt.Sprintf("h%d-%d", writer, i); len(db.Lookup(name)) != 1 {
				t.Errorf("%s is lost", name)
			}
		}
	}
	for path, mode := range map[string]os.FileMode{".ssh": 0o700, ".ssh/known_hosts": 0o600} {
		if info, err := os.Stat(h.path(path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// TestAppendedOrNot: a key whose addition fails in what comes after the file is not in the file.
func TestAppendedOrNot(t *testing.T) {
	h := newHome(t)
	keygen(t, h.path("key"))
	key := parseKey(t, h.read(t, "key.pub"))
	tr := h.transport(t)
	const before = "# no newline at the end"
	h.write(t, ".ssh/known_hosts", before)
	add := func(then func() error) error { return tr.AppendKnownHost(t.Context(), "web1", sluice.SSH{}, key, then) }
	full := errors.New("the log is full")
	fails := func() error {
		if text := h.read(t, ".ssh/known_hosts"); !strings.Contains(text, "ssh-ed25519") {
			t.Errorf("it is not known first: %q", text)
		}
		return full
	}
	if err := add(fails); !errors.Is(err, full) {
		t.Error(err)
	}
	if text := h.read(t, ".ssh/known_hosts"); text != before {
		t.Errorf("it stays in %q", text)
	}
	if err := add(func() error { return nil }); err != nil {
		t.Error(err)
	}
	known := h.read(t, ".ssh/known_hosts")
	if err := add(fails); !errors.Is(err, full) || h.read(t, ".ssh/known_hosts") != known {
		t.Errorf("what was known before is taken out: %v, %q", err, h.read(t, ".ssh/known_hosts"))
	}
	h.write(t, ".ssh/known_hosts", before)
	const more = "other line\n"
	err := add(func() error {
		h.write(t, ".ssh/known_hosts", h.read(t, ".ssh/known_hosts")+more)
		return full
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "was changed meanwhile") || !strings.HasSuffix(h.read(t, ".ssh/known_hosts"), more) {
		t.Errorf("what somebody else appended: %v, %q", err, h.read(t, ".ssh/known_hosts"))
	}
}

func parseKey(t testing.TB, text string) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func fingerprint(t testing.TB, text string) string { return ssh.FingerprintSHA256(parseKey(t, text)) }

package sshexec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice"
)

// creds is what a person typed, and what was told about it.
type creds struct {
	password, passphrase string // "" if nobody gave one
	key                  string // that came with the job

	mu          sync.Mutex
	logins      int
	accepted    []bool
	passphrases int
	hosts       []sluice.Host
	turn        chan struct{} // if not nil, Login waits for it
	waiting     chan struct{} // and says here that it does
}

func (c *creds) Login(ctx context.Context, h sluice.Host) (sluice.Secret, func(bool), error) {
	if c.turn != nil {
		c.waiting <- struct{}{}
		select {
		case <-c.turn:
		case <-ctx.Done():
			return sluice.Secret{}, nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins++
	c.hosts = append(c.hosts, h)
	if c.password == "" {
		return sluice.Secret{}, nil, sluice.ErrNoSecret
	}
	return sluice.NewSecret([]byte(c.password)), func(ok bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.accepted = append(c.accepted, ok)
	}, nil
}

func (c *creds) Sudo(context.Context, sluice.Host) (sluice.Secret, func(bool), error) {
	panic("a transport has no use for the sudo password")
}

func (c *creds) Passphrase() (sluice.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passphrases++
	if c.passphrase == "" {
		return sluice.Secret{}, sluice.ErrNoSecret
	}
	return sluice.NewSecret([]byte(c.passphrase)), nil
}

func (c *creds) PrivateKey() (sluice.Secret, error) {
	if c.key == "" {
		return sluice.Secret{}, sluice.ErrNoSecret
	}
	return sluice.NewSecret([]byte(c.key)), nil
}

func (c *creds) Values() []sluice.Secret { return nil }

func with(c *creds) func(*Config) { return func(cfg *Config) { cfg.Credentials = c } }

// The key is opened once for all hosts, and only because a host wants it.
func TestEncryptedKey(t *testing.T) {
	for _, kind := range []string{"openssh", "pem"} {
		t.Run(kind, func(t *testing.T) {
			h := newHome(t)
			s := startSSHD(t, h)
			key := h.path(".ssh/id_ed25519")
			if kind == "pem" {
				key = h.path(".ssh/id_rsa")
				keygen(t, key, "-t", "rsa", "-m", "PEM")
				writeText(t, filepath.Join(s.dir, "authorized_keys"), readText(t, key+".pub"))
				if err := os.Remove(key + ".pub"); err != nil { // so only the passphrase tells what it is
					t.Fatal(err)
				}
				run(t, "ssh-keygen", "-q", "-p", "-m", "PEM", "-f", key, "-P", "", "-N", "open sesame")
			} else {
				run(t, "ssh-keygen", "-q", "-p", "-a", "4", "-f", key, "-P", "", "-N", "open sesame")
			}
			c := &creds{passphrase: "open sesame"}
			tr := h.transport(t, with(c))
			var wg sync.WaitGroup
			for i := range 10 {
				other := s.ssh()
				other.Identity = []string{key, fmt.Sprintf("%s-not-there-%d", key, i)} // each its own connection
				wg.Go(func() {
					_ = connect(t, tr, "web1", other).Close()
				})
			}
			wg.Wait()
			if c.passphrases != 1 || tr.Stats().Dials != 10 {
				t.Errorf("asked %d times, %+v", c.passphrases, tr.Stats())
			}
			wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.NeedSecret, key+" is encrypted")
			wrong := &creds{passphrase: "wrong"}
			tr = h.transport(t, with(wrong))
			for range 2 {
				wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.AuthRefused, "the passphrase does not open it")
			}
			if wrong.passphrases != 1 {
				t.Errorf("a wrong passphrase was tried %d times", wrong.passphrases)
			}
		})
	}
}

func TestPassphraseOnlyIfNeeded(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	keygen(t, h.path(".ssh/id_ecdsa"), "-t", "ecdsa", "-N", "secret")
	plain := h.transport(t, with(&creds{}))
	_ = connect(t, plain, "web1", s.ssh()).Close()
	c := &creds{passphrase: "secret"}
	tr := h.transport(t, with(c))
	other := s.ssh()
	other.Identity = []string{h.path(".ssh/id_ecdsa"), h.path(".ssh/id_ed25519")} // the host does not want the first
	_ = connect(t, tr, "web1", other).Close()
	if c.passphrases != 0 {
		t.Error("the passphrase was asked for a key that the host does not take")
	}
}

// TestKeyOfTheJob: a key that came with the job logs in without any file, and is opened by its passphrase where it must.
func TestKeyOfTheJob(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	file := h.path(".ssh/id_ed25519")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keygen(t, h.path("other"))
	other, err := os.ReadFile(h.path("other"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_ = connect(t, h.transport(t, with(&creds{key: string(text)})), "web1", s.ssh()).Close()
	wantFailure(t, failure(t, h.transport(t, with(&creds{key: string(other)})), "web1", s.ssh()), sluice.AuthRefused, "shown were "+jobKey)
	wantFailure(t, failure(t, h.transport(t, with(&creds{key: "nonsense"})), "web1", s.ssh()), sluice.AuthRefused, "not used: "+jobKey)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "ssh-keygen", "-q", "-p", "-N", "secret", "-f", file)
	if text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, failure(t, h.transport(t, with(&creds{key: string(text)})), "web1", s.ssh()), sluice.NeedSecret, jobKey+" is encrypted")
	c := &creds{key: string(text), passphrase: "secret"}
	tr := h.transport(t, with(c))
	for range 3 {
		_ = connect(t, tr, "web1", s.ssh()).Close()
	}
	if c.passphrases > 1 {
		t.Errorf("it was opened %d times", c.passphrases)
	}
}

func TestUserCertificate(t *testing.T) {
	h := newHome(t)
	ca := h.path("ca")
	keygen(t, ca)
	s := startSSHD(t, h, "TrustedUserCAKeys "+ca+".pub", "AuthorizedKeysFile none")
	key := h.path(".ssh/id_ed25519")
	sign := func(validity string) {
		run(t, "ssh-keygen", "-q", "-s", ca, "-I", "me", "-n", me(t), "-V", validity, key+".pub")
	}
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "shown were "+key)
	sign("always:forever")
	_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
	if err := os.Rename(key+"-cert.pub", h.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	h.write(t, ".ssh/config", "CertificateFile ~/elsewhere\n")
	_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
	sign("20200101:20200102")
	h.write(t, ".ssh/config", "")
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "not valid now")
}

// startAgent starts a real ssh-agent with keys.
func startAgent(t *testing.T, h *home, keys ...string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 64)); err != nil { // it says so when it listens
		t.Fatal(err)
	}
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if b, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, b)
		}
	}
	h.env["SSH_AUTH_SOCK"] = socket
}

func TestAgent(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	var keys []string
	for i := range 8 {
		key := h.path(fmt.Sprintf("key%d", i))
		keygen(t, key)
		keys = append(keys, key)
	}
	right := h.path("right")
	rsa := h.path("rsa")
	keygen(t, rsa, "-t", "rsa", "-b", "2048")
	for _, suffix := range []string{"", ".pub"} {
		if err := os.Rename(h.path(".ssh/id_ed25519"+suffix), right+suffix); err != nil {
			t.Fatal(err)
		}
	}
	writeText(t, filepath.Join(s.dir, "authorized_keys"), readText(t, right+".pub")+readText(t, rsa+".pub"))

	t.Run("holds the key", func(t *testing.T) {
		startAgent(t, h, keys[0], right)
		_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
	})
	t.Run("signs with RSA", func(t *testing.T) {
		startAgent(t, h, rsa)
		_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
	})
	t.Run("is overfull", func(t *testing.T) {
		startAgent(t, h, append(keys, right)...)
		wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, strings.Repeat("a key of the agent, ", maxOffers-1))
		named := s.ssh()
		named.Identity = []string{right}
		_ = connect(t, h.transport(t), "web1", named).Close()
	})
	t.Run("holds the private half of a public key", func(t *testing.T) {
		startAgent(t, h, append(keys, right)...)
		h.write(t, ".ssh/config", "IdentitiesOnly yes\nIdentityFile "+right+".pub\n")
		_ = connect(t, h.transport(t), "web1", s.ssh()).Close()
		h.write(t, ".ssh/config", "")
	})
	t.Run("is not asked for others", func(t *testing.T) {
		startAgent(t, h, right)
		h.write(t, ".ssh/config", "IdentitiesOnly yes\nIdentityFile "+keys[0]+"\n")
		wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "shown were "+keys[0])
		h.write(t, ".ssh/config", "IdentityAgent none\n")
		wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "there was no key to show")
		h.write(t, ".ssh/config", "")
	})
	t.Run("is gone", func(t *testing.T) {
		h.env["SSH_AUTH_SOCK"] = h.path("nothing")
		named := s.ssh()
		named.Identity = []string{right}
		_ = connect(t, h.transport(t), "web1", named).Close()
		wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "agent: ")
	})
}

func TestKeysThatAreNotUsed(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	key := h.path(".ssh/id_ed25519")
	for _, c := range []struct {
		name string
		make func()
		text string
	}{
		{"readable by others", func() {
			if err := os.Chmod(key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "others may read it (mode 0644)"},
		{"garbage", func() { writeText(t, key, "garbage") }, "no private key"},
		{"short", func() {
			_ = os.Remove(key)
			keygen(t, key, "-t", "rsa", "-b", "1024")
		}, "1024 bits"},
		{"not there", func() { _ = os.Remove(key) }, "does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.make()
			named := s.ssh()
			named.Identity = []string{key}
			wantFailure(t, failure(t, h.transport(t), "web1", named), sluice.AuthRefused, c.text)
			_ = os.Chmod(key, 0o600)
		})
	}
}

func TestAuthRefusedSaysWhy(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h, "AuthorizedKeysFile none")
	c := failure(t, h.transport(t), "web1", s.ssh())
	wantFailure(t, c, sluice.AuthRefused, me(t)+"@127.0.0.1", "the host takes publickey", "id_ed25519")
	if c.Password {
		t.Error("no password was offered")
	}
	h.write(t, ".ssh/config", "PubkeyAuthentication no\n")
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.AuthRefused, "there was no key to show")
}

// What is secret must not be in any error.
func TestErrorsHoldNoSecret(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h, "AuthorizedKeysFile none")
	run(t, "ssh-keygen", "-q", "-p", "-a", "4", "-f", h.path(".ssh/id_ed25519"), "-P", "", "-N", "canary-one")
	c := failure(t, h.transport(t, with(&creds{passphrase: "canary-one", password: "canary-two"})), "web1", s.ssh())
	if bytes.Contains([]byte(fmt.Sprintf("%+v %#v", c, c)), []byte("canary")) {
		t.Errorf("%+v", c)
	}
}

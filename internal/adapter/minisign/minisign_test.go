package minisign

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	lib "aead.dev/minisign"

	"sluice"
)

func pair(t *testing.T) (public string, private []byte) {
	t.Helper()
	pub, key, err := lib.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pub.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	private, err = key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(text), private
}

func never() (sluice.Secret, error) { return sluice.Secret{}, errors.New("nobody is to be asked") }

func TestSignAndVerify(t *testing.T) {
	public, private := pair(t)
	other, _ := pair(t)
	s, err := NewSigner(append(private, '\n'), never)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("a statement\n")
	signature, err := s.Sign(message)
	if err != nil || !bytes.HasSuffix(signature, []byte("\n")) {
		t.Fatal(err)
	}
	both, err := ParseKeys([]string{other, "# ann\n" + public + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	if by, err := both.Verify(message, signature); err != nil || len(by) != 16 {
		t.Errorf("%q, %v", by, err)
	}
	if _, err := both.Verify([]byte("b statement\n"), signature); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("another message: %v", err)
	}
	one, err := ParseKeys([]string{other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Verify(message, signature); err == nil || !strings.Contains(err.Error(), "none of the 1 that count") {
		t.Errorf("another key: %v", err)
	}
	var signed lib.Signature
	if err := signed.UnmarshalText(signature); err != nil {
		t.Fatal(err)
	}
	for i := range signature {
		if bytes.HasPrefix(signature[:i+1], []byte("untrusted comment: ")) && bytes.IndexByte(signature[:i+1], '\n') < 0 {
			continue // the first line counts for nothing, and says so
		}
		bad := bytes.Clone(signature)
		bad[i] ^= 1
		var same lib.Signature // the last character of base64 has bits that say nothing
		if same.UnmarshalText(bad) == nil && same.Equal(signed) {
			continue
		}
		if _, err := both.Verify(message, bad); err == nil && !bytes.Equal(bytes.TrimSpace(bad), bytes.TrimSpace(signature)) {
			t.Errorf("byte %d of the signature: %q", i, bad)
		}
	}
}

func TestEncryptedKey(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: such a key takes a gigabyte and seconds to open, on purpose")
	}
	_, key, err := lib.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := lib.EncryptKey("open", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSigner(text, func() (sluice.Secret, error) { return sluice.NewSecret([]byte("open")), nil }); err != nil {
		t.Error(err)
	}
	if _, err := NewSigner(text, func() (sluice.Secret, error) { return sluice.NewSecret([]byte("opan")), nil }); err == nil || !strings.Contains(err.Error(), "passphrase is another one") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	for _, text := range []string{"", "untrusted comment: x\n", "RWQ", "hello"} {
		if _, err := ParseKeys([]string{text}); sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := NewSigner([]byte(text), never); err == nil {
			t.Errorf("%q signs", text)
		}
	}
}

// TestTheProgramItself: what is signed here the program minisign takes, and the other way round.
func TestTheProgramItself(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command("minisign", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	run("-G", "-W", "-p", "k.pub", "-s", "k.key")
	message := []byte("a statement\n")
	if err := os.WriteFile(filepath.Join(dir, "m"), message, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]string{string(read("k.pub"))})
	if err != nil {
		t.Fatal(err)
	}
	run("-S", "-s", "k.key", "-m", "m")
	if _, err := keys.Verify(message, read("m.minisig")); err != nil {
		t.Error(err)
	}
	s, err := NewSigner(read("k.key"), never)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.minisig"), signature, 0o600); err != nil {
		t.Fatal(err)
	}
	run("-V", "-p", "k.pub", "-m", "m")
}

package hostkeys

import (
	"bytes"
	"crypto/dsa" //lint:ignore SA1019 such keys must be refused
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// newKey makes a key that is the same for the same number.
func newKey(t testing.TB, n int) (ssh.Signer, ssh.PublicKey) {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, fmt.Sprint("key ", n))
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s, s.PublicKey()
}

func mustParse(t testing.TB, text string) *DB {
	t.Helper()
	db, err := Parse("known_hosts", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// ssh-keygen -F is the judge of which lines mean a host.
func TestLookupAgreesWithSSHKeygen(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("no ssh-keygen to compare with")
	}
	patterns := []string{
		"a.test", "b.test,10.0.0.1", "*.test", "*.test,!b.test", "[c.test]:2222", "[*.test]:2222", "A.Test", "?", "!a.test",
		"[10.0.0.?]:22*", "::1", "*", "[127.1.0.1]:2222,[127.1.0.2]:2222", "b.test", "!*.test,a.test",
	}
	var text strings.Builder
	for i, p := range patterns {
		_, key := newKey(t, i)
		fmt.Fprintf(&text, "# comment %d\n%s comment\n", i, Line(p, key, false))
	}
	for i, name := range []string{"a.test", "hashed.test", "[hashed.test]:2222"} {
		_, key := newKey(t, 100+i)
		text.WriteString(Line(name, key, true) + "\n")
	}
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	db := mustParse(t, text.String())
	for _, name := range []string{
		"a.test", "b.test", "c.test", "[c.test]:2222", "[d.test]:2222", "10.0.0.1", "[10.0.0.1]:2222", "x", "::1", "hashed.test",
		"[hashed.test]:2222", "[127.1.0.2]:2222", "nothing.example",
	} {
		var got []int
		for _, e := range db.Lookup(name) {
			got = append(got, e.Line)
		}
		if want := askKeygen(t, path, name); !slices.Equal(got, want) {
			t.Errorf("%s: lines %v, but ssh-keygen says %v", name, got, want)
		}
	}
}

var foundLine = regexp.MustCompile(`found: line (\d+)`)

func askKeygen(t *testing.T, path, name string) (lines []int) {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-F", name, "-f", path).Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatal(err)
	}
	for _, m := range foundLine.FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, n)
	}
	return lines
}

func TestFind(t *testing.T) {
	_, k1 := newKey(t, 1)
	_, k2 := newKey(t, 2)
	db := mustParse(t, Line("h", k1, false)+"\n"+Line("[h]:2222", k2, false)+"\n"+Line("alias", k2, false)+"\n")
	for _, c := range []struct {
		host  string
		port  int
		alias string
		want  ssh.PublicKey
	}{
		{"h", 22, "", k1},
		{"H", 22, "", k1},
		{"h", 2222, "", k2},
		{"h", 2223, "", k1}, // known without its port
		{"other", 2222, "alias", k2},
		{"h", 22, "nothing", nil},
		{"other", 22, "", nil},
	} {
		h := Find([]*DB{db}, c.host, c.port, c.alias)
		switch {
		case c.want == nil && len(h.Entries) > 0, c.want != nil && (len(h.Entries) != 1 || !bytes.Equal(h.Entries[0].Key.Marshal(), c.want.Marshal())):
			t.Errorf("%+v: got %v", c, h.Entries)
		}
	}
}

func verdictOf(t *testing.T, err error) Verdict {
	t.Helper()
	if err == nil {
		return 0
	}
	var r *Refused
	if !errors.As(err, &r) {
		t.Fatalf("%v is no verdict", err)
	}
	return r.Verdict
}

func TestCheckPlainKeys(t *testing.T) {
	_, known := newKey(t, 1)
	_, other := newKey(t, 2)
	_, revoked := newKey(t, 3)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ssh.NewPublicKey(&short.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	db := mustParse(t, strings.Join([]string{
		Line("h", known, false), Line("h", revoked, false), Line("h", weak, false), "@revoked nobody " + Line("", revoked, false)[1:],
	}, "\n"))
	h := Find([]*DB{db}, "h", 22, "")
	unknown := Find([]*DB{db}, "x", 22, "")
	for _, c := range []struct {
		name string
		host Host
		key  ssh.PublicKey
		want Verdict
	}{
		{"known", h, known, 0}, {"changed", h, other, Changed}, {"revoked", h, revoked, Revoked}, {"short", h, weak, Weak},
		{"unknown", unknown, known, Unknown}, {"revoked of an unknown host", unknown, revoked, Revoked},
	} {
		if got := verdictOf(t, c.host.Check(c.key, time.Now())); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
	text := h.Check(other, time.Now()).Error()
	for _, fp := range []string{ssh.FingerprintSHA256(other), ssh.FingerprintSHA256(known), "known_hosts:1"} {
		if !strings.Contains(text, fp) {
			t.Errorf("the message %q does not name %s", text, fp)
		}
	}
}

func TestCheckCertificates(t *testing.T) {
	ca, caKey := newKey(t, 1)
	_, hostKey := newKey(t, 2)
	foreign, _ := newKey(t, 3)
	now := time.Unix(1_700_000_000, 0)
	cert := func(change func(*ssh.Certificate), by ssh.Signer) ssh.PublicKey {
		c := &ssh.Certificate{Key: hostKey, CertType: ssh.HostCert, ValidPrincipals: []string{"h.test"}, ValidAfter: uint64(now.Unix() - 10), ValidBefore: uint64(now.Unix() + 10)}
		change(c)
		if err := c.SignCert(rand.Reader, by); err != nil {
			t.Fatal(err)
		}
		return c
	}
	same := func(*ssh.Certificate) {}
	trusting := mustParse(t, "@cert-authority *.test "+Line("", caKey, false)[1:]+"\n")
	revokedCA := mustParse(t, "@revoked * "+Line("", caKey, false)[1:]+"\n")
	revokedHost := mustParse(t, "@revoked * "+Line("", hostKey, false)[1:]+"\n")
	plain := mustParse(t, Line("h.test", hostKey, false)+"\n")
	for _, c := range []struct {
		name string
		dbs  []*DB
		key  ssh.PublicKey
		want Verdict
	}{
		{"good", []*DB{trusting}, cert(same, ca), 0},
		{"expired", []*DB{trusting}, cert(func(c *ssh.Certificate) { c.ValidBefore = uint64(now.Unix() - 1) }, ca), Certificate},
		{"not yet", []*DB{trusting}, cert(func(c *ssh.Certificate) { c.ValidAfter = uint64(now.Unix() + 1) }, ca), Certificate},
		{"of another host", []*DB{trusting}, cert(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"x.test"} }, ca), Certificate},
		{"of a user", []*DB{trusting}, cert(func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, ca), Certificate},
		{"with a critical option", []*DB{trusting}, cert(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"x": "y"} }, ca), Certificate},
		{"of an unknown authority", []*DB{trusting}, cert(same, foreign), Unknown},
		{"revoked authority", []*DB{trusting, revokedCA}, cert(same, ca), Revoked},
		{"revoked host key", []*DB{trusting, revokedHost}, cert(same, ca), Revoked},
		{"unknown authority, known key", []*DB{plain}, cert(same, foreign), 0},
		{"authority's own key as host key", []*DB{trusting}, caKey, Unknown},
	} {
		if got := verdictOf(t, Find(c.dbs, "h.test", 22, "").Check(c.key, now)); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, got, c.want)
		}
	}
	tampered := cert(same, ca).(*ssh.Certificate)
	tampered.Signature.Blob[3] ^= 1
	if got := verdictOf(t, Find([]*DB{trusting}, "h.test", 22, "").Check(tampered, now)); got != Certificate {
		t.Errorf("tampered: verdict %d", got)
	}
}

func TestSHA1SignedCertificateIsRefused(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	sha1CA, err := ssh.NewSignerWithAlgorithms(ca.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	_, hostKey := newKey(t, 2)
	c := &ssh.Certificate{Key: hostKey, CertType: ssh.HostCert, ValidPrincipals: []string{"h"}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, sha1CA); err != nil {
		t.Fatal(err)
	}
	db := mustParse(t, "@cert-authority h "+Line("", ca.PublicKey(), false)[1:])
	err = Find([]*DB{db}, "h", 22, "").Check(c, time.Now())
	if verdictOf(t, err) != Certificate || !strings.Contains(err.Error(), "SHA-1") {
		t.Errorf("got %v", err)
	}
}

func TestStrongRefusesDSA(t *testing.T) {
	var k dsa.PrivateKey
	if err := dsa.GenerateParameters(&k.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&k, rand.Reader); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if Strong(key) == nil {
		t.Error("a DSA key is strong")
	}
}

func TestUnreadableLines(t *testing.T) {
	_, k := newKey(t, 1)
	good := Line("h", k, false)
	db := mustParse(t, "h\nh ssh-ed25519\nh ssh-ed25519 !!!\nh ssh-rsa "+strings.Fields(good)[2]+"\n|2|x|y"+good[1:]+"\n\r\n"+good+"\r\n")
	if got := db.Lookup("h"); len(got) != 1 || got[0].Line != 7 {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"@revoked * ssh-ed25519 !!!", "@revoked *", "@distrusted " + good, "@", "@revoked"} {
		if _, err := Parse("f", []byte(good+"\n"+bad+"\n")); err == nil || !strings.HasPrefix(err.Error(), "f:2:1: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRevokedList(t *testing.T) {
	_, k := newKey(t, 1)
	_, other := newKey(t, 2)
	list, err := ParseRevoked("r", []byte("# keys\n"+string(ssh.MarshalAuthorizedKey(k))))
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := list.Revoked(k); !ok || at.Line != 2 {
		t.Errorf("got %v %v", at, ok)
	}
	if _, ok := list.Revoked(other); ok {
		t.Error("another key is revoked")
	}
	for _, bad := range []string{"SSHKRL\n\x00rest", "what is this\n"} {
		if _, err := ParseRevoked("r", []byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestAlgorithmsBeginWithWhatIsKnown(t *testing.T) {
	allowed := []string{ssh.CertAlgoED25519v01, ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	plain := Host{Entries: []Entry{{Key: rsaKey}}}
	if got := strings.Join(plain.Algorithms(allowed), " "); got != "rsa-sha2-512 rsa-sha2-256 ssh-ed25519 ecdsa-sha2-nistp256" {
		t.Errorf("got %s", got)
	}
	ca := Host{Entries: []Entry{{Key: rsaKey, CA: true}}}
	if got := ca.Algorithms(allowed); got[0] != ssh.CertAlgoED25519v01 || len(got) != len(allowed) {
		t.Errorf("got %v", got)
	}
}

func FuzzKnownHosts(f *testing.F) {
	_, k := newKey(f, 1)
	f.Add(Line("h,*.test,!x", k, false)+"\n@revoked * "+Line("", k, false)[1:], "h")
	f.Add(Line("h", k, true)+"\n@cert-authority "+Line("[h]:1", k, false), "[h]:1")
	f.Add("|1||| a b\n# c\n@x\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		db, err := Parse("f", []byte(text))
		if err != nil {
			return
		}
		for _, e := range db.Lookup(name) {
			if e.Key == nil || e.Line < 1 || e.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("entry %+v", e)
			}
		}
		_, trusted := newKey(t, 1)
		if err := Find([]*DB{db}, name, 22, "").Check(trusted, time.Unix(0, 0)); err == nil && !strings.Contains(text, strings.Fields(Line("x", trusted, false))[2]) {
			t.Fatal("a key that the file does not name is trusted")
		}
	})
}

// Ten thousand lines must not be a cost per host.
func BenchmarkLookup(b *testing.B) {
	for _, hashed := range []bool{false, true} {
		var text bytes.Buffer
		_, k := newKey(b, 1)
		for i := range 10000 {
			text.WriteString(Line(fmt.Sprintf("host%d.test", i), k, hashed) + "\n")
		}
		b.Run(fmt.Sprintf("hashed=%v", hashed), func(b *testing.B) {
			db := mustParse(b, text.String())
			for i := 0; b.Loop(); i++ {
				if len(db.Lookup(fmt.Sprintf("host%d.test", i%10000))) != 1 {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("parse/hashed=%v", hashed), func(b *testing.B) {
			for b.Loop() {
				mustParse(b, text.String())
			}
		})
	}
}

package authority_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
)

// now is a clock that is set by hand.
type now struct {
	mu sync.Mutex
	t  time.Time
}

func (n *now) clock() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.t
}

func (n *now) add(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.t = n.t.Add(d)
}

func workers(t *testing.T) *authority.Workers {
	t.Helper()
	a, err := authority.OpenWorkers(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func servers(t *testing.T, clock sluice.Clock) *authority.Servers {
	t.Helper()
	a, err := authority.OpenServers(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// signed is the certificate of a worker.
func signed(t *testing.T, a *authority.Workers, name sluice.WorkerName) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, number, expires, err := a.Sign(request, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if authority.Serial(c) != number || !c.NotAfter.Equal(expires) {
		t.Errorf("number %s until %s, and the certificate has %s and %s", number, expires, authority.Serial(c), c.NotAfter)
	}
	return c
}

func shown(t *testing.T, a *authority.Servers, name string, hosts ...string) *x509.Certificate {
	t.Helper()
	m, err := a.Member(name, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// leads says whether a certificate leads to roots, for a use, under a host's name.
func leads(c *x509.Certificate, roots *x509.CertPool, at time.Time, use x509.ExtKeyUsage, host string) error {
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}, DNSName: host})
	return err
}

// TestOldData: what was made before there were servers among themselves is used as it is, to the byte, and certificates have the names
// that workers know.
func TestOldData(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Sluice workers"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "workers-ca.pem")
	before := append(authority.PEM(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := authority.OpenWorkers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Certificate(), der) {
		t.Error("it is another authority")
	}
	if after, err := os.ReadFile(path); err != nil || !slices.Equal(before, after) {
		t.Errorf("its file has changed: %v", err)
	}
	w := signed(t, a, "w1")
	if len(w.URIs) != 1 || w.URIs[0].String() != "spiffe://sluice/worker/w1" {
		t.Errorf("the worker is %v", w.URIs)
	}
	s, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Leaf; len(got.URIs) != 1 || got.URIs[0].String() != "spiffe://sluice/server" || !slices.Equal(got.DNSNames, []string{"server.sluice.internal"}) {
		t.Errorf("the server is %v, %v", got.URIs, got.DNSNames)
	}
	if err := leads(w, a.Roots(), time.Now(), x509.ExtKeyUsageClientAuth, ""); err != nil {
		t.Error(err)
	}
}

// TestKindsAreApart: what one authority has certified is nothing to another, whatever it is for.
func TestKindsAreApart(t *testing.T) {
	dir := t.TempDir()
	w, err := authority.OpenWorkers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := authority.OpenServers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	worker, member := signed(t, w, "one"), shown(t, s, "one", "127.0.0.1", "one.example.com")
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		for what, roots := range map[string]*x509.CertPool{"workers'": w.Roots(), "another cluster's": servers(t, time.Now).Roots()} {
			if leads(member, roots, time.Now(), use, "") == nil {
				t.Errorf("a server's certificate leads to the %s authority", what)
			}
		}
		if leads(worker, s.Roots(), time.Now(), use, "") == nil {
			t.Error("a worker's certificate leads to the servers' authority")
		}
		for _, host := range []string{"one.member.sluice.internal", "member.sluice.internal", "127.0.0.1", "one.example.com"} {
			if err := leads(member, s.Roots(), time.Now(), use, host); err != nil {
				t.Errorf("as %s: %v", host, err)
			}
		}
		if leads(member, s.Roots(), time.Now(), use, "two.member.sluice.internal") == nil {
			t.Error("the server one is taken for two")
		}
	}
	if name, err := authority.MemberOf(member); name != "one" || err != nil {
		t.Errorf("the server is %q, %v", name, err)
	}
	if name, err := authority.MemberOf(worker); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a worker is the server %q, %v", name, err)
	}
	if name, err := authority.WorkerOf(member); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a server is the worker %q, %v", name, err)
	}
	mixed := t.TempDir() // a file of one kind under the name of the other
	text, err := os.ReadFile(filepath.Join(dir, "workers-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mixed, "servers-ca.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authority.OpenServers(mixed, time.Now); err == nil || !strings.Contains(err.Error(), "Sluice workers") {
		t.Errorf("the workers' authority is taken for the servers': %v", err)
	}
}

// TestAdopt: a server that joins has the same authorities as the others, and keeps what it has.
func TestAdopt(t *testing.T) {
	first, dir := servers(t, time.Now), t.TempDir()
	if shown := fmt.Sprintf("%v %+v %#v", first.Secret(), first.Secret(), first.Secret()); strings.Contains(shown, "PRIVATE") {
		t.Errorf("the key is shown: %s", shown)
	}
	for range 2 { // whoever was killed does it again
		if err := authority.AdoptServers(dir, first.Secret()); err != nil {
			t.Fatal(err)
		}
	}
	second, err := authority.OpenServers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if second.Pin() != first.Pin() {
		t.Error("it is another authority")
	}
	if err := leads(shown(t, second, "two"), first.Roots(), time.Now(), x509.ExtKeyUsageServerAuth, authority.MemberHost("two")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "servers-ca.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file has the mode %v, %v", info.Mode(), err)
	}
	if err := authority.AdoptServers(dir, servers(t, time.Now).Secret()); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("another authority took its place: %v", err)
	}
	w := workers(t)
	empty := t.TempDir()
	if err := authority.AdoptServers(empty, w.Secret()); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("the workers' authority was adopted for servers: %v", err)
	}
	if err := authority.AdoptWorkers(empty, sluice.NewSecret([]byte("x"))); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("nothing was adopted: %v", err)
	}
	if left, _ := os.ReadDir(empty); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if err := authority.AdoptWorkers(empty, w.Secret()); err != nil {
		t.Error(err)
	}
}

// TestNames: a name that is none is never certified.
func TestNames(t *testing.T) {
	a := servers(t, time.Now)
	for _, name := range []string{"", "-a", "a-", "A", "a..b", "a.-b", "a/b", "a b", strings.Repeat("a", 64)} {
		if _, err := a.Member(name); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "a-1", "1", "a.b", strings.Repeat("a", 63)} {
		if _, err := a.Member(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestRenewal: a certificate is made anew when a third of its life is left, and when the clock was set back. At every time in between
// the one that is shown is valid. Its key stays.
func TestRenewal(t *testing.T) {
	clock := &now{t: time.Now()}
	a := servers(t, clock.clock)
	m, err := a.Member("one")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	look := func() *tls.Certificate {
		t.Helper()
		c, err := m.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if err := leads(c.Leaf, a.Roots(), clock.clock(), x509.ExtKeyUsageServerAuth, authority.MemberHost("one")); err != nil {
			t.Error(err)
		}
		seen[authority.Serial(c.Leaf)] = true
		return c
	}
	first := look()
	for range 48 {
		clock.add(time.Hour)
		look()
	}
	if len(seen) != 4 {
		t.Errorf("%d certificates in two days", len(seen))
	}
	clock.add(-30 * time.Hour)
	if last := look(); !first.PrivateKey.(*ecdsa.PrivateKey).Equal(last.PrivateKey) {
		t.Error("the key has changed")
	}
}

// TestFiles: what is written fits together, only its owner reads it, and it is written anew in time.
// TestClocksApart: servers of a cluster are let in by one whose clock is hours behind or ahead, the one that made the authority too, and
// not by one that is a day apart.
func TestClocksApart(t *testing.T) {
	n := &now{t: time.Now()}
	a := servers(t, n.clock)
	m, err := a.Member("s1", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, age := range []time.Duration{0, 2*authority.Life/3 - time.Minute} { // before the next one is made
		c, err := m.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		n.add(age)
		if same, err := m.Certificate(); err != nil || same != c {
			t.Fatalf("another one after %v, error %v", age, err)
		}
		for apart, lets := range map[time.Duration]bool{0: true, -7 * time.Hour: true, 7 * time.Hour: true, -25 * time.Hour: false, 25 * time.Hour: false} {
			_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: a.Roots(), CurrentTime: n.clock().Add(apart), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			if (err == nil) != lets {
				t.Errorf("a certificate that is %v old, by a clock that is %v apart: %v", age, apart, err)
			}
		}
	}
}

func TestFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, dir := servers(t, time.Now), filepath.Join(t.TempDir(), "tls")
		m, err := a.Member("one", "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.Write(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{files.Pair, files.Authority} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
			}
		}
		if text, err := os.ReadFile(files.Authority); err != nil || !slices.Equal(text, authority.PEM(a.Certificate())) {
			t.Errorf("the authority is %s, %v", text, err)
		}
		pair := func() tls.Certificate {
			t.Helper()
			c, err := tls.LoadX509KeyPair(files.Pair, files.Pair)
			if err != nil {
				t.Fatal(err)
			}
			if err := leads(c.Leaf, a.Roots(), time.Now(), x509.ExtKeyUsageClientAuth, "127.0.0.1"); err != nil {
				t.Error(err)
			}
			return c
		}
		before := pair()
		ctx, stop := context.WithCancel(t.Context())
		told := make(chan error, 1)
		var keeps sync.WaitGroup
		keeps.Go(func() {
			m.Keep(ctx, dir, func(err error) {
				select {
				case told <- err:
				default:
				}
			})
		})
		for range 100 {
			time.Sleep(time.Hour)
			synctest.Wait()
			pair()
		}
		if len(told) > 0 {
			t.Error(<-told)
		}
		if authority.Serial(pair().Leaf) == authority.Serial(before.Leaf) {
			t.Error("nothing was written in four days")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the directory was
			t.Fatal(err)
		}
		time.Sleep(authority.Life)
		synctest.Wait()
		if len(told) == 0 {
			t.Error("that nothing can be written is not told")
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		pair()
		stop()
		keeps.Wait()
	})
}

// TestDamaged: a file that is no authority is said to be none, and is left as it is.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "servers-ca.pem")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authority.OpenServers(dir, time.Now); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "x" || err != nil {
		t.Error(errors.Join(err, errors.New("it was replaced")))
	}
}

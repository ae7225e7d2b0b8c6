package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/etcd"
)

// workersPair is what a worker has to show.
func workersPair(t *testing.T, dir string) *tls.Certificate {
	t.Helper()
	a, err := authority.OpenWorkers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, _, _, err := a.Sign(request, "n1")
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.Certificate()}, PrivateKey: key}
}

// TestWhoIsRefused: at the port for nodes nobody is answered but who shows a certificate of the authority for servers: no worker of the
// same cluster, no server of another one, nobody without. A node does not go to such a one either.
func TestWhoIsRefused(t *testing.T) {
	data := t.TempDir()
	ca, err := authority.OpenServers(data, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	at := freeAddress(t)
	cfg := etcd.NodeConfig{Name: "n1", Dir: filepath.Join(data, "n1"), Listen: at, Advertise: at, Nodes: map[string]string{"n1": at}, Token: "test"}
	secure(t, ca, &cfg, "127.0.0.1")
	c := &cluster{nodes: make([]*etcd.Node, 1), cfgs: []etcd.NodeConfig{cfg}}
	t.Cleanup(func() { c.stop(t, 0) })
	c.start(t, 0)
	if t.Failed() {
		t.FailNow()
	}
	// ask asks as another node does.
	ask := func(p string, pair *tls.Certificate) (shown *x509.Certificate, err error) {
		config := &tls.Config{RootCAs: ca.Roots(), ServerName: authority.MemberHost("n1"),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if pair == nil {
					return &tls.Certificate{}, nil
				}
				return pair, nil
			}}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		r, err := client.Get(p + "://" + at + "/members")
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, r.Body)
		err = errors.Join(err, r.Body.Close())
		if err == nil && r.StatusCode != http.StatusOK {
			err = errors.New(r.Status)
		}
		if r.TLS != nil {
			shown = r.TLS.PeerCertificates[0]
		}
		return shown, err
	}
	member := func(a *authority.Servers) *tls.Certificate {
		t.Helper()
		m, err := a.Member("n2", "203.0.113.7") // not where it comes from: that says nothing
		if err != nil {
			t.Fatal(err)
		}
		pair, err := m.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	aged, err := authority.OpenServers(data, func() time.Time { return time.Now().Add(-2 * authority.Life) })
	if err != nil {
		t.Fatal(err)
	}
	first, err := ask("https", member(ca))
	if err != nil {
		t.Fatalf("another node: %v", err)
	}
	for what, pair := range map[string]*tls.Certificate{"a worker": workersPair(t, data), "a server of another cluster": member(servers(t)),
		"a certificate that has ended": member(aged), "nobody": nil} {
		if _, err := ask("https", pair); err == nil {
			t.Errorf("%s is answered", what)
		}
	}
	if _, err := ask("http", nil); err == nil {
		t.Error("somebody without TLS is answered")
	}

	// What is written anew counts from then on.
	secure(t, ca, &cfg, "127.0.0.1")
	if again, err := ask("https", member(ca)); err != nil || authority.Serial(again) == authority.Serial(first) {
		t.Errorf("the node shows what was written before: %v", err)
	}

	// A node of somebody else is not let in, and does not let the cluster's in, though it was added.
	cfg = etcd.NodeConfig{Name: "n2", Dir: filepath.Join(data, "n2"), Listen: freeAddress(t), Joins: true, Token: "test"}
	cfg.Advertise = cfg.Listen
	secure(t, servers(t), &cfg, "127.0.0.1")
	if cfg.Nodes, err = c.nodes[0].Add(t.Context(), cfg.Name, cfg.Advertise); err != nil {
		t.Fatal(err)
	}
	short, done := context.WithTimeout(t.Context(), 2*time.Second)
	defer done()
	if n, err := etcd.Start(short, cfg); err == nil {
		t.Error("a node with the certificate of another authority takes part")
		_ = n.Close()
	} else if code := sluice.CodeOf(err); code != sluice.Contact && code != sluice.Config {
		t.Errorf("it ended with %v", err)
	}
}

// TestCommonName: a certificate that the nodes' authority made is refused where it is none of a node.
func TestCommonName(t *testing.T) {
	dir := t.TempDir()
	ca := servers(t)
	at := freeAddress(t)
	cfg := etcd.NodeConfig{Name: "n1", Dir: filepath.Join(dir, "n1"), Listen: at, Advertise: at, Nodes: map[string]string{"n1": at}, Token: "test"}
	secure(t, ca, &cfg, "127.0.0.1")
	cfg.Common = "other.sluice.internal"
	c := &cluster{nodes: make([]*etcd.Node, 1), cfgs: []etcd.NodeConfig{cfg}}
	t.Cleanup(func() { c.stop(t, 0) })
	c.start(t, 0)
	if t.Failed() {
		t.FailNow()
	}
	m, err := ca.Member("n2", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.Roots(), ServerName: authority.MemberHost("n1"),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.Certificate() }}}}
	if r, err := client.Get("https://" + at + "/members"); err == nil {
		_ = r.Body.Close()
		t.Errorf("it is answered: %s", r.Status)
	}
}

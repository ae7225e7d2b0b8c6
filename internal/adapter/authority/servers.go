package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
)

const (
	// Members is a name in the certificates of all servers of a cluster, and [MemberHost] another one in that of each.
	Members = "member.sluice.internal"

	memberPath = "/member/"
	// look is how often it is looked whether files have to be written anew.
	look = time.Minute
)

// Servers is the authority for the servers of a cluster. Each of them has its key, and certifies itself.
type Servers struct{ Authority }

// OpenServers reads the authority for servers of a directory, and makes one where there is none.
func OpenServers(dir string, clock sluice.Clock) (*Servers, error) {
	a, err := open(forServers, dir, clock)
	return &Servers{a}, err
}

// AdoptServers keeps the authority of another server in a directory that has none, or has this one already.
func AdoptServers(dir string, secret sluice.Secret) error { return adopt(forServers, dir, secret) }

// MemberHost is the name that the others check, wherever the server is.
func MemberHost(name string) string { return name + "." + Members }

// MemberOf reads whose certificate it is. The certificate must have been checked before.
func MemberOf(c *x509.Certificate) (string, error) {
	if name, ok := named(c, memberPath); ok {
		if _, err := sluice.ParseServerName(name); err == nil {
			return name, nil
		}
	}
	return "", sluice.Errorf(sluice.Denied, "the certificate is none of a server of the cluster")
}

// Member is what one server of the cluster shows to the others, to whom it is both a client and a server.
type Member struct {
	of    *Servers
	name  string
	hosts []string
	// key is the same for as long as the process runs: etcd reads certificate and key one after the other, and one of them may have
	// been made anew between.
	key *ecdsa.PrivateKey

	mu   sync.Mutex
	pair *tls.Certificate
}

// Member is for the server with a name, which the others reach at hosts: names or IP addresses.
func (a *Servers) Member(name string, hosts ...string) (*Member, error) {
	if _, err := sluice.ParseServerName(name); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &Member{of: a, name: name, hosts: hosts, key: key}, err
}

// Certificate is the server's, made anew in time.
func (m *Member) Certificate() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of.serves(m.pair) {
		return m.pair, nil
	}
	t := &x509.Certificate{Subject: pkix.Name{CommonName: m.name}, DNSNames: []string{MemberHost(m.name), Members},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, URIs: spiffe(memberPath + m.name)}
	for _, host := range m.hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	c, err := m.of.certify(t, m.key)
	if err == nil {
		m.pair = c
	}
	return c, err
}

// Files are what a program that reads certificates from files is given.
type Files struct {
	// Pair holds the certificate and its key.
	Pair string
	// Authority holds the certificate that others' lead to.
	Authority string
}

// Write writes the files into a directory as they are now.
func (m *Member) Write(dir string) (Files, error) {
	out := Files{filepath.Join(dir, "member.pem"), filepath.Join(dir, "authority.pem")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	c, err := m.Certificate()
	if err != nil {
		return out, err
	}
	private, err := keyPEM(m.key)
	if err != nil {
		return out, err
	}
	if err := WriteFile(out.Authority, PEM(m.of.cert.Raw)); err != nil {
		return out, err
	}
	return out, WriteFile(out.Pair, append(PEM(c.Certificate[0]), private...))
}

// Keep writes the files anew whenever the certificate is, until ctx ends. Where that fails, trouble is told, and it is tried again: what
// was written before serves for hours.
func (m *Member) Keep(ctx context.Context, dir string, trouble func(error)) {
	var written *tls.Certificate
	for {
		c, err := m.Certificate()
		if err == nil && c != written {
			if _, err = m.Write(dir); err == nil {
				written = c
			}
		}
		if err != nil {
			trouble(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
		}
	}
}

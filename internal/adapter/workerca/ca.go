// Package workerca is the server's own certificate authority: it certifies workers and the server towards each other, and
// nobody else. Its key is a file of the server; keys of workers never come here.
//
// It knows X.509 and files. Who may have a certificate is decided elsewhere.
package workerca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice"
)

const (
	// Life of the certificate of a worker, and of the server's.
	Life = 24 * time.Hour
	// ServerName is the name that workers check, wherever the server is.
	ServerName = "server.sluice.internal"

	authorityLife = 20 * 365 * 24 * time.Hour
	// skew is how far clocks may be apart.
	skew       = 5 * time.Minute
	workerPath = "/worker/"
	trust      = "sluice"
)

// Authority signs.
type Authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	clock sluice.Clock

	mu     sync.Mutex
	server *tls.Certificate
}

// Open reads the authority of a directory, and makes one where there is none.
func Open(dir string, clock sluice.Clock) (*Authority, error) {
	path := filepath.Join(dir, "workers-ca.pem")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = create(path, clock()); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: its key is of another kind than this program makes", path)
	}
	return &Authority{key: key, cert: pair.Leaf, clock: clock}, nil
}

func create(path string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Sluice workers"}, NotBefore: now.Add(-skew),
		NotAfter: now.Add(authorityLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := append(PEM(der), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return text, WriteFile(path, text)
}

// WriteFile makes a file that only its owner reads, whole or not at all.
func WriteFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// PEM writes a certificate as text.
func PEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// Certificate is the authority's own, in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Pin names the authority.
func (a *Authority) Pin() string { return PinOf(a.cert) }

// PinOf is the SHA-256 of a certificate, in hexadecimal digits.
func PinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Roots are what workers' certificates are checked against.
func (a *Authority) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Sign certifies that the key of a request, which proves that its sender has it, is that of a worker.
func (a *Authority) Sign(request []byte, name sluice.WorkerName) (der []byte, number string, expires time.Time, err error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, "", time.Time{}, &sluice.Error{Code: sluice.Usage, Text: "the request for a certificate", Err: err}
	}
	now := a.clock()
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: string(name)}, NotBefore: now.Add(-skew),
		NotAfter: now.Add(Life).Truncate(time.Second), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: trust, Path: workerPath + string(name)}}}
	der, err = x509.CreateCertificate(rand.Reader, t, a.cert, r.PublicKey, a.key)
	return der, Serial(t), t.NotAfter, err
}

// Serial is the number of a certificate as the log has it.
func Serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// WorkerOf reads whose certificate it is. The certificate must have been checked before.
func WorkerOf(c *x509.Certificate) (sluice.WorkerName, error) {
	if len(c.URIs) == 1 && c.URIs[0].Scheme == "spiffe" && c.URIs[0].Host == trust {
		if name, ok := strings.CutPrefix(c.URIs[0].Path, workerPath); ok {
			return sluice.ParseWorkerName(name)
		}
	}
	return "", sluice.Errorf(sluice.Denied, "the certificate is none of a worker")
}

// Server is the server's certificate towards workers, made anew in time, and when the clock was set back: what was made
// under the wrong time is of no use to anybody then.
func (a *Authority) Server() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	if a.server != nil && now.Before(a.server.Leaf.NotAfter.Add(-Life/3)) && !now.Before(a.server.Leaf.NotBefore.Add(skew)) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Sluice server"}, NotBefore: now.Add(-skew),
		NotAfter: now.Add(Life), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{ServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, URIs: []*url.URL{{Scheme: "spiffe", Host: trust, Path: "/server"}}}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a.server = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	return a.server, nil
}

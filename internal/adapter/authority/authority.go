// Package authority is a server's own certificate authorities. One certifies workers and the server towards each other, the other the
// servers of a cluster among themselves; neither certifies anybody else, and what one has certified is nothing to the other. Their keys
// are files of the server, the same on all servers of a cluster. Keys of workers never come here.
//
// It knows X.509 and files. Who may have a certificate, or an authority's key, is decided elsewhere.
package authority

import (
	"bytes"
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
	"time"

	"sluice"
)

const (
	// Life of all certificates but the authorities' own.
	Life = 24 * time.Hour

	authorityLife = 20 * 365 * 24 * time.Hour
	trust         = "sluice"
)

// kind is what an authority is for: the file that it is kept in, and the subject of its certificate; and how far a clock may be behind the
// one by which a certificate was made. Servers of a cluster go on while the clock of one is some hours behind, as they do while it is some
// hours ahead: what they show to each other lives for a third of its life at least.
type kind struct {
	file, subject string
	skew          time.Duration
}

var (
	forWorkers = kind{"workers-ca.pem", "Sluice workers", 5 * time.Minute}
	forServers = kind{"servers-ca.pem", "Sluice servers", Life / 3}
)

// Authority is what authorities of both kinds have.
type Authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	text  []byte
	clock sluice.Clock
	skew  time.Duration
}

// open reads the authority of a directory, and makes one where there is none.
func open(k kind, dir string, clock sluice.Clock) (Authority, error) {
	path := filepath.Join(dir, k.file)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = create(k, clock()); err == nil {
			err = WriteFile(path, text)
		}
	}
	if err != nil {
		return Authority{}, err
	}
	a, err := read(k, text)
	if err != nil {
		return Authority{}, fmt.Errorf("%s: %w", path, err)
	}
	a.clock = clock
	return a, nil
}

// read reads an authority of a kind: one of another kind would certify what is not meant.
func read(k kind, text []byte) (Authority, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return Authority{}, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return Authority{}, errors.New("its key is of another kind than this program makes")
	}
	if c := pair.Leaf; !c.IsCA || c.Subject.CommonName != k.subject {
		return Authority{}, fmt.Errorf("it is the certificate of %q, and not of the authority %q", c.Subject.CommonName, k.subject)
	}
	return Authority{key: key, cert: pair.Leaf, text: text, skew: k.skew}, nil
}

func create(k kind, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: k.subject}, NotBefore: now.Add(-k.skew),
		NotAfter: now.Add(authorityLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := keyPEM(key)
	return append(PEM(der), private...), err
}

// adopt keeps an authority of a kind, which another server has given away, in a directory that has none yet.
func adopt(k kind, dir string, secret sluice.Secret) error {
	given, err := read(k, secret.Reveal())
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the authority that was given", Err: err}
	}
	path := filepath.Join(dir, k.file)
	had, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return WriteFile(path, given.text)
	case err == nil && !bytes.Equal(had, given.text):
		return sluice.Errorf(sluice.Conflict, "%s is of another authority than the one that was given", path)
	}
	return err
}

// Secret is the whole authority, with its key, for another server of the cluster to adopt: whoever has it certifies as this one does.
func (a *Authority) Secret() sluice.Secret { return sluice.NewSecret(bytes.Clone(a.text)) }

// Certificate is the authority's own, in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Pin names the authority.
func (a *Authority) Pin() string { return PinOf(a.cert) }

// Roots are what certificates of the authority are checked against.
func (a *Authority) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// certify makes a certificate for a key that the server itself has.
func (a *Authority) certify(t *x509.Certificate, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	now := a.clock()
	t.SerialNumber, t.NotBefore, t.NotAfter = serial(), now.Add(-a.skew), now.Add(Life)
	t.BasicConstraintsValid, t.KeyUsage = true, x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// serves reports whether a certificate need not be made anew yet. One from before the clock was set back does not: what was made under
// the wrong time is of no use to anybody then.
func (a *Authority) serves(c *tls.Certificate) bool {
	now := a.clock()
	return c != nil && now.Before(c.Leaf.NotAfter.Add(-Life/3)) && !now.Before(c.Leaf.NotBefore.Add(a.skew))
}

// named reads the name in a certificate that was checked before: what follows a path in its one SPIFFE id.
func named(c *x509.Certificate, below string) (name string, ok bool) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "spiffe" || c.URIs[0].Host != trust {
		return "", false
	}
	return strings.CutPrefix(c.URIs[0].Path, below)
}

func spiffe(path string) []*url.URL { return []*url.URL{{Scheme: "spiffe", Host: trust, Path: path}} }

// PinOf is the SHA-256 of a certificate, in hexadecimal digits.
func PinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Serial is the number of a certificate as the log has it.
func Serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// PEM writes a certificate as text.
func PEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), err
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

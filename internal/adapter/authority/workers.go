package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"sync"
	"time"

	"sluice"
)

const (
	// ServerName is the name that workers check, wherever the server is.
	ServerName = "server.sluice.internal"

	workerPath = "/worker/"
)

// Workers is the authority for workers, and for the server towards them.
type Workers struct {
	Authority

	mu     sync.Mutex
	server *tls.Certificate
}

// OpenWorkers reads the authority for workers of a directory, and makes one where there is none.
func OpenWorkers(dir string, clock sluice.Clock) (*Workers, error) {
	a, err := open(forWorkers, dir, clock)
	return &Workers{Authority: a}, err
}

// AdoptWorkers keeps the authority of another server in a directory that has none, or has this one already.
func AdoptWorkers(dir string, secret sluice.Secret) error { return adopt(forWorkers, dir, secret) }

// Sign certifies that the key of a request, which proves that its sender has it, is that of a worker.
func (a *Workers) Sign(request []byte, name sluice.WorkerName) (der []byte, number string, expires time.Time, err error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, "", time.Time{}, &sluice.Error{Code: sluice.Usage, Text: "the request for a certificate", Err: err}
	}
	now := a.clock()
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: string(name)}, NotBefore: now.Add(-a.skew),
		NotAfter: now.Add(Life).Truncate(time.Second), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: spiffe(workerPath + string(name))}
	der, err = x509.CreateCertificate(rand.Reader, t, a.cert, r.PublicKey, a.key)
	return der, Serial(t), t.NotAfter, err
}

// WorkerOf reads whose certificate it is. The certificate must have been checked before.
func WorkerOf(c *x509.Certificate) (sluice.WorkerName, error) {
	if name, ok := named(c, workerPath); ok {
		return sluice.ParseWorkerName(name)
	}
	return "", sluice.Errorf(sluice.Denied, "the certificate is none of a worker")
}

// Server is the server's certificate towards workers, made anew in time.
func (a *Workers) Server() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.serves(a.server) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c, err := a.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "Sluice server"}, DNSNames: []string{ServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, URIs: spiffe("/server")}, key)
	if err == nil {
		a.server = c
	}
	return c, err
}

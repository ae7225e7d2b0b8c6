package sshexec

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

var errWrongPassphrase = errors.New("the passphrase does not open it")

// identity is a private key file. An encrypted one is opened when a host has accepted its public half, not
// before, and then stays open for all hosts: opening costs as much as a hundred logins.
type identity struct {
	path   string
	public ssh.PublicKey // nil where only the passphrase would tell

	passphrase func() ([]byte, error)

	mu     sync.Mutex
	text   []byte // the encrypted file, while locked
	signer ssh.Signer
	wrong  bool // the passphrase is known not to open it
}

// loadIdentity reads a key file; nil without an error if there is none.
func (t *Transport) loadIdentity(path string, text []byte) (*identity, error) {
	if text == nil {
		return nil, nil
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read it (mode %04o): it is not used; chmod 600 %s", info.Mode().Perm(), path)
	}
	return t.parseIdentity(path, text)
}

// jobIdentity is the key that came with the job: opened once for all hosts, as those in files are.
func (t *Transport) jobIdentity(s sluice.Secret) (*identity, error) {
	sum := sha256.Sum256(s.Reveal())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ofJob != nil && t.ofJobSum == sum {
		return t.ofJob, nil
	}
	id, err := t.parseIdentity(jobKey, bytes.Clone(s.Reveal()))
	if err == nil {
		t.ofJob, t.ofJobSum = id, sum
	}
	return id, err
}

func (t *Transport) parseIdentity(path string, text []byte) (*identity, error) {
	id := &identity{path: path, passphrase: t.passphrase}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		id.text, id.public = text, locked.PublicKey
		if id.public == nil {
			// Old formats of encrypted keys do not say what they are.
			if path == jobKey {
				break
			}
			if id.public, err = t.publics.get(path + ".pub"); err != nil {
				return nil, err
			}
		}
	case err != nil:
		return nil, fmt.Errorf("it is no private key that can be used here: %w", err)
	default:
		id.public = signer.PublicKey()
		if id.signer, err = modern(signer); err != nil {
			return nil, err
		}
	}
	if id.public != nil {
		if err := hostkeys.Strong(id.public); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// loadPublic reads a public key file; nil without an error if it is none.
func loadPublic(_ string, text []byte) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, nil
	}
	return key, nil
}

// modern keeps an RSA key from signing with SHA-1.
func modern(s ssh.Signer) (ssh.Signer, error) {
	if kind := s.PublicKey().Type(); kind != ssh.KeyAlgoRSA && kind != ssh.CertAlgoRSAv01 {
		return s, nil
	}
	a, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("it can only sign with SHA-1")
	}
	return ssh.NewSignerWithAlgorithms(a, rsaSignatures())
}

func (t *Transport) passphrase() ([]byte, error) {
	secret, err := t.cfg.Credentials.Passphrase()
	if err != nil {
		return nil, err
	}
	return secret.Reveal(), nil
}

// open returns the key itself. All who need it wait for the one who opens it.
func (id *identity) open() (ssh.Signer, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.signer != nil {
		return id.signer, nil
	}
	if id.wrong {
		return nil, errWrongPassphrase
	}
	passphrase, err := id.passphrase()
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(id.text, passphrase)
	if errors.Is(err, x509.IncorrectPasswordError) {
		id.wrong = true
		return nil, errWrongPassphrase
	}
	if err != nil {
		return nil, err
	}
	if err := hostkeys.Strong(signer.PublicKey()); err != nil {
		return nil, err
	}
	if id.public != nil && !bytes.Equal(id.public.Marshal(), signer.PublicKey().Marshal()) {
		return nil, errors.New("it is another key than its .pub file says")
	}
	if id.signer, err = modern(signer); err != nil {
		return nil, err
	}
	id.text = nil
	return id.signer, nil
}

// lockedSigner opens its identity when it has to sign.
type lockedSigner struct{ id *identity }

func (s lockedSigner) PublicKey() ssh.PublicKey { return s.id.public }

// Algorithms makes it an [ssh.MultiAlgorithmSigner], which can say what it signs with while it is locked.
func (s lockedSigner) Algorithms() []string {
	if s.id.public.Type() == ssh.KeyAlgoRSA {
		return rsaSignatures()
	}
	return []string{s.id.public.Type()}
}

func (s lockedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.Algorithms()[0])
}

func (s lockedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := s.id.open()
	if err != nil {
		return nil, err
	}
	if a, ok := signer.(ssh.AlgorithmSigner); ok {
		return a.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// signerFor returns what signs for the identity, and asks for the passphrase only if it must.
func (id *identity) signerFor() (ssh.Signer, error) {
	id.mu.Lock()
	signer := id.signer
	id.mu.Unlock()
	if signer != nil {
		return signer, nil
	}
	if id.public == nil {
		return id.open()
	}
	return lockedSigner{id}, nil
}

// loadCertificate reads a certificate file; nil without an error if there is none.
func loadCertificate(_ string, text []byte) (*ssh.Certificate, error) {
	if text == nil {
		return nil, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, err
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.CertType != ssh.UserCert {
		return nil, errors.New("it is no certificate for users")
	}
	return cert, nil
}

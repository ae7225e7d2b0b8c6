package sealed

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"

	"sluice"
)

// KeySize is the number of bytes of a public key, of a worker or of who signs.
const KeySize = 32

// Key is a public key: of a worker, to seal to, or of somebody who signs.
type Key [KeySize]byte

// ID is what an envelope calls the key by.
func (k Key) ID() [sha256.Size]byte { return sha256.Sum256(k[:]) }

// Fingerprint is what people compare, in the form that ssh has made known.
func (k Key) Fingerprint() string {
	id := k.ID()
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(id[:])
}

// String is the key in base64.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText writes what String gives.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what String gives, and nothing else.
func (k *Key) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(b) != KeySize || bytes.ContainsAny(text, "\r\n") {
		return sluice.Errorf(sluice.Usage, "this is no key: %d bytes in base64 are", KeySize)
	}
	copy(k[:], b)
	return nil
}

// WorkerKey is the private key of a worker. It opens what is sealed to its public one, and prints as nothing.
type WorkerKey struct {
	private hpke.PrivateKey
	public  Key
}

// NewWorkerKey makes a key by chance.
func NewWorkerKey() (*WorkerKey, error) {
	k, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		return nil, err
	}
	return workerKey(k)
}

func workerKey(k hpke.PrivateKey) (*WorkerKey, error) {
	public := k.PublicKey().Bytes()
	if len(public) != KeySize {
		return nil, fmt.Errorf("a worker's key has %d bytes", len(public))
	}
	return &WorkerKey{private: k, public: Key(public)}, nil
}

// Public is what others seal to.
func (k *WorkerKey) Public() Key { return k.public }

func (k *WorkerKey) String() string   { return "key of a worker, " + k.public.Fingerprint() }
func (k *WorkerKey) GoString() string { return k.String() }

// Signer is the private key of somebody who gives secrets.
type Signer struct {
	private ed25519.PrivateKey
}

// NewSigner makes a key by chance.
func NewSigner() (*Signer, error) {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return &Signer{k}, err
}

// Public is what others know the signer by.
func (s *Signer) Public() Key { return Key(s.private.Public().(ed25519.PublicKey)) }

func (s *Signer) String() string   { return "key of a signer, " + s.Public().Fingerprint() }
func (s *Signer) GoString() string { return s.String() }

// Names of private keys in files.
const (
	workerPEM = "SLUICE WORKER KEY"
	signerPEM = "SLUICE SIGNING KEY"
)

// Marshal writes a key for a file that its owner alone may read.
func (k *WorkerKey) Marshal() ([]byte, error) {
	b, err := k.private.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return pem.EncodeToMemory(&pem.Block{Type: workerPEM, Bytes: b}), nil
}

// ParseWorkerKey reads what Marshal writes.
func ParseWorkerKey(text []byte) (*WorkerKey, error) {
	b, err := parsePEM(text, workerPEM)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	k, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(b)
	if err != nil {
		return nil, sluice.Errorf(sluice.Config, "this is no key of a worker: %v", err)
	}
	return workerKey(k)
}

// Marshal writes a key for a file that its owner alone may read.
func (s *Signer) Marshal() ([]byte, error) {
	return pem.EncodeToMemory(&pem.Block{Type: signerPEM, Bytes: s.private.Seed()}), nil
}

// ParseSigner reads what Marshal writes.
func ParseSigner(text []byte) (*Signer, error) {
	b, err := parsePEM(text, signerPEM)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return &Signer{ed25519.NewKeyFromSeed(b)}, nil
}

func parsePEM(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(block.Bytes) != KeySize || len(bytes.TrimSpace(rest)) > 0 {
		return nil, sluice.Errorf(sluice.Config, "this is no %s", strings.ToLower(kind))
	}
	return block.Bytes, nil
}

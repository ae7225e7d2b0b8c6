// Package minisign makes and proves signatures as the program minisign does, with its keys. It knows nothing of what is
// signed.
package minisign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	lib "aead.dev/minisign"

	"sluice"
)

// Keys are those whose signatures count.
type Keys struct{ keys []lib.PublicKey }

// ParseKeys reads public keys: files as minisign writes them, or lines of them. There must be at least one.
func ParseKeys(texts []string) (*Keys, error) {
	k := &Keys{}
	for _, text := range texts {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "untrusted comment:") || strings.HasPrefix(line, "#") {
				continue
			}
			var key lib.PublicKey
			if err := key.UnmarshalText([]byte(line)); err != nil {
				return nil, &sluice.Error{Code: sluice.Config, Text: fmt.Sprintf("%.80q is no public key of minisign", line), Err: err,
					Hint: "such a key begins with RW and stands in the second line of minisign.pub"}
			}
			k.keys = append(k.keys, key)
		}
	}
	if len(k.keys) == 0 {
		return nil, sluice.Errorf(sluice.Config, "there is no public key where keys are asked for")
	}
	return k, nil
}

// Verify says which key the signature of the message is by, or why it is by none.
func (k *Keys) Verify(message, signature []byte) (by string, err error) {
	var s lib.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return "", fmt.Errorf("it cannot be read: %w", err)
	}
	for _, key := range k.keys {
		if key.ID() == s.KeyID {
			if lib.Verify(key, message, signature) {
				return id(s.KeyID), nil
			}
			return "", fmt.Errorf("it is said to be by the key %s, and does not fit: what was signed was changed", id(s.KeyID))
		}
	}
	return "", fmt.Errorf("it is by the key %s, which is none of the %d that count", id(s.KeyID), len(k.keys))
}

func id(n uint64) string { return fmt.Sprintf("%016X", n) }

// Signer signs with one private key.
type Signer struct{ key lib.PrivateKey }

// NewSigner reads a private key. passphrase is asked for where the key is encrypted.
func NewSigner(text []byte, passphrase func() (sluice.Secret, error)) (*Signer, error) {
	text = bytes.TrimSpace(text)
	s := &Signer{}
	if !lib.IsEncrypted(text) {
		if err := s.key.UnmarshalText(text); err != nil {
			return nil, &sluice.Error{Code: sluice.Usage, Text: "this is no private key of minisign", Err: errors.New("it cannot be read")} // the cause may have a piece of it
		}
		return s, nil
	}
	p, err := passphrase()
	if err != nil {
		return nil, err
	}
	if s.key, err = lib.DecryptKey(string(p.Reveal()), text); err != nil {
		return nil, sluice.Errorf(sluice.Usage, "the private key cannot be opened: the passphrase is another one, or the key is damaged")
	}
	return s, nil
}

// Sign signs a message, as minisign does: of its BLAKE2b digest, which is the only kind that newer ones make.
func (s *Signer) Sign(message []byte) ([]byte, error) {
	r := lib.NewReader(bytes.NewReader(message))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	signature := r.SignWithComments(s.key, "sluice artifact", "signature of the statement of a sluice artifact")
	return append(bytes.TrimSpace(signature), '\n'), nil
}

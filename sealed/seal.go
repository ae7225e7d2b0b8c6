package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sluice"
)

// Seal puts content into an envelope that each of these workers can open, and signs it.
func Seal(b Binding, c Content, to []Key, by *Signer) (Envelope, error) {
	if len(to) == 0 || len(to) > MaxWorkers {
		return nil, sluice.Errorf(sluice.Conflict, "secrets can be sealed to 1 to %d workers, not to %d", MaxWorkers, len(to))
	}
	h := Header{Binding: b, Signer: by.Public()}
	for _, k := range to {
		if h.For(k) {
			return nil, sluice.Errorf(sluice.Usage, "two workers have one key, %s", k.Fingerprint())
		}
		h.Workers = append(h.Workers, k.ID())
	}
	header, err := h.encode()
	if err != nil {
		return nil, err
	}
	key := make([]byte, keySize)
	defer clear(key)
	_, _ = rand.Read(key) // does not fail
	out := append([]byte(nil), header...)
	for _, k := range to {
		wrapped, err := wrap(k, header, key)
		if err != nil {
			return nil, err
		}
		out = append(out, wrapped...)
	}
	content, err := sealContent(key, header, c)
	if err != nil {
		return nil, err
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(content))) //nolint:gosec // at most 128 KiB
	out = append(out, content...)
	out = append(out, ed25519.Sign(by.private, append([]byte(signLabel), out...))...)
	if len(out) > MaxSize {
		return nil, sluice.Errorf(sluice.Usage, "the sealed secrets have %d bytes; %d are the most", len(out), MaxSize)
	}
	return out, nil
}

// info binds a wrapped key to the whole header.
func info(header []byte) []byte {
	sum := sha256.Sum256(header)
	return append([]byte(infoLabel), sum[:]...)
}

func wrap(k Key, header, key []byte) ([]byte, error) {
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(k[:])
	if err == nil {
		var enc []byte
		var s *hpke.Sender
		if enc, s, err = hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info(header)); err == nil {
			var ct []byte
			if ct, err = s.Seal(k[:], key); err == nil {
				return append(enc, ct...), nil
			}
		}
	}
	return nil, sluice.Errorf(sluice.Conflict, "nothing can be sealed to the worker's key %s: %v", k.Fingerprint(), err)
}

func (k *WorkerKey) unwrap(header, wrapped []byte) ([]byte, error) {
	r, err := hpke.NewRecipient(wrapped[:KeySize], k.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info(header))
	if err != nil {
		return nil, errOpen
	}
	key, err := r.Open(k.public[:], wrapped[KeySize:])
	if err != nil || len(key) != keySize {
		return nil, errOpen
	}
	return key, nil
}

// aead encrypts one message, since each envelope has a key of its own: the nonce may be zero.
func aead(key []byte) (cipher.AEAD, []byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, err
	}
	return a, make([]byte, a.NonceSize()), nil
}

func sealContent(key, header []byte, c Content) ([]byte, error) {
	text, err := c.encode()
	if err != nil {
		return nil, err
	}
	defer clear(text)
	a, nonce, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nonce, text, header), nil
}

// Open opens an envelope with the key of a worker, for a job at a time. pinned says whether somebody signs with a key: an
// error of it ends the opening. The caller wipes the content.
func Open(e Envelope, k *WorkerKey, j *sluice.Job, now time.Time, pinned func(by string, signer Key) error) (Content, error) {
	p, err := e.split()
	if err != nil {
		return Content{}, err
	}
	if !p.proved() {
		return Content{}, sluice.Errorf(sluice.Denied, "the secrets of job %s were changed after %s signed them, or are not signed at all", j.ID, p.By)
	}
	if err := p.Fits(j, now); err != nil {
		return Content{}, err
	}
	if err := pinned(p.By, p.Signer); err != nil {
		return Content{}, err
	}
	for i, id := range p.Workers {
		if id != k.public.ID() {
			continue
		}
		key, err := k.unwrap(p.header, p.wrapped[i])
		if err != nil {
			return Content{}, err
		}
		defer clear(key)
		a, nonce, err := aead(key)
		if err != nil {
			return Content{}, err
		}
		text, err := a.Open(nil, nonce, p.content, p.header)
		if err != nil {
			return Content{}, errOpen
		}
		defer clear(text)
		return decodeContent(text)
	}
	return Content{}, sluice.Errorf(sluice.Denied, "the secrets of job %s are sealed to other workers than this one, %s", j.ID, k.public.Fingerprint()).
		WithHint("sluice resume %s with the flags that give its secrets", j.ID)
}

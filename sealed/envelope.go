package sealed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"sluice"
)

// Limits of an envelope.
const (
	// MaxWorkers is the number of workers that an envelope can be sealed to.
	MaxWorkers = 256
	// MaxSize is the number of bytes of an envelope.
	MaxSize = 128 << 10
	// MaxLife is how long an envelope can be good.
	MaxLife = 7 * 24 * time.Hour
)

// Envelope is sealed. It goes over the wire in base64, and prints as a placeholder: it belongs into memory alone.
type Envelope []byte

const placeholder = "[sealed]"

func (e Envelope) String() string             { return placeholder }
func (e Envelope) GoString() string           { return placeholder }
func (e Envelope) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, placeholder) }
func (e Envelope) LogValue() slog.Value       { return slog.StringValue(placeholder) }

// MarshalJSON writes it in base64.
func (e Envelope) MarshalJSON() ([]byte, error) {
	return json.Marshal(base64.StdEncoding.EncodeToString(e))
}

// Header is what an envelope says of itself to everybody.
type Header struct {
	Binding
	// Signer is the key that it says to be signed with.
	Signer Key
	// Workers are the ids of the keys that it is sealed to.
	Workers [][sha256.Size]byte
}

// For reports whether an envelope is sealed to a key.
func (h Header) For(k Key) bool { return slices.Contains(h.Workers, k.ID()) }

const (
	magic     = "sluice-sealed\x00\x01" // the last byte is the version
	keySize   = 32                      // of the content's key
	wrapSize  = KeySize + keySize + 16  // HPKE: the other key, the ciphertext, its tag
	textMost  = 255
	signLabel = "sluice sealed 1 signature\x00"
	infoLabel = "sluice sealed 1 worker\x00"
)

// parts is an envelope taken apart. Slices are those of the envelope.
type parts struct {
	Header
	header, content, signed, signature []byte
	wrapped                            [][]byte
}

var errForm = sluice.Errorf(sluice.Usage, "this is no envelope of secrets, or one of another version")

// Header reads what an envelope says of itself. Nothing of it is proved.
func (e Envelope) Header() (Header, error) {
	p, err := e.split()
	return p.Header, err
}

func (h Header) encode() ([]byte, error) {
	b, err := h.Binding.encode(magic, h.Signer)
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Workers))) //nolint:gosec // Seal bounds it
	for _, id := range h.Workers {
		b = append(b, id[:]...)
	}
	return b, nil
}

// cut takes n bytes off the front.
func cut(b *[]byte, n int) []byte {
	if n < 0 || len(*b) < n {
		*b = nil
		return nil
	}
	out := (*b)[:n:n]
	*b = (*b)[n:]
	return out
}

// split takes an envelope apart. There is exactly one form of each.
func (e Envelope) split() (p parts, err error) {
	if len(e) > MaxSize || !bytes.HasPrefix(e, []byte(magic)) {
		return p, errForm
	}
	rest := []byte(e)[len(magic):]
	var n int
	var ok bool
	if p.Binding, p.Signer, n, ok = cutBinding(&rest); !ok {
		return parts{}, errForm
	}
	if n > MaxWorkers || len(rest) < n*(sha256.Size+wrapSize)+4+ed25519.SignatureSize {
		return parts{}, errForm
	}
	for range n {
		p.Workers = append(p.Workers, [sha256.Size]byte(cut(&rest, sha256.Size)))
	}
	p.header = e[:len(e)-len(rest)]
	for range n {
		p.wrapped = append(p.wrapped, cut(&rest, wrapSize))
	}
	p.content = cut(&rest, int(binary.BigEndian.Uint32(cut(&rest, 4))))
	if p.content == nil || len(rest) != ed25519.SignatureSize {
		return parts{}, errForm
	}
	p.signed, p.signature = e[:len(e)-len(rest)], rest
	return p, nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// proved reports whether the envelope was signed with the key that it names.
func (p parts) proved() bool {
	return ed25519.Verify(p.Signer[:], append([]byte(signLabel), p.signed...), p.signature)
}

var errOpen = sluice.Errorf(sluice.Denied, "the secrets do not open with the key of this worker")

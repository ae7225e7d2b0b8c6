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
	b := []byte(magic)
	for _, s := range []string{string(h.Job), string(h.Namespace), h.By} {
		if len(s) == 0 || len(s) > textMost {
			return nil, sluice.Errorf(sluice.Usage, "a name in an envelope has 1 to %d bytes, not %d", textMost, len(s))
		}
		b = append(append(b, byte(len(s))), s...)
	}
	b = append(append(b, h.Digest[:]...), h.Targets[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Expires.Unix())) //nolint:gosec // goes there and back
	b = append(b, h.Signer[:]...)
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
	text := func() string {
		n := cut(&rest, 1)
		if n == nil || n[0] == 0 {
			rest = nil
			return ""
		}
		return string(cut(&rest, int(n[0])))
	}
	p.Job, p.Namespace, p.By = sluice.JobID(text()), sluice.Namespace(text()), text()
	fixed := cut(&rest, 2*sha256.Size+8+KeySize+2)
	if fixed == nil || !p.Job.Valid() {
		return parts{}, errForm
	}
	p.Digest, p.Targets = Digest(fixed[:32]), Digest(fixed[32:64])
	seconds := binary.BigEndian.Uint64(fixed[64:])
	p.Signer = Key(fixed[72:104])
	n := int(binary.BigEndian.Uint16(fixed[104:]))
	if seconds > maxSeconds || n == 0 || n > MaxWorkers || len(rest) < n*(sha256.Size+wrapSize)+4+ed25519.SignatureSize {
		return parts{}, errForm
	}
	p.Expires = time.Unix(int64(seconds), 0).UTC() //nolint:gosec // bounded
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

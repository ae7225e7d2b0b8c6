package sealed

import (
	"encoding/binary"
	"errors"

	"sluice"
)

// Limits.
const (
	// MaxPassword and MaxPrivateKey are the numbers of bytes that secrets may have.
	MaxPassword   = 4 << 10
	MaxPrivateKey = 32 << 10
	// least is the number of bytes that content has at least; above, it is doubled. So the size says no more than
	// whether there is a private key.
	least = 1 << 10
)

// Content is what an envelope holds. What was not given is not set.
type Content struct {
	Password, Sudo, Passphrase sluice.Secret
	// PrivateKey is the text of a private key to log in with, as ssh-keygen writes it.
	PrivateKey sluice.Secret
}

// Any reports whether there is anything at all.
func (c Content) Any() bool {
	return c.Password.Set() || c.Sudo.Set() || c.Passphrase.Set() || c.PrivateKey.Set()
}

// Wipe overwrites all of it, as far as the runtime allows.
func (c Content) Wipe() {
	for _, s := range c.fields() {
		s.secret.Wipe()
	}
}

type field struct {
	secret *sluice.Secret
	most   int
	name   string
}

func (c *Content) fields() [4]field {
	return [4]field{{&c.Password, MaxPassword, "password"}, {&c.Sudo, MaxPassword, "password for sudo"},
		{&c.Passphrase, MaxPassword, "passphrase"}, {&c.PrivateKey, MaxPrivateKey, "private key"}}
}

// encode writes the fields in order, each with whether it is set and its length, and zeros behind.
func (c Content) encode() ([]byte, error) {
	size := 0
	for _, f := range c.fields() {
		n := len(f.secret.Reveal())
		if n > f.most {
			return nil, sluice.Errorf(sluice.Usage, "the %s has %d bytes; %d are the most", f.name, n, f.most)
		}
		size += 3 + n
	}
	padded := padding(size)
	out := make([]byte, 0, padded)
	for _, f := range c.fields() {
		set := byte(0)
		if f.secret.Set() {
			set = 1
		}
		text := f.secret.Reveal()
		out = append(out, set)
		out = binary.BigEndian.AppendUint16(out, uint16(len(text))) //nolint:gosec // at most 32 KiB, see above
		out = append(out, text...)
	}
	return out[:padded], nil
}

// padding is the number of bytes that content of a size is made to have.
func padding(size int) int {
	padded := least
	for padded < size {
		padded *= 2
	}
	return padded
}

var errContent = errors.New("what is in the envelope cannot be read")

// decodeContent reads what encode writes, and nothing else. What it returns is a copy.
func decodeContent(b []byte) (c Content, err error) {
	defer func() {
		if err != nil {
			c.Wipe()
			c = Content{}
		}
	}()
	whole := len(b)
	for _, f := range c.fields() {
		if len(b) < 3 {
			return c, errContent
		}
		set, n := b[0], int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		if set > 1 || set == 0 && n > 0 || n > f.most || n > len(b) {
			return c, errContent
		}
		if set == 1 {
			*f.secret = sluice.NewSecret(append(make([]byte, 0, n), b[:n]...))
		}
		b = b[n:]
	}
	if whole != padding(whole-len(b)) {
		return c, errContent
	}
	for _, z := range b {
		if z != 0 {
			return c, errContent
		}
	}
	return c, nil
}

package sluice

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password or passphrase. However it is printed, marshalled or logged, it shows a placeholder;
// only [Secret.Reveal] gives the text.
type Secret struct{ text *[]byte }

const redacted = "[secret]"

// NewSecret takes the text over; the caller must not keep it.
func NewSecret(text []byte) Secret { return Secret{text: &text} }

// Set reports whether there is a secret at all. An empty one is set.
func (s Secret) Set() bool { return s.text != nil }

// Reveal returns the text itself, not a copy. It must not be put into an argument, environment, file, log,
// event or error.
func (s Secret) Reveal() []byte {
	if s.text == nil {
		return nil
	}
	return *s.text
}

// Wipe overwrites the text, as far as the runtime allows: copies that the garbage collector or a library made
// are out of reach.
func (s Secret) Wipe() {
	if s.text != nil {
		clear(*s.text)
		*s.text = nil
	}
}

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

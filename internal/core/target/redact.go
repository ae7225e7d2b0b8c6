package target

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"slices"
)

// Mask stands for each byte of a secret in output.
const Mask = '*'

// Secrets are the byte sequences that must not be seen: the secrets themselves, and what base64 and URL
// encoding make of them.
type Secrets struct {
	forms   [][]byte
	longest int
}

// shortForm is the length below which an encoded form is not searched for: it would be found everywhere.
const shortForm = 6

// NewSecrets prepares secrets for redaction; empty ones are left out.
func NewSecrets(secrets ...[]byte) *Secrets {
	s := &Secrets{}
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		s.add(secret, 1)
		s.add([]byte(url.QueryEscape(string(secret))), shortForm)
		s.add([]byte(url.PathEscape(string(secret))), shortForm)
		for shift := range 3 {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				s.add(inBase64(enc, secret, shift), shortForm)
			}
		}
	}
	slices.SortFunc(s.forms, func(a, b []byte) int { return len(b) - len(a) })
	return s
}

func (s *Secrets) add(form []byte, shortest int) {
	if len(form) < shortest || slices.ContainsFunc(s.forms, func(f []byte) bool { return bytes.Equal(f, form) }) {
		return
	}
	s.forms = append(s.forms, append([]byte(nil), form...))
	s.longest = max(s.longest, len(form))
}

// inBase64 are the characters that only the secret decides when it is encoded with shift bytes before it.
func inBase64(enc *base64.Encoding, secret []byte, shift int) []byte {
	padded := append(make([]byte, shift), secret...)
	text := enc.WithPadding(base64.NoPadding).EncodeToString(padded)
	first := (shift*8 + 5) / 6
	last := len(padded) * 8 / 6
	if first >= last {
		return nil
	}
	return []byte(text[first:last])
}

// Text masks secrets in a text.
func (s *Secrets) Text(text string) string {
	if s.longest == 0 {
		return text
	}
	b := []byte(text)
	s.mask(b)
	return string(b)
}

// mask overwrites every form in p, overlapping ones as well.
func (s *Secrets) mask(p []byte) {
	var hits [][2]int
	for _, form := range s.forms {
		for at := 0; ; {
			i := bytes.Index(p[at:], form)
			if i < 0 {
				break
			}
			hits = append(hits, [2]int{at + i, at + i + len(form)})
			at += i + 1
		}
	}
	for _, h := range hits {
		for i := h[0]; i < h[1]; i++ {
			p[i] = Mask
		}
	}
}

// Redactor masks secrets in a stream; what comes out is as long as what went in. It holds back an end that may
// be the beginning of a secret.
type Redactor struct {
	secrets *Secrets
	held    []byte
}

// Redactor begins a stream.
func (s *Secrets) Redactor() *Redactor { return &Redactor{secrets: s} }

// Feed takes the next bytes and returns those that can be shown. The result is valid until the next call; p is
// not changed.
func (r *Redactor) Feed(p []byte) []byte {
	if r.secrets.longest == 0 {
		return p
	}
	b := append(r.held, p...)
	keep := r.secrets.tail(b)
	shown := bytes.Clone(b)
	r.secrets.mask(shown)
	r.held = bytes.Clone(b[len(b)-keep:])
	return shown[:len(b)-keep]
}

// Rest ends the stream.
func (r *Redactor) Rest() []byte {
	b := r.held
	r.held = nil
	r.secrets.mask(b)
	return b
}

// Held is the number of bytes that are held back.
func (r *Redactor) Held() int { return len(r.held) }

// tail is the length of the longest end of p that is a proper beginning of a form.
func (s *Secrets) tail(p []byte) int {
	for n := min(len(p), s.longest-1); n > 0; n-- {
		end := p[len(p)-n:]
		for _, form := range s.forms {
			if len(form) > n && bytes.HasPrefix(form, end) {
				return n
			}
		}
	}
	return 0
}

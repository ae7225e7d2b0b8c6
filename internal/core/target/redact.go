package target

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
)

// Mask stands for each byte of a secret in output.
const Mask = '*'

// Secrets are the byte sequences that must not be seen: the secrets themselves, and what base64, JSON and URL
// encoding make of them.
type Secrets struct {
	forms   [][]byte
	begin   [256][][]byte // the forms, by their first byte
	longest int
}

// shortForm is the length below which an encoded form is not searched for: it would be found everywhere.
const shortForm = 6

// NewSecrets prepares secrets for redaction; empty ones are left out.
func NewSecrets(secrets ...[]byte) *Secrets {
	s := &Secrets{}
	s.Add(secrets...)
	return s
}

// Add prepares more of them. What a [Redactor] has let through stays seen.
func (s *Secrets) Add(secrets ...[]byte) {
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		s.add(secret, 1)
		s.add(inJSON(secret), 1)
		s.add([]byte(url.QueryEscape(string(secret))), shortForm)
		s.add([]byte(url.PathEscape(string(secret))), shortForm)
		for shift := range 3 {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				s.add(inBase64(enc, secret, shift), shortForm)
			}
		}
	}
	slices.SortFunc(s.forms, func(a, b []byte) int { return len(b) - len(a) })
}

func (s *Secrets) add(form []byte, shortest int) {
	if len(form) < shortest || slices.ContainsFunc(s.forms, func(f []byte) bool { return bytes.Equal(f, form) }) {
		return
	}
	form = append([]byte(nil), form...)
	s.forms, s.begin[form[0]] = append(s.forms, form), append(s.begin[form[0]], form)
	s.longest = max(s.longest, len(form))
}

// inJSON is what JSON makes of a text, as configurations are written for hosts.
func inJSON(secret []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(string(secret)); err != nil {
		return nil
	}
	return b.Bytes()[1 : b.Len()-2] // without the quotes and the end of the line
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
	shown := []byte(text)
	s.mask(shown, []byte(text))
	return string(shown)
}

// mask overwrites in shown, which is as long as p, every form that is in p, overlapping ones as well.
func (s *Secrets) mask(shown, p []byte) {
	for _, form := range s.forms {
		for at := 0; ; {
			i := bytes.Index(p[at:], form)
			if i < 0 {
				break
			}
			for j := at + i; j < at+i+len(form); j++ {
				shown[j] = Mask
			}
			at += i + 1
		}
	}
}

// Redactor masks secrets in a stream; what comes out is as long as what went in. It holds back an end that may
// be the beginning of a secret.
type Redactor struct {
	secrets *Secrets
	held    []byte // as it came
	shown   []byte // the same, masked as far as is known
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
	shown := append(r.shown, p...)
	r.secrets.mask(shown, b)
	out := len(b) - r.secrets.tail(b)
	r.held, r.shown = bytes.Clone(b[out:]), bytes.Clone(shown[out:])
	return shown[:out]
}

// Rest ends the stream.
func (r *Redactor) Rest() []byte {
	rest := r.shown
	r.held, r.shown = nil, nil
	return rest
}

// Held is the number of bytes that are held back.
func (r *Redactor) Held() int { return len(r.held) }

// tail is the length of the longest end of p that is a proper beginning of a form.
func (s *Secrets) tail(p []byte) int {
	for n := min(len(p), s.longest-1); n > 0; n-- {
		end := p[len(p)-n:]
		for _, form := range s.begin[end[0]] {
			if len(form) > n && bytes.HasPrefix(form, end) {
				return n
			}
		}
	}
	return 0
}

package sshexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// maxOffers is the number of keys that a host is shown; sshd hangs up after six refusals. One of them is left
// for the password where the host takes one.
const maxOffers = 6

// errRefused says that a host took none of what there is to show.
var errRefused = errors.New("the login was refused")

// login is one conversation about who we are.
type login struct {
	ctx   context.Context
	t     *Transport
	d     *destination
	guard *guard

	keys    *gathered // nil until the host asks for keys
	offered []string  // labels of those it was shown

	reached bool     // the host's key was right and the login began
	allowed []string // what the host takes, as it last said

	// The password, of which there is one, and at most one use.
	done      func(accepted bool) // nil unless it was given out and its fate is open
	sentBy    string              // the method that it went out with
	partial   int                 // partial successes before that
	secretErr error
	refused   bool
}

// next chooses the next method; the library calls it before each.
func (l *login) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.reached, l.allowed = true, c.AllowedMethods
	if l.done != nil {
		n := len(c.PartialSuccessMethods)
		l.settle(n > l.partial && c.PartialSuccessMethods[n-1] == l.sentBy)
	}
	if l.ctx.Err() != nil {
		return nil, context.Cause(l.ctx)
	}
	for _, m := range l.d.methods {
		if !slices.Contains(c.AllowedMethods, m) {
			continue
		}
		var method ssh.AuthMethod
		var err error
		if m == publicKey {
			method, err = l.nextKey()
		} else {
			method, err = l.password(m, len(c.PartialSuccessMethods))
		}
		if method != nil || err != nil {
			return method, err
		}
	}
	return nil, errRefused
}

func (l *login) nextKey() (ssh.AuthMethod, error) {
	if l.keys == nil {
		keys, err := l.t.gather(l.ctx, l.d)
		if err != nil {
			return nil, err
		}
		l.keys = keys
	}
	limit := maxOffers
	if slices.Contains(l.allowed, password) || slices.Contains(l.allowed, keyboardInteractive) {
		limit--
	}
	if len(l.keys.offers) == 0 || len(l.offered) >= limit {
		return nil, nil
	}
	o := l.keys.offers[0]
	l.keys.offers = l.keys.offers[1:]
	l.offered = append(l.offered, o.label)
	return ssh.PublicKeys(&watchedSigner{o.signer, l, o}), nil
}

// watchedSigner notes why a key that the host would take could not sign.
type watchedSigner struct {
	ssh.Signer
	l *login
	o offer
}

func (s *watchedSigner) Algorithms() []string {
	if m, ok := s.Signer.(ssh.MultiAlgorithmSigner); ok {
		return m.Algorithms()
	}
	return []string{plainKey(s.PublicKey()).Type()}
}

func (s *watchedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (sig *ssh.Signature, err error) {
	if a, ok := s.Signer.(ssh.AlgorithmSigner); ok {
		sig, err = a.SignWithAlgorithm(rand, data, algorithm)
	} else {
		sig, err = s.Sign(rand, data)
	}
	if errors.Is(err, sluice.ErrNoSecret) {
		s.l.keys.locked = s.o.path
	} else if err != nil {
		s.l.keys.note(s.o.label, err)
	}
	return sig, err
}

// password returns a method that sends the password, or nil where there is none to send (any more).
func (l *login) password(method string, partial int) (ssh.AuthMethod, error) {
	if l.sentBy != "" || l.secretErr != nil {
		return nil, nil
	}
	if method == keyboardInteractive {
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
			return l.answer(questions, echos, partial)
		}), nil
	}
	secret, err := l.secret(method, partial)
	if err != nil {
		if l.ctx.Err() != nil {
			return nil, err
		}
		return nil, nil // there may be another way
	}
	return ssh.Password(string(secret.Reveal())), nil
}

// answer answers the questions of a host only if they are one hidden one for a password.
func (l *login) answer(questions []string, echos []bool, partial int) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) > 1 || echos[0] || !strings.Contains(strings.ToLower(questions[0]), "password") {
		l.secretErr = fmt.Errorf("the host asks %s, which is not a plain question for a password", quoteAll(questions))
		return nil, l.secretErr
	}
	if l.sentBy != "" {
		return nil, errRefused // it asks again, so it did not take it
	}
	secret, err := l.secret(keyboardInteractive, partial)
	if err != nil {
		return nil, err
	}
	return []string{string(secret.Reveal())}, nil
}

// secret waits for the password, without the host's clock running. From then on it counts as sent.
func (l *login) secret(method string, partial int) (sluice.Secret, error) {
	l.guard.pause()
	secret, done, err := l.t.cfg.Credentials.Login(l.ctx, l.d.host)
	if resumed := l.guard.resume(l.ctx); err == nil && resumed != nil {
		done(true) // it was not sent: the host did not ask
		err = resumed
	}
	if err != nil {
		l.secretErr = err
		return sluice.Secret{}, err
	}
	l.done, l.sentBy, l.partial = done, method, partial
	return secret, nil
}

// settle tells what became of the password, once.
func (l *login) settle(accepted bool) {
	if l.done == nil {
		return
	}
	l.done(accepted)
	l.done = nil
	l.refused = !accepted
}

// finish ends the conversation. A password whose answer did not arrive counts as refused: sshd hangs up after
// too many refusals without saying more, and an account that was locked once too often is worse than a host
// that is tried again by hand.
func (l *login) finish(err error) {
	l.settle(err == nil)
	if l.keys != nil {
		l.keys.close()
	}
}

// failure says for people why the login failed; ok is false if it was not the login that failed.
func (l *login) failure(err error) (failure sluice.ConnectFailure, cause error, ok bool) {
	hungUp := strings.Contains(err.Error(), "ssh: disconnect, reason")
	switch {
	case l.refused:
		return sluice.AuthRefused, fmt.Errorf("%s: the password was refused", l.d), true
	case !l.reached || !errors.Is(err, errRefused) && l.secretErr == nil && !hungUp && !strings.Contains(err.Error(), "ssh: too many authentication"):
		return "", nil, false
	}
	var locked string
	var notes []string
	if l.keys != nil {
		locked, notes = l.keys.locked, l.keys.notes
	}
	text := fmt.Sprintf("%s: the login was refused; the host takes %s", l.d, quoteAll(l.allowed))
	if len(l.offered) > 0 {
		text += "; shown were " + strings.Join(l.offered, ", ")
	} else {
		text += "; there was no key to show"
	}
	if len(notes) > 0 {
		text += " (not used: " + strings.Join(notes, "; ") + ")"
	}
	switch {
	case locked != "":
		return sluice.NeedSecret, fmt.Errorf("%s; %s is encrypted: %w", text, locked, sluice.ErrNoSecret), true
	case errors.Is(l.secretErr, sluice.ErrNoSecret) && len(l.offered) == 0:
		return sluice.NeedSecret, fmt.Errorf("%s: %w", text, l.secretErr), true
	case l.secretErr != nil:
		return sluice.AuthRefused, fmt.Errorf("%s: %w", text, l.secretErr), true
	case hungUp:
		return sluice.AuthRefused, fmt.Errorf("%s: %s", text, printable(err.Error())), true
	}
	return sluice.AuthRefused, fmt.Errorf("%s: %w", text, err), true
}

// quoteAll makes text from a host fit for a terminal.
func quoteAll(texts []string) string {
	if len(texts) == 0 {
		return "nothing"
	}
	out := make([]string, 0, len(texts))
	for _, s := range texts[:min(len(texts), 8)] {
		out = append(out, printable(s))
	}
	return strings.Join(out, ", ")
}

// maxQuoted is how much of a host's text is shown.
const maxQuoted = 200

func printable(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "..."
	}
	q := fmt.Sprintf("%q", s)
	if q == `"`+s+`"` && !strings.Contains(s, " ") {
		return s
	}
	return q
}

package work

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"sluice"
)

// sudoSecret is the password for sudo. One that was given out and not used yet, because the link was lost in
// between, is used first.
func (t *attempt) sudoSecret(ctx context.Context) (sluice.Secret, error) {
	if t.sudoDone != nil {
		return t.sudo, nil
	}
	if t.w.cfg.Credentials == nil {
		return sluice.Secret{}, sluice.ErrNoSecret
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	secret, done, err := t.w.cfg.Credentials.Sudo(ctx, t.a.Host)
	if err != nil {
		return sluice.Secret{}, err
	}
	t.sudo, t.sudoDone = secret, done
	return secret, nil
}

// sudoAnswered gives the verdict on the password, once.
func (t *attempt) sudoAnswered(accepted bool) {
	if t.sudoDone != nil {
		t.sudoDone(accepted)
		t.sudoDone, t.sudo = nil, sluice.Secret{}
	}
}

// answer sends a secret to a prompt of the command.
func (f *follower) answer(ctx context.Context, prompt string) error {
	secret, done, err := f.t.promptSecret(ctx, prompt)
	switch {
	case errors.Is(err, sluice.ErrNoSecret), errors.Is(err, sluice.ErrSecretRefused):
		return nil // the command waits until its time limit; there is nothing to say
	case err != nil:
		return err
	}
	if f.t.answered != nil {
		f.t.answered(true)
	}
	f.t.answered = done
	line := bytes.Clone(secret.Reveal())
	if !f.tty {
		line = append([]byte("p "), line...)
	}
	line = append(line, '\n')
	_, _ = f.c.session.Stdin().Write(line)
	clear(line)
	return nil
}

// promptSecret chooses by what the prompt asks for: a passphrase, or a password, that of sudo before that of
// the login.
func (t *attempt) promptSecret(ctx context.Context, prompt string) (sluice.Secret, func(bool), error) {
	c := t.w.cfg.Credentials
	if c == nil {
		return sluice.Secret{}, nil, sluice.ErrNoSecret
	}
	if strings.Contains(strings.ToLower(prompt), "passphrase") {
		if s, err := c.Passphrase(); err == nil {
			return s, nil, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, done, err := c.Sudo(ctx, t.a.Host)
	if errors.Is(err, sluice.ErrNoSecret) {
		s, done, err = c.Login(ctx, t.a.Host)
	}
	return s, done, err
}

// settlePrompt gives the verdict on what was answered to a prompt: refused if the prompt came again.
func (t *attempt) settlePrompt() {
	if t.answered != nil {
		t.answered(!t.prompts.Again())
		t.answered = nil
	}
}

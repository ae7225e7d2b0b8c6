// Package secrets gives out the passwords of a job, in memory only, and keeps a wrong one from locking an account
// fleet-wide: the first host that uses a password goes alone, and after two refusals nobody gets it any more.
//
// It knows no transport, no terminal and no file.
package secrets

import (
	"context"
	"sync"

	"sluice"
)

// maxRefused is how often a password may be refused.
const maxRefused = 2

// Keeper implements [sluice.Credentials].
type Keeper struct {
	login, sudo     desk
	passphrase, key sluice.Secret
}

// Of are the secrets of a job. Those that nobody gave are not set.
type Of struct {
	Login, Sudo, Passphrase sluice.Secret
	// PrivateKey is the text of a private key to log in with.
	PrivateKey sluice.Secret
	// MayTry is asked before a host tries a password that none has accepted yet, and may wait until that is allowed; an
	// error keeps it from being tried. Nil: it is allowed.
	MayTry func(context.Context) error
}

// New makes a Keeper.
func New(of Of) *Keeper {
	k := &Keeper{passphrase: of.Passphrase, key: of.PrivateKey}
	k.login.open(of.Login, of.MayTry)
	k.sudo.open(of.Sudo, of.MayTry)
	return k
}

// Login implements [sluice.Credentials].
func (k *Keeper) Login(ctx context.Context, _ sluice.Host) (sluice.Secret, func(bool), error) {
	return k.login.get(ctx)
}

// Sudo implements [sluice.Credentials].
func (k *Keeper) Sudo(ctx context.Context, _ sluice.Host) (sluice.Secret, func(bool), error) {
	return k.sudo.get(ctx)
}

// Passphrase implements [sluice.Credentials].
func (k *Keeper) Passphrase() (sluice.Secret, error) {
	if !k.passphrase.Set() {
		return sluice.Secret{}, sluice.ErrNoSecret
	}
	return k.passphrase, nil
}

// PrivateKey implements [sluice.Credentials].
func (k *Keeper) PrivateKey() (sluice.Secret, error) {
	if !k.key.Set() {
		return sluice.Secret{}, sluice.ErrNoSecret
	}
	return k.key, nil
}

// Values implements [sluice.Credentials]. The private key is none of them: nothing of it gets to a host.
func (k *Keeper) Values() (out []sluice.Secret) {
	for _, s := range []sluice.Secret{k.login.secret, k.sudo.secret, k.passphrase} {
		if s.Set() {
			out = append(out, s)
		}
	}
	return out
}

// Refused reports whether hosts have refused a password so often that nobody gets it any more.
func (k *Keeper) Refused() bool {
	_, login := k.login.state()
	_, sudo := k.sudo.state()
	return login || sudo
}

// Wipe overwrites all secrets, as far as the runtime allows.
func (k *Keeper) Wipe() {
	for _, s := range k.Values() {
		s.Wipe()
	}
	k.key.Wipe()
}

// desk gives out one secret. Until a host has accepted it, one host at a time tries it.
type desk struct {
	secret  sluice.Secret
	mayTry  func(context.Context) error
	turn    chan struct{} // holds one token while the secret is unproved: who has it may try
	mu      sync.Mutex
	proved  bool
	refused int
}

func (d *desk) open(s sluice.Secret, mayTry func(context.Context) error) {
	d.secret, d.mayTry = s, mayTry
	d.turn = make(chan struct{}, 1)
	d.turn <- struct{}{}
}

func (d *desk) state() (proved bool, closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proved, d.refused >= maxRefused
}

func (d *desk) get(ctx context.Context) (sluice.Secret, func(bool), error) {
	if !d.secret.Set() {
		return sluice.Secret{}, nil, sluice.ErrNoSecret
	}
	proved, closed := d.state()
	if !proved && !closed {
		select {
		case <-d.turn:
		case <-ctx.Done():
			return sluice.Secret{}, nil, ctx.Err()
		}
		if proved, closed = d.state(); proved || closed {
			d.turn <- struct{}{} // the next one waits for the same news
		} else if err := d.allowed(ctx); err != nil {
			d.turn <- struct{}{}
			return sluice.Secret{}, nil, err
		}
	}
	if closed {
		return sluice.Secret{}, nil, sluice.ErrSecretRefused
	}
	alone := !proved
	var once sync.Once
	return d.secret, func(accepted bool) { once.Do(func() { d.done(accepted, alone) }) }, nil
}

func (d *desk) allowed(ctx context.Context) error {
	if d.mayTry == nil {
		return nil
	}
	return d.mayTry(ctx)
}

func (d *desk) done(accepted, alone bool) {
	d.mu.Lock()
	if accepted {
		d.proved = true
	} else {
		d.refused++
	}
	d.mu.Unlock()
	if alone {
		d.turn <- struct{}{}
	}
}

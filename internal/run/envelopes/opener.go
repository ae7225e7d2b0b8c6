package envelopes

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/internal/run/secrets"
	"sluice/sealed"
)

// Opener is a worker that opens envelopes.
type Opener struct {
	Key *sealed.WorkerKey
	// Trust says whether the secrets of somebody who signs with a key are taken; an error says why not.
	Trust func(by string, signer sealed.Key) error
	Clock sluice.Clock
	// Hold takes a secret into memory that neither swap nor a core file gets, and wipes the one that it was given. release
	// ends that, after the secret was wiped. nil: it stays where it is.
	Hold func(sluice.Secret) (held sluice.Secret, release func())
	// MayTry is asked before a password is tried that no host has accepted yet; see package secrets. May be nil.
	MayTry func(context.Context) error
}

// Job gives out the secrets of a job. get returns its envelope as it is now, or nil; refused is told of one whose password
// hosts have refused twice, before anybody else hears of it. The caller closes the job when nobody uses the secrets any
// more.
func (o *Opener) Job(j *sluice.Job, get func() sealed.Envelope, refused func(sealed.Envelope)) *Job {
	return &Job{o: o, spec: j, get: get, refused: refused}
}

// Job implements [sluice.Credentials] for one job. The envelope is opened when something is first asked for, and again if
// there is another one.
type Job struct {
	o    *Opener
	spec *sluice.Job
	get  func() sealed.Envelope

	refused func(sealed.Envelope)

	mu      sync.Mutex
	from    sealed.Envelope // that keeper is of
	expires time.Time
	keeper  *secrets.Keeper
	err     error
	all     []*secrets.Keeper
	release []func()
}

// Check opens the envelope, and says why it does not open. A job that needs no secrets needs no envelope.
func (j *Job) Check() error {
	_, err := j.open()
	return err
}

// open returns who gives out the secrets now.
func (j *Job) open() (*secrets.Keeper, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, now := j.get(), j.o.Clock()
	switch {
	case e == nil && !j.spec.Options.NeedsSecrets():
		if j.keeper == nil {
			j.keeper = secrets.New(secrets.Of{})
		}
		return j.keeper, nil
	case e == nil && j.keeper == nil:
		return nil, Missing(j.spec)
	case j.from != nil && (e == nil || bytes.Equal(e, j.from)): // what is open stays open, until its time is over
		if j.err == nil && !now.Before(j.expires) {
			j.err = j.tooLate()
		}
		return j.keeper, j.err
	}
	j.from, j.keeper = e, nil
	c, err := sealed.Open(e, j.o.Key, j.spec, now, j.o.Trust)
	if j.err = err; err != nil {
		return nil, err
	}
	h, err := e.Header()
	if err != nil {
		return nil, err
	}
	j.expires = h.Expires
	j.keeper = secrets.New(secrets.Of{Login: j.hold(c.Password), Sudo: j.hold(c.Sudo), Passphrase: j.hold(c.Passphrase),
		PrivateKey: j.hold(c.PrivateKey), MayTry: j.o.MayTry})
	j.all = append(j.all, j.keeper)
	return j.keeper, nil
}

func (j *Job) tooLate() error {
	return sluice.Errorf(sluice.Denied, "the secrets of job %s were good until %s", j.spec.ID, j.expires.Format(time.RFC3339)).
		WithHint("sluice resume %s asks for them", j.spec.ID)
}

// Expires is when what was opened last is not good any more; zero where nothing was.
func (j *Job) Expires() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.expires
}

func (j *Job) hold(s sluice.Secret) sluice.Secret {
	if j.o.Hold == nil || !s.Set() {
		return s
	}
	held, release := j.o.Hold(s)
	j.release = append(j.release, release)
	return held
}

// Missing says that a job cannot go on without its secrets.
func Missing(j *sluice.Job) error {
	id := j.ID
	e := sluice.Errorf(sluice.Conflict, "job %s needs its secrets again: they are kept in memory only", id)
	if of := j.Action.Undoes; of != "" { // nobody could know of it when they sealed theirs
		e = sluice.Errorf(sluice.Conflict, "job %s needs secrets or a signature of its own: those of job %s, which it takes back, are for that job alone", id, of)
	}
	if v := j.Action.Validates; v != nil {
		e = sluice.Errorf(sluice.Conflict, "job %s needs secrets or a signature of its own: those of job %s, which it validates, are for that job alone", id, v.Job)
	}
	return e.WithHint("sluice resume %s, with --ask-password, --ask-sudo-password, --ask-passphrase or --identity-file", id)
}

// Close wipes all that was opened.
func (j *Job) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, k := range j.all {
		k.Wipe()
	}
	for _, release := range j.release {
		release()
	}
	j.all, j.release, j.keeper, j.from = nil, nil, nil, nil
	j.get = func() sealed.Envelope { return nil }
}

// none makes an error of the credentials of why there are none.
func none(err error) error { return fmt.Errorf("%w: %w", sluice.ErrNoSecret, err) }

// Login implements [sluice.Credentials].
func (j *Job) Login(ctx context.Context, h sluice.Host) (sluice.Secret, func(bool), error) {
	return j.give(ctx, h, (*secrets.Keeper).Login)
}

// Sudo implements [sluice.Credentials].
func (j *Job) Sudo(ctx context.Context, h sluice.Host) (sluice.Secret, func(bool), error) {
	return j.give(ctx, h, (*secrets.Keeper).Sudo)
}

func (j *Job) give(ctx context.Context, h sluice.Host,
	of func(*secrets.Keeper, context.Context, sluice.Host) (sluice.Secret, func(bool), error)) (sluice.Secret, func(bool), error) {
	k, err := j.open()
	if err != nil {
		return sluice.Secret{}, nil, none(err)
	}
	s, done, err := of(k, ctx, h)
	if err != nil {
		return s, done, err
	}
	return s, func(accepted bool) {
		done(accepted)
		if !accepted && k.Refused() && j.refused != nil {
			j.refused(j.envelopeOf(k))
		}
	}, nil
}

// envelopeOf is what a keeper was made of; nil if there is another one by now.
func (j *Job) envelopeOf(k *secrets.Keeper) sealed.Envelope {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.keeper != k {
		return nil
	}
	return j.from
}

// Opened is the envelope that was opened last, or nil.
func (j *Job) Opened() sealed.Envelope {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.from
}

// Passphrase implements [sluice.Credentials].
func (j *Job) Passphrase() (sluice.Secret, error) {
	k, err := j.open()
	if err != nil {
		return sluice.Secret{}, none(err)
	}
	return k.Passphrase()
}

// PrivateKey implements [sluice.Credentials].
func (j *Job) PrivateKey() (sluice.Secret, error) {
	k, err := j.open()
	if err != nil {
		return sluice.Secret{}, none(err)
	}
	return k.PrivateKey()
}

// Values implements [sluice.Credentials].
func (j *Job) Values() []sluice.Secret {
	_, _ = j.open() // whoever asks for one hears of the error
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []sluice.Secret
	for _, k := range j.all { // also what was given out before: it may still be printed
		out = append(out, k.Values()...)
	}
	return out
}

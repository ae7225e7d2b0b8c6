// Package roster keeps who may be a worker: invitations, certificates, draining, removal. Every change is an event in the
// log of who may do what; what cannot be appended is not done.
//
// It knows no connections, and of certificates only what they are called.
package roster

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/crew"
)

// Sign certifies the key of a request for a worker.
type Sign func(request []byte, name sluice.WorkerName) (certificate []byte, serial string, expires time.Time, err error)

const page = 10000

// Keeper answers for one log. It is safe for concurrent use.
type Keeper struct {
	log   sluice.Log
	clock sluice.Clock
	sign  Sign
	state chan *crew.Roster // holds one: who has it may read on
}

// New reads who may be a worker.
func New(ctx context.Context, log sluice.Log, clock sluice.Clock, sign Sign) (*Keeper, error) {
	k := &Keeper{log: log, clock: clock, sign: sign, state: make(chan *crew.Roster, 1)}
	k.state <- crew.NewRoster()
	return k, k.look(ctx, func(*crew.Roster) error { return nil })
}

// look calls f with the roster at the head of the log.
func (k *Keeper) look(ctx context.Context, f func(*crew.Roster) error) error {
	var r *crew.Roster
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r = <-k.state:
	}
	defer func() { k.state <- r }()
	for {
		tail, err := k.log.Read(ctx, sluice.AccessNamespace, r.Seq(), page)
		if err != nil {
			return err
		}
		if err := apply(r, tail); err != nil {
			return err
		}
		if len(tail) < page {
			return f(r)
		}
	}
}

func apply(r *crew.Roster, tail []sluice.Event) error {
	for _, e := range tail {
		if err := r.Apply(e); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "who may be a worker cannot be read from the journal", Err: err}
		}
	}
	return nil
}

// change appends what decide makes of the roster at the head of the log, as one step.
func (k *Keeper) change(ctx context.Context, decide func(*crew.Roster) (sluice.Body, error)) error {
	return k.look(ctx, func(r *crew.Roster) error {
		_, err := k.log.Update(ctx, sluice.AccessNamespace, r.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
			if err := apply(r, tail); err != nil {
				return nil, err
			}
			b, err := decide(r)
			if err != nil || b == nil {
				return nil, err
			}
			return []sluice.Event{{Time: k.clock(), Body: b}}, nil
		})
		return err
	})
}

// Invite lets a worker enrol under a name, and returns the secret for it, which is nowhere else.
func (k *Keeper) Invite(ctx context.Context, by sluice.Principal, name sluice.WorkerName, pools []sluice.Pool) (secret string, expires time.Time, err error) {
	if len(pools) == 0 {
		pools = []sluice.Pool{sluice.DefaultPool}
	}
	for _, p := range pools {
		if !sluice.ValidPool(string(p)) {
			return "", time.Time{}, sluice.Errorf(sluice.Usage, "%q is no name of a pool: small letters, digits and '-' are", p)
		}
	}
	var random [20]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random[:]))
	expires = k.clock().Add(crew.TokenLife)
	err = k.change(ctx, func(*crew.Roster) (sluice.Body, error) {
		return sluice.WorkerInvited{Worker: name, Pools: pools, Digest: crew.Digest(secret), Expires: expires, By: by}, nil
	})
	return secret, expires, err
}

// Enrol uses an invitation up and certifies the worker's key.
func (k *Keeper) Enrol(ctx context.Context, name sluice.WorkerName, secret string, request, sealKey []byte, from string) (certificate []byte, err error) {
	err = k.change(ctx, func(r *crew.Roster) (sluice.Body, error) {
		if err := r.MayEnrol(name, secret, k.clock()); err != nil {
			return nil, err
		}
		der, serial, expires, err := k.sign(request, name)
		if err != nil {
			return nil, err
		}
		certificate = der
		return sluice.WorkerEnrolled{Worker: name, Serial: serial, Expires: expires, SealKey: sealKey, From: from}, nil
	})
	if err != nil {
		return nil, err
	}
	return certificate, nil
}

// Renew certifies a worker's key that has a certificate already.
func (k *Keeper) Renew(ctx context.Context, name sluice.WorkerName, serial string, request []byte) (certificate []byte, err error) {
	err = k.change(ctx, func(r *crew.Roster) (sluice.Body, error) {
		if _, err := r.Admit(name, serial); err != nil {
			return nil, err
		}
		der, number, expires, err := k.sign(request, name)
		if err != nil {
			return nil, err
		}
		certificate = der
		return sluice.WorkerRenewed{Worker: name, Serial: number, Expires: expires}, nil
	})
	if err != nil {
		return nil, err
	}
	return certificate, nil
}

// Admit says why a worker that shows a certificate is refused.
func (k *Keeper) Admit(ctx context.Context, name sluice.WorkerName, serial string) (w crew.Known, err error) {
	err = k.look(ctx, func(r *crew.Roster) error {
		w, err = r.Admit(name, serial)
		return err
	})
	return w, err
}

// All lists the workers that are not removed, by name.
func (k *Keeper) All(ctx context.Context) (out []crew.Known, err error) {
	err = k.look(ctx, func(r *crew.Roster) error {
		out = r.All()
		return nil
	})
	return out, err
}

// Drain keeps new attempts from a worker; off gives them to it again.
func (k *Keeper) Drain(ctx context.Context, by sluice.Principal, name sluice.WorkerName, off bool) error {
	return k.change(ctx, func(r *crew.Roster) (sluice.Body, error) {
		w, err := r.Find(name)
		if err != nil || w.Draining == !off {
			return nil, err
		}
		return sluice.WorkerDrained{Worker: name, Off: off, By: by}, nil
	})
}

// Remove refuses a worker from now on.
func (k *Keeper) Remove(ctx context.Context, by sluice.Principal, name sluice.WorkerName) error {
	return k.change(ctx, func(r *crew.Roster) (sluice.Body, error) {
		if _, err := r.Find(name); err != nil {
			return nil, err
		}
		return sluice.WorkerRemoved{Worker: name, By: by}, nil
	})
}

// Package members keeps who is a member of the cluster: invitations, who joined, who was removed. Every change is an event in the log of
// who may do what; what cannot be appended is not done.
//
// It is made as package roster is for workers, and differs in what [sluice/internal/core/member] says. It knows no connections and no
// certificates, and does not tell etcd: whoever asks it carries out what the list says.
package members

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"net"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/core/member"
)

const page = 10000

// Keeper answers for one log. It is safe for concurrent use.
type Keeper struct {
	log   sluice.Log
	clock sluice.Clock
	state chan *member.List // holds one: who has it may read on
}

// New reads who is a member.
func New(ctx context.Context, log sluice.Log, clock sluice.Clock) (*Keeper, error) {
	k := &Keeper{log: log, clock: clock, state: make(chan *member.List, 1)}
	k.state <- member.NewList()
	return k, k.look(ctx, func(*member.List) error { return nil })
}

// look calls f with the list at the head of the log.
func (k *Keeper) look(ctx context.Context, f func(*member.List) error) error {
	var l *member.List
	select {
	case <-ctx.Done():
		return ctx.Err()
	case l = <-k.state:
	}
	defer func() { k.state <- l }()
	for {
		tail, err := k.log.Read(ctx, sluice.AccessNamespace, l.Seq(), page)
		if err != nil {
			return err
		}
		if err := apply(l, tail); err != nil {
			return err
		}
		if len(tail) < page {
			return f(l)
		}
	}
}

func apply(l *member.List, tail []sluice.Event) error {
	for _, e := range tail {
		if err := l.Apply(e); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "who is a member of the cluster cannot be read from the journal", Err: err}
		}
	}
	return nil
}

// change appends what decide makes of the list at the head of the log, as one step.
func (k *Keeper) change(ctx context.Context, decide func(*member.List) ([]sluice.Body, error)) error {
	return k.look(ctx, func(l *member.List) error {
		_, err := k.log.Update(ctx, sluice.AccessNamespace, l.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
			if err := apply(l, tail); err != nil {
				return nil, err
			}
			bodies, err := decide(l)
			if err != nil {
				return nil, err
			}
			var out []sluice.Event
			for _, b := range bodies {
				out = append(out, sluice.Event{Time: k.clock(), Body: b})
			}
			return out, nil
		})
		return err
	})
}

// Invite lets a server join under a name, in place of a member where replaces is not "", and returns the secret for it, which is nowhere
// else.
func (k *Keeper) Invite(ctx context.Context, by sluice.Principal, name, replaces sluice.ServerName) (secret string, expires time.Time, err error) {
	var random [20]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random[:]))
	expires = k.clock().Add(member.TokenLife)
	err = k.change(ctx, func(l *member.List) ([]sluice.Body, error) {
		if err := l.MayInvite(name, replaces); err != nil {
			return nil, err
		}
		return []sluice.Body{sluice.ServerInvited{Server: name, Replaces: replaces, Digest: crew.Digest(secret), Expires: expires, By: by}}, nil
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return secret, expires, nil
}

// Join makes a server a member, and removes the one that it replaces, as one step. The same server may come again while its token is good.
// What it returns says whom it replaces.
func (k *Keeper) Join(ctx context.Context, name sluice.ServerName, secret, address, from string) (m member.Known, err error) {
	if err := checkAddress(address); err != nil {
		return m, err
	}
	err = k.change(ctx, func(l *member.List) ([]sluice.Body, error) {
		again, err := l.MayJoin(name, secret, address, k.clock())
		if err != nil || again {
			return nil, err
		}
		invited, err := l.Find(name)
		if err != nil {
			return nil, err
		}
		out := []sluice.Body{sluice.ServerJoined{Server: name, Address: address, From: from}}
		if invited.Replaces != "" {
			out = append(out, sluice.ServerRemoved{Server: invited.Replaces, By: invited.By, Reason: "replaced by " + string(name)})
		}
		return out, nil
	})
	if err != nil {
		return m, err
	}
	return k.Find(ctx, name)
}

// Found makes the first server a member; it changes nothing where that one is a member at the address already.
func (k *Keeper) Found(ctx context.Context, name sluice.ServerName, address string) error {
	if err := checkAddress(address); err != nil {
		return err
	}
	return k.change(ctx, func(l *member.List) ([]sluice.Body, error) {
		members := l.Members()
		for _, m := range members {
			if m.Name == name && m.Address == address {
				return nil, nil
			}
		}
		if len(members) > 0 {
			return nil, sluice.Errorf(sluice.Conflict, "the cluster has members already, and %s at %s is none of them", name, address).
				WithHint("sluice server members add %s, on one of them", name)
		}
		return []sluice.Body{sluice.ServerJoined{Server: name, Address: address}}, nil
	})
}

// Begin makes a server the only member, at the beginning of a cluster whose log was that of another one: all others are refused from then on.
func (k *Keeper) Begin(ctx context.Context, by sluice.Principal, name sluice.ServerName, address, reason string) error {
	if err := checkAddress(address); err != nil {
		return err
	}
	return k.change(ctx, func(l *member.List) (out []sluice.Body, err error) {
		is := false
		for _, m := range l.All(k.clock()) {
			if m.Joined && m.Name == name && m.Address == address {
				is = true
				continue
			}
			out = append(out, sluice.ServerRemoved{Server: m.Name, By: by, Reason: reason})
		}
		if !is {
			out = append(out, sluice.ServerJoined{Server: name, Address: address})
		}
		return out, nil
	})
}

// Remove refuses a server from now on, or withdraws its invitation.
func (k *Keeper) Remove(ctx context.Context, by sluice.Principal, name sluice.ServerName) error {
	return k.change(ctx, func(l *member.List) ([]sluice.Body, error) {
		if err := l.MayRemove(name); err != nil {
			return nil, err
		}
		return []sluice.Body{sluice.ServerRemoved{Server: name, By: by}}, nil
	})
}

// Find returns a server that is not removed.
func (k *Keeper) Find(ctx context.Context, name sluice.ServerName) (m member.Known, err error) {
	err = k.look(ctx, func(l *member.List) error {
		m, err = l.Find(name)
		return err
	})
	return m, err
}

// All lists members and those who may join yet, by name.
func (k *Keeper) All(ctx context.Context) (out []member.Known, err error) {
	err = k.look(ctx, func(l *member.List) error {
		out = l.All(k.clock())
		return nil
	})
	return out, err
}

// Restored is when the log last went on with what was kept of it, and what is said of that; ok is false where it never did.
func (k *Keeper) Restored(ctx context.Context) (at time.Time, b sluice.ServerRestored, ok bool, err error) {
	err = k.look(ctx, func(l *member.List) error {
		at, b, ok = l.Restored()
		return nil
	})
	return at, b, ok, err
}

// checkAddress reports what is no HOST:PORT that others can reach.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if ip := net.ParseIP(host); err != nil || bad != nil || n == 0 || host == "" || ip != nil && ip.IsUnspecified() {
		return sluice.Errorf(sluice.Usage, "%q is no address at which others reach a server: HOST:PORT is", address)
	}
	return nil
}

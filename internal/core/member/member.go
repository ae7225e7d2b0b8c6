// Package member is who is a member of the cluster: the fold of the events about servers. It is pure, and knows nothing of who owns the
// log, of copies, and of whom etcd counts: that is no fact of the log.
//
// It is made as the roster of workers is (package crew). What differs: an invitation that was used stays good for the same server until it
// expires, since the answer can be lost, and a server that knows that it was let in has nothing to show for it but the token; a member is
// not invited again before it is removed; and the last one cannot be.
package member

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/crew"
)

// TokenLife is how long an invitation is good for, at most.
const TokenLife = crew.TokenLife

// Known is a server as the log knows it.
type Known struct {
	Name    sluice.ServerName
	Joined  bool
	Address string    // where the others reach it; "" before it joins
	Since   time.Time // when it joined, or was invited
	Removed bool
	// By is who invited it last; "" for the first server.
	By sluice.Principal
	// Replaces is the member that is removed when this one joins, or was when it did; "" for none.
	Replaces sluice.ServerName
	// Expires is the end of the invitation, used or not; zero where there is none.
	Expires time.Time
	digest  string
}

// List is who was invited, joined and removed: the fold of the events of [sluice.AccessNamespace].
type List struct {
	seq      uint64
	known    map[sluice.ServerName]*Known
	restored sluice.Event // the last one that says that the log is what was kept of it; the zero value: there is none
}

// NewList is the list before the first event.
func NewList() *List { return &List{known: map[sluice.ServerName]*Known{}} }

// Seq is the number of the last event that was applied.
func (l *List) Seq() uint64 { return l.seq }

// Restored is the last event that says that the log goes on with what was kept of it; ok is false where there is none.
func (l *List) Restored() (at time.Time, b sluice.ServerRestored, ok bool) {
	b, ok = l.restored.Body.(sluice.ServerRestored)
	return l.restored.Time, b, ok
}

// Apply takes an event in; those that are not about servers change nothing.
func (l *List) Apply(e sluice.Event) error {
	if e.Seq != 0 && e.Seq != l.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, l.seq)
	}
	l.seq++
	switch b := e.Body.(type) {
	case sluice.ServerRestored:
		l.restored = e
	case sluice.ServerInvited:
		for _, k := range l.known { // of two that replace the same member the newer counts, too
			if b.Replaces != "" && !k.Joined && k.Replaces == b.Replaces {
				k.Removed, k.digest = true, ""
			}
		}
		l.known[b.Server] = &Known{Name: b.Server, Since: e.Time, By: b.By, Replaces: b.Replaces, Expires: b.Expires, digest: b.Digest}
	case sluice.ServerJoined:
		k := l.known[b.Server]
		if k == nil || k.Removed { // the first one
			k = &Known{Name: b.Server}
			l.known[b.Server] = k
		}
		k.Joined, k.Address, k.Since = true, b.Address, e.Time
	case sluice.ServerRemoved:
		if k := l.known[b.Server]; k != nil {
			k.Removed, k.digest = true, ""
		}
		for _, k := range l.known { // whoever has the name next is not the one that was meant
			if !k.Joined && k.Replaces == b.Server {
				k.Replaces = ""
			}
		}
	}
	return nil
}

// MayJoin says why a secret does not let a server join under a name and an address. again says that it has joined so already.
func (l *List) MayJoin(name sluice.ServerName, secret, address string, now time.Time) (again bool, err error) {
	k := l.known[name]
	// What a timing could tell about digests helps nobody to find a secret. No digest is "".
	if k == nil || k.digest != crew.Digest(secret) {
		return false, sluice.Errorf(sluice.Denied, "the token does not let a server join as %s", name).WithHint("sluice server members add %s", name)
	}
	if !now.Before(k.Expires) {
		return false, sluice.Errorf(sluice.Denied, "the token for the server %s has expired", name).WithHint("sluice server members add %s", name)
	}
	if k.Joined {
		if k.Address != address {
			return false, sluice.Errorf(sluice.Denied, "the token was used before, by the server at %s", k.Address).
				WithHint("sluice server members; if that is not meant to be %s: sluice server members remove %s", name, name)
		}
		return true, nil
	}
	return false, l.free(address, k.Replaces)
}

// free says who is at an address already, but for the one that leaves it.
func (l *List) free(address string, but sluice.ServerName) error {
	for _, k := range l.Members() {
		if k.Address == address && k.Name != but {
			return sluice.Errorf(sluice.Conflict, "the server %s has the address %s", k.Name, address).WithHint("sluice server members")
		}
	}
	return nil
}

// MayInvite says why a server is not let in under a name, in place of another where that is not "".
func (l *List) MayInvite(name, replaces sluice.ServerName) error {
	if k, err := l.Find(name); err == nil && k.Joined {
		return sluice.Errorf(sluice.Conflict, "the server %s is a member already", name).
			WithHint("if its data are lost, sluice server members remove %s, then add it again", name)
	}
	if replaces == "" {
		return nil
	}
	if k, err := l.Find(replaces); err != nil || !k.Joined {
		return sluice.Errorf(sluice.NotFound, "there is no member %s to be replaced", replaces).WithHint("sluice server members")
	}
	return nil
}

// MayRemove says why a server cannot be removed.
func (l *List) MayRemove(name sluice.ServerName) error {
	k, err := l.Find(name)
	if err != nil {
		return err
	}
	if k.Joined && len(l.Members()) == 1 {
		return sluice.Errorf(sluice.Conflict, "the server %s is the only member: nobody would be left", name).WithHint("sluice server members replace %s NEW", name)
	}
	return nil
}

// Find returns a server that is not removed.
func (l *List) Find(name sluice.ServerName) (Known, error) {
	if k := l.known[name]; k != nil && !k.Removed {
		return *k, nil
	}
	return Known{}, sluice.Errorf(sluice.NotFound, "there is no server %s in the cluster", name).WithHint("sluice server members")
}

// All lists members and those who may join yet, by name.
func (l *List) All(now time.Time) []Known {
	return l.list(func(k *Known) bool { return k.Joined || now.Before(k.Expires) })
}

// Members lists those that have joined and are not removed, by name.
func (l *List) Members() []Known { return l.list(func(k *Known) bool { return k.Joined }) }

func (l *List) list(which func(*Known) bool) []Known {
	var out []Known
	for _, k := range l.known {
		if !k.Removed && which(k) {
			out = append(out, *k)
		}
	}
	slices.SortFunc(out, func(a, b Known) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Package access decides who may do what. Its state is folded from the events of [sluice.AccessNamespace], and every
// answer gives its reason.
//
// Nothing is allowed that no grant allows. The package knows nothing of requests, connections and files.
package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice"
)

// The roles that are always there. They cannot be defined anew.
const (
	Viewer   sluice.Role = "viewer"
	Operator sluice.Role = "operator"
	Approver sluice.Role = "approver"
	Admin    sluice.Role = "admin"
)

var builtIn = func() map[sluice.Role][]sluice.Right {
	viewer := []sluice.Right{sluice.SeeJobs, sluice.SeeFleet, sluice.SeeServer}
	operator := append(slices.Clone(viewer), sluice.SeeOutput, sluice.SubmitJob, sluice.HaltJob, sluice.ControlJob, sluice.ChangeHosts)
	approver := append(slices.Clone(viewer), sluice.SeeOutput, sluice.HaltJob, sluice.ApproveJob)
	return map[sluice.Role][]sluice.Right{Viewer: viewer, Operator: operator, Approver: approver, Admin: sluice.Rights()}
}()

// State is who may do what after some events. The zero value is not ready; see [New].
type State struct {
	seq     uint64
	people  map[sluice.Principal]bool // true: may act; false: removed
	roles   map[sluice.Role][]sluice.Right
	grants  map[sluice.Principal][]sluice.Grant
	tokens  map[sluice.TokenID]sluice.Token
	digests map[string]sluice.TokenID
}

// New is the state before the first event: nobody may do anything.
func New() *State {
	return &State{people: map[sluice.Principal]bool{}, roles: map[sluice.Role][]sluice.Right{},
		grants: map[sluice.Principal][]sluice.Grant{}, tokens: map[sluice.TokenID]sluice.Token{}, digests: map[string]sluice.TokenID{}}
}

// Clone is a state of its own that is the same, to try changes on.
func (s *State) Clone() *State {
	c := *s
	c.people, c.roles, c.tokens, c.digests = maps.Clone(s.people), maps.Clone(s.roles), maps.Clone(s.tokens), maps.Clone(s.digests)
	c.grants = make(map[sluice.Principal][]sluice.Grant, len(s.grants))
	for p, g := range s.grants {
		c.grants[p] = slices.Clone(g)
	}
	return &c
}

// Seq is the number of the last event that was applied.
func (s *State) Seq() uint64 { return s.seq }

// Empty reports whether nobody was ever made known: then a first administrator may be.
func (s *State) Empty() bool { return len(s.people) == 0 }

// Apply takes an event in. An error says that it does not follow what was applied, or speaks of what is not there; the
// state is then as before. It is not as strict as [State.Check]: what an earlier version let into the log must not keep
// this one from reading it.
func (s *State) Apply(e sluice.Event) error {
	if e.Seq != 0 && e.Seq != s.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, s.seq)
	}
	if err := s.fits(e.Body); err != nil {
		return fmt.Errorf("event %d (%s): %w", s.seq+1, e.Body.Type(), err)
	}
	s.seq++
	switch b := e.Body.(type) {
	case sluice.PrincipalAdded:
		s.people[b.Principal] = true
	case sluice.PrincipalRemoved:
		s.people[b.Principal] = false
		delete(s.grants, b.Principal)
		for id, t := range s.tokens {
			if t.Principal == b.Principal {
				s.revoke(id, false)
			}
		}
	case sluice.RoleDefined:
		s.define(b.Role, b.May)
	case sluice.GrantGiven:
		s.grants[b.Principal] = append(s.grants[b.Principal], b.Grant)
	case sluice.GrantTaken:
		s.grants[b.Principal] = slices.DeleteFunc(s.grants[b.Principal], b.Same)
	case sluice.TokenMade:
		s.tokens[b.ID] = b.Token
		s.digests[b.Digest] = b.ID
	case sluice.TokenRevoked:
		if b.Ended != "" {
			s.end(b.ID)
		} else {
			s.revoke(b.ID, b.Made)
		}
	}
	return nil
}

// end lets nobody in by a token any more, nor by those that were made with it. They stay known, as those that expired do:
// what was submitted with them was submitted by right, and they can still be revoked.
func (s *State) end(id sluice.TokenID) {
	delete(s.digests, s.tokens[id].Digest)
	for child, t := range s.tokens {
		if t.Parent == id && !t.Lasting {
			s.end(child)
		}
	}
}

// ended reports whether a token was put away.
func (s *State) ended(t sluice.Token) bool { return s.digests[t.Digest] != t.ID }

// revoke ends a token and those that were made with it, and with those: whoever stole one gained no other. Lasting ones
// end only where all are meant.
func (s *State) revoke(id sluice.TokenID, all bool) {
	delete(s.digests, s.tokens[id].Digest)
	delete(s.tokens, id)
	for child, t := range s.tokens {
		if t.Parent == id && (all || !t.Lasting) {
			s.revoke(child, all)
		}
	}
}

func (s *State) define(r sluice.Role, may []sluice.Right) {
	if len(may) > 0 {
		s.roles[r] = slices.Clone(may)
		return
	}
	delete(s.roles, r)
	if _, is := builtIn[r]; is {
		return // one that an earlier version did not have yet
	}
	// Or else whoever defines a role of that name one day would give it to people unawares.
	for p := range s.grants {
		s.grants[p] = slices.DeleteFunc(s.grants[p], func(g sluice.Grant) bool { return g.Role == r })
	}
}

// fits says why an event cannot have happened now: it names somebody or something that is not there, or is there already.
func (s *State) fits(b sluice.Body) error {
	switch b := b.(type) {
	case sluice.UnknownBody:
		// It may take a right away. Only what says of itself that it changes nothing is passed over.
		if !strings.HasSuffix(b.TypeName, ".noted") {
			return sluice.Errorf(sluice.Contact, "this version does not know what it does to who may do what").
				WithHint("a newer version wrote it: start that one")
		}
	case sluice.PrincipalAdded:
		if s.people[b.Principal] {
			return sluice.Errorf(sluice.Conflict, "%s is known already", b.Principal)
		}
	case sluice.PrincipalRemoved:
		return s.known(b.Principal)
	case sluice.GrantGiven:
		if err := s.known(b.Principal); err != nil {
			return err
		}
		if slices.ContainsFunc(s.grants[b.Principal], b.Same) {
			return sluice.Errorf(sluice.Conflict, "%s has it already: %s", b.Principal, b.Grant)
		}
	case sluice.GrantTaken:
		if !slices.ContainsFunc(s.grants[b.Principal], b.Same) {
			return sluice.Errorf(sluice.NotFound, "%s has no such grant: %s", b.Principal, b.Grant).WithHint("sluice access list %s", b.Principal)
		}
	case sluice.TokenMade:
		if err := s.known(b.Principal); err != nil {
			return err
		}
		if _, is := s.tokens[b.ID]; is {
			return sluice.Errorf(sluice.Conflict, "there is a token %s already", b.ID)
		}
		if _, is := s.tokens[b.Parent]; !is && b.Parent != "" {
			return sluice.Errorf(sluice.NotFound, "there is no token %q to be its parent", b.Parent)
		}
		if other, is := s.digests[b.Digest]; is {
			return sluice.Errorf(sluice.Conflict, "the token %s has the same secret", other)
		}
	case sluice.TokenRevoked:
		if t, is := s.tokens[b.ID]; !is || b.Ended != "" && s.ended(t) {
			return sluice.Errorf(sluice.NotFound, "there is no token %q", b.ID).WithHint("sluice access tokens")
		}
	}
	return nil
}

func (s *State) known(p sluice.Principal) error {
	if !s.people[p] {
		return sluice.Errorf(sluice.NotFound, "nobody is known as %q", p).WithHint("sluice access list")
	}
	return nil
}

// lastAdmin reports whether nobody else could give access to everything: it must not be locked away by mistake.
func (s *State) lastAdmin(p sluice.Principal) bool {
	if !s.isAdmin(p) {
		return false
	}
	for o := range s.grants {
		if o != p && s.isAdmin(o) {
			return false
		}
	}
	return true
}

func (s *State) isAdmin(p sluice.Principal) bool {
	return s.people[p] && slices.ContainsFunc(s.grants[p], isAdmin)
}

func isAdmin(g sluice.Grant) bool { return g.Role == Admin && g.Namespace == "" && len(g.Tags) == 0 }

// may are the rights of a role; nil if there is none of that name.
func (s *State) may(r sluice.Role) []sluice.Right {
	if a, is := builtIn[r]; is {
		return a
	}
	return s.roles[r]
}

// Bearer is who showed something that proves who it is.
type Bearer struct {
	Principal sluice.Principal
	Token     sluice.TokenID // "" where it was no token
}

// As is a bearer who was authenticated otherwise than by a token.
func As(p sluice.Principal) Bearer { return Bearer{Principal: p} }

// Login finds whose secret it is. It does not say what was wrong with one that is refused. kind is what it is shown by: the
// secret of a session opens nothing but by the cookie of a browser, and a cookie holds no other.
func (s *State) Login(secret []byte, kind sluice.TokenKind, now time.Time) (Bearer, bool) {
	// Looked up by digest: what a timing could tell about digests helps nobody to find a secret.
	id, is := s.digests[Digest(secret)]
	if !is || s.tokens[id].Kind != kind {
		return Bearer{}, false
	}
	b := Bearer{s.tokens[id].Principal, id}
	return b, s.Live(b, now) == nil
}

// Token is what is known of a token, without its digest; ok is false where there is none.
func (s *State) Token(id sluice.TokenID) (t sluice.Token, ok bool) {
	t, ok = s.tokens[id]
	t.Digest = ""
	return t, ok
}

// Live says why somebody who was let in is not any more: removed since then, or the token is revoked or has expired.
func (s *State) Live(b Bearer, now time.Time) error {
	t, err := s.bounds(b)
	if err == nil && b.Token != "" && s.ended(t) {
		err = sluice.Errorf(sluice.Denied, "the token %s was put away", b.Token).WithHint("sluice login")
	}
	if err == nil && !t.Expires.IsZero() && !now.Before(t.Expires) {
		err = sluice.Errorf(sluice.Denied, "the token %s has expired", b.Token).WithHint("sluice login")
	}
	return err
}

// bounds returns the token that bounds what somebody may do; the zero token bounds nothing.
func (s *State) bounds(b Bearer) (t sluice.Token, err error) {
	if !s.people[b.Principal] {
		return t, sluice.Errorf(sluice.Denied, "nobody is known as %q any more", b.Principal).WithHint("sluice access list")
	}
	if b.Token == "" {
		return t, nil
	}
	t, is := s.tokens[b.Token]
	if !is || t.Principal != b.Principal {
		return sluice.Token{}, sluice.Errorf(sluice.Denied, "the token %s is not valid any more", b.Token).WithHint("sluice login")
	}
	return t, nil
}

// Digest is what the log keeps of a token's secret.
func Digest(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

package access

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"sluice"
)

// Signed is a change with the name of who makes it. ok is false for what is no change of who may do what.
func Signed(change sluice.Body, by sluice.Principal) (signed sluice.Body, ok bool) {
	switch c := change.(type) {
	case sluice.PrincipalAdded:
		c.By = by
		return c, true
	case sluice.PrincipalRemoved:
		c.By = by
		return c, true
	case sluice.RoleDefined:
		c.By = by
		return c, true
	case sluice.GrantGiven:
		c.By = by
		return c, true
	case sluice.GrantTaken:
		c.By = by
		return c, true
	case sluice.TokenMade:
		c.By = by
		return c, true
	case sluice.TokenRevoked:
		c.By = by
		return c, true
	}
	return nil, false
}

// Check says why a change cannot be made, whoever asks for it: it has not the form that it must have, it names somebody
// or something that is not there or is there already, or it would leave nobody who can give access.
func (s *State) Check(change sluice.Body) error {
	if err := form(change); err != nil {
		return err
	}
	if err := s.fits(change); err != nil {
		return err
	}
	switch c := change.(type) {
	case sluice.PrincipalAdded:
		switch _, was := s.people[c.Principal]; {
		case was && !c.Again:
			return sluice.Errorf(sluice.Conflict, "%s was removed, and whoever has the name now would be taken for the same in all that was noted before", c.Principal).
				WithHint("say that it is the same one to have the name again, without what was granted before")
		case !was && c.Again:
			return sluice.Errorf(sluice.NotFound, "nobody was ever known as %q", c.Principal).WithHint("sluice access list")
		}
	case sluice.PrincipalRemoved:
		if s.lastAdmin(c.Principal) {
			return lastOne(c.Principal)
		}
	case sluice.GrantGiven:
		if s.may(c.Role) == nil {
			return sluice.Errorf(sluice.NotFound, "there is no role %q", c.Role).WithHint("sluice access roles")
		}
	case sluice.GrantTaken:
		if isAdmin(c.Grant) && s.lastAdmin(c.Principal) {
			return lastOne(c.Principal)
		}
	case sluice.RoleDefined:
		if len(c.May) == 0 && s.may(c.Role) == nil {
			return sluice.Errorf(sluice.NotFound, "there is no role %q", c.Role).WithHint("sluice access roles")
		}
	}
	return nil
}

func lastOne(p sluice.Principal) error {
	return sluice.Errorf(sluice.Conflict, "%s is the last %s", p, Admin).WithHint("make somebody else one first")
}

// form says what is wrong with a change by itself.
func form(change sluice.Body) error {
	var err error
	switch c := change.(type) {
	case sluice.PrincipalAdded:
		_, err = sluice.ParsePrincipal(string(c.Principal))
	case sluice.RoleDefined:
		if _, is := builtIn[c.Role]; is {
			return sluice.Errorf(sluice.Conflict, "the role %s is built in", c.Role).WithHint("define one of another name")
		}
		if _, err = sluice.ParseRole(string(c.Role)); err == nil {
			err = rights(c.May)
		}
	case sluice.GrantGiven:
		err = open(c.Namespace)
		if slices.Contains(c.Tags, "") {
			err = sluice.Errorf(sluice.Usage, "a grant is bound to a tag without a name")
		}
	case sluice.TokenMade:
		if err = open(c.Namespace); err == nil {
			err = rights(c.Only)
		}
		if c.ID == "" {
			err = sluice.Errorf(sluice.Usage, "a token has no id")
		}
		if c.Kind != "" && c.Kind != sluice.BySession {
			err = sluice.Errorf(sluice.Usage, "%q is no kind of a token", c.Kind)
		}
		if c.Kind == sluice.BySession && (c.Lasting || c.Expires.IsZero()) {
			err = sluice.Errorf(sluice.Usage, "a session ends with the token that it was opened with, and has an end of its own")
		}
		// Small digits only: it is found by comparing texts.
		if d, bad := hex.DecodeString(c.Digest); bad != nil || len(d) != sha256.Size || hex.EncodeToString(d) != c.Digest {
			err = sluice.Errorf(sluice.Usage, "a token's digest has 64 small hexadecimal digits")
		}
	}
	if c, is := change.(sluice.TokenRevoked); is && c.Made && c.Ended != "" {
		err = sluice.Errorf(sluice.Usage, "a token that was in the wrong hands is revoked, and not put away")
	}
	return err
}

func rights(list []sluice.Right) error {
	for _, r := range list {
		if _, err := sluice.ParseRight(string(r)); err != nil {
			return err
		}
	}
	return nil
}

func open(ns sluice.Namespace) error {
	if ns.Reserved() {
		return sluice.Errorf(sluice.Usage, "%s is no namespace of a fleet", ns)
	}
	return nil
}

// MaySubmit says why nothing of a job may start any more: who it is carried out for may not submit it now. A token that
// has expired since then is no reason: it was good when the job was submitted. One that was revoked is.
func (s *State) MaySubmit(by Bearer, ns sluice.Namespace, hosts []sluice.Host, members func(sluice.Tag) []sluice.Host) error {
	return s.Allow(by, Ask{Right: sluice.SubmitJob, Namespace: ns, Hosts: hosts, Members: members})
}

// MayChange answers whether b may make a change of who may do what. Nobody gives more than what they may do themselves,
// by a grant, a role, or a token for somebody else. Everybody may make tokens of the own name that do no more, and live
// no longer, than the one in use, and revoke those that do no more.
func (s *State) MayChange(b Bearer, change sluice.Body) error {
	own, err := s.bounds(b)
	if err != nil {
		return err
	}
	give := Ask{Right: sluice.GiveAccess} // where access must be in b's gift
	var given []sluice.Right
	var where sluice.Namespace
	switch c := change.(type) {
	case sluice.GrantGiven:
		give.Namespace, where, given = c.Namespace, c.Namespace, s.may(c.Role)
	case sluice.GrantTaken:
		give.Namespace = c.Namespace
	case sluice.RoleDefined:
		// Those who have the role have them wherever it was granted, or will be.
		given = slices.DeleteFunc(slices.Clone(c.May), func(r sluice.Right) bool { return slices.Contains(s.roles[c.Role], r) })
	case sluice.TokenMade:
		if c.Parent != b.Token {
			return sluice.Errorf(sluice.Denied, "a token names the one that it is made with, and no other")
		}
		if c.Principal == b.Principal && within(c.Token, own) && noLonger(c.Token, own) && (!c.Lasting || b.Token == "") {
			return nil
		}
		// Whoever knows its secret may one day do all that it allows, whatever its principal may do now.
		if where, given = c.Namespace, c.Only; len(given) == 0 {
			given = sluice.Rights()
		}
	case sluice.TokenRevoked:
		if t, is := s.tokens[c.ID]; is && t.Principal == b.Principal && within(t, own) && !c.Made {
			return nil
		}
	}
	if err := s.Allow(b, give); err != nil {
		return err
	}
	for _, r := range given {
		if err := s.Allow(b, Ask{Right: r, Namespace: where}); err != nil {
			return err
		}
	}
	return nil
}

// within reports whether a token does no more than another.
func within(t, of sluice.Token) bool {
	if of.Namespace != "" && t.Namespace != of.Namespace {
		return false
	}
	if len(of.Only) == 0 {
		return true
	}
	return len(t.Only) > 0 && !slices.ContainsFunc(t.Only, func(r sluice.Right) bool { return !slices.Contains(of.Only, r) })
}

func noLonger(t, than sluice.Token) bool {
	return than.Expires.IsZero() || !t.Expires.IsZero() && !t.Expires.After(than.Expires)
}

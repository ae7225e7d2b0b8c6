package sluice

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// AccessNamespace is the sequence of events of who may do what, in the log beside those of the namespaces. No fleet
// can be named so.
const AccessNamespace Namespace = ".access"

// Principal is who acts: a person, a machine or a program, as the log names them. 1 to 64 bytes of letters, digits
// and "._@+-", of which the first is a letter or digit.
type Principal string

var principalForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`)

// ParsePrincipal checks a name.
func ParsePrincipal(s string) (Principal, error) {
	if !principalForm.MatchString(s) {
		return "", Errorf(Usage, "%q is no name of a principal: 1 to 64 letters, digits and ._@+- are, of which the first is a letter or digit", s)
	}
	return Principal(s), nil
}

// Right is a kind of thing that somebody may do.
type Right string

// All rights there are. What is asked for in a namespace is bounded by the namespace and the hosts of a grant; what
// concerns the server as a whole needs a grant for all namespaces.
const (
	SeeJobs     Right = "job.see"     // jobs, their events, reasons, plans
	SeeOutput   Right = "job.output"  // what commands printed
	SubmitJob   Right = "job.submit"  // run, copy, fetch; plans are seen with job.see
	HaltJob     Right = "job.halt"    // stopping is a right of its own: many should have it
	ControlJob  Right = "job.control" // resume, retry, skip, cancel
	ApproveJob  Right = "job.approve"
	ChangeHosts Right = "host.change" // hold, release, retire, return
	SeeFleet    Right = "fleet.see"
	ApplyFleet  Right = "fleet.apply" // the rules themselves
	SeeAccess   Right = "access.see"  // principals, roles, grants, tokens without their secrets
	GiveAccess  Right = "access.give"
	SeeAudit    Right = "audit.see"
	SeeServer   Right = "server.see" // workers, health, metrics
	RunServer   Right = "server.run" // enrol, drain and remove workers, back up
)

// Rights lists all rights, in the order of this file.
func Rights() []Right {
	return []Right{SeeJobs, SeeOutput, SubmitJob, HaltJob, ControlJob, ApproveJob, ChangeHosts, SeeFleet, ApplyFleet,
		SeeAccess, GiveAccess, SeeAudit, SeeServer, RunServer}
}

// ParseRight checks the name of a right.
func ParseRight(s string) (Right, error) {
	if !slices.Contains(Rights(), Right(s)) {
		return "", Errorf(Usage, "there is no right %q", s).WithHint("these are: %s", joined(Rights()))
	}
	return Right(s), nil
}

func joined[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}

// Role is a named set of rights. Its name has the form of a principal's.
type Role string

// ParseRole checks the name of a role.
func ParseRole(s string) (Role, error) {
	if !principalForm.MatchString(s) {
		return "", Errorf(Usage, "%q is no name of a role: 1 to 64 letters, digits and ._@+- are, of which the first is a letter or digit", s)
	}
	return Role(s), nil
}

// Grant gives a principal a role where it says.
type Grant struct {
	Principal Principal `json:"principal"`
	Role      Role      `json:"role"`
	// Namespace is the one in which it holds; "" stands for all, and for the server itself.
	Namespace Namespace `json:"namespace,omitzero"`
	// Tags bound it to the hosts that carry one of them; none stands for all hosts.
	Tags []Tag `json:"tags,omitzero"`
}

// Same reports whether two grants say the same.
func (g Grant) Same(o Grant) bool {
	return g.Principal == o.Principal && g.Role == o.Role && g.Namespace == o.Namespace && slices.Equal(g.Tags, o.Tags)
}

func (g Grant) String() string {
	s := string(g.Role)
	if g.Namespace != "" {
		s += " in " + string(g.Namespace)
	}
	if len(g.Tags) > 0 {
		s += " on $" + strings.ReplaceAll(joined(g.Tags), ", ", ", $")
	}
	return s
}

// TokenID names a token. It is no secret.
type TokenID string

// TokenKind says what shows a token.
type TokenKind string

// BySession is the kind of token that a browser holds, in a cookie, while somebody is signed in. It opens nothing anywhere else.
const BySession TokenKind = "session"

// Token lets a program act for a principal. The log has only a digest of what the program must show.
type Token struct {
	ID        TokenID   `json:"token"`
	Principal Principal `json:"principal"`
	// Digest is the SHA-256 of the secret, in small hexadecimal digits. The secret has 256 random bits: no salt or slow digest makes
	// that harder to guess.
	Digest  string    `json:"digest"`
	Label   string    `json:"label,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Only bounds the token to these rights; none stands for all that its principal may do.
	Only []Right `json:"only,omitzero"`
	// Namespace bounds it to one; "" does not.
	Namespace Namespace `json:"namespace,omitzero"`
	// Parent is the token with which it was made, "" where somebody was let in otherwise. It ends with its parent, unless
	// it is lasting.
	Parent TokenID `json:"parent,omitzero"`
	// Lasting says that it lives on when its parent is revoked: that takes the right to give access. Tokens for somebody
	// else are always so.
	Lasting bool `json:"lasting,omitzero"`
	// Kind is what shows it; "" stands for a program.
	Kind TokenKind `json:"kind,omitzero"`
}

// PrincipalAdded makes somebody known, without any right.
type PrincipalAdded struct {
	Principal Principal `json:"principal"`
	// Again says that it is meant: the name is that of somebody who was removed.
	Again bool      `json:"again,omitzero"`
	By    Principal `json:"by"`
}

// PrincipalRemoved takes all grants and tokens of somebody back. The name stays known, so that nobody gets it anew by
// mistake; see PrincipalAdded.
type PrincipalRemoved struct {
	Principal Principal `json:"principal"`
	By        Principal `json:"by"`
}

// RoleDefined says what a role may do. Without rights it is gone, and so are the grants of it.
type RoleDefined struct {
	Role Role      `json:"role"`
	May  []Right   `json:"may"`
	By   Principal `json:"by"`
}

// GrantGiven gives a role.
type GrantGiven struct {
	Grant
	By Principal `json:"by"`
}

// GrantTaken takes it back.
type GrantTaken struct {
	Grant
	By Principal `json:"by"`
}

// TokenMade makes a token.
type TokenMade struct {
	Token
	By Principal `json:"by"`
}

// TokenRevoked ends a token, and those that were made with it and are not lasting.
type TokenRevoked struct {
	ID TokenID `json:"token"`
	// Made ends the lasting ones, too: the token was in the wrong hands.
	Made bool `json:"made,omitzero"`
	// Ended says why it was put away by whoever rightly had it, such as "signed out". It opens nothing any more, as if it had
	// expired: what was submitted with it goes on. "" is for one that was taken back.
	Ended string    `json:"ended,omitzero"`
	By    Principal `json:"by"`
}

// AccessNoted is an entry of the audit for what left no event of its own: a refusal, a failed login, a read of what
// may hold secrets, a host key that a server trusts from now on.
type AccessNoted struct {
	Principal Principal `json:"principal,omitzero"` // "": nobody who could be named
	Token     TokenID   `json:"token,omitzero"`
	Right     Right     `json:"right,omitzero"`
	Namespace Namespace `json:"in,omitzero"`
	What      string    `json:"what"` // such as "GET /api/v1/jobs/9f2k.../output"
	Refused   string    `json:"refused,omitzero"`
	From      string    `json:"from,omitzero"`  // address
	Times     int       `json:"times,omitzero"` // of the same within a while; 0 is 1
	// Request is the [KeptHalt] that is settled by it; "": none.
	Request string `json:"request,omitzero"`
	// Key is the key of a host that the servers trust from now on; nil: it is about something else.
	Key *LearnedKey `json:"key,omitzero"`
}

// LearnedKey is the key of a host, and how the host is reached.
type LearnedKey struct {
	Host Host   `json:"host"`
	SSH  SSH    `json:"ssh,omitzero"`
	Type string `json:"type"`
	Key  []byte `json:"key"` // its wire form
}

func (PrincipalAdded) Type() string   { return "principal.added" }
func (PrincipalRemoved) Type() string { return "principal.removed" }
func (RoleDefined) Type() string      { return "role.defined" }
func (GrantGiven) Type() string       { return "grant.given" }
func (GrantTaken) Type() string       { return "grant.taken" }
func (TokenMade) Type() string        { return "token.made" }
func (TokenRevoked) Type() string     { return "token.revoked" }
func (AccessNoted) Type() string      { return "access.noted" }

// String never shows the digest.
func (t Token) String() string { return fmt.Sprintf("token %s of %s", t.ID, t.Principal) }

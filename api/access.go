package api

import (
	"time"

	"sluice"
)

// Person is somebody who is known to a server.
type Person struct {
	Principal sluice.Principal `json:"principal"`
	Removed   bool             `json:"removed,omitempty"`
	Grants    []sluice.Grant   `json:"grants"`
	Tokens    []Token          `json:"tokens"`
	Rights    []Hold           `json:"rights,omitempty" doc:"what the grants come to, where one person is asked for"`
}

// Token is what is known of a token; its secret is not.
type Token struct {
	ID        sluice.TokenID   `json:"token"`
	Principal sluice.Principal `json:"principal"`
	Label     string           `json:"label,omitempty"`
	Expires   *time.Time       `json:"expires,omitempty" doc:"never, if it is not there"`
	Expired   bool             `json:"expired,omitempty"`
	Only      []sluice.Right   `json:"only,omitempty" doc:"the rights that it is for; all of its principal's if it is not there"`
	Namespace sluice.Namespace `json:"namespace,omitempty" doc:"the only one that it is for"`
	Parent    sluice.TokenID   `json:"parent,omitempty" doc:"the token with which it was made"`
	Lasting   bool             `json:"lasting,omitempty" doc:"it does not end with its parent"`
	Kind      sluice.TokenKind `json:"kind,omitempty" doc:"session: a browser holds it, and it opens nothing but there; a program's if it is not there"`
	Ended     bool             `json:"ended,omitempty" doc:"it was put away, such as by signing out: it opens nothing any more, and what was submitted with it goes on"`
}

// Me is who somebody is to a server.
type Me struct {
	Principal sluice.Principal `json:"principal"`
	Token     *Token           `json:"token,omitempty" doc:"the one in use"`
	Grants    []sluice.Grant   `json:"grants"`
	Rights    []Hold           `json:"rights" doc:"what one may do, with the token in use, and where"`
}

// Hold says where somebody has a right.
type Hold struct {
	Right      sluice.Right `json:"right"`
	Everywhere bool         `json:"everywhere,omitempty" doc:"in all namespaces, and for the server itself"`
	Places     []Place      `json:"places,omitempty" doc:"where else"`
}

// Place is a namespace, or some hosts of it.
type Place struct {
	Namespace sluice.Namespace `json:"namespace,omitempty" doc:"each one, if it is not there"`
	Tags      []sluice.Tag     `json:"tags,omitempty" doc:"only hosts that carry one of them"`
}

// Session is who is signed in.
type Session struct {
	Me
	Browser bool       `json:"browser,omitempty" doc:"it is the session of a browser, held by its cookie"`
	Until   *time.Time `json:"until,omitempty" doc:"when it ends, whatever one does"`
	Idle    string     `json:"idle,omitempty" doc:"how long nobody may use it without being signed out, such as 1h0m0s"`
}

// Ways are how one can sign in with a browser.
type Ways struct {
	Token  bool   `json:"token"`
	OpenID bool   `json:"openid"`
	Lacks  string `json:"lacks,omitempty" doc:"why OpenID is for the command line alone, where that is so"`
}

// May says whether somebody may do something, and if not, why.
type May struct {
	Do    string        `json:"do" doc:"the control of a job, such as halt; or the right, where it was asked for rights"`
	Right sluice.Right  `json:"right" doc:"what it takes"`
	May   bool          `json:"may"`
	Why   string        `json:"why,omitempty" doc:"why not, in a sentence"`
	Roles []sluice.Role `json:"roles,omitempty" doc:"the roles that have the right, where it is the right that is missing"`
}

// Role is a named set of rights.
type Role struct {
	Role sluice.Role    `json:"role"`
	May  []sluice.Right `json:"may"`
}

// TokenWish says what a new token shall be.
type TokenWish struct {
	Principal sluice.Principal `json:"principal,omitempty" maxLength:"64" doc:"for whom; default: who asks"`
	Label     string           `json:"label,omitempty" maxLength:"200" doc:"what it is for"`
	Expires   string           `json:"expires,omitempty" maxLength:"40" doc:"how long it lives, such as 12h; default: for ever"`
	Only      []sluice.Right   `json:"only,omitempty" maxItems:"100" doc:"bound it to these rights"`
	Namespace sluice.Namespace `json:"namespace,omitempty" maxLength:"64" doc:"bound it to one"`
	Lasting   bool             `json:"lasting,omitempty" doc:"it lives on when the token that makes it is revoked; needs the right access.give"`
}

// NewToken is a token that was made. The secret is told this once.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// OIDCStart says where one logs in with OpenID: by a code, with PKCE (S256), and a redirect to the loopback.
type OIDCStart struct {
	Authorize string `json:"authorize" doc:"where the browser goes"`
	ClientID  string `json:"client_id"`
	Scope     string `json:"scope"`
}

// OIDCLogin is what a login with OpenID gave.
type OIDCLogin struct {
	Code     string `json:"code" minLength:"1" maxLength:"8192"`
	Verifier string `json:"verifier" minLength:"43" maxLength:"128" doc:"of PKCE"`
	Redirect string `json:"redirect" maxLength:"200" doc:"where the code was sent to, on the loopback"`
	Nonce    string `json:"nonce" minLength:"16" maxLength:"200" doc:"that the login was started with"`
}

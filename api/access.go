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
}

// Me is who somebody is to a server.
type Me struct {
	Principal sluice.Principal `json:"principal"`
	Token     *Token           `json:"token,omitempty" doc:"the one in use"`
	Grants    []sluice.Grant   `json:"grants"`
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

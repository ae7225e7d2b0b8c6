package httpapi

import (
	"context"
	"crypto/tls"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/core/access"
)

// Proof is what a connection says of who is at its other end, before anything is asked. The zero value says nothing.
type Proof struct {
	Principal sluice.Principal
	// From is what it was proved by, for the audit, such as "uid 0 at the socket".
	From string
	// Note says that the audit is to have who came, since what they change has only the principal's name.
	Note bool
	// Noted is called when it has; until then it is asked for with every request. May be nil.
	Noted func()
}

// Prove says who is at the other end of a connection, of which ctx and the state of TLS are. An error with the code Denied
// is for somebody who may not even come in.
type Prove func(ctx context.Context, state *tls.ConnectionState) (Proof, error)

// proved lets somebody in without a token whose connection says who it is. If it returns false, it has answered.
func (a *API) proved(ctx huma.Context, right sluice.Right, what string) (access.Bearer, string, bool) {
	if a.cfg.Prove == nil {
		refuse(ctx, "there is no token", "put a token into the header Authorization, after \"Bearer \"")
		return access.Bearer{}, "", false
	}
	p, err := a.cfg.Prove(ctx.Context(), ctx.TLS())
	if err == nil && p.Principal == "" {
		refuse(ctx, "there is no token", "put a token into the header Authorization, after \"Bearer \"")
		return access.Bearer{}, "", false
	}
	b, from := access.As(p.Principal), ctx.RemoteAddr()
	if p.From != "" {
		from = p.From
	}
	if err == nil { // whoever is proved to be somebody must be known, too
		_, _, err = a.cfg.Rights.Namespaces(ctx.Context(), b, right)
	}
	switch {
	case sluice.CodeOf(err) == sluice.Denied:
		if n := a.strangers.came(from, a.cfg.Clock()); n > 0 {
			_ = a.cfg.Rights.Note(ctx.Context(), sluice.AccessNoted{Principal: p.Principal, Right: right, What: what, Refused: err.Error(), From: from, Times: n})
		}
		refuse(ctx, err.Error(), "sluice access list, as an administrator")
		return b, from, false
	case err != nil:
		answer(ctx, problemOf(err))
		return b, from, false
	}
	if p.Note && !(right == sluice.HaltJob && a.keeps(ctx.Context())) { // what is kept says where it came from
		// Without the note nobody could tell who it was: no note, no action.
		if err := a.cfg.Rights.Note(ctx.Context(), sluice.AccessNoted{Principal: p.Principal, Right: right, What: what, From: from}); err != nil {
			answer(ctx, problemOf(err))
			return b, from, false
		}
		if p.Noted != nil {
			p.Noted()
		}
	}
	return b, from, true
}

package httpapi

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

// caller is who sent a request, and what the route needs.
type caller struct {
	access.Bearer
	api   *API
	right sluice.Right
	what  string
	from  string
	asked *asked
	// session says that a browser came with its cookie.
	session bool
}

type callerKey struct{}

// enter finds out who sends a request before anything of it is read.
func (a *API) enter(op huma.Operation, right sluice.Right) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := caller{api: a, right: right, what: op.Method + " " + ctx.URL().Path, from: ctx.RemoteAddr(), asked: &asked{}}
		if !c.comes(ctx) {
			return
		}
		if c.session {
			defer func() { a.inUse.left(c.Token, a.cfg.Clock()) }()
		}
		noteSeen(ctx.Context(), func(s *seen) { s.principal = c.Principal })
		if wait := a.callers.take(string(c.Principal), a.cfg.Clock()); wait > 0 {
			slow(ctx, wait)
			return
		}
		a.attended(ctx, c, next)
	}
}

// comes finds out who it is: as the token says that is shown, or else the session of a browser, or else the connection. If it
// returns false, it has answered.
func (c *caller) comes(ctx huma.Context) (ok bool) {
	secret, shown := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	cookie := c.api.cookies(ctx).session
	var refused *problem
	switch {
	case shown && secret != "":
		c.Bearer, refused = c.known(ctx.Context(), secret, c.api.cfg.Rights.Login)
	case cookie != "":
		c.session = true
		refused = c.bySession(ctx, cookie)
	default:
		c.Bearer, c.from, ok = c.api.proved(ctx, c.right, c.what)
		return ok
	}
	if refused != nil {
		answer(ctx, refused)
	}
	return refused == nil
}

// known is whose secret it is. Tries with bad ones are noted, and bounded.
func (c *caller) known(ctx context.Context, secret string, login func(context.Context, string) (access.Bearer, error)) (access.Bearer, *problem) {
	b, err := login(ctx, secret)
	switch {
	case sluice.CodeOf(err) == sluice.Denied:
		what := "the token is not valid"
		if c.session {
			what = "the session is not valid, or not any more"
		}
		c.stranger(ctx, what)
		// After the look: whoever has a good token and the same address, such as that of a proxy, is let in.
		if wait := c.api.failed.take(hostOf(c.from), c.api.cfg.Clock()); wait > 0 {
			return b, tooOften(wait, "too many requests")
		}
		return b, unauthorized(err)
	case err != nil:
		return b, problemOf(err)
	}
	return b, nil
}

// stranger notes that somebody was refused of whom nothing is proved, not too often.
func (c *caller) stranger(ctx context.Context, why string) {
	if n := c.api.strangers.came(c.from, c.api.cfg.Clock()); n > 0 {
		// What cannot be noted is refused all the same.
		_ = c.api.cfg.Rights.Note(ctx, sluice.AccessNoted{Right: c.right, What: c.what, Refused: why, From: c.from, Times: n})
	}
}

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func refuse(ctx huma.Context, detail, hint string) {
	answer(ctx, unauthorized(sluice.Errorf(sluice.Denied, "%s", detail).WithHint("%s", hint)))
}

// unauthorized says that nobody is let in: who asks has to show something else.
func unauthorized(err error) *problem {
	p := problemOf(err)
	p.Status, p.Title = http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized)
	p.headers = http.Header{"Www-Authenticate": {"Bearer"}}
	return p
}

// may asks for the route's right, in a namespace and for hosts. Refusals go to the audit.
func (c caller) may(ctx context.Context, ns sluice.Namespace, hosts []sluice.Host) error {
	ask := access.Ask{Right: c.right, Namespace: ns, Hosts: hosts}
	if len(hosts) > 0 {
		members, err := c.api.cfg.Members(ctx, ns)
		if err != nil {
			return err
		}
		ask.Members = members
	}
	return c.ask(ctx, ask)
}

// mayLook asks for the route's right on any host of a namespace.
func (c caller) mayLook(ctx context.Context, ns sluice.Namespace) error {
	return c.ask(ctx, access.Ask{Right: c.right, Namespace: ns, Anywhere: true})
}

func (c caller) ask(ctx context.Context, ask access.Ask) error {
	c.asked.add(ask)
	if err := c.noted(ctx, ask.Namespace, c.api.cfg.Rights.Allow(ctx, c.Bearer, ask)); err != nil || ask.Namespace == "" {
		return err
	}
	// After the right: who may do nothing there takes nothing from those who may.
	if wait := c.api.spaces.take(string(ask.Namespace), c.api.cfg.Clock()); wait > 0 {
		return tooOften(wait, "too many requests for the namespace "+string(ask.Namespace)+", of all together")
	}
	return nil
}

// noted notes a refusal in the audit, and returns it.
func (c caller) noted(ctx context.Context, ns sluice.Namespace, err error) error {
	if sluice.CodeOf(err) != sluice.Denied {
		return err
	}
	note := c.note(ns)
	note.Refused = err.Error()
	if noted := c.api.cfg.Rights.Note(ctx, note); noted != nil {
		return noted
	}
	return err
}

// note begins an entry of the audit.
func (c caller) note(ns sluice.Namespace) sluice.AccessNoted {
	return sluice.AccessNoted{Principal: c.Principal, Token: c.Token, Right: c.right, Namespace: ns, What: c.what, From: c.from}
}

// desk is where the caller is served.
func (c caller) desk() *control.Service { return c.api.cfg.Desk(c.Principal) }

// job finds a job that the caller may do the route's thing to.
func (c caller) job(ctx context.Context, prefix string) (*control.Service, sluice.JobID, error) {
	if prefix == "" { // which stands for the newest job elsewhere
		return nil, "", sluice.Errorf(sluice.Usage, "no job is named")
	}
	desk := c.desk()
	i, _, err := desk.Info(ctx, prefix)
	if err != nil {
		return nil, "", err
	}
	if err := c.may(ctx, i.Spec.Namespace, i.Spec.Targets); err != nil {
		return nil, "", err
	}
	return desk, i.Spec.ID, nil
}

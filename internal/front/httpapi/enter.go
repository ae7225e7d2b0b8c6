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
}

type callerKey struct{}

// enter finds out who sends a request before anything of it is read.
func (a *API) enter(op huma.Operation, right sluice.Right) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		what := op.Method + " " + ctx.URL().Path
		secret, ok := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
		if !ok || secret == "" {
			if b, from, ok := a.proved(ctx, right, what); ok {
				noteSeen(ctx.Context(), func(s *seen) { s.principal = b.Principal })
				if wait := a.callers.take(string(b.Principal), a.cfg.Clock()); wait > 0 {
					slow(ctx, wait)
					return
				}
				next(huma.WithValue(ctx, callerKey{}, caller{b, a, right, what, from}))
			}
			return
		}
		b, err := a.cfg.Rights.Login(ctx.Context(), secret)
		if sluice.CodeOf(err) == sluice.Denied {
			if n := a.strangers.came(ctx.RemoteAddr(), a.cfg.Clock()); n > 0 {
				// What cannot be noted is refused all the same.
				_ = a.cfg.Rights.Note(ctx.Context(), sluice.AccessNoted{Right: right, What: what, Refused: "the token is not valid",
					From: ctx.RemoteAddr(), Times: n})
			}
			// After the look: whoever has a good token and the same address, such as that of a proxy, is let in.
			if wait := a.failed.take(hostOf(ctx.RemoteAddr()), a.cfg.Clock()); wait > 0 {
				slow(ctx, wait)
				return
			}
			refuse(ctx, "the token is not valid, or not any more", "sluice login")
			return
		}
		if err != nil {
			answer(ctx, problemOf(err))
			return
		}
		noteSeen(ctx.Context(), func(s *seen) { s.principal = b.Principal })
		if wait := a.callers.take(string(b.Principal), a.cfg.Clock()); wait > 0 {
			slow(ctx, wait)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, caller{b, a, right, what, ctx.RemoteAddr()}))
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
	ctx.SetHeader("WWW-Authenticate", "Bearer")
	p := problemOf(sluice.Errorf(sluice.Denied, "%s", detail).WithHint("%s", hint))
	p.Status, p.Title = http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized)
	answer(ctx, p)
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
func (c caller) desk() control.Desk { return c.api.cfg.Desk(c.Principal) }

// job finds a job that the caller may do the route's thing to.
func (c caller) job(ctx context.Context, prefix string) (control.Desk, sluice.JobID, error) {
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

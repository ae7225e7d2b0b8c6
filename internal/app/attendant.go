package app

import (
	"context"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/core/converge"
	"sluice/internal/core/fleet"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/attendant"
)

// attend has hosts brought to what is current, where the fleet says that the server does so by itself.
func (s *Server) attend(ctx context.Context, r *running, api *httpapi.API) {
	attendant.Run(ctx, attendant.Config{Log: r.log, Clock: s.Clock, Retry: stewardRetry, Look: r.converging, Submit: api.Bring,
		May: func(ctx context.Context, by sluice.Principal, ns sluice.Namespace, hosts []sluice.Host) error {
			of, err := members(r.service)(ctx, ns)
			if err != nil {
				return err
			}
			return r.keeper.MaySubmit(ctx, access.As(by), ns, hosts, of)
		},
		Submitted: func(ns sluice.Namespace, job sluice.JobID, app, env string, hosts []sluice.Host) {
			s.Log.Info("a job "+converge.Reason, "namespace", ns, "app", app, "env", env, "job", job, "hosts", fleet.Fold(hosts))
		},
		Left: func(ns sluice.Namespace, l converge.Left) {
			log := s.Log.With("namespace", ns, "app", l.App, "env", l.Env)
			if len(l.Hosts) > 0 {
				log = log.With("hosts", fleet.Fold(l.Hosts))
			}
			log.Info("does not converge by itself", "why", l.Why)
		},
		Trouble: func(ns sluice.Namespace, err error) {
			s.Log.Warn("what converges by itself cannot be looked at", "namespace", ns, "err", err)
		}})
}

// converging is how it stands in a namespace with what converges by itself.
func (r *running) converging(ctx context.Context, ns sluice.Namespace) (at attendant.Sight, err error) {
	if at.Until, err = r.service.FleetUntil(ctx, ns); err != nil {
		return at, err
	}
	loaded, applied, err := r.service.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	f := loaded.Fleet()
	at.By, at.Every, at.Ask = sluice.Principal(applied.By), f.Converge.Every, f.ConfirmAbove
	if at.Every > 0 {
		at.Apps, err = r.service.Converging(ctx, ns, loaded)
	}
	return at, err
}

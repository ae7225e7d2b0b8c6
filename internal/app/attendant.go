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
	attendant.Run(ctx, attendant.Config{Log: r.log, Clock: s.Clock, Retry: stewardRetry, Look: r.service.Convergence, Submit: api.Bring,
		May: func(ctx context.Context, by sluice.Principal, ns sluice.Namespace, hosts []sluice.Host) error {
			of, err := r.service.HostsOf(ctx, ns)
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

package httpapi

import (
	"context"
	"net/http"
	"strings"

	"sluice"
	"sluice/api"
)

// IsHalt reports whether a request asks for a halt: of one job, or of all.
func IsHalt(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	rest, is := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !is || rest == "halt" {
		return is
	}
	parts := strings.Split(rest, "/")
	return len(parts) == 3 && parts[0] == "jobs" && parts[2] == "halt"
}

// keeps reports whether a halt cannot be appended now, and is kept instead.
func (a *API) keeps(ctx context.Context) bool {
	return a.cfg.Halts != nil && a.cfg.Stale != nil && !a.cfg.Stale(ctx).IsZero()
}

// keep keeps a halt that the caller may have, as this server knows it.
func (c caller) keep(ctx context.Context, ns sluice.Namespace, job sluice.JobID, reason string) (*api.KeptHalt, error) {
	h, err := c.api.cfg.Halts.Keep(ctx, sluice.KeptHalt{Principal: c.Principal, Token: c.Token, From: c.from, Namespace: ns, Job: job, Reason: reason})
	if err != nil {
		return nil, err
	}
	out := keptOf(h)
	return &out, nil
}

func keptOf(h sluice.KeptHalt) api.KeptHalt {
	return api.KeptHalt{ID: h.ID, Server: h.Server, At: h.At.UTC(), By: h.Principal, Namespace: h.Namespace, Job: h.Job, Reason: h.Reason}
}

// keptHalts are those of all that are kept here that somebody may hear of.
func (a *API) keptHalts(meant func(sluice.KeptHalt) bool) (out []api.KeptHalt) {
	if a.cfg.Halts == nil {
		return nil
	}
	for _, h := range a.cfg.Halts.All() {
		if meant(h) {
			out = append(out, keptOf(h))
		}
	}
	return out
}

// keptFor are those that halt a job.
func (a *API) keptFor(ns sluice.Namespace, id sluice.JobID) []api.KeptHalt {
	return a.keptHalts(func(h sluice.KeptHalt) bool {
		return h.Job == id || h.Job == "" && (h.Namespace == "" || h.Namespace == ns)
	})
}

package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sluice"
	"sluice/internal/core/access"
)

// isHealth: health answers to any name, since who balances load or supervises asks by address, and says nothing that a stranger
// may not know.
func isHealth(path string) bool { return path == "/healthz" || path == "/readyz" }

func (a *API) addHealth() {
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	a.mux.HandleFunc("GET /readyz", a.ready)
	if a.cfg.Metrics != nil {
		content := map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}
		route(a, sluice.SeeServer, huma.Operation{OperationID: "get-metrics", Method: http.MethodGet, Path: "/metrics", Tags: []string{serverTag},
			Summary:   "What the server counts, for Prometheus",
			Responses: map[string]*huma.Response{"200": {Description: "The metrics", Content: content}}}, a.metrics)
	}
}

const serverTag = "server"

func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, text) // who is gone does not want to know
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.cfg.Ready(r.Context()); err != nil { // which may say where things are, and anybody can ask
		a.cfg.Trouble("not ready: " + err.Error())
		writeProblem(w, problemOf(sluice.Errorf(sluice.Contact, "the server takes no jobs now; its log says why")))
		return
	}
	say(w, "ready")
}

func (a *API) metrics(ctx context.Context, c caller, _ *struct{}) (*huma.StreamResponse, error) {
	if err := c.ask(ctx, access.Ask{Right: c.right}); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		a.cfg.Metrics.ServeHTTP(w, r)
	}}, nil
}

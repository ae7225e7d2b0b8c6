package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

type about struct{ Body api.Server }

func (a *API) addAbout() {
	route(a, sluice.SeeServer, huma.Operation{OperationID: "get-server", Method: http.MethodGet, Path: "/api/v1/server", Tags: []string{serverTag},
		Summary: "This server: its version, since when it runs, and whether it takes jobs"}, getServer)
}

func getServer(ctx context.Context, c caller, _ *struct{}) (*about, error) {
	if err := c.ask(ctx, access.Ask{Right: c.right}); err != nil {
		return nil, err
	}
	out := &about{api.Server{Version: c.api.cfg.Version, Since: c.api.cfg.Since.UTC(), Ready: true, Cluster: c.api.cfg.Servers != nil}}
	if err := c.api.cfg.Ready(ctx); err != nil {
		out.Body.Ready, out.Body.Why = false, "its log says why"
		var ours *sluice.Error
		if errors.As(err, &ours) { // anything else may say more than one may know
			out.Body.Why = ours.Error()
		}
	}
	return out, nil
}

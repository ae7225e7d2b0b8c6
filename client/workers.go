package client

import (
	"context"
	"net/http"

	"sluice"
	"sluice/api"
)

// Workers lists the workers of the server.
func (c *Client) Workers(ctx context.Context) ([]api.Worker, error) {
	got, err := ask[struct {
		Workers []api.Worker `json:"workers"`
	}](ctx, c, request{path: []string{"workers"}})
	return got.Workers, err
}

// InviteWorker makes a token with which a worker can enrol, once. What was invited under the name before is void.
func (c *Client) InviteWorker(ctx context.Context, name sluice.WorkerName, pools []sluice.Pool) (api.Invitation, error) {
	body := struct {
		Pools []sluice.Pool `json:"pools,omitempty"`
	}{pools}
	return once[api.Invitation](ctx, c, request{method: http.MethodPost, path: []string{"workers", string(name), "invite"}, body: body})
}

// DrainWorker keeps new attempts from a worker; off gives them to it again. To say the same twice does no harm.
func (c *Client) DrainWorker(ctx context.Context, name sluice.WorkerName, off bool) error {
	act := "drain"
	if off {
		act = "undrain"
	}
	return c.again(ctx, func() error {
		_, err := once[struct{}](ctx, c, request{method: http.MethodPost, path: []string{"workers", string(name), act}})
		return err
	})
}

// RemoveWorker refuses a worker from now on.
func (c *Client) RemoveWorker(ctx context.Context, name sluice.WorkerName) error {
	_, err := once[struct{}](ctx, c, request{method: http.MethodDelete, path: []string{"workers", string(name)}})
	return err
}

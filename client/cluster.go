package client

import (
	"context"
	"net/http"

	"sluice"
	"sluice/api"
)

// Cluster lists the servers that share the log, as the server that answers knows them. The error's code is Config where it is alone.
func (c *Client) Cluster(ctx context.Context) (api.Cluster, error) {
	return ask[api.Cluster](ctx, c, request{path: []string{"servers"}})
}

// InviteServer makes a token with which a server can join the cluster; the member that it replaces, if any, is removed then. What was
// invited under the name before is void.
func (c *Client) InviteServer(ctx context.Context, name, replaces sluice.ServerName) (api.ServerInvitation, error) {
	body := struct {
		Replaces sluice.ServerName `json:"replaces,omitempty"`
	}{replaces}
	return once[api.ServerInvitation](ctx, c, request{method: http.MethodPost, path: []string{"servers", string(name), "invite"}, body: body})
}

// RemoveServer refuses a server from now on.
func (c *Client) RemoveServer(ctx context.Context, name sluice.ServerName) error {
	_, err := once[struct{}](ctx, c, request{method: http.MethodDelete, path: []string{"servers", string(name)}})
	return err
}

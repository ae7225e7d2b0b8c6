package client

import (
	"context"
	"net/http"

	"sluice"
	"sluice/api"
)

// Webhooks lists the webhooks of the server.
func (c *Client) Webhooks(ctx context.Context) ([]api.Webhook, error) {
	out, err := ask[struct{ Webhooks []api.Webhook }](ctx, c, request{path: []string{"webhooks"}})
	return out.Webhooks, err
}

// SetWebhook makes or changes a webhook. The answer has its secret where that is new: it is never shown again.
func (c *Client) SetWebhook(ctx context.Context, id sluice.WebhookID, w api.SetWebhook) (api.Webhook, error) {
	return once[api.Webhook](ctx, c, request{method: http.MethodPut, path: []string{"webhooks", string(id)}, body: w})
}

// RemoveWebhook has a webhook be sent nothing any more.
func (c *Client) RemoveWebhook(ctx context.Context, id sluice.WebhookID) error {
	return c.act(ctx, request{method: http.MethodDelete, path: []string{"webhooks", string(id)}})
}

// TestWebhook has a webhook be sent an event that is none, once and now. An error with the code Conflict says that it did
// not take it.
func (c *Client) TestWebhook(ctx context.Context, id sluice.WebhookID) error {
	return c.act(ctx, request{method: http.MethodPost, path: []string{"webhooks", string(id), "test"}})
}

// act sends a request to which there is no answer but that it was done.
func (c *Client) act(ctx context.Context, r request) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

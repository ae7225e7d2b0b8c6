package client

import (
	"context"
	"net/http"

	"sluice"
	"sluice/api"
)

// MaxHostKeys is how many hosts one request about keys can be about.
const MaxHostKeys = 200

// AskHostKeys has the server ask hosts for their keys. Nothing is added. What came of them is in the order of the hosts.
func (c *Client) AskHostKeys(ctx context.Context, ask api.AskHostKeys) ([]api.HostKey, error) {
	return c.hostKeys(ctx, []string{"hosts", "keys"}, ask, len(ask.Hosts))
}

// AddHostKeys has the server know hosts by keys from now on. To add the same twice does no harm.
func (c *Client) AddHostKeys(ctx context.Context, add api.AddHostKeys) ([]api.HostKey, error) {
	return c.hostKeys(ctx, []string{"hosts", "keys", "add"}, add, len(add.Keys))
}

func (c *Client) hostKeys(ctx context.Context, path []string, body any, want int) (keys []api.HostKey, err error) {
	err = c.again(ctx, func() error {
		got, err := once[struct {
			Keys []api.HostKey `json:"keys"`
		}](ctx, c, request{method: http.MethodPost, path: path, body: body})
		keys = got.Keys
		return err
	})
	if err == nil && len(keys) != want {
		err = sluice.Errorf(sluice.Contact, "%s does not answer as a Sluice server: %d answers about %d hosts", c.name(), len(keys), want)
	}
	return keys, err
}

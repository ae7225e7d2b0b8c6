package client

import (
	"context"
	"net/http"
	"net/url"

	"sluice"
	"sluice/api"
)

// Me is who one is to the server.
func (c *Client) Me(ctx context.Context) (api.Me, error) {
	return ask[api.Me](ctx, c, request{path: []string{"whoami"}})
}

// People lists who is known to the server.
func (c *Client) People(ctx context.Context) ([]api.Person, error) {
	got, err := ask[struct {
		People []api.Person `json:"people"`
	}](ctx, c, request{path: []string{"access", "people"}})
	return got.People, err
}

func (c *Client) access(ctx context.Context, method string, body any, query url.Values, path ...string) error {
	_, err := once[struct{}](ctx, c, request{method: method, path: path, body: body, query: query})
	return err
}

// AddPrincipal makes somebody known, without any right. again says that it is the one who was removed.
func (c *Client) AddPrincipal(ctx context.Context, p sluice.Principal, again bool) error {
	return c.access(ctx, http.MethodPost, struct {
		Principal sluice.Principal `json:"principal"`
		Again     bool             `json:"again,omitempty"`
	}{p, again}, nil, "access", "people")
}

// RemovePrincipal takes all grants and tokens of somebody back.
func (c *Client) RemovePrincipal(ctx context.Context, p sluice.Principal) error {
	return c.access(ctx, http.MethodDelete, nil, nil, "access", "people", string(p))
}

// Grant gives a role.
func (c *Client) Grant(ctx context.Context, g sluice.Grant) error {
	return c.access(ctx, http.MethodPost, g, nil, "access", "grants")
}

// TakeGrant takes a role back.
func (c *Client) TakeGrant(ctx context.Context, g sluice.Grant) error {
	return c.access(ctx, http.MethodPost, g, nil, "access", "grants", "take")
}

// Roles lists all roles.
func (c *Client) Roles(ctx context.Context) ([]api.Role, error) {
	got, err := ask[struct {
		Roles []api.Role `json:"roles"`
	}](ctx, c, request{path: []string{"access", "roles"}})
	return got.Roles, err
}

// DefineRole says what a role may do. Without rights it is gone.
func (c *Client) DefineRole(ctx context.Context, r sluice.Role, may []sluice.Right) error {
	if may == nil {
		may = []sluice.Right{}
	}
	return c.access(ctx, http.MethodPut, struct {
		May []sluice.Right `json:"may"`
	}{may}, nil, "access", "roles", string(r))
}

// Tokens lists the tokens of somebody; "" is oneself.
func (c *Client) Tokens(ctx context.Context, p sluice.Principal) ([]api.Token, error) {
	q := url.Values{}
	if p != "" {
		q.Set("principal", string(p))
	}
	got, err := ask[struct {
		Tokens []api.Token `json:"tokens"`
	}](ctx, c, request{path: []string{"tokens"}, query: q})
	return got.Tokens, err
}

// MakeToken makes a token. Its secret is told this once.
func (c *Client) MakeToken(ctx context.Context, w api.TokenWish) (api.NewToken, error) {
	return once[api.NewToken](ctx, c, request{method: http.MethodPost, path: []string{"tokens"}, body: w})
}

// RevokeToken ends a token and what was made with it; made ends the lasting ones, too.
func (c *Client) RevokeToken(ctx context.Context, id sluice.TokenID, made bool) error {
	q := url.Values{}
	if made {
		q.Set("made", "true")
	}
	return c.access(ctx, http.MethodDelete, nil, q, "tokens", string(id))
}

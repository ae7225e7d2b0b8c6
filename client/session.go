package client

import (
	"context"
	"net/url"

	"sluice"
	"sluice/api"
)

// Session is who one is to the server, until when, and what one may do where.
func (c *Client) Session(ctx context.Context) (api.Session, error) {
	return ask[api.Session](ctx, c, request{path: []string{"session"}})
}

// Person is one who is known to the server.
func (c *Client) Person(ctx context.Context, p sluice.Principal) (api.Person, error) {
	return ask[api.Person](ctx, c, request{path: []string{"access", "people", string(p)}})
}

// MayThere says which rights one has in a namespace, on some hosts or on all, and why not the others. "" is the server.
func (c *Client) MayThere(ctx context.Context, ns sluice.Namespace, hosts ...sluice.Host) ([]api.May, error) {
	q := url.Values{}
	if ns != "" {
		q.Set("namespace", string(ns))
	}
	for _, h := range hosts {
		q.Add("host", string(h))
	}
	return c.may(ctx, request{path: []string{"may"}, query: q})
}

// MayJob says what one may do to a job, and why not the rest.
func (c *Client) MayJob(ctx context.Context, id sluice.JobID) ([]api.May, error) {
	return c.may(ctx, request{path: []string{"jobs", string(id), "may"}})
}

func (c *Client) may(ctx context.Context, r request) ([]api.May, error) {
	got, err := ask[struct {
		May []api.May `json:"may"`
	}](ctx, c, r)
	return got.May, err
}

// Audit is who did what, newest first, by a query such as who, namespace, since, until, text, refused, limit and cursor.
func (c *Client) Audit(ctx context.Context, query url.Values) (api.AuditPage, error) {
	return ask[api.AuditPage](ctx, c, request{path: []string{"audit", "entries"}, query: query})
}

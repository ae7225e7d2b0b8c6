package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"sluice"
	"sluice/api"
)

// LiveQuery says of which apps and environments is asked what is live; "" stands for all that one may see.
type LiveQuery struct {
	Namespace sluice.Namespace
	App, Env  string
	At        time.Time // zero: now
}

func (q LiveQuery) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"namespace": string(q.Namespace), "app": q.App, "env": q.Env} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// Live lists what is live on which host, by app, environment and host.
func (c *Client) Live(ctx context.Context, q LiveQuery) ([]api.Live, error) {
	v := q.values()
	if !q.At.IsZero() {
		v.Set("at", q.At.UTC().Format(time.RFC3339Nano))
	}
	got, err := ask[struct {
		Live []api.Live `json:"live"`
	}](ctx, c, request{path: []string{"live"}, query: v})
	return got.Live, err
}

// Releases lists deploys and rollbacks, newest first, at most so many; 0: all. What was live at some time is no matter here.
func (c *Client) Releases(ctx context.Context, q LiveQuery, most int) (out []api.Released, err error) {
	const page = 1000
	v := q.values()
	v.Set("limit", strconv.Itoa(page))
	if most > 0 {
		v.Set("limit", strconv.Itoa(min(most, page)))
	}
	for {
		got, err := ask[struct {
			Releases []api.Released `json:"releases"`
			Next     string         `json:"next"`
		}](ctx, c, request{path: []string{"releases"}, query: v})
		if err != nil {
			return nil, err
		}
		out = append(out, got.Releases...)
		if got.Next == "" || most > 0 && len(out) >= most {
			return out, nil
		}
		v.Set("cursor", got.Next)
	}
}

package client

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// Converge brings hosts to the release that is current, and says what was done for each app, or would be where that is all that
// is asked for. It asks once: where no answer comes, jobs may have been submitted, and to ask again is a conflict while they go on.
func (c *Client) Converge(ctx context.Context, q api.Converge) ([]api.Converged, error) {
	got, err := once[struct {
		Apps []api.Converged `json:"apps"`
	}](ctx, c, request{method: http.MethodPost, path: []string{"converge"}, body: q})
	return got.Apps, err
}

// Converging says what a server leaves alone that converges by itself, where the fleet of a namespace says that it does.
func (c *Client) Converging(ctx context.Context, ns sluice.Namespace) (api.Convergence, error) {
	return ask[api.Convergence](ctx, c, request{path: []string{"namespaces", string(ns), "converge"}})
}

// unreadable is nil where there is nothing that the server cannot read.
func unreadable(lost []sluice.Namespace) error {
	if len(lost) == 0 {
		return nil
	}
	names := make([]string, len(lost))
	for i, ns := range lost {
		names[i] = string(ns)
	}
	return sluice.Errorf(sluice.Conflict, "the server has not said all: %s cannot be read now", strings.Join(names, ", ")).
		WithHint("its log says why; what it can read is had with --namespace NAME")
}

// Live lists what is live on which host, by app, environment and host. Where a namespace cannot be read, the rest comes with an
// error: nobody is to take it for all.
func (c *Client) Live(ctx context.Context, q LiveQuery) ([]api.Live, error) {
	v := q.values()
	if !q.At.IsZero() {
		v.Set("at", q.At.UTC().Format(time.RFC3339Nano))
	}
	got, err := ask[struct {
		Live       []api.Live         `json:"live"`
		Unreadable []sluice.Namespace `json:"unreadable"`
	}](ctx, c, request{path: []string{"live"}, query: v})
	if err == nil {
		err = unreadable(got.Unreadable)
	}
	return got.Live, err
}

// Latencies says how long it took from commit to live over time: by app, environment and namespace, of each the newest days or weeks
// in which something was released, at most so many; 0: as many as the server gives. What was live at some time is no matter here. Where
// a namespace cannot be read, the rest comes with an error, as it does from [Client.Live].
func (c *Client) Latencies(ctx context.Context, q LiveQuery, most int) ([]api.Latency, error) {
	const page = 1000
	v := q.values()
	v.Set("limit", strconv.Itoa(page))
	if most > 0 {
		v.Set("limit", strconv.Itoa(min(most, page)))
	}
	got, err := ask[struct {
		Latencies  []api.Latency      `json:"latencies"`
		Unreadable []sluice.Namespace `json:"unreadable"`
	}](ctx, c, request{path: []string{"latencies"}, query: v})
	if err == nil {
		err = unreadable(got.Unreadable)
	}
	return got.Latencies, err
}

// Releases lists deploys and rollbacks, newest first, at most so many; 0: all. What was live at some time is no matter here. Where a
// namespace cannot be read, the rest comes with an error, as it does from [Client.Live].
func (c *Client) Releases(ctx context.Context, q LiveQuery, most int) (out []api.Released, err error) {
	const page = 1000
	v := q.values()
	v.Set("limit", strconv.Itoa(page))
	if most > 0 {
		v.Set("limit", strconv.Itoa(min(most, page)))
	}
	var lost []sluice.Namespace
	for {
		got, err := ask[struct {
			Releases   []api.Released     `json:"releases"`
			Next       string             `json:"next"`
			Unreadable []sluice.Namespace `json:"unreadable"`
		}](ctx, c, request{path: []string{"releases"}, query: v})
		if err != nil {
			return nil, err
		}
		out = append(out, got.Releases...)
		for _, ns := range got.Unreadable { // each page says it
			if !slices.Contains(lost, ns) {
				lost = append(lost, ns)
			}
		}
		if got.Next == "" || most > 0 && len(out) >= most {
			return out, unreadable(lost)
		}
		v.Set("cursor", got.Next)
	}
}

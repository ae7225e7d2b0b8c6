package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice"
	"sluice/api"
)

// ApplyFleet makes a fleet, in the form that [Client.Fleet] gives, the current one of its namespace. base is the version
// that the change was made from; below 0, whatever is there is replaced. To apply the same twice does no harm.
func (c *Client) ApplyFleet(ctx context.Context, ns sluice.Namespace, fleet any, note string, base int) (f api.Fleet, err error) {
	body := struct {
		Fleet any    `json:"fleet"`
		Note  string `json:"note,omitempty"`
		Base  *int   `json:"base,omitempty"`
	}{fleet, note, &base}
	if base < 0 {
		body.Base = nil
	}
	err = c.again(ctx, func() error {
		f, err = once[api.Fleet](ctx, c, request{method: http.MethodPut, path: []string{"namespaces", string(ns), "fleet"}, body: body})
		return err
	})
	return f, err
}

// Fleet is a version of the fleet of a namespace: that of a number, or for 0 that of a time, or for the zero time the
// current one.
func (c *Client) Fleet(ctx context.Context, ns sluice.Namespace, version int, at time.Time) (api.Fleet, error) {
	v := url.Values{}
	if version > 0 {
		v.Set("version", strconv.Itoa(version))
	}
	if !at.IsZero() {
		v.Set("at", at.Format(time.RFC3339Nano))
	}
	return ask[api.Fleet](ctx, c, request{path: []string{"namespaces", string(ns), "fleet"}, query: v})
}

// Fleets lists the versions of the fleet of a namespace, oldest first.
func (c *Client) Fleets(ctx context.Context, ns sluice.Namespace) ([]api.Fleet, error) {
	got, err := ask[struct {
		Fleets []api.Fleet `json:"fleets"`
	}](ctx, c, request{path: []string{"namespaces", string(ns), "fleet", "versions"}})
	return got.Fleets, err
}

// Namespaces are those whose fleets one may see.
func (c *Client) Namespaces(ctx context.Context) ([]sluice.Namespace, error) {
	got, err := ask[struct {
		Namespaces []sluice.Namespace `json:"namespaces"`
	}](ctx, c, request{path: []string{"namespaces"}})
	return got.Namespaces, err
}

// Hosts are the hosts that an expression means in a namespace.
func (c *Client) Hosts(ctx context.Context, ns sluice.Namespace, targets string) ([]sluice.Host, error) {
	got, err := ask[struct {
		Hosts []sluice.Host `json:"hosts"`
	}](ctx, c, request{path: []string{"namespaces", string(ns), "hosts"}, query: url.Values{"targets": {targets}}})
	return got.Hosts, err
}

// Means is what the rules of a version of a fleet work out to; version 0 is the current one.
func (c *Client) Means(ctx context.Context, ns sluice.Namespace, version int) (api.Meaning, error) {
	v := url.Values{}
	if version > 0 {
		v.Set("version", strconv.Itoa(version))
	}
	return ask[api.Meaning](ctx, c, request{path: []string{"namespaces", string(ns), "fleet", "meaning"}, query: v})
}

// FleetDiff is what is different between two versions of a fleet. For from 0 it is the one before to, and for to 0 the
// current one.
func (c *Client) FleetDiff(ctx context.Context, ns sluice.Namespace, from, to int) (api.FleetDiff, error) {
	v := url.Values{}
	for name, n := range map[string]int{"from": from, "to": to} {
		if n > 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	return ask[api.FleetDiff](ctx, c, request{path: []string{"namespaces", string(ns), "fleet", "diff"}, query: v})
}

// HostStandings says where the hosts that an expression means stand in the fleet, at most so many.
func (c *Client) HostStandings(ctx context.Context, ns sluice.Namespace, targets string, limit int) ([]api.HostStanding, error) {
	got, err := ask[struct {
		Details []api.HostStanding `json:"details"`
	}](ctx, c, request{path: []string{"namespaces", string(ns), "hosts"},
		query: url.Values{"targets": {targets}, "limit": {strconv.Itoa(limit)}, "details": {"true"}}})
	return got.Details, err
}

// Complete is what an expression could go on with.
func (c *Client) Complete(ctx context.Context, ns sluice.Namespace, text string) ([]api.Word, error) {
	got, err := ask[struct {
		Words []api.Word `json:"words"`
	}](ctx, c, request{path: []string{"namespaces", string(ns), "hosts", "complete"}, query: url.Values{"text": {text}}})
	return got.Words, err
}

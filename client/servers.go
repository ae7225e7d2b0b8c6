package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice"
)

// place is one server of those that a client may go to.
type place struct {
	base *url.URL
	at   string // the socket; "" for none
	http *http.Client
}

func newPlace(server, token string, h *http.Client) (*place, error) {
	u, err := url.Parse(server)
	if err == nil && u.Scheme == "unix" {
		return atSocket(u, token, h)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, sluice.Errorf(sluice.Usage, "%q is no address of a server", server).WithHint("such as https://sluice.example.com:7657")
	}
	if strings.ContainsAny(token, " \t\r\n") || token == "" && !shows(h) {
		return nil, sluice.Errorf(sluice.Usage, "there is no token for the server %s", u.Host).WithHint("sluice login %s", server)
	}
	if h == nil {
		h = &http.Client{}
	}
	return &place{base: u, http: h}, nil
}

// atSocket is a server at a socket of this machine.
func atSocket(u *url.URL, token string, h *http.Client) (*place, error) {
	if u.Host != "" || len(u.Path) < 2 || u.RawQuery != "" {
		return nil, sluice.Errorf(sluice.Usage, "%q is no socket of a server", u).WithHint("such as unix:///var/lib/sluice/sluice.sock")
	}
	if strings.ContainsAny(token, " \t\r\n") {
		return nil, sluice.Errorf(sluice.Usage, "that is no token for the server %s", u)
	}
	own := http.Client{}
	if h != nil {
		own = *h
	}
	var dialer net.Dialer
	path := u.Path
	own.Transport = &http.Transport{IdleConnTimeout: time.Minute, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}}
	return &place{base: &url.URL{Scheme: "http", Host: "localhost"}, at: u.String(), http: &own}, nil
}

// server is the address of it, and name what people call it.
func (p *place) server() string {
	if p.at != "" {
		return p.at
	}
	return p.base.String()
}

func (p *place) name() string {
	if p.at != "" {
		return p.at
	}
	return p.base.Host
}

// now is the server that answered last.
func (c *Client) now() *place { return c.places[c.current()] }

func (c *Client) current() int { return int(c.turn.Load()) % len(c.places) }

// moveOn has the next request go to the next server: what this one said was not to be had to its end.
func (c *Client) moveOn() { c.turn.Store(int32((c.current() + 1) % len(c.places))) }

// hops sends a request to the servers in turn, from the one that answered last on, until one takes it. Where something may have got to a
// server and no answer came back, the next one is asked only if nothing changes by it.
func (c *Client) hops(ctx context.Context, method string, send func(context.Context, *place) (*http.Response, error)) (*http.Response, error) {
	first := c.current()
	failed := make([]error, len(c.places))
	for i := range c.places {
		n := (first + i) % len(c.places)
		p := c.places[n]
		var sent atomic.Bool
		resp, err := send(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}), p)
		asks := method == http.MethodGet
		last := i == len(c.places)-1
		switch {
		case err == nil && (last || !asks || !elsewhere(resp.StatusCode)):
			c.turn.Store(int32(n))
			return resp, nil
		case err == nil:
			failed[n] = problemOf(p, resp)
			_ = resp.Body.Close()
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		failed[n] = noContact(p, err)
		if sent.Load() && !asks {
			break
		}
	}
	return nil, noneOf(failed)
}

// elsewhere reports whether another server may have a better answer.
func elsewhere(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// noneOf is why no server did what was asked for: each that was asked is named, in the order in which a person named them.
func noneOf(failed []error) error {
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if len(failed) == 1 {
		return failed[0]
	}
	texts := make([]string, len(failed))
	for i, err := range failed {
		texts[i] = err.Error()
	}
	out := &sluice.Error{Code: sluice.Contact, Text: strings.Join(texts, "; ")}
	var e *sluice.Error
	if errors.As(failed[0], &e) {
		out.Hint = e.Hint
	}
	return out
}

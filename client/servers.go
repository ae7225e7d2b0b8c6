package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/api"
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
// server and no answer came back, the next one is asked only if nothing changes by it. One that has no contact with a majority of the
// cluster is left for one that has: where none has, what the first of them said is the answer.
func (c *Client) hops(ctx context.Context, r request, send func(context.Context, *place) (*http.Response, error)) (*http.Response, error) {
	first := c.current()
	failed := make([]error, len(c.places))
	asks := r.question || r.again || r.method == http.MethodGet
	var old *answer
	for i := range c.places {
		n := (first + i) % len(c.places)
		p := c.places[n]
		var sent atomic.Bool
		in := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
		var resp *http.Response
		var err error
		if old == nil || !asks { // a change has the time that it takes
			resp, err = send(in, p)
		} else {
			resp, err = soon(in, func(ctx context.Context) (*http.Response, error) { return send(ctx, p) })
		}
		last := i == len(c.places)-1
		switch {
		case ctx.Err() != nil:
			old.close()
			if err == nil {
				_ = resp.Body.Close()
			}
			return nil, ctx.Err()
		case err == nil && c.leaves(r, asks, resp):
			if old == nil {
				old = &answer{n, resp}
			} else {
				_ = resp.Body.Close()
			}
			continue
		case err == nil && (!asks || !elsewhere(resp.StatusCode) || last && old == nil):
			old.close()
			c.turn.Store(int32(n))
			return resp, nil
		case err == nil:
			failed[n] = problemOf(p, resp)
			_ = resp.Body.Close()
			continue
		}
		failed[n] = noContact(p, err)
		if sent.Load() && !asks {
			old.close()
			return nil, noneOf(failed)
		}
	}
	if old == nil {
		return nil, noneOf(failed)
	}
	c.looked.Store(int64(time.Since(c.began)))
	c.turn.Store(int32(old.from))
	return old.resp, nil
}

// answer is what a server said that has no contact with a majority.
type answer struct {
	from int
	resp *http.Response
}

func (a *answer) close() {
	if a != nil {
		_ = a.resp.Body.Close()
	}
}

// leaves reports whether another server is to be asked, as this one has no contact with a majority. A change was refused there before
// anything of it was looked at, or it is not asked for again. Nor is anything where all were asked not long ago.
func (c *Client) leaves(r request, asks bool, resp *http.Response) bool {
	if _, old := staleSince(resp); !old || len(c.places) == 1 || time.Since(c.began)-time.Duration(c.looked.Load()) < c.look {
		return false
	}
	return asks || r.raw == nil && resp.StatusCode == http.StatusServiceUnavailable // it was refused before anything of it was looked at
}

// staleSince is since when the server that answers has no contact with a majority; false: it has, or needs none.
func staleSince(resp *http.Response) (time.Time, bool) {
	since, err := time.Parse(time.RFC3339, resp.Header.Get(api.StaleHeader))
	return since, err == nil
}

// newerWithin is how long a server may take to answer where another one has: it is asked for something newer alone.
const newerWithin = 2 * time.Second

// soon has an answer begin within newerWithin, and end when it will.
func soon(ctx context.Context, send func(context.Context) (*http.Response, error)) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(newerWithin, cancel)
	resp, err := send(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	late.Stop()
	resp.Body = &ends{resp.Body, cancel}
	return resp, nil
}

// ends is a body that ends its request when it is closed.
type ends struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (e *ends) Close() error {
	e.cancel()
	return e.ReadCloser.Close()
}

// seek returns true when the next request goes to a server that has contact with a majority: it asks all of them now and then, the present
// one last. False: ctx has ended.
func (c *Client) seek(ctx context.Context) bool {
	for pause(ctx, c.look) == nil {
		from := c.current()
		for i := range c.places {
			n := (from + 1 + i) % len(c.places)
			if c.holds(ctx, c.places[n]) {
				c.turn.Store(int32(n))
				return true
			}
		}
	}
	return false
}

// holds asks a server whether what it says holds: it answers itself, or with what the owner of the log says.
func (c *Client) holds(ctx context.Context, p *place) bool {
	ctx, done := context.WithTimeout(ctx, newerWithin)
	defer done()
	req, err := request{method: http.MethodGet, path: []string{"whoami"}}.to(ctx, p, nil)
	if err != nil {
		return false
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, old := staleSince(resp)
	return !old && !elsewhere(resp.StatusCode)
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

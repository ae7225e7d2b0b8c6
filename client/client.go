// Package client talks to a Sluice server. The command line uses nothing else.
//
// Errors that the server gives are [*sluice.Error] with its code and hint; no contact is one with the code Contact. A
// question is asked again after a lost connection; a change is not, unless the server can tell that it is the same.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/api"
)

// Client talks to a server, or to the servers of a cluster, of which each is as good as the others. It is safe for concurrent use.
type Client struct {
	// Stale is told of every answer that is as old as the server says, which had no contact with a majority of its cluster since then.
	// It may be called from several goroutines at once, and is set before anything is asked; nil: nobody is told.
	Stale func(since time.Time)
	// HaltKept is told of a halt that a server keeps, which has no contact with a majority of its cluster: it is appended as soon as there
	// is one. Otherwise it is as Stale is.
	HaltKept func(h api.KeptHalt)

	places []*place
	turn   atomic.Int32 // which of them answered last
	looked atomic.Int64 // when all were asked in vain for something newer, in nanoseconds since began
	began  time.Time
	token  string
	// retry is the first wait before a lost connection is tried again; it doubles up to maxRetry.
	retry time.Duration
	// look is how long nobody is asked for something newer after all were, in vain.
	look time.Duration
}

const (
	firstRetry = 200 * time.Millisecond
	maxRetry   = 5 * time.Second
	lookAgain  = 3 * time.Second
	// maxAnswer is more than any answer has that is not a stream.
	maxAnswer = 256 << 20
)

// New makes a client for the server at a URL such as https://sluice.example.com, or at a socket of this machine, such as
// unix:///var/lib/sluice/sluice.sock, where it needs no token. Several servers of a cluster have commas between them: a request goes to the
// one that answered last, and to the next one where that cannot be reached, or has no contact with a majority of them. h may be nil.
func New(server, token string, h *http.Client) (*Client, error) {
	c := &Client{token: token, retry: firstRetry, look: lookAgain, began: time.Now().Add(-lookAgain)}
	for _, one := range strings.Split(server, ",") {
		p, err := newPlace(strings.TrimSpace(one), token, h)
		if err != nil {
			return nil, err
		}
		c.places = append(c.places, p)
	}
	return c, nil
}

// shows reports whether a certificate says who is asking, so that no token is needed.
func shows(h *http.Client) bool {
	if h == nil {
		return false
	}
	t, is := h.Transport.(*http.Transport)
	return is && t.TLSClientConfig != nil && (len(t.TLSClientConfig.Certificates) > 0 || t.TLSClientConfig.GetClientCertificate != nil)
}

// Close gives back what is open to servers and idle.
func (c *Client) Close() {
	for _, p := range c.places {
		p.http.CloseIdleConnections()
	}
}

// Server is the address of the server, or those of all, with commas between them.
func (c *Client) Server() string {
	all := make([]string, len(c.places))
	for i, p := range c.places {
		all[i] = p.server()
	}
	return strings.Join(all, ",")
}

// At is the address of the server that answered last.
func (c *Client) At() string { return c.now().server() }

// name is what people call the server that answered last.
func (c *Client) name() string { return c.now().name() }

// Greet asks the server whether it takes the token. Somebody who may do little is welcome, too.
func (c *Client) Greet(ctx context.Context) error {
	return c.again(ctx, func() error {
		resp, err := c.send(ctx, request{method: http.MethodGet, path: []string{"jobs"}, query: url.Values{"limit": {"1"}}})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		if err := c.problem(resp); resp.StatusCode != http.StatusForbidden {
			return err
		}
		return nil
	})
}

// request is what is asked for.
type request struct {
	method, accept string
	path           []string
	query          url.Values
	body           any
	raw            io.Reader // a body as it is
	header         http.Header
	question       bool // it changes nothing, whatever its method
	again          bool // it may be asked of several servers: a halt, and halting twice is no more than once
}

// do sends a request and makes an error of an answer that is none of success.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	resp, err := c.hops(ctx, r, func(ctx context.Context, p *place) (*http.Response, error) {
		req, err := r.to(ctx, p, body)
		if err != nil {
			return nil, err
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		return p.http.Do(req)
	})
	if err != nil {
		return nil, err
	}
	if since, old := staleSince(resp); old && resp.StatusCode/100 == 2 && !r.again && c.Stale != nil {
		c.Stale(since)
	}
	return resp, nil
}

// to makes the request for one server. A body that can be read once is not closed with it: where nothing was sent, the next one gets it.
func (r request) to(ctx context.Context, p *place, body []byte) (*http.Request, error) {
	var from io.Reader
	if r.body != nil {
		from = bytes.NewReader(body)
	}
	if r.raw != nil {
		from = io.NopCloser(r.raw)
	}
	u := p.base.JoinPath("api", "v1")
	for _, s := range r.path {
		u = u.JoinPath(url.PathEscape(s))
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), from)
	if err != nil {
		return nil, err
	}
	for name, v := range r.header {
		req.Header[name] = v
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.raw != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	return req, nil
}

func (c *Client) noContact(err error) error { return noContact(c.now(), err) }

func noContact(p *place, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // it repeats method and address
	}
	return &sluice.Error{Code: sluice.Contact, Text: "no contact to the server " + p.name(), Err: err,
		Hint: "is it running, and reachable from here?"}
}

// problem makes an error of what the server said.
func (c *Client) problem(resp *http.Response) error { return problemOf(c.now(), resp) }

func problemOf(at *place, resp *http.Response) error {
	var p api.Problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.Status == 0 {
		return sluice.Errorf(sluice.Contact, "%s does not answer as a Sluice server: %s", at.name(), resp.Status)
	}
	e := &sluice.Error{Code: sluice.Code(p.Code), Text: p.Detail, Hint: p.Hint}
	if e.Code == "" {
		switch {
		case p.Status/100 == 5:
			e.Code = sluice.Contact
		default:
			e.Code = sluice.Usage
		}
	}
	var more []string
	for _, w := range p.Errors {
		more = append(more, strings.TrimSpace(w.Where+" "+w.Message))
	}
	if len(more) > 0 {
		e.Text += ": " + strings.Join(more, "; ")
	}
	return e
}

// ask asks a question, again if the connection is lost, and decodes the answer.
func ask[T any](ctx context.Context, c *Client, r request) (out T, err error) {
	r.method = http.MethodGet
	err = c.again(ctx, func() error {
		out, err = once[T](ctx, c, r)
		return err
	})
	return out, err
}

// tries of a question before it is given up; submitTries those of a job, whose first try may have arrived.
const (
	tries       = 4
	submitTries = 12
)

func (c *Client) again(ctx context.Context, f func() error) error { return c.times(ctx, tries, f) }

func (c *Client) times(ctx context.Context, most int, f func() error) error {
	wait := c.retry
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == most || sluice.CodeOf(err) != sluice.Contact || ctx.Err() != nil {
			return err
		}
		c.moveOn()
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, maxRetry)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// once sends a request and decodes the answer.
func once[T any](ctx context.Context, c *Client, r request) (out T, err error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	return decode[T](ctx, c, resp)
}

// decode reads an answer to its end.
func decode[T any](ctx context.Context, c *Client, resp *http.Response) (out T, err error) {
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, c.noContact(fmt.Errorf("its answer ends early or is not what it should be: %w", err))
	}
	return out, nil
}

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
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice"
	"sluice/api"
)

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	at    string // the socket; "" for none
	token string
	http  *http.Client
	// retry is the first wait before a lost connection is tried again; it doubles up to maxRetry.
	retry time.Duration
}

const (
	firstRetry = 200 * time.Millisecond
	maxRetry   = 5 * time.Second
	// maxAnswer is more than any answer has that is not a stream.
	maxAnswer = 256 << 20
)

// New makes a client for the server at a URL such as https://sluice.example.com, or at a socket of this machine, such as
// unix:///var/lib/sluice/sluice.sock, where it needs no token. h may be nil.
func New(server, token string, h *http.Client) (*Client, error) {
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
	return &Client{base: u, token: token, http: h, retry: firstRetry}, nil
}

// atSocket makes a client for a server at a socket of this machine.
func atSocket(u *url.URL, token string, h *http.Client) (*Client, error) {
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
	return &Client{base: &url.URL{Scheme: "http", Host: "localhost"}, at: u.String(), token: token, http: &own, retry: firstRetry}, nil
}

// shows reports whether a certificate says who is asking, so that no token is needed.
func shows(h *http.Client) bool {
	if h == nil {
		return false
	}
	t, is := h.Transport.(*http.Transport)
	return is && t.TLSClientConfig != nil && (len(t.TLSClientConfig.Certificates) > 0 || t.TLSClientConfig.GetClientCertificate != nil)
}

// Close gives back what is open to the server and idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the address of the server.
func (c *Client) Server() string {
	if c.at != "" {
		return c.at
	}
	return c.base.String()
}

// name is what people call the server.
func (c *Client) name() string {
	if c.at != "" {
		return c.at
	}
	return c.base.Host
}

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
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if r.raw != nil {
		body = r.raw
	}
	u := c.base.JoinPath("api", "v1")
	for _, p := range r.path {
		u = u.JoinPath(url.PathEscape(p))
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for name, v := range r.header {
		req.Header[name] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
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
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.noContact(err)
	}
	return resp, nil
}

func (c *Client) noContact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // it repeats method and address
	}
	return &sluice.Error{Code: sluice.Contact, Text: "no contact to the server " + c.name(), Err: err,
		Hint: "is it running, and reachable from here?"}
}

// problem makes an error of what the server said.
func (c *Client) problem(resp *http.Response) error {
	var p api.Problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.Status == 0 {
		return sluice.Errorf(sluice.Contact, "%s does not answer as a Sluice server: %s", c.name(), resp.Status)
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

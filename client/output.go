package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"sluice"
	"sluice/api"
)

// Output opens what the last attempt of a job on a host printed to a stream ("stdout", "stderr"), from an offset on.
func (c *Client) Output(ctx context.Context, id string, h sluice.Host, stream string, offset int64) (io.ReadCloser, error) {
	r, _, err := c.AttemptOutput(ctx, id, h, "", stream, offset)
	return r, err
}

// AttemptOutput is [Client.Output] of an attempt: "" is the last one on the host. It returns which one it is. Where the
// connection is lost, the reader goes on from where it was.
func (c *Client) AttemptOutput(ctx context.Context, id string, h sluice.Host, a sluice.AttemptID, stream string, offset int64) (io.ReadCloser, sluice.AttemptID, error) {
	open := func(a sluice.AttemptID, offset int64) (resp *http.Response, err error) {
		query := url.Values{"offset": {strconv.FormatInt(offset, 10)}}
		if a != "" {
			query.Set("attempt", string(a))
		}
		err = c.again(ctx, func() error {
			resp, err = c.do(ctx, request{method: http.MethodGet, path: []string{"jobs", id, "hosts", string(h), stream}, query: query})
			return err
		})
		return resp, err
	}
	resp, err := open(a, offset)
	if err != nil {
		return nil, "", err
	}
	if is := resp.Header.Get("Sluice-Attempt"); is != "" {
		a = sluice.AttemptID(is)
	}
	return &output{body: resp.Body, at: offset, left: tries, again: func(at int64) (io.ReadCloser, error) {
		resp, err := open(a, at) // of the same attempt, whatever was started meanwhile
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}}, a, nil
}

// output reads on where a connection was lost.
type output struct {
	body  io.ReadCloser
	at    int64
	left  int // how often it may be lost without anything having come
	again func(at int64) (io.ReadCloser, error)
}

func (o *output) Read(p []byte) (int, error) {
	for {
		n, err := o.body.Read(p)
		o.at += int64(n)
		if n > 0 {
			o.left = tries
		}
		if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if o.left--; o.left < 0 {
			return 0, err
		}
		body, err := o.again(o.at)
		if err != nil {
			return 0, err
		}
		_ = o.body.Close()
		o.body = body
	}
}

func (o *output) Close() error { return o.body.Close() }

// Fetched opens what a job fetched from a host: a tar stream of the file or the tree.
func (c *Client) Fetched(ctx context.Context, id string, h sluice.Host) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := c.again(ctx, func() error {
		resp, err := c.do(ctx, request{method: http.MethodGet, path: []string{"jobs", id, "hosts", string(h), "fetched"}})
		if err == nil {
			body = resp.Body
		}
		return err
	})
	return body, err
}

// Kept asks for what may be in the server's store already, and keeps it there as if it had just been put. Its code is
// [sluice.NotFound] if it is not there.
func (c *Client) Kept(ctx context.Context, digest string) (api.Blob, error) {
	var b api.Blob
	err := c.again(ctx, func() (err error) {
		b, err = once[api.Blob](ctx, c, request{method: http.MethodPut, path: []string{"blobs", digest}})
		return err
	})
	return b, err
}

// Put puts a script, or a packed tree, into the server's store, and returns the digest by which a job names it.
func (c *Client) Put(ctx context.Context, r io.Reader) (api.Blob, error) {
	sum := sha256.New()
	from := &source{r: io.TeeReader(r, sum)}
	resp, err := c.do(ctx, request{method: http.MethodPost, path: []string{"blobs"}, raw: from})
	if from.err != nil && sluice.CodeOf(err) == sluice.Contact {
		return api.Blob{}, from.err // not the server's fault
	}
	if err != nil {
		return api.Blob{}, err
	}
	b, err := decode[api.Blob](ctx, c, resp)
	if is := "sha256:" + hex.EncodeToString(sum.Sum(nil)); err == nil && b.Digest != is {
		err = c.noContact(fmt.Errorf("it kept something else than what was sent: %s, not %s", b.Digest, is))
	}
	return b, err
}

// source remembers why it could not be read.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Failures are the hosts on which a job did not succeed, those that failed alike together: a page of them, and where the next
// one begins, "" after the last.
func (c *Client) Failures(ctx context.Context, id, cursor string) (page []api.Failure, next string, err error) {
	got, err := ask[struct {
		Failures []api.Failure `json:"failures"`
		Next     string        `json:"next"`
	}](ctx, c, request{path: []string{"jobs", id, "failures"}, query: url.Values{"cursor": {cursor}}})
	return got.Failures, got.Next, err
}

// Groups are the hosts of a job by what they printed to a stream, as [Client.Failures].
func (c *Client) Groups(ctx context.Context, id, stream, cursor string) (page []api.Alike, next string, err error) {
	got, err := ask[struct {
		Groups []api.Alike `json:"groups"`
		Next   string      `json:"next"`
	}](ctx, c, request{path: []string{"jobs", id, "groups"}, query: url.Values{"stream": {stream}, "cursor": {cursor}}})
	return got.Groups, got.Next, err
}

// HostTask is all attempts of a job on a host.
func (c *Client) HostTask(ctx context.Context, id string, h sluice.Host) (api.HostTask, error) {
	return ask[api.HostTask](ctx, c, request{path: []string{"jobs", id, "hosts", string(h)}})
}

// Host is what is known of a host, with a page of the jobs on it, newest first; cursor is the Next of the page before, or "".
func (c *Client) Host(ctx context.Context, ns sluice.Namespace, h sluice.Host, cursor sluice.JobID) (api.Host, error) {
	return ask[api.Host](ctx, c, request{path: []string{"namespaces", string(ns), "hosts", string(h), "now"}, query: url.Values{"cursor": {string(cursor)}}})
}

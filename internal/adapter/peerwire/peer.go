package peerwire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"sluice"
)

var _ sluice.Peer = (*Client)(nil)

const (
	// Records are handed on when so many have come, or so many bytes of them.
	someRecords, someBytes = 64, 1 << 20
)

// Records hands on the records of a namespace behind an event. Each is proved, by itself and to continue the one before.
func (c *Client) Records(ctx context.Context, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) error {
	q := url.Values{"namespace": {string(ns)}, "after": {strconv.FormatUint(after, 10)}}
	res, err := c.call(ctx, c.bulk, http.MethodGet, "records?"+q.Encode(), nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	said, err := readRecords(bufio.NewReaderSize(res.Body, firstRead), ns, after, visit)
	switch {
	case said != nil:
		return said.err(c.cfg.Name)
	case errors.As(err, new(visited)):
		return errors.Unwrap(err)
	case err != nil && ctx.Err() != nil:
		return c.contact(ctx, err)
	case err != nil:
		return &sluice.Error{Code: sluice.Contact, Text: fmt.Sprintf("the records of the namespace %s that the server %s sent", ns, c.cfg.Name), Err: err}
	}
	return nil
}

// visited is an error of who gets the records.
type visited struct{ error }

func (v visited) Unwrap() error { return v.error }

// readRecords reads records up to the end, or what the other side says instead.
func readRecords(in *bufio.Reader, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) (said *problem, err error) {
	var some []sluice.Record
	var before sluice.Record
	held := 0
	hand := func() error {
		if len(some) == 0 {
			return nil
		}
		got := some
		some, held = nil, 0
		if err := visit(got); err != nil {
			return visited{err}
		}
		return nil
	}
	for {
		kind, body, err := readFrame(in, recordHead+maxPayload)
		if err != nil {
			return nil, err
		}
		switch kind {
		case recordFrame:
			r, err := recordOf(ns, body)
			if err != nil {
				return nil, err
			}
			if before.Last > 0 && (r.First != before.Last+1 || r.Prev != before.Hash) || r.Last <= after {
				return nil, fmt.Errorf("event %d does not continue event %d", r.First, max(before.Last, after))
			}
			before = r
			if some, held = append(some, r), held+len(body); len(some) >= someRecords || held >= someBytes {
				if err := hand(); err != nil {
					return nil, err
				}
			}
		case endFrame:
			return nil, hand()
		case errorFrame:
			if err := hand(); err != nil {
				return nil, err
			}
			said = &problem{}
			if err := json.Unmarshal(body, said); err != nil {
				return nil, fmt.Errorf("an error that is not understood: %w", err)
			}
			return said, nil
		default:
			return nil, fmt.Errorf("a frame of the kind %q", kind)
		}
	}
}

// KeepOutput keeps pieces there.
func (c *Client) KeepOutput(ctx context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error {
	var body bytes.Buffer
	for _, p := range pieces {
		if err := writePiece(&body, p); err != nil {
			return err
		}
	}
	if err := writeFrame(&body, endFrame); err != nil {
		return err
	}
	res, err := c.call(ctx, c.bulk, http.MethodPost, "outputs/"+url.PathEscape(string(job)), nil, &body)
	if err != nil {
		return err
	}
	return c.value(ctx, res, maxProblem, nil)
}

func outputPath(job sluice.JobID, a sluice.AttemptID, stream string) string {
	return "outputs/" + url.PathEscape(string(job)) + "/" + url.PathEscape(string(a)) + "/" + url.PathEscape(stream)
}

// OutputSize is how much of a stream is kept there.
func (c *Client) OutputSize(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (int64, error) {
	return c.size(ctx, http.MethodGet, outputPath(job, a, stream)+"/size")
}

func (c *Client) size(ctx context.Context, method, path string) (int64, error) {
	res, err := c.call(ctx, c.calls, method, path, nil, nil)
	if err != nil {
		return 0, err
	}
	var got wireSize
	err = c.value(ctx, res, maxProblem, &got)
	return got.Size, err
}

// OpenOutput reads a stream there from an offset on.
func (c *Client) OpenOutput(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string, from int64) (io.ReadCloser, error) {
	return c.read(ctx, outputPath(job, a, stream)+"?from="+strconv.FormatInt(from, 10))
}

// read reads what is streamed. An end that is none is an error with the code Contact.
func (c *Client) read(ctx context.Context, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	res, err := c.call(ctx, c.bulk, http.MethodGet, path, nil, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	return &streamed{c: c, ctx: ctx, cancel: cancel, body: res.Body}, nil
}

type streamed struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	body   io.ReadCloser
}

func (s *streamed) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.c.contact(s.ctx, err)
	}
	return n, err
}

func (s *streamed) Close() error {
	s.cancel()
	return s.body.Close()
}

// Blobs are those that are kept there.
func (c *Client) Blobs() sluice.Blobs { return blobs{c} }

type blobs struct{ c *Client }

func (b blobs) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	in := &summed{r: r, sum: sha256.New()}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+b.c.cfg.Address+prefix+"blobs", in)
	if err != nil {
		return "", 0, err
	}
	q.ContentLength = -1
	q.Trailer = http.Header{digestTrailer: nil}
	in.ended = func(digest string) { q.Trailer.Set(digestTrailer, digest) }
	res, err := b.c.send(q, b.c.bulk)
	_ = in.Close()
	sent, n, own := in.is()
	switch {
	case own != nil && ctx.Err() == nil:
		if res != nil {
			_ = res.Body.Close()
		}
		return "", 0, own
	case err != nil:
		return "", 0, err
	}
	var got wireSize
	if err := b.c.value(ctx, res, maxProblem, &got); err != nil {
		return "", 0, err
	}
	if got.Digest != sent || got.Size != n {
		return "", 0, sluice.Errorf(sluice.Contact, "the server %s kept %s of %d bytes, and was sent %s of %d", b.c.cfg.Name, got.Digest, got.Size, sent, n)
	}
	return got.Digest, got.Size, nil
}

// Open reads a blob. If it is not what its digest says, the reader ends with an error instead of the end of file.
func (b blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	in, err := b.c.read(ctx, "blobs/"+url.PathEscape(digest))
	if err != nil {
		return nil, err
	}
	return newProved(in, func() string { return digest }), nil
}

func (b blobs) Renew(ctx context.Context, digest string) (int64, error) {
	return b.c.size(ctx, http.MethodPost, "blobs/"+url.PathEscape(digest)+"/renew")
}

func (b blobs) Size(ctx context.Context, digest string) (int64, error) {
	return b.c.size(ctx, http.MethodGet, "blobs/"+url.PathEscape(digest)+"/size")
}

const algorithm = "sha256:"

func digestOf(h hash.Hash) string { return algorithm + hex.EncodeToString(h.Sum(nil)) }

// proved reads content, and ends with an error where it is not what a digest says at its end.
type proved struct {
	io.ReadCloser
	sum  hash.Hash
	want func() string
}

func newProved(r io.ReadCloser, want func() string) *proved { return &proved{r, sha256.New(), want} }

func (p *proved) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.sum.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if got, want := digestOf(p.sum), p.want(); got != want {
			return n, sluice.Errorf(sluice.Contact, "the content is %s, and not %.80s: it was changed, or cut off", got, want)
		}
	}
	return n, err
}

// summed is what is sent, and its digest when all of it was read.
type summed struct {
	ended func(digest string)

	mu   sync.Mutex // also while something is read: who has closed it knows that nothing is read any more
	r    io.Reader
	sum  hash.Hash
	size int64
	err  error // of the reader
}

func (s *summed) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil {
		return 0, errShut
	}
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		s.ended(digestOf(s.sum))
	case err != nil:
		s.err = err
	}
	return n, err
}

func (s *summed) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r = nil
	return nil
}

func (s *summed) is() (digest string, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return digestOf(s.sum), s.size, s.err
}

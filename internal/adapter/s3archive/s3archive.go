// Package s3archive keeps in a bucket what a server does not keep any more: it is a [sluice.Archive] on anything that speaks
// S3. Each segment is an object, a tar in gzip; "index/" has a small object for each, with its digest and the hash of the one
// before it, so that none can be changed, removed or exchanged without a trace but at the end.
//
// A segment counts when the store has acknowledged it, and proved that it has the bytes: by a SHA-256 of its own, or, where
// it makes none, by giving them back. Its object of the index is written last, and only if there is none of that number.
//
// It knows nothing of what is in the parts.
package s3archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"sluice"
)

const (
	indexDir = "index/"
	// tries is how often a request is made before its error counts; the SDK waits longer each time.
	tries = 5
	// patience bounds one request with all its tries. A piece is small, so a store that needs longer is as good as gone.
	patience = 10 * time.Minute
	// quiet is how long a store may take to begin with an answer.
	quiet = time.Minute
	// maxLine bounds an object of the index.
	maxLine = 64 << 10
)

// line is what the index has of a segment.
type line struct {
	Seq    int          `json:"seq"`
	Time   time.Time    `json:"time"`
	Job    sluice.JobID `json:"job"`
	File   string       `json:"file"`
	Bytes  int64        `json:"bytes"`
	Digest string       `json:"digest"` // of the file
	Prev   string       `json:"prev"`   // SHA-256 of the line before; "" for the first
}

func (l line) name() string { return fmt.Sprintf("%08d-%s.tar.gz", l.Seq, l.Job) }
func (l line) key() string  { return fmt.Sprintf("%s%08d.json", indexDir, l.Seq) }

// Archive is one prefix of a bucket. It is safe for concurrent use by one process; of two processes, one is told that
// somebody else was there first.
type Archive struct {
	at     Place
	client *s3.Client
	http   *http.Client
	piece  int

	mu   sync.Mutex
	last string // the key of the last line that is known; "" if none is
}

var _ sluice.Archive = (*Archive)(nil)

// New makes an archive of a place. Credentials, and what the place leaves open, come from the environment and the files that
// every program for S3 reads. Nothing is asked of the store yet: it need not be there when a server starts.
func New(ctx context.Context, at Place) (*Archive, error) {
	// A client of the SDK's own kind, or it cannot heed AWS_CA_BUNDLE.
	build := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = (&net.Dialer{Timeout: quiet}).DialContext
		t.ResponseHeaderTimeout, t.IdleConnTimeout = quiet, quiet
	})
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(build), config.WithRetryMaxAttempts(tries)}
	if at.Region != "" {
		options = append(options, config.WithRegion(at.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the archive in " + at.String(), Err: err}
	}
	if cfg.Region == "" {
		cfg.Region = anyRegion
	}
	if is, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		build = is
	}
	client := &http.Client{Transport: build.GetTransport()} // which can be closed
	cfg.HTTPClient = client
	return &Archive{at: at, http: client, piece: defaultPiece, client: s3.NewFromConfig(cfg, func(o *s3.Options) {
		if at.Endpoint != "" {
			o.BaseEndpoint = aws.String(at.Endpoint)
		}
		o.UsePathStyle = at.PathStyle
		o.DisableLogOutputChecksumValidationSkipped = true // of an object in pieces; what is read is proved here
	})}, nil
}

// Close lets go of the connections.
func (a *Archive) Close() error {
	a.http.CloseIdleConnections()
	return nil
}

// Put writes a segment and its line of the index.
func (a *Archive) Put(ctx context.Context, job sluice.JobID, at time.Time, parts iter.Seq2[sluice.Part, error]) (name, digest string, err error) {
	if !job.Valid() {
		return "", "", fmt.Errorf("archive: %q is no job id", job)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, prev, err := a.end(ctx)
	if err != nil {
		return "", "", a.explain(err)
	}
	l := line{Seq: last.Seq + 1, Time: at.UTC(), Job: job, Prev: prev}
	l.File = l.name()
	if l.Bytes, l.Digest, err = a.segment(ctx, l.File, at, parts); err != nil {
		return "", "", fmt.Errorf("archive of job %s: %w", job, a.explain(err))
	}
	if err := a.add(ctx, l); err != nil {
		return "", "", a.explain(err)
	}
	return l.File, l.Digest, nil
}

// segment writes the parts into an object.
func (a *Archive) segment(ctx context.Context, name string, at time.Time, parts iter.Seq2[sluice.Part, error]) (size int64, digest string, err error) {
	u := &upload{ctx: ctx, a: a, key: a.at.Prefix + name, whole: sha256.New()}
	if err := writeParts(ctx, u, at, parts); err != nil {
		return 0, "", errors.Join(err, u.abort())
	}
	if err := u.finish(); err != nil {
		return 0, "", errors.Join(err, u.abort())
	}
	return u.size, "sha256:" + hex.EncodeToString(u.whole.Sum(nil)), nil
}

func writeParts(ctx context.Context, w io.Writer, at time.Time, parts iter.Seq2[sluice.Part, error]) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for p, err := range parts {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = t.WriteHeader(&tar.Header{Name: p.Name, Mode: 0o600, Size: p.Bytes, ModTime: at, Format: tar.FormatPAX})
		}
		if err == nil {
			_, err = io.CopyN(t, p.From, p.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// add writes a line of the index, unless there is one of that number.
func (a *Archive) add(ctx context.Context, l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	err = a.put(ctx, a.at.Prefix+l.key(), text, "*")
	if status(err) == http.StatusPreconditionFailed {
		// Ours, if the acknowledgement of an earlier try was lost.
		if is, readErr := a.read(ctx, l.key()); readErr != nil || !bytes.Equal(is, text) {
			return errors.Join(sluice.Errorf(sluice.Conflict, "somebody else writes to the archive in %s: %s is there already", a.at, l.key()).
				WithHint("give each server a prefix of its own"), readErr)
		}
		err = nil
	}
	if err == nil {
		a.last = l.key()
	}
	return err
}

// end returns the last line of the index and its hash.
func (a *Archive) end(ctx context.Context) (last line, hash string, err error) {
	key := a.last
	for k, err := range a.keys(ctx, a.last) {
		if err != nil {
			return line{}, "", err
		}
		key = k
	}
	if key == "" {
		return line{}, "", nil
	}
	text, err := a.read(ctx, key)
	if err != nil {
		return line{}, "", err
	}
	if err := json.Unmarshal(text, &last); err != nil || last.key() != key {
		return line{}, "", sluice.Errorf(sluice.Contact, "the archive in %s is damaged: %s is no line of its index", a.at, key)
	}
	a.last = key
	return last, hashOf(text), nil
}

// keys are those of the index, without the prefix, after one of them.
func (a *Archive) keys(ctx context.Context, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &a.at.Bucket, Prefix: aws.String(a.at.Prefix + indexDir)}
		if after != "" {
			in.StartAfter = aws.String(a.at.Prefix + after)
		}
		for pages := s3.NewListObjectsV2Paginator(a.client, in); pages.HasMorePages(); {
			page, err := within(ctx, func(ctx context.Context) (*s3.ListObjectsV2Output, error) { return pages.NextPage(ctx) })
			if err != nil {
				yield("", err)
				return
			}
			for _, o := range page.Contents {
				// A store may forget where it was to start.
				if k := strings.TrimPrefix(aws.ToString(o.Key), a.at.Prefix); k > after && !yield(k, nil) {
					return
				}
			}
		}
	}
}

// read returns a line of the index.
func (a *Archive) read(ctx context.Context, key string) ([]byte, error) {
	return within(ctx, func(ctx context.Context) ([]byte, error) {
		o, err := a.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.at.Bucket, Key: aws.String(a.at.Prefix + key)})
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(o.Body, maxLine))
		return text, errors.Join(err, o.Body.Close())
	})
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Verify proves the index and every segment, and returns how many there are.
func (a *Archive) Verify(ctx context.Context) (n int, err error) {
	prev := ""
	for key, err := range a.keys(ctx, "") {
		if err != nil {
			return n, a.explain(err)
		}
		text, err := a.read(ctx, key)
		if err != nil {
			return n, a.explain(err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil || l.key() != key || l.Seq != n+1 || l.Prev != prev || l.File != l.name() {
			return n, sluice.Errorf(sluice.Contact, "the archive in %s is damaged: %s does not continue the one before", a.at, key)
		}
		prev = hashOf(text)
		switch is, err := a.digest(ctx, a.at.Prefix+l.File); {
		case err != nil:
			return n, a.explain(err)
		case is != l.Digest:
			return n, sluice.Errorf(sluice.Contact, "the archive in %s is damaged: %s is not what was written", a.at, l.File)
		}
		n++
	}
	return n, nil
}

// digest reads an object, to its end. It may be large, so what is bounded is how long nothing comes.
func (a *Archive) digest(ctx context.Context, key string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing came for %v", patience)) })
	defer slow.Stop()
	o, err := a.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.at.Bucket, Key: &key})
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(writeFunc(func(b []byte) (int, error) {
		slow.Reset(patience)
		return sum.Write(b)
	}), o.Body)
	if err != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), errors.Join(err, o.Body.Close())
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

// within bounds one request with all its tries.
func within[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	got, err := request(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return got, err
}

// status is the HTTP status of an error of the store; 0 if it has none.
func status(err error) int {
	var r interface{ HTTPStatusCode() int }
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// explain says where it was, and what to do about it.
func (a *Archive) explain(err error) error {
	var mine *sluice.Error
	if errors.As(err, &mine) {
		return err
	}
	e := &sluice.Error{Code: sluice.Contact, Text: "the archive in " + a.at.String(), Err: err}
	var said smithy.APIError
	if !errors.As(err, &said) {
		return e
	}
	switch code := said.ErrorCode(); {
	case code == "NoSuchBucket":
		return e.WithHint("make the bucket first; it is not made here")
	case code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch":
		return e.WithHint("the keys of the server's user, in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or in its ~/.aws/credentials, are not those of the store")
	case status(err) == http.StatusForbidden:
		return e.WithHint("the key needs s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload there")
	}
	return e
}

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
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
)

const (
	indexDir = "index/"
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
	at    *bucket.Bucket
	piece int

	mu   sync.Mutex
	last string // the key of the last line that is known; "" if none is
}

var _ sluice.Archive = (*Archive)(nil)

// Parse reads an s3:// URL.
func Parse(text string) (bucket.Place, error) { return bucket.Parse("--archive", text) }

// New makes an archive of a place. Nothing is asked of the store yet.
func New(ctx context.Context, at bucket.Place) (*Archive, error) {
	b, err := bucket.Open(ctx, at, "the archive")
	if err != nil {
		return nil, err
	}
	return &Archive{at: b, piece: defaultPiece}, nil
}

// Close lets go of the connections.
func (a *Archive) Close() error { return a.at.Close() }

func (a *Archive) explain(err error) error {
	return a.at.Explain(err, "s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload")
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
	if bucket.Status(err) == http.StatusPreconditionFailed {
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
		for pages := s3.NewListObjectsV2Paginator(a.at.Client, in); pages.HasMorePages(); {
			page, err := bucket.Within(ctx, func(ctx context.Context) (*s3.ListObjectsV2Output, error) { return pages.NextPage(ctx) })
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
	return bucket.Within(ctx, func(ctx context.Context) ([]byte, error) {
		o, err := a.at.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.at.Bucket, Key: aws.String(a.at.Prefix + key)})
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
	slow := time.AfterFunc(bucket.Patience, func() { cancel(fmt.Errorf("nothing came for %v", bucket.Patience)) })
	defer slow.Stop()
	o, err := a.at.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.at.Bucket, Key: &key})
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(writeFunc(func(b []byte) (int, error) {
		slow.Reset(bucket.Patience)
		return sum.Write(b)
	}), o.Body)
	if err != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), errors.Join(err, o.Body.Close())
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

package s3artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
)

const (
	algorithm     = "sha256:"
	contentPrefix = contentDir + "sha256-"
	// again is how often reading goes on after the connection broke.
	again = 5
)

func checkDigest(digest string) error {
	digits, ok := strings.CutPrefix(digest, algorithm)
	if !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return sluice.Errorf(sluice.Usage, "%q is no digest: %q and 64 hexadecimal digits are", digest, algorithm)
	}
	return nil
}

func (s *Store) key(digest string) string {
	return s.at.Prefix + contentPrefix + strings.TrimPrefix(digest, algorithm)
}

// head says what the store knows of an object; nil if there is none.
func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	o, err := bucket.Within(ctx, func(ctx context.Context) (*s3.HeadObjectOutput, error) {
		return s.at.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.at.Bucket, Key: &key})
	})
	if gone(err) {
		return nil, nil
	}
	return o, err
}

// Open reads content.
func (s *Store) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := checkDigest(digest); err != nil {
		return nil, err
	}
	o, err := s.head(ctx, s.key(digest))
	if err != nil {
		return nil, s.explain(err)
	}
	if o == nil {
		return nil, fmt.Errorf("there is no content %s in %s: %w", digest, s.at, fs.ErrNotExist)
	}
	return &reader{ctx: ctx, s: s, digest: digest, size: aws.ToInt64(o.ContentLength), sum: sha256.New()}, nil
}

// reader fetches what is read, and goes on where a connection broke. It proves what it reads, if it reads all of it.
type reader struct {
	ctx    context.Context
	s      *Store
	digest string
	size   int64
	at     int64
	sum    hash.Hash // nil after a seek
	broke  int

	body   io.ReadCloser
	cancel context.CancelCauseFunc
	slow   *time.Timer
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, r.end()
	}
	for {
		if err := r.begin(); err != nil {
			return 0, r.s.explain(err)
		}
		r.slow.Reset(bucket.Patience)
		n, err := r.body.Read(p)
		r.at += int64(n)
		if r.sum != nil {
			r.sum.Write(p[:n])
		}
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if r.at >= r.size {
			return 0, r.end()
		}
		r.stop()
		if r.broke++; r.ctx.Err() != nil || r.broke > again {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, r.s.explain(errors.Join(err, r.ctx.Err()))
		}
	}
}

// begin asks for what is behind the place that was read to.
func (r *reader) begin() error {
	if r.body != nil {
		return nil
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	slow := time.AfterFunc(bucket.Patience, func() { cancel(fmt.Errorf("nothing came for %v", bucket.Patience)) })
	in := &s3.GetObjectInput{Bucket: &r.s.at.Bucket, Key: aws.String(r.s.key(r.digest))}
	if r.at > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.at))
	}
	o, err := r.s.at.GetObject(ctx, in)
	if err != nil {
		slow.Stop()
		cancel(nil)
		return err
	}
	r.body, r.cancel, r.slow = o.Body, cancel, slow
	return nil
}

func (r *reader) stop() {
	if r.body != nil {
		r.slow.Stop()
		r.cancel(nil)
		_ = r.body.Close()
		r.body = nil
	}
}

func (r *reader) end() error {
	if r.sum == nil {
		return io.EOF
	}
	if is := algorithm + hex.EncodeToString(r.sum.Sum(nil)); is != r.digest {
		return sluice.Errorf(sluice.Conflict, "%s of %s is damaged: its content is %s", r.s.key(r.digest), r.s.at, is).WithHint("push the version again: that mends it")
	}
	return io.EOF
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || offset < 0 {
		return 0, errors.New("content is read from a place that is counted from its beginning")
	}
	r.stop()
	r.at, r.sum = offset, nil
	if offset == 0 {
		r.sum = sha256.New()
	}
	return offset, nil
}

func (r *reader) Close() error {
	r.stop()
	return nil
}

// Kept lists the content.
func (s *Store) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	prefix := s.at.Prefix + contentPrefix
	for page, err := range s.pages(ctx, prefix, "") {
		if err != nil {
			return nil, s.explain(err)
		}
		for _, o := range page.Contents {
			digest := algorithm + strings.TrimPrefix(aws.ToString(o.Key), prefix)
			if checkDigest(digest) == nil {
				out = append(out, sluice.Kept{Name: digest, Bytes: aws.ToInt64(o.Size), Changed: aws.ToTime(o.LastModified)})
			}
		}
	}
	return out, nil
}

// Discard takes content away that was not sent of late. Between looking and taking away somebody may send it: whoever writes a
// record looks once more whether its content is there.
func (s *Store) Discard(ctx context.Context, digest string, before time.Time) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	o, err := s.head(ctx, s.key(digest))
	if err != nil {
		return s.explain(err)
	}
	if o == nil || !aws.ToTime(o.LastModified).Before(before) {
		return nil
	}
	return s.remove(ctx, s.key(digest))
}

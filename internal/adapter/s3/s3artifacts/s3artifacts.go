// Package s3artifacts keeps a repository of artifacts in a bucket: it is a [sluice.Artifacts] on anything that speaks S3.
//
//	PREFIX/.content/sha256-HEX       content, in pieces where it is large
//	PREFIX/APP/TARGET/FILE/VERSION   the record of a version
//	PREFIX/APP/TARGET/FILE/latest    which version is the latest
//
// Content is sent with the SHA-256 of each piece, which the store proves. What an upload that was killed has brought is asked
// of the store, and only what is missing is sent. Records are written on condition of what is there, so of two that write at
// once one does. It knows nothing of what is in records and contents.
package s3artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
)

const (
	contentDir = ".content/"
	maxText    = 64 << 10
	// defaultPiece is how much is in memory, and goes in one request.
	defaultPiece = 16 << 20
	// maxPieces is a little less than a store takes.
	maxPieces = 9_000
)

// Store is a repository in a bucket. It is safe for concurrent use.
type Store struct {
	at    *bucket.Bucket
	piece int64
}

var _ sluice.Artifacts = (*Store)(nil)

// Parse reads an s3:// URL.
func Parse(text string) (bucket.Place, error) { return bucket.Parse("--store", text) }

// New is the repository in a place. Nothing is asked of the store yet.
func New(ctx context.Context, at bucket.Place) (*Store, error) {
	b, err := bucket.Open(ctx, at, "the repository of artifacts")
	if err != nil {
		return nil, err
	}
	return &Store{at: b, piece: defaultPiece}, nil
}

// Close lets go of the connections.
func (s *Store) Close() error { return s.at.Close() }

func (s *Store) explain(err error) error {
	return s.at.Explain(err, "s3:PutObject, s3:GetObject, s3:ListBucket, s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts and s3:AbortMultipartUpload, and for gc s3:DeleteObject")
}

// gone reports whether an error says that there is no such object.
func gone(err error) bool {
	var said smithy.APIError
	return bucket.Status(err) == http.StatusNotFound && (!errors.As(err, &said) || said.ErrorCode() != "NoSuchBucket")
}

// place is the key of a whole name that is proved to be one.
func (s *Store) place(n sluice.ArtifactName) (string, error) {
	if err := n.Check(); err != nil {
		return "", err
	}
	if !n.Whole() {
		return "", sluice.Errorf(sluice.Usage, "%q names no version", n)
	}
	return s.at.Prefix + n.String(), nil
}

// Read returns what is under a name.
func (s *Store) Read(ctx context.Context, n sluice.ArtifactName) ([]byte, error) {
	key, err := s.place(n)
	if err != nil {
		return nil, err
	}
	text, _, err := s.text(ctx, key)
	if gone(err) {
		return nil, fmt.Errorf("there is no %s in %s: %w", n, s.at, fs.ErrNotExist)
	}
	return text, s.explain(err)
}

// text is a small object, and what the store calls this state of it.
func (s *Store) text(ctx context.Context, key string) (text []byte, tag string, err error) {
	// A store may send the sum of one state with the bytes of the next, where somebody writes just then: it is asked again.
	for try := 0; try < again; try++ {
		if text, tag, err = s.textOnce(ctx, key); err == nil || bucket.Status(err) != 0 || ctx.Err() != nil {
			break
		}
	}
	return text, tag, err
}

func (s *Store) textOnce(ctx context.Context, key string) (text []byte, tag string, err error) {
	text, err = bucket.Within(ctx, func(ctx context.Context) ([]byte, error) {
		o, err := s.at.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.at.Bucket, Key: &key})
		if err != nil {
			return nil, err
		}
		tag = aws.ToString(o.ETag)
		text, err := io.ReadAll(io.LimitReader(o.Body, maxText+1))
		return text, errors.Join(err, o.Body.Close())
	})
	return text, tag, err
}

// Write puts text under a name, if what is there is was.
func (s *Store) Write(ctx context.Context, n sluice.ArtifactName, text, was []byte) error {
	key, err := s.place(n)
	if err != nil {
		return err
	}
	if len(text) > maxText || len(text) == 0 {
		return sluice.Errorf(sluice.Usage, "what stands under %s has 1 to %d bytes, not %d", n, maxText, len(text))
	}
	in := &s3.PutObjectInput{Bucket: &s.at.Bucket, Key: &key, Body: bytes.NewReader(text), ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(sumOf(text))}
	if was == nil {
		in.IfNoneMatch = aws.String("*")
	} else {
		is, tag, err := s.text(ctx, key)
		if err != nil && !gone(err) {
			return s.explain(err)
		}
		if err != nil || !bytes.Equal(is, was) {
			return changed(n)
		}
		in.IfMatch = &tag
	}
	_, err = bucket.Within(ctx, func(ctx context.Context) (*s3.PutObjectOutput, error) { return s.at.PutObject(ctx, in) })
	switch bucket.Status(err) {
	case http.StatusPreconditionFailed, http.StatusConflict, http.StatusNotFound:
		if gone(err) || bucket.Status(err) != http.StatusNotFound {
			// Ours, if the acknowledgement of an earlier try was lost.
			if is, _, e := s.text(ctx, key); e != nil || !bytes.Equal(is, text) {
				return changed(n)
			}
			return nil
		}
	}
	return s.explain(err)
}

func changed(n sluice.ArtifactName) error {
	return sluice.Errorf(sluice.Conflict, "%s is not what it was when it was looked at", n)
}

// Names lists what is one part below.
func (s *Store) Names(ctx context.Context, under sluice.ArtifactName) ([]string, error) {
	if err := under.Check(); err != nil {
		return nil, err
	}
	if under.Whole() {
		return nil, sluice.Errorf(sluice.Usage, "there is nothing below the version %s", under)
	}
	prefix := s.at.Prefix
	if under.App != "" {
		prefix += under.String() + "/"
	}
	var names []string
	for page, err := range s.pages(ctx, prefix, "/") {
		if err != nil {
			return nil, s.explain(err)
		}
		add := func(key *string, dir bool) {
			name, cut := strings.CutSuffix(strings.TrimPrefix(aws.ToString(key), prefix), "/")
			if n := under.Below(name); cut == dir && name != "" && n.Check() == nil && n.Version != sluice.LatestVersion && dir != n.Whole() {
				names = append(names, name)
			}
		}
		for _, p := range page.CommonPrefixes {
			add(p.Prefix, true)
		}
		for _, o := range page.Contents {
			add(o.Key, false)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *Store) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.at.Bucket, Prefix: &prefix}
		if delimiter != "" {
			in.Delimiter = &delimiter
		}
		for pages := s3.NewListObjectsV2Paginator(s.at.Client, in); pages.HasMorePages(); {
			page, err := bucket.Within(ctx, func(ctx context.Context) (*s3.ListObjectsV2Output, error) { return pages.NextPage(ctx) })
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// Remove takes away what is under a name.
func (s *Store) Remove(ctx context.Context, n sluice.ArtifactName) error {
	key, err := s.place(n)
	if err != nil {
		return err
	}
	return s.remove(ctx, key)
}

func (s *Store) remove(ctx context.Context, key string) error {
	_, err := bucket.Within(ctx, func(ctx context.Context) (*s3.DeleteObjectOutput, error) {
		return s.at.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.at.Bucket, Key: &key})
	})
	if gone(err) {
		return nil
	}
	return s.explain(err)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

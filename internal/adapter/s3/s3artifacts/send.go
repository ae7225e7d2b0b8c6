package s3artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
)

// staleAfter is the age at which nobody goes on with what was begun.
const staleAfter = 7 * 24 * time.Hour

// pieces is content cut into pieces, each with its sum.
type pieces struct {
	from io.ReadSeeker
	size int64 // of a piece
	all  int64
	sums []string // SHA-256 in base64, as the store writes it
	raw  []byte   // the same, one after the other
}

// Send brings content.
func (s *Store) Send(ctx context.Context, c sluice.Content, from io.ReadSeeker, sent func(bytes int64)) error {
	if sent == nil {
		sent = func(int64) {}
	}
	if err := checkDigest(c.Digest); err != nil {
		return err
	}
	p, err := s.cut(ctx, c, from)
	if err != nil {
		return err
	}
	there, err := s.there(ctx, c, p)
	if err == nil && !there {
		err = s.send(ctx, s.key(c.Digest), p, sent)
	}
	if err == nil {
		sent(c.Bytes)
	}
	return s.explain(err)
}

// cut reads the content once: what is not what it should be is never sent.
func (s *Store) cut(ctx context.Context, c sluice.Content, from io.ReadSeeker) (*pieces, error) {
	p := &pieces{from: from, all: c.Bytes, size: max(s.piece, (c.Bytes/maxPieces+1<<20)>>20<<20)}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	whole, total := sha256.New(), int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one := sha256.New()
		n, err := io.Copy(io.MultiWriter(one, whole), io.LimitReader(from, p.size))
		if err != nil {
			return nil, err
		}
		if total += n; n == 0 && total > 0 || total > c.Bytes {
			break
		}
		p.raw = one.Sum(p.raw)
		p.sums = append(p.sums, base64.StdEncoding.EncodeToString(p.raw[len(p.raw)-sha256.Size:]))
		if n < p.size {
			break
		}
	}
	if total != c.Bytes || algorithm+hex.EncodeToString(whole.Sum(nil)) != c.Digest {
		return nil, sluice.Errorf(sluice.Conflict, "what was read is not %s of %d bytes: it changed while it was read", c.Digest, c.Bytes)
	}
	return p, nil
}

// read is piece number i, from 0.
func (p *pieces) read(i int) ([]byte, error) {
	if _, err := p.from.Seek(int64(i)*p.size, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, min(p.size, p.all-int64(i)*p.size))
	if _, err := io.ReadFull(p.from, b); err != nil {
		return nil, err
	}
	if sumOf(b) != p.sums[i] {
		return nil, sluice.Errorf(sluice.Conflict, "the content changed while it was read")
	}
	return b, nil
}

// sum is what the store says of the whole.
func (p *pieces) sum() string {
	if len(p.sums) == 1 {
		return p.sums[0]
	}
	return fmt.Sprintf("%s-%d", sumOf(p.raw), len(p.sums))
}

// there reports whether the content is there and counts as sent now: it is copied onto itself, as that is how a store is told.
func (s *Store) there(ctx context.Context, c sluice.Content, p *pieces) (bool, error) {
	key := s.key(c.Digest)
	o, err := s.head(ctx, key)
	if err != nil || o == nil || aws.ToInt64(o.ContentLength) != c.Bytes {
		return false, err
	}
	// What was damaged at rest is sent again; reading it is the one way to know.
	r, err := s.Open(ctx, c.Digest)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, r)
	if err := errors.Join(err, r.Close()); err != nil {
		if sluice.CodeOf(err) == sluice.Conflict {
			return false, nil
		}
		return false, err
	}
	const whole = 5 << 30 // what a store copies at once
	if time.Since(aws.ToTime(o.LastModified)) < time.Hour {
		return true, nil
	}
	if c.Bytes > whole {
		return false, nil
	}
	_, err = bucket.Within(ctx, func(ctx context.Context) (*s3.CopyObjectOutput, error) {
		return s.at.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &s.at.Bucket, Key: &key, CopySource: aws.String(s.at.Bucket + "/" + key),
			MetadataDirective: types.MetadataDirectiveReplace})
	})
	if gone(err) { // it was taken away meanwhile
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Not every store makes it young by that; then it is sent again.
	o, err = s.head(ctx, key)
	return err == nil && o != nil && time.Since(aws.ToTime(o.LastModified)) < time.Hour, err
}

func (s *Store) send(ctx context.Context, key string, p *pieces, sent func(int64)) error {
	if len(p.sums) == 1 {
		b, err := p.read(0)
		if err != nil {
			return err
		}
		done, err := bucket.Within(ctx, func(ctx context.Context) (*s3.PutObjectOutput, error) {
			return s.at.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.at.Bucket, Key: &key, Body: bytes.NewReader(b),
				ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: aws.String(p.sums[0])})
		})
		if err != nil {
			return err
		}
		return s.prove(ctx, key, p, done.ChecksumSHA256)
	}
	u, err := s.upload(ctx, key, p)
	if err != nil {
		return err
	}
	for i := range p.sums {
		if _, ok := u.has[i]; !ok {
			if err := s.sendPiece(ctx, key, u, p, i); err != nil {
				return err
			}
		}
		sent(min(int64(i+1)*p.size, p.all))
	}
	return s.complete(ctx, key, u, p)
}

// upload is one that goes on.
type upload struct {
	id  string
	has map[int]types.CompletedPart // by number, from 0
}

// upload finds an upload of this content that was begun, or begins one. Those that are old are taken away.
func (s *Store) upload(ctx context.Context, key string, p *pieces) (*upload, error) {
	begun, err := bucket.Within(ctx, func(ctx context.Context) (*s3.ListMultipartUploadsOutput, error) {
		return s.at.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.at.Bucket, Prefix: aws.String(s.at.Prefix + contentPrefix)})
	})
	if err != nil {
		return nil, err
	}
	var best *upload
	for _, b := range begun.Uploads {
		if time.Since(aws.ToTime(b.Initiated)) > staleAfter {
			s.abort(ctx, aws.ToString(b.Key), aws.ToString(b.UploadId))
			continue
		}
		if aws.ToString(b.Key) != key {
			continue
		}
		u, err := s.begun(ctx, key, aws.ToString(b.UploadId), p)
		if err != nil {
			return nil, err
		}
		if u != nil && (best == nil || len(u.has) > len(best.has)) {
			best = u
		}
	}
	if best != nil {
		return best, nil
	}
	made, err := bucket.Within(ctx, func(ctx context.Context) (*s3.CreateMultipartUploadOutput, error) {
		return s.at.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.at.Bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	})
	if err != nil {
		return nil, err
	}
	return &upload{aws.ToString(made.UploadId), map[int]types.CompletedPart{}}, nil
}

// begun says which pieces of an upload are there, and are what they should be; nil if it is gone.
func (s *Store) begun(ctx context.Context, key, id string, p *pieces) (*upload, error) {
	u := &upload{id, map[int]types.CompletedPart{}}
	pages := s3.NewListPartsPaginator(s.at.Client, &s3.ListPartsInput{Bucket: &s.at.Bucket, Key: &key, UploadId: &id})
	for pages.HasMorePages() {
		page, err := bucket.Within(ctx, func(ctx context.Context) (*s3.ListPartsOutput, error) { return pages.NextPage(ctx) })
		if gone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, part := range page.Parts {
			i := int(aws.ToInt32(part.PartNumber)) - 1
			if i >= 0 && i < len(p.sums) && aws.ToString(part.ChecksumSHA256) == p.sums[i] && aws.ToInt64(part.Size) == min(p.size, p.all-int64(i)*p.size) {
				u.has[i] = types.CompletedPart{ETag: part.ETag, PartNumber: part.PartNumber, ChecksumSHA256: part.ChecksumSHA256}
			}
		}
	}
	return u, nil
}

func (s *Store) sendPiece(ctx context.Context, key string, u *upload, p *pieces, i int) error {
	b, err := p.read(i)
	if err != nil {
		return err
	}
	number := int32(i + 1)
	done, err := bucket.Within(ctx, func(ctx context.Context) (*s3.UploadPartOutput, error) {
		return s.at.UploadPart(ctx, &s3.UploadPartInput{Bucket: &s.at.Bucket, Key: &key, UploadId: &u.id, PartNumber: &number,
			Body: bytes.NewReader(b), ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: &p.sums[i]})
	})
	if err != nil {
		return err
	}
	u.has[i] = types.CompletedPart{ETag: done.ETag, PartNumber: &number, ChecksumSHA256: &p.sums[i]}
	return nil
}

func (s *Store) complete(ctx context.Context, key string, u *upload, p *pieces) error {
	all := make([]types.CompletedPart, len(p.sums))
	for i := range all {
		all[i] = u.has[i]
	}
	done, err := bucket.Within(ctx, func(ctx context.Context) (*s3.CompleteMultipartUploadOutput, error) {
		return s.at.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &s.at.Bucket, Key: &key, UploadId: &u.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: all}})
	})
	if gone(err) { // completed by a try whose answer was lost, or by another pusher; the bytes tell
		return s.prove(ctx, key, p, nil)
	}
	if err != nil {
		return err
	}
	return s.prove(ctx, key, p, done.ChecksumSHA256)
}

// prove holds what the store says it has against what was sent; where it says nothing, the object is read.
func (s *Store) prove(ctx context.Context, key string, p *pieces, says *string) error {
	if aws.ToString(says) == p.sum() {
		return nil
	}
	digest := algorithm + key[len(s.at.Prefix+contentPrefix):]
	r, err := s.Open(ctx, digest)
	if err != nil {
		return fmt.Errorf("%s was sent, and cannot be proved: %w", key, err)
	}
	_, err = io.Copy(io.Discard, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("%s was sent, and cannot be proved: %w", key, err)
	}
	return nil
}

// abort takes away the pieces of an upload. What cannot be taken away now is another time.
func (s *Store) abort(ctx context.Context, key, id string) {
	_, _ = bucket.Within(ctx, func(ctx context.Context) (*s3.AbortMultipartUploadOutput, error) {
		return s.at.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.at.Bucket, Key: &key, UploadId: &id})
	})
}

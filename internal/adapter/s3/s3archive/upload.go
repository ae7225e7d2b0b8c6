package s3archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sluice"
	"sluice/internal/adapter/s3/bucket"
)

const (
	// defaultPiece is how much is in memory, and goes in one request; 10000 of them are what a store takes.
	defaultPiece = 16 << 20
	// tidying bounds what is done about an upload that failed.
	tidying = 30 * time.Second
)

// upload is an object on its way: in one request if it is small, else in pieces. Memory stays flat.
type upload struct {
	ctx   context.Context
	a     *Archive
	key   string
	whole hash.Hash
	size  int64

	buf    []byte
	id     string // of an upload in pieces; "" before the first
	pieces []types.CompletedPart
	sums   []byte // of the pieces
	proved bool   // the store has said the sum of each piece so far
}

func (u *upload) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(u.buf) == u.a.piece {
			if err := u.flush(); err != nil {
				return n, err
			}
		}
		k := min(len(p), u.a.piece-len(u.buf))
		u.buf = append(u.buf, p[:k]...)
		n, p = n+k, p[k:]
	}
	return n, nil
}

// flush sends a piece.
func (u *upload) flush() error {
	if u.id == "" {
		made, err := bucket.Within(u.ctx, func(ctx context.Context) (*s3.CreateMultipartUploadOutput, error) {
			return u.a.at.Client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &u.a.at.Bucket, Key: &u.key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		})
		if err != nil {
			return err
		}
		u.id, u.proved = aws.ToString(made.UploadId), true
	}
	sum, text := sumOf(u.buf)
	number := int32(len(u.pieces) + 1)
	sent, err := bucket.Within(u.ctx, func(ctx context.Context) (*s3.UploadPartOutput, error) {
		return u.a.at.Client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &u.a.at.Bucket, Key: &u.key, UploadId: &u.id, PartNumber: &number,
			Body: bytes.NewReader(u.buf), ChecksumSHA256: &text, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	})
	if err != nil {
		return err
	}
	said, err := u.a.same(u.key, text, sent.ChecksumSHA256)
	if err != nil {
		return err
	}
	u.proved = u.proved && said
	u.pieces = append(u.pieces, types.CompletedPart{ETag: sent.ETag, PartNumber: &number, ChecksumSHA256: &text})
	u.sums = append(u.sums, sum...)
	u.count()
	return nil
}

func (u *upload) count() {
	u.whole.Write(u.buf)
	u.size += int64(len(u.buf))
	u.buf = u.buf[:0]
}

// finish ends the object. It returns when the store has proved that it has it.
func (u *upload) finish() error {
	if u.id == "" {
		b := u.buf
		u.count()
		return u.a.put(u.ctx, u.key, b, "")
	}
	if len(u.buf) > 0 {
		if err := u.flush(); err != nil {
			return err
		}
	}
	_, all := sumOf(u.sums)
	all = fmt.Sprintf("%s-%d", all, len(u.pieces))
	done, err := bucket.Within(u.ctx, func(ctx context.Context) (*s3.CompleteMultipartUploadOutput, error) {
		return u.a.at.Client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &u.a.at.Bucket, Key: &u.key, UploadId: &u.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: u.pieces}})
	})
	if err != nil && bucket.Status(err) != http.StatusNotFound { // not found: completed by a try whose answer was lost, or gone; the bytes tell
		return err
	}
	var has *string
	if done != nil {
		has = done.ChecksumSHA256
	}
	if said, err := u.a.same(u.key, all, has); err != nil || said && u.proved {
		return err
	}
	return u.a.prove(u.ctx, u.key, u.whole.Sum(nil))
}

// abort takes away the pieces of an object that does not come to be.
func (u *upload) abort() error {
	if u.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), tidying)
	defer cancel()
	_, err := u.a.at.Client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.a.at.Bucket, Key: &u.key, UploadId: &u.id})
	if bucket.Status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// put writes an object in one request, and returns when the store has proved that it has it. With unless "*" it writes none
// over another.
func (a *Archive) put(ctx context.Context, key string, b []byte, unless string) error {
	sum, text := sumOf(b)
	in := &s3.PutObjectInput{Bucket: &a.at.Bucket, Key: &key, Body: bytes.NewReader(b), ChecksumSHA256: &text, ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
	if unless != "" {
		in.IfNoneMatch = &unless
	}
	done, err := bucket.Within(ctx, func(ctx context.Context) (*s3.PutObjectOutput, error) { return a.at.Client.PutObject(ctx, in) })
	if err != nil {
		return err
	}
	if said, err := a.same(key, text, done.ChecksumSHA256); err != nil || said {
		return err
	}
	return a.prove(ctx, key, sum)
}

// same holds what the store says of an object against what was sent; said is false where it says nothing.
func (a *Archive) same(key, sent string, has *string) (said bool, err error) {
	if has == nil || *has == "" {
		return false, nil
	}
	if *has != sent {
		return true, a.broken(key)
	}
	return true, nil
}

// prove reads an object again.
func (a *Archive) prove(ctx context.Context, key string, sum []byte) error {
	digest, err := a.digest(ctx, key)
	if err == nil && digest != fmt.Sprintf("sha256:%x", sum) {
		err = a.broken(key)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s was sent, but cannot be proved", key), err)
	}
	return nil
}

func (a *Archive) broken(key string) error {
	return sluice.Errorf(sluice.Contact, "the archive in %s: the store has other bytes in %s than were sent", a.at, key).
		WithHint("nothing was taken away here; find out what is wrong with the store")
}

func sumOf(b []byte) (sum []byte, text string) {
	s := sha256.Sum256(b)
	return s[:], base64.StdEncoding.EncodeToString(s[:])
}

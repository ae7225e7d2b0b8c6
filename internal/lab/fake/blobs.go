package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"sync"

	"sluice"
)

// Blobs are [sluice.Blobs] in memory.
type Blobs struct {
	Faults Faults

	mu   sync.Mutex
	kept map[string][]byte
}

var _ sluice.Blobs = (*Blobs)(nil)

// NewBlobs returns an empty store.
func NewBlobs() *Blobs { return &Blobs{kept: map[string][]byte{}} }

// Put keeps content under its digest.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	if err := b.Faults.pass(ctx, BlobPut); err != nil {
		return "", 0, err
	}
	var content bytes.Buffer
	for {
		if err := ctx.Err(); err != nil {
			return "", 0, err
		}
		if _, err := io.CopyN(&content, r, 1<<20); err == io.EOF {
			break
		} else if err != nil {
			return "", 0, err
		}
	}
	sum := sha256.Sum256(content.Bytes())
	digest := "sha256:" + hex.EncodeToString(sum[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[digest] = content.Bytes()
	return digest, int64(content.Len()), nil
}

// Become has it have what another one has, and nothing else.
func (b *Blobs) Become(other *Blobs) {
	other.mu.Lock()
	kept := maps.Clone(other.kept)
	other.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = kept
}

// Renew returns the size of a blob.
func (b *Blobs) Renew(ctx context.Context, digest string) (int64, error) {
	if err := b.Faults.pass(ctx, BlobRenew); err != nil {
		return 0, err
	}
	return b.Size(ctx, digest)
}

// Size returns the size of a blob.
func (b *Blobs) Size(ctx context.Context, digest string) (int64, error) {
	r, err := b.Open(ctx, digest)
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, r)
}

// Open reads a blob.
func (b *Blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.Faults.pass(ctx, BlobOpen); err != nil {
		return nil, err
	}
	if ok, err := regexp.MatchString(`^sha256:[0-9a-f]{64}$`, digest); err != nil || !ok {
		return nil, sluice.Errorf(sluice.Usage, "%q is no digest", digest)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.kept[digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", digest, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

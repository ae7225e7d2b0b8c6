package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"sluice/internal/adapter/dirblobs"
)

// remoteBlobs gets what it does not have from the server, and checks it.
type remoteBlobs struct {
	kept  *dirblobs.Blobs
	fetch func(ctx context.Context, digest string) (io.ReadCloser, error)
	mu    sync.Mutex // one at a time: all hosts of a job need the same
}

func (b *remoteBlobs) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	return b.kept.Put(ctx, r)
}

func (b *remoteBlobs) Renew(ctx context.Context, digest string) (int64, error) {
	return b.kept.Renew(ctx, digest)
}

func (b *remoteBlobs) Size(ctx context.Context, digest string) (int64, error) {
	return b.kept.Size(ctx, digest)
}

func (b *remoteBlobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if r, err := b.kept.Open(ctx, digest); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, err := b.kept.Open(ctx, digest); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	in, err := b.fetch(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	got, _, err := b.kept.Put(ctx, in)
	if err != nil {
		return nil, err
	}
	if got != digest {
		return nil, fmt.Errorf("the server sent something else than %s", digest)
	}
	return b.kept.Open(ctx, digest)
}

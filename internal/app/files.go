package app

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"sluice/internal/run/tree"
)

// files are the local files of commands.
type files struct{}

func (files) Read(path string) ([]byte, error) { return os.ReadFile(path) }

func (files) Absolute(path string) (string, error) { return filepath.Abs(path) }

func (files) Create(path string) (io.WriteCloser, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.Create(path)
}

func (files) Keep(path string, secret []byte) error {
	return ownFile(path, secret, "the file for the token")
}

func (files) Pack(ctx context.Context, path string, put func(context.Context, io.Reader) (string, int64, error)) (string, int64, error) {
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w.CloseWithError(tree.Pack(w, path))
	}()
	digest, size, err := put(ctx, r)
	r.CloseWithError(err) // so that packing ends, too
	<-packed
	return digest, size, err
}

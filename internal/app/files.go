package app

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"sluice"
	"sluice/internal/front/cli"
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

// enrol learns the key of a host.
func (l *Local) enrol(ctx context.Context, h sluice.Host, s sluice.SSH) (cli.HostKey, error) {
	t, err := l.ssh(nil)
	if err != nil {
		return cli.HostKey{}, err
	}
	defer t.Close()
	key, fingerprint, err := t.Enrol(ctx, h, s)
	if err != nil {
		return cli.HostKey{}, err
	}
	known, name, err := t.Knows(h, s, key)
	if err != nil {
		return cli.HostKey{}, err
	}
	return cli.HostKey{Fingerprint: fingerprint, Type: key.Type(), Address: name, Known: known, Keep: func() error {
		t, err := l.ssh(nil)
		if err != nil {
			return err
		}
		defer t.Close()
		return t.AppendKnownHost(ctx, h, s, key)
	}}, nil
}

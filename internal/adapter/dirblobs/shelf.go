package dirblobs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"sluice"
)

var _ sluice.Shelf = (*Blobs)(nil)

// Kept lists the blobs, by digest. Changed is when one was put last.
func (b *Blobs) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	found, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		digits, ok := strings.CutPrefix(f.Name(), "sha256-")
		if digest := algorithm + digits; ok && valid(digest) {
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, sluice.Kept{Name: digest, Bytes: info.Size(), Changed: info.ModTime()})
		}
	}
	return out, ctx.Err()
}

// Discard removes a blob.
func (b *Blobs) Discard(ctx context.Context, digest string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !valid(digest) {
		return sluice.Errorf(sluice.Usage, "%q is no digest", digest)
	}
	b.mu.Lock()
	delete(b.proved, digest)
	b.mu.Unlock()
	err := os.Remove(b.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(b.dir))
}

package dirblobs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"sluice"
)

// Kept lists the blobs, by digest. Changed is when one was put or renewed last.
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

// Discard takes a blob away that was neither put nor renewed of late.
func (b *Blobs) Discard(ctx context.Context, digest string, before time.Time) (gone bool, err error) {
	if err := check(ctx, digest); err != nil {
		return false, err
	}
	err = b.alone(ctx, func() error {
		info, err := os.Stat(b.path(digest))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
			return nil
		}
		if err == nil {
			err = os.Remove(b.path(digest))
		}
		gone = err == nil
		return err
	})
	if !gone {
		return false, err
	}
	b.mu.Lock()
	delete(b.proved, digest)
	b.mu.Unlock()
	return true, syncDir(b.dir)
}

package dirblobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how long one waits before one looks again whether the directory is free; those who have it have it for less.
const turn = 2 * time.Millisecond

// beside has do happen while nothing is taken away: who says that a blob is there must not be wrong a moment later.
func (b *Blobs) beside(ctx context.Context, do func() error) error {
	return b.locked(ctx, unix.LOCK_SH, do)
}

// alone has do happen while nobody else, of any process, is beside.
func (b *Blobs) alone(ctx context.Context, do func() error) error {
	return b.locked(ctx, unix.LOCK_EX, do)
}

// locked locks the directory itself: so there is no file of it that could stay, or belong to somebody else.
func (b *Blobs) locked(ctx context.Context, how int, do func() error) error {
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := unix.Flock(int(d.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return do()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", b.dir, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(turn):
		}
	}
}

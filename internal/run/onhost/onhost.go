// Package onhost runs small programs on hosts: those that look at something, and those that a balancer is told by. They are
// not supervised, so they must be such that it does no harm when they are run again. It must not know what they do.
package onhost

import (
	"context"
	"errors"
	"io"
	"sync"

	"sluice"
	"sluice/internal/core/target"
)

// maxOutput is how much is kept of each stream; the rest is read and thrown away.
const maxOutput = 16 << 20

// Program makes a [sluice.Run] of a link. It may be used by several at once.
func Program(link sluice.Link) sluice.Run {
	return func(ctx context.Context, argv []string, stdin []byte) (sluice.Ran, error) {
		s, err := link.Start(ctx, target.Quote(argv...), false)
		if err != nil {
			return sluice.Ran{}, err
		}
		stop := context.AfterFunc(ctx, func() { _ = s.Close() })
		defer stop()
		ran, err := follow(s, stdin)
		if ctx.Err() != nil && (err != nil || ran.Status != sluice.ExitStatus{}) {
			err = context.Cause(ctx) // it was ended, and did not end by itself
		}
		return ran, errors.Join(err, s.Close())
	}
}

// follow feeds a session and reads it to its end.
func follow(s sluice.Session, stdin []byte) (ran sluice.Ran, err error) {
	var wg sync.WaitGroup
	wg.Go(func() { // that it reads no more is its own affair
		_, _ = s.Stdin().Write(stdin)
		_ = s.Stdin().Close()
	})
	wg.Go(func() { ran.Stdout = head(s.Stdout()) })
	wg.Go(func() { ran.Stderr = head(s.Stderr()) })
	ran.Status, err = s.Wait()
	if err != nil {
		_ = s.Close()
	}
	wg.Wait()
	return ran, err
}

func head(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxOutput))
	_, _ = io.Copy(io.Discard, r)
	return b
}

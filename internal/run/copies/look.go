package copies

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"sluice"
)

// Run looks again and again until ctx ends. It is for the server that owns the log.
func (c *Copies) Run(ctx context.Context) {
	again := time.NewTicker(c.cfg.Every)
	defer again.Stop()
	said := ""
	for {
		now := ""
		if err := c.Look(ctx); err != nil && ctx.Err() == nil {
			now = fmt.Sprintf("not all servers have what must survive this one: %v", err)
		}
		if now != said && now != "" {
			c.cfg.Trouble(now)
		}
		said = now
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// nothing is the digest of no content: to ask for it is to ask whether a server is there.
const nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Look has every server that is there have what it must. All of it is looked at in the beginning and now and then, and for a server that
// was away, even if it was for a moment: it may have come back empty. Else there is nothing to do.
func (c *Copies) Look(ctx context.Context) error {
	var errs []error
	var named []string
	answers, asked := ask(ctx, c, func(ctx context.Context, p sluice.Peer) (int64, error) {
		n, err := p.Blobs().Size(ctx, nothing)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return n, err
	})
	for range asked {
		var s said[int64]
		select {
		case s = <-answers:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.err != nil {
			errs = append(errs, &peerError{s.from.Name(), s.err})
			continue
		}
		if !c.due(s.from) {
			continue
		}
		if named == nil {
			var err error
			if named, err = c.blobs.needed(ctx); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
		if err := c.whole(ctx, s.from, named); err != nil {
			c.doubts(s.from)
			errs = append(errs, &peerError{s.from.Name(), err})
		}
	}
	return errors.Join(errs...)
}

// due reports whether all that a server must have is to be looked at, and takes it that it is.
func (c *Copies) due(p sluice.Peer) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, looked := c.looked[p.Name()]; looked && !c.doubt[p.Name()] && now.Sub(last) < c.cfg.Whole {
		return false
	}
	c.looked[p.Name()] = now
	delete(c.doubt, p.Name())
	return true
}

// doubts says that a server may not have what it must.
func (c *Copies) doubts(p sluice.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt[p.Name()] = true
}

// doubtsOthers says so of all but one.
func (c *Copies) doubtsOthers(p sluice.Peer) {
	for _, other := range c.cfg.Members() {
		if other.Name() != p.Name() {
			c.doubts(other)
		}
	}
}

// whole has a server have all that it must.
func (c *Copies) whole(ctx context.Context, p sluice.Peer, named []string) error {
	return c.blobs.whole(ctx, p, named)
}

// atOnce is how much is done side by side in the background: what runs comes first.
const atOnce = 4

// goneError says that a server does not answer, so that there is no use in going on.
type goneError struct{ error }

func (e goneError) Unwrap() error { return e.error }

// gone makes it one, if it is.
func gone(err error) error {
	if sluice.CodeOf(err) == sluice.Contact || errors.Is(err, context.DeadlineExceeded) {
		return goneError{err}
	}
	return err
}

// each does something for all of a list, a few at a time, and ends early where a server does not answer any more.
func each[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		mu    sync.Mutex
		errs  []error
		going sync.WaitGroup
	)
	next := make(chan T)
	for range min(atOnce, len(all)) {
		going.Go(func() {
			for one := range next {
				if err := do(ctx, one); err != nil {
					mu.Lock()
					if len(errs) < 10 { // the others are of the same kind
						errs = append(errs, err)
					}
					mu.Unlock()
					if errors.As(err, new(goneError)) {
						stop()
					}
				}
			}
		})
	}
	for _, one := range all {
		select {
		case next <- one:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	going.Wait()
	if len(errs) == 0 {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// needed are the digests that all servers must have.
func (b *Blobs) needed(ctx context.Context) ([]string, error) {
	named, err := b.c.cfg.Named(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, d := range named {
		known[d] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for d := range b.held {
		if known[d] {
			continue
		}
		// Nobody names it yet. What was taken away for that is not brought back.
		if _, err := b.local.Size(ctx, d); err == nil {
			named = append(named, d)
		} else if errors.Is(err, fs.ErrNotExist) {
			delete(b.held, d)
		}
	}
	slices.Sort(named)
	return append([]string{}, named...), nil
}

// whole has a server have all blobs that it must, and this one, too.
func (b *Blobs) whole(ctx context.Context, p sluice.Peer, named []string) error {
	return each(ctx, named, func(ctx context.Context, digest string) error {
		_, err := b.local.Size(ctx, digest)
		if errors.Is(err, fs.ErrNotExist) {
			if b.fetch(ctx, digest) != nil {
				return ctx.Err() // it may come with a server that is away now; who needs it before says why it is not there
			}
			b.c.doubtsOthers(p) // nor may they have it
		} else if err != nil {
			return err
		}
		return gone(b.give(ctx, p, digest, p.Blobs().Size))
	})
}

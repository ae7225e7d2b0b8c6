package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"sluice"
)

// Blobs are those of a cluster: kept here and on others.
type Blobs struct {
	c     *Copies
	local sluice.Blobs

	mu       sync.Mutex
	fetching map[string]*fetching
	held     map[string]bool // all that were put or renewed in this term
}

var _ sluice.Blobs = (*Blobs)(nil)

// fetching is a blob on its way here.
type fetching struct {
	done chan struct{}
	err  error
}

// Put keeps the content on a majority of the members. Where that cannot be had, the error's code is Contact, and what arrived is a blob that
// nobody names, which goes as all of those do.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	if digest, size, err = b.local.Put(ctx, r); err != nil {
		return "", 0, err
	}
	if err := b.hold(ctx, digest); err != nil {
		return "", 0, err
	}
	return digest, size, nil
}

// hold has enough others have a blob that is here, and count it as put now.
func (b *Blobs) hold(ctx context.Context, digest string) error {
	b.mu.Lock()
	b.held[digest] = true
	b.mu.Unlock()
	return b.c.spread(ctx, "blob "+digest, enough(b.c.cfg.Size()), func(ctx context.Context, p sluice.Peer) error {
		return b.give(ctx, p, digest, p.Blobs().Renew)
	})
}

// give has another server have a blob. look says whether it does.
func (b *Blobs) give(ctx context.Context, p sluice.Peer, digest string, look func(context.Context, string) (int64, error)) error {
	short, done := context.WithTimeout(ctx, b.c.cfg.Patience)
	_, err := look(short, digest)
	done()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r, err := b.local.Open(ctx, digest)
	if err != nil {
		return err
	}
	ctx, moved, done := until(ctx, b.c.cfg.Stall)
	defer done()
	got, _, err := p.Blobs().Put(ctx, moving{r, moved})
	if err = errors.Join(why(ctx, err), r.Close()); err != nil {
		return err
	}
	if got != digest {
		return fmt.Errorf("it keeps %s under the digest %s", digest, got)
	}
	return nil
}

// Renew has the blob count as put now here and on enough others, so that none of these takes it away.
func (b *Blobs) Renew(ctx context.Context, digest string) (int64, error) {
	size, err := b.local.Renew(ctx, digest)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = b.look(ctx, digest, err); err != nil {
			return 0, err
		}
		if err = b.fetch(ctx, digest); err == nil {
			size, err = b.local.Renew(ctx, digest)
		}
	}
	if err != nil {
		return 0, err
	}
	return size, b.hold(ctx, digest)
}

// Size is that of a blob, wherever it is.
func (b *Blobs) Size(ctx context.Context, digest string) (int64, error) {
	size, err := b.local.Size(ctx, digest)
	if errors.Is(err, fs.ErrNotExist) {
		return b.look(ctx, digest, err)
	}
	return size, err
}

// look asks the others how large a blob is. It ends with the first that has it, or when a majority does not: whoever needs it sends it
// then, which is right at any time.
func (b *Blobs) look(ctx context.Context, digest string, none error) (int64, error) {
	ctx, done := context.WithCancel(ctx)
	defer done()
	answers, asked := b.sizes(ctx, digest)
	without, lost := 1, []error(nil)
	for range asked {
		if proven(without, b.c.cfg.Size()) {
			break
		}
		select {
		case s := <-answers:
			switch {
			case s.err == nil:
				return s.is, nil
			case errors.Is(s.err, fs.ErrNotExist):
				without++
			default:
				lost = append(lost, &peerError{s.from.Name(), s.err})
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if proven(without, b.c.cfg.Size()) {
		return 0, none
	}
	return 0, unseen(digest, lost)
}

func (b *Blobs) sizes(ctx context.Context, digest string) (<-chan said[int64], []sluice.Peer) {
	return ask(ctx, b.c, func(ctx context.Context, p sluice.Peer) (int64, error) { return p.Blobs().Size(ctx, digest) })
}

// unseen says that nobody who answered has a blob.
func unseen(digest string, lost []error) error {
	e := sluice.Errorf(sluice.Contact, "blob %s is not here, and not all servers that may have it answer", digest)
	e.Err = errors.Join(lost...)
	return e
}

// Open reads a blob, which is here then. If it is not what its digest says, the reader ends with an error.
func (b *Blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	r, err := b.local.Open(ctx, digest)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if err := b.fetch(ctx, digest); err != nil {
		return nil, err
	}
	return b.local.Open(ctx, digest)
}

// fetch gets a blob that is not here, once for all who want it.
func (b *Blobs) fetch(ctx context.Context, digest string) error {
	b.mu.Lock()
	f := b.fetching[digest]
	if f == nil {
		f = &fetching{done: make(chan struct{})}
		if !b.c.begin(func() {
			f.err = b.bring(b.c.ctx, digest)
			b.mu.Lock()
			delete(b.fetching, digest)
			b.mu.Unlock()
			close(f.done)
		}) {
			b.mu.Unlock()
			return errClosed
		}
		b.fetching[digest] = f
	}
	b.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bring gets a blob from the first that has it and can give it.
func (b *Blobs) bring(ctx context.Context, digest string) error {
	asking, done := context.WithCancel(ctx)
	defer done()
	answers, asked := b.sizes(asking, digest)
	var lost []error
	for range asked {
		var s said[int64]
		select {
		case s = <-answers:
		case <-ctx.Done():
			return errClosed
		}
		if s.err == nil {
			if s.err = b.copyFrom(ctx, s.from, digest); s.err == nil {
				return nil
			}
		}
		if !errors.Is(s.err, fs.ErrNotExist) {
			lost = append(lost, &peerError{s.from.Name(), s.err})
		}
	}
	if len(lost) > 0 {
		return unseen(digest, lost)
	}
	return fmt.Errorf("no server has the blob %s: %w", digest, fs.ErrNotExist)
}

func (b *Blobs) copyFrom(ctx context.Context, p sluice.Peer, digest string) error {
	ctx, moved, done := until(ctx, b.c.cfg.Stall)
	defer done()
	r, err := p.Blobs().Open(ctx, digest)
	if err != nil {
		return why(ctx, err)
	}
	_, _, err = b.local.Put(ctx, &proving{r: moving{r, moved}, sum: sha256.New(), digest: digest})
	return errors.Join(why(ctx, err), r.Close())
}

// moving tells that something moved.
type moving struct {
	r     io.Reader
	moved func()
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.moved()
	return n, err
}

// proving ends with an error where the content is not what its digest says, so that nobody keeps it.
type proving struct {
	r      io.Reader
	sum    hash.Hash
	digest string
}

func (p *proving) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	_, _ = p.sum.Write(b[:n])
	if err == io.EOF {
		if is := "sha256:" + hex.EncodeToString(p.sum.Sum(nil)); is != p.digest {
			return n, fmt.Errorf("what came is %s, and not %s", is, p.digest)
		}
	}
	return n, err
}

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

// Look has every server that is there have what it must. All of it is looked at in the beginning and now and then, for it may have come to
// lack anything; for one that was away, or failed to keep something, what it may have missed. Else there is nothing to do.
func (c *Copies) Look(ctx context.Context) error {
	c.outputs.flush()
	var errs []error
	var all needs
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
		whole, some := c.due(s.from)
		if !some {
			continue
		}
		if err := c.needs(ctx, &all, whole); err != nil {
			c.doubts(s.from)
			return errors.Join(append(errs, err)...)
		}
		jobs := all.live
		if whole {
			jobs = slices.Concat(jobs, all.over)
		}
		err := errors.Join(c.blobs.whole(ctx, s.from, all.named), c.outputs.whole(ctx, s.from, jobs))
		if err != nil {
			c.doubts(s.from)
			errs = append(errs, &peerError{s.from.Name(), err})
		}
	}
	return errors.Join(errs...)
}

// needs are what all servers must have.
type needs struct {
	read, whole bool
	named       []string       // blobs
	live        []sluice.JobID // jobs that are not over, or printed something in this term
	over        []sluice.JobID // those that are over and whose output is kept
}

// needs reads in the log what is needed: all of it, or what is known of that from the last time.
func (c *Copies) needs(ctx context.Context, n *needs, whole bool) error {
	if n.read && (n.whole || !whole) {
		return nil
	}
	if whole {
		named, open, over, err := c.cfg.Needed(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.named, c.open = named, open
		c.mu.Unlock()
		n.over = over
	}
	c.mu.Lock()
	named, open := c.named, c.open
	c.mu.Unlock()
	n.read, n.whole = true, whole
	n.named = c.blobs.needed(ctx, named)
	n.live = c.outputs.live(open)
	return nil
}

// due reports whether all that a server must have is to be looked at, or some of it, and takes it that it is.
func (c *Copies) due(p sluice.Peer) (whole, some bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	last, looked := c.looked[p.Name()]
	whole = !looked || now.Sub(last) >= c.cfg.Whole
	some = whole || c.doubt[p.Name()]
	if whole {
		c.looked[p.Name()] = now
	}
	delete(c.doubt, p.Name())
	return whole, some
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

// needed are the digests that all servers must have: those that something names, and those that were put in this term.
func (b *Blobs) needed(ctx context.Context, named []string) []string {
	out := slices.Clone(named)
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
		// Perhaps nobody names it. What was taken away for that is not brought back.
		if _, err := b.local.Size(ctx, d); err == nil {
			out = append(out, d)
		} else if errors.Is(err, fs.ErrNotExist) {
			delete(b.held, d)
		}
	}
	slices.Sort(out)
	return out
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

// live are the jobs that were not over, and those that printed something in this term.
func (o *Outputs) live(open []sluice.JobID) []sluice.JobID {
	out := slices.Clone(open)
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, j := range o.jobs {
		j.mu.Lock()
		if len(j.written) > 0 && !slices.Contains(open, id) {
			out = append(out, id)
		}
		j.mu.Unlock()
	}
	return out
}

// flush has everything go on its way that waits for more to go with it.
func (o *Outputs) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, j := range o.jobs {
		j.flush()
	}
}

// whole has a server have all outputs of these jobs, and this one, too.
func (o *Outputs) whole(ctx context.Context, p sluice.Peer, jobs []sluice.JobID) error {
	var errs []error
	for _, id := range jobs {
		o.mu.Lock()
		_, had := o.jobs[id]
		o.mu.Unlock()
		err := o.with(id, func(j *printed) error { return j.give(ctx, p) })
		if !had {
			o.forget(id)
		}
		switch {
		case errors.As(err, new(goneError)) || ctx.Err() != nil:
			return errors.Join(append(errs, err)...)
		case err != nil && len(errs) < 10: // the others are of the same kind
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forget forgets what was found out about a job, if nothing was written to it.
func (o *Outputs) forget(id sluice.JobID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if j := o.jobs[id]; j != nil && j.uses == 0 && j.unused() {
		delete(o.jobs, id)
	}
}

func (j *printed) unused() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.written)+len(j.asking) == 0
}

// give has a server have all that this job printed, and this one, too.
func (j *printed) give(ctx context.Context, p sluice.Peer) error {
	if err := j.learn(ctx); err != nil {
		return err
	}
	all := map[stream]bool{}
	j.mu.Lock()
	for s := range j.written {
		all[s] = true
	}
	var before []stream
	for a := range j.before {
		before = append(before, stream{a, "stdout"}, stream{a, "stderr"})
		if j.fetches {
			before = append(before, stream{a, packed})
		}
	}
	j.mu.Unlock()
	for _, s := range before {
		all[s] = true
	}
	// What another one has and this one does not comes first. Where it cannot be had, that is said to who asks for it.
	err := each(ctx, before, func(ctx context.Context, s stream) error { return j.whole(ctx, s) })
	if err := j.catchUp(ctx, p, all); err != nil {
		return gone(err)
	}
	j.again(p)
	return err
}

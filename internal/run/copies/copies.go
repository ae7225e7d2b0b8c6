// Package copies sees to it that what is not in the log survives the loss of a server, too: blobs, what commands printed, and what jobs
// fetched. It puts the servers of a cluster behind the ports that one server has.
//
// Something counts as kept when a majority of the members has it on its disk: here, and on enough others. Those that are not needed for
// that get it a moment later, and those that were away when they are back: [Copies.Run] looks after it, on the server that owns the log.
// Where no majority can be had, whoever wants something kept is told so.
//
// What is missing here is read from the others, kept here then, and never held to be shorter than it is: where it cannot be known, that is
// an error.
package copies

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"sluice"
)

// Config is what copies are made of and with.
type Config struct {
	// Members are the other servers, as they are now; Size is how many there are in all, this one included.
	Members func() []sluice.Peer
	Size    func() int
	Blobs   sluice.Blobs
	Outputs Local
	Log     sluice.Log
	// Began is where the log ended when the term began: attempts that started behind that have printed to this server only, and the others need
	// not be asked. nil: that is not known, and they are asked.
	Began []sluice.Head
	// Needed is what the log says that all servers must have: digests of blobs, jobs that are not over, and others whose output is kept.
	Needed func(ctx context.Context) (blobs []string, open, over []sluice.JobID, err error)
	// Trouble is told what went wrong in the background. It must not block.
	Trouble func(text string)
	// Patience is how long another server may take for a small answer; 0: 2 s. Stall is how long a transfer may stand still; 0: 10 s.
	Patience, Stall time.Duration
	// Again is for how long those are asked again who did not answer how much they have of what a worker is about to hand over; 0: 20 s.
	Again time.Duration
	// Every is how often Run looks whether the others are there; 0: 5 s. Whole is how often it looks at everything; 0: 6 hours.
	Every, Whole time.Duration
}

// Local are the outputs of this server.
type Local interface {
	sluice.Outputs
	sluice.Shelf
}

// Copies are what a server that owns the log has in the place of its plain blobs and outputs. It is for one term: what it knows of the
// other servers is of no use in the next.
type Copies struct {
	cfg     Config
	ctx     context.Context // of all that goes on in the background
	end     context.CancelFunc
	blobs   *Blobs
	outputs *Outputs

	mu     sync.Mutex
	closed bool
	going  sync.WaitGroup
	away   map[string]bool      // servers that did not answer when they were asked last
	doubt  map[string]bool      // servers that may lack something
	looked map[string]time.Time // when all that a server must have was looked at
	named  []string             // as the log had them when it was looked at
	open   []sluice.JobID       // jobs that were not over then
}

// New makes them. Close must be called at the end.
func New(cfg Config) *Copies {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{{&cfg.Patience, 2 * time.Second}, {&cfg.Stall, 10 * time.Second}, {&cfg.Again, 20 * time.Second}, {&cfg.Every, 5 * time.Second}, {&cfg.Whole, 6 * time.Hour}} {
		if *d.of <= 0 {
			*d.of = d.is
		}
	}
	c := &Copies{cfg: cfg, away: map[string]bool{}, doubt: map[string]bool{}, looked: map[string]time.Time{}}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.outputs = newOutputs(c)
	c.blobs = &Blobs{c: c, local: cfg.Blobs, fetching: map[string]*fetching{}, held: map[string]bool{}}
	return c
}

// Blobs are those of the cluster.
func (c *Copies) Blobs() *Blobs { return c.blobs }

// Outputs are those of the cluster.
func (c *Copies) Outputs() *Outputs { return c.outputs }

// Close ends what goes on in the background, and waits for it. What had not arrived elsewhere is no secret: the next owner looks.
func (c *Copies) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.going.Wait()
}

// begin has do go on in the background; false: it is too late for that.
func (c *Copies) begin(do func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.going.Go(do)
	return true
}

var errClosed = sluice.Errorf(sluice.Contact, "this server does not own the log any more")

// began is the last event of a namespace before this term.
func (c *Copies) began(ns sluice.Namespace) uint64 {
	if c.cfg.Began == nil {
		return math.MaxUint64
	}
	for _, h := range c.cfg.Began {
		if h.Namespace == ns {
			return h.Seq
		}
	}
	return 0
}

// enough is how many others must have something, so that a majority of so many members has it.
func enough(size int) int { return size / 2 }

// proven reports whether so many members that do not have something, this one among them, are a majority: then nobody was told that it
// is kept.
func proven(without, size int) bool { return without > size/2 }

// answered keeps in mind whether a server is there.
func (c *Copies) answered(p sluice.Peer, err error) {
	gone := sluice.CodeOf(err) == sluice.Contact || errors.Is(err, context.DeadlineExceeded)
	c.mu.Lock()
	defer c.mu.Unlock()
	if gone {
		c.away[p.Name()], c.doubt[p.Name()] = true, true
	} else {
		delete(c.away, p.Name())
	}
}

func (c *Copies) isAway(p sluice.Peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away[p.Name()]
}

// spread has all others do something, and returns when so many have. The rest goes on behind it.
func (c *Copies) spread(ctx context.Context, what string, need int, do func(ctx context.Context, p sluice.Peer) error) error {
	others := c.cfg.Members()
	results := make(chan error, len(others))
	for _, p := range others {
		if !c.begin(func() {
			err := do(c.ctx, p)
			c.answered(p, err)
			if err != nil {
				c.doubts(p)
				err = &peerError{p.Name(), err}
			}
			results <- err
		}) {
			return errClosed
		}
	}
	done, failed := 0, []error(nil)
	for done < need {
		if len(others)-len(failed) < need {
			return tooFew(what, need, c.cfg.Size(), failed)
		}
		select {
		case err := <-results:
			if err == nil {
				done++
			} else {
				failed = append(failed, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// peerError says which server could not do something.
type peerError struct {
	name string
	err  error
}

func (e *peerError) Error() string { return e.name + ": " + e.err.Error() }
func (e *peerError) Unwrap() error { return e.err }

// tooFew says that something is not on a majority.
func tooFew(what string, need, size int, failed []error) error {
	e := sluice.Errorf(sluice.Contact, "%s is not kept: besides this server, %d of the %d others must have it", what, need, size-1).
		WithHint("sluice server members list says which servers are there; try again when they are")
	e.Err = errors.Join(failed...)
	if e.Err == nil {
		e.Err = errors.New("fewer others are known")
	}
	return e
}

// said is what a server answered.
type said[T any] struct {
	from sluice.Peer
	is   T
	err  error
}

// ask asks all others at once. Each answers within the patience, or with an error; who has heard enough ends ctx and goes.
func ask[T any](ctx context.Context, c *Copies, question func(ctx context.Context, p sluice.Peer) (T, error)) (answers <-chan said[T], asked []sluice.Peer) {
	asked = c.cfg.Members()
	out := make(chan said[T], len(asked))
	for _, p := range asked {
		ok := c.begin(func() {
			ctx, done := context.WithTimeout(ctx, c.cfg.Patience)
			defer done()
			defer context.AfterFunc(c.ctx, done)()
			s := said[T]{from: p}
			s.is, s.err = question(ctx, p)
			if ctx.Err() != context.Canceled {
				c.answered(p, s.err)
			}
			out <- s
		})
		if !ok {
			out <- said[T]{from: p, err: errClosed}
		}
	}
	return out, asked
}

// until is a context for a transfer: it ends when moved was not called for so long.
func until(ctx context.Context, stall time.Duration) (_ context.Context, moved func(), done context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stall, func() {
		cancel(sluice.Errorf(sluice.Contact, "nothing moved for %v", stall))
	})
	return ctx, func() { timer.Reset(stall) }, func() { timer.Stop(); cancel(nil) }
}

// why is what an error of a transfer comes from.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && sluice.CodeOf(cause) == sluice.Contact {
		return cause
	}
	return err
}

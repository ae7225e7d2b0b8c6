package fake

import (
	"context"
	"errors"
	"io"
	"sync"

	"sluice"
)

// Peer is a [sluice.Peer] in memory.
type Peer struct {
	Faults Faults

	name string

	mu      sync.Mutex
	blobs   *Blobs
	outputs *Outputs
	records map[sluice.Namespace][]sluice.Record
}

// The points of a peer. The first two are passed by every call, those to its blobs included.
const (
	PeerAsk    = "peer.ask"    // before anything is done
	PeerAnswer = "peer.answer" // when it is done: the caller cannot know that
	PeerKeep   = "peer.keep"   // KeepOutput only, before anything is done
	PeerOpen   = "peer.open"   // OpenOutput only, likewise
)

// ErrPeerGone is what a server says that cannot be reached.
var ErrPeerGone error = sluice.Errorf(sluice.Contact, "the server does not answer")

var _ sluice.Peer = (*Peer)(nil)

// NewPeer returns a server that has nothing.
func NewPeer(name string) *Peer {
	p := &Peer{name: name}
	p.Wipe()
	return p
}

// Wipe takes away all that it has.
func (p *Peer) Wipe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blobs, p.outputs, p.records = NewBlobs(), NewOutputs(), map[sluice.Namespace][]sluice.Record{}
}

// Add puts a record there.
func (p *Peer) Add(r sluice.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records[r.Namespace] = append(p.records[r.Namespace], r)
}

// Has are the blobs and outputs that are there, without faults.
func (p *Peer) Has() (*Blobs, *Outputs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blobs, p.outputs
}

// through does something between the two points.
func (p *Peer) through(ctx context.Context, do func(b *Blobs, o *Outputs) error) error {
	if err := errors.Join(ctx.Err(), p.Faults.pass(ctx, PeerAsk)); err != nil {
		return err
	}
	b, o := p.Has()
	if err := do(b, o); err != nil {
		return err
	}
	return p.Faults.pass(ctx, PeerAnswer)
}

// Name is that of the server.
func (p *Peer) Name() string { return p.name }

// Records hands on the records behind an event.
func (p *Peer) Records(ctx context.Context, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) error {
	return p.through(ctx, func(*Blobs, *Outputs) error {
		p.mu.Lock()
		var out []sluice.Record
		for _, r := range p.records[ns] {
			if r.Last > after {
				out = append(out, r)
			}
		}
		p.mu.Unlock()
		if len(out) == 0 {
			return nil
		}
		return visit(out)
	})
}

// KeepOutput keeps pieces.
func (p *Peer) KeepOutput(ctx context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error {
	if err := p.Faults.pass(ctx, PeerKeep); err != nil {
		return err
	}
	return p.through(ctx, func(_ *Blobs, o *Outputs) error {
		for _, one := range pieces {
			size, err := o.Size(job, one.Attempt, one.Stream)
			if err != nil {
				return err
			}
			if one.Offset > size {
				return sluice.Errorf(sluice.Conflict, "a piece at %d leaves a gap: %d bytes are kept", one.Offset, size)
			}
			if err := o.Write(job, one.Attempt, one.Stream, one.Offset, one.Data); err != nil {
				return err
			}
		}
		return o.Sync(job)
	})
}

// OutputSize is how much of a stream is there.
func (p *Peer) OutputSize(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (n int64, err error) {
	err = p.through(ctx, func(_ *Blobs, o *Outputs) (err error) {
		n, err = o.Size(job, a, stream)
		return err
	})
	return n, err
}

// OpenOutput reads a stream.
func (p *Peer) OpenOutput(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string, from int64) (r io.ReadCloser, err error) {
	if err := p.Faults.pass(ctx, PeerOpen); err != nil {
		return nil, err
	}
	err = p.through(ctx, func(_ *Blobs, o *Outputs) (err error) {
		if r, err = o.Open(job, a, stream); err == nil {
			_, err = r.(io.Seeker).Seek(from, io.SeekStart)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Blobs are those that are there.
func (p *Peer) Blobs() sluice.Blobs { return peerBlobs{p} }

type peerBlobs struct{ p *Peer }

func (b peerBlobs) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	err = b.p.through(ctx, func(to *Blobs, _ *Outputs) (err error) {
		digest, size, err = to.Put(ctx, r)
		return err
	})
	if err != nil {
		return "", 0, err
	}
	return digest, size, nil
}

func (b peerBlobs) Open(ctx context.Context, digest string) (r io.ReadCloser, err error) {
	err = b.p.through(ctx, func(of *Blobs, _ *Outputs) (err error) {
		r, err = of.Open(ctx, digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (b peerBlobs) Renew(ctx context.Context, digest string) (n int64, err error) {
	err = b.p.through(ctx, func(of *Blobs, _ *Outputs) (err error) {
		n, err = of.Renew(ctx, digest)
		return err
	})
	return n, err
}

func (b peerBlobs) Size(ctx context.Context, digest string) (n int64, err error) {
	err = b.p.through(ctx, func(of *Blobs, _ *Outputs) (err error) {
		n, err = of.Size(ctx, digest)
		return err
	})
	return n, err
}

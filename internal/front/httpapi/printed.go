package httpapi

import (
	"context"
	"errors"
	"io"
	"sync"

	"sluice"
	"sluice/internal/run/control"
)

// Printed is what the hosts of a job print, from when one began to look.
type Printed interface {
	// More is sent to when there is something to take.
	More() <-chan struct{}
	// Take returns what came since, and of which streams pieces were left out: those are kept already.
	Take() (pieces []sluice.Event, missed []sluice.TaskOutput)
	Close()
}

const pieceSize = 64 << 10

// printer puts what hosts print between the events of a job: after the start of an attempt and before its end, each
// stream from its beginning and without a gap.
type printer struct {
	ctx   context.Context // of the request
	stop  context.CancelFunc
	done  chan struct{}
	desk  control.Desk
	job   sluice.JobID
	from  Printed
	send  func(sluice.Event)
	lacks func(a sluice.AttemptID, stream string) // is told which stream of an attempt that ended was not sent to its end
	clock sluice.Clock

	mu    sync.Mutex
	seq   uint64 // of the event that was sent last
	open  map[sluice.AttemptID]*attempt
	early map[sluice.AttemptID]bool // that print, and whose start was not sent yet
}

// attempt is one that was sent the start of, and not the end.
type attempt struct {
	host sluice.Host
	sent map[string]int64 // bytes, by stream
}

// print begins to send what the hosts of a job print. Attempts that had started by the event `after` count as known.
func (a *API) print(ctx context.Context, desk control.Desk, id sluice.JobID, after uint64, send func(sluice.Event),
	lacks func(sluice.AttemptID, string)) (*printer, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &printer{ctx: ctx, stop: stop, done: make(chan struct{}), desk: desk, job: id, from: a.cfg.Printed(id), send: send, lacks: lacks, clock: a.cfg.Clock,
		seq: after, open: map[sluice.AttemptID]*attempt{}, early: map[sluice.AttemptID]bool{}}
	if after > 0 {
		events, err := desk.Events(ctx, id)
		if err != nil {
			stop()
			p.from.Close()
			return nil, err
		}
		for _, e := range events {
			if e.Seq <= after {
				p.note(e)
			}
		}
	}
	go func() {
		defer close(p.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.from.More():
				p.pass()
			}
		}
	}()
	return p, nil
}

// close ends it: nothing is sent afterwards.
func (p *printer) close() {
	p.stop()
	<-p.done
	p.from.Close()
}

// event sends an event, and before the end of an attempt all that it printed.
func (p *printer) event(e sluice.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch b := e.Body.(type) {
	case sluice.TaskFinished:
		p.finish(b.Attempt, e)
	case sluice.TaskWithdrawn:
		p.finish(b.Attempt, e)
	}
	p.send(e)
	p.seq = e.Seq
	p.note(e)
	if b, ok := e.Body.(sluice.TaskStarted); ok && p.early[b.Attempt] {
		delete(p.early, b.Attempt)
		p.catchUp(b.Attempt, e)
	}
}

// note keeps which attempts run.
func (p *printer) note(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		p.open[b.Attempt] = &attempt{host: b.Host, sent: map[string]int64{}}
	case sluice.TaskFinished:
		if b.Outcome != sluice.Unknown { // else it may end once more
			delete(p.open, b.Attempt)
		}
	case sluice.TaskWithdrawn:
		delete(p.open, b.Attempt)
	}
}

// pass sends what came.
func (p *printer) pass() {
	pieces, missed := p.from.Take()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range pieces {
		b, ok := e.Body.(sluice.TaskOutput)
		if !ok {
			continue
		}
		a := p.open[b.Attempt]
		switch {
		case a == nil:
			p.early[b.Attempt] = true
		case b.Offset != a.sent[b.Stream]: // some of it came before this began, or was sent from what is kept
			_ = p.catchUpStream(b.Attempt, a, b.Stream, e)
		default:
			e.Seq = p.seq
			p.send(e)
			a.sent[b.Stream] += int64(len(b.Content()))
		}
	}
	for _, b := range missed {
		if a := p.open[b.Attempt]; a != nil {
			_ = p.catchUpStream(b.Attempt, a, b.Stream, sluice.Event{Time: p.clock()})
		} else {
			p.early[b.Attempt] = true
		}
	}
}

// catchUp sends what an attempt printed and was not sent.
func (p *printer) catchUp(id sluice.AttemptID, at sluice.Event) {
	if a := p.open[id]; a != nil {
		for _, stream := range []string{"stdout", "stderr"} {
			_ = p.catchUpStream(id, a, stream, at)
		}
	}
}

// finish is catchUp for an attempt that ends: what cannot be sent now comes no more.
func (p *printer) finish(id sluice.AttemptID, at sluice.Event) {
	if a := p.open[id]; a != nil {
		for _, stream := range []string{"stdout", "stderr"} {
			if p.catchUpStream(id, a, stream, at) != nil {
				p.lacks(id, stream)
			}
		}
	}
}

// catchUpStream sends what is kept of a stream and was not sent. What cannot be read now is sent with what comes next.
func (p *printer) catchUpStream(id sluice.AttemptID, a *attempt, stream string, at sluice.Event) error {
	r, err := p.desk.OpenOutput(p.ctx, p.job, id, stream)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, a.sent[stream]); err != nil {
		return err
	}
	buffer := make([]byte, pieceSize)
	for {
		n, err := io.ReadFull(r, buffer)
		if n > 0 {
			p.send(sluice.Event{Seq: p.seq, Time: at.Time, Job: p.job, Body: sluice.NewTaskOutput(a.host, id, stream, a.sent[stream], buffer[:n])})
			a.sent[stream] += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

package copies

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"sluice"
)

// Outputs are those of a cluster: what is written goes to the others at once, in pieces that hold what many attempts printed, and Sync waits
// until a majority has it. The others have the same files as this server, and lack at most the end of some streams.
//
// Attempts that began in this term have printed to this server only. Of those before, an earlier owner may have more than is here: it is
// fetched when it is asked for.
type Outputs struct {
	c     *Copies
	local Local

	mu   sync.Mutex
	jobs map[sluice.JobID]*printed
}

var (
	_ sluice.Outputs = (*Outputs)(nil)
	_ sluice.Shelf   = (*Outputs)(nil)
)

func newOutputs(c *Copies) *Outputs {
	return &Outputs{c: c, local: c.cfg.Outputs, jobs: map[sluice.JobID]*printed{}}
}

// stream names a stream of a job.
type stream struct {
	attempt sluice.AttemptID
	name    string
}

// printed is what is known of what a job printed.
type printed struct {
	o  *Outputs
	id sluice.JobID

	uses int // by calls that are going on; guarded by Outputs.mu

	learning sync.Mutex // before mu
	known    bool       // the log was read
	fetches  bool       // the job gets files

	mu      sync.Mutex
	before  map[sluice.AttemptID]*earlier
	asking  map[stream]*fetching
	settled map[stream]bool // all servers were asked, and this one has it
	written map[stream]bool // in this term, or to be on a majority in it
	seq     uint64          // counts what was written
	to      map[string]*sending
	reached bool          // to has those who were members at some time in this term
	news    chan struct{} // closed when something was sent, or could not be
}

// earlier is an attempt that may have begun before this term, and whose output was not removed.
type earlier struct{ ended bool }

// maxJobs is of how many jobs that nothing is written to any more is kept in mind what was found out.
const maxJobs = 1024

// with does something with what is known of a job, which is not forgotten meanwhile.
func (o *Outputs) with(id sluice.JobID, do func(*printed) error) error {
	j := o.use(id)
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		j.uses--
	}()
	return do(j)
}

func (o *Outputs) use(id sluice.JobID) *printed {
	o.mu.Lock()
	defer o.mu.Unlock()
	j := o.jobs[id]
	if j == nil {
		j = &printed{o: o, id: id, asking: map[stream]*fetching{}, settled: map[stream]bool{}, written: map[stream]bool{}, to: map[string]*sending{}, news: make(chan struct{})}
		o.jobs[id] = j
	}
	j.uses++
	return j
}

// Write keeps data here, and has it go to the others.
func (o *Outputs) Write(job sluice.JobID, a sluice.AttemptID, name string, offset int64, data []byte) error {
	s := stream{a, name}
	if err := o.local.Write(job, a, name, offset, data); err != nil {
		if _, bad := o.local.Size(job, a, name); bad != nil { // there is no such stream
			return err
		}
		// What comes before may be elsewhere.
		if o.complete(job, s) != nil || o.local.Write(job, a, name, offset, data) != nil {
			return err
		}
	}
	if len(data) == 0 {
		return nil
	}
	return o.with(job, func(j *printed) error {
		j.add(s, offset, data)
		return nil
	})
}

// Sync makes what was written so far for the job durable on a majority.
func (o *Outputs) Sync(job sluice.JobID) error {
	o.mu.Lock()
	j := o.jobs[job]
	o.mu.Unlock()
	if j == nil {
		return o.local.Sync(job)
	}
	j.mu.Lock()
	upTo := j.seq
	j.mu.Unlock()
	if err := o.local.Sync(job); err != nil {
		return err
	}
	return j.sent(upTo, enough(o.c.cfg.Size()))
}

// Size returns how many bytes of a stream are kept. They are here then.
func (o *Outputs) Size(job sluice.JobID, a sluice.AttemptID, name string) (int64, error) {
	if size, err := o.local.Size(job, a, name); err != nil { // no such stream
		return size, err
	}
	if err := o.complete(job, stream{a, name}); err != nil {
		return 0, err
	}
	return o.local.Size(job, a, name)
}

// Open reads a stream. Where it is known that there is more of it than can be had, or not known whether there is, it is an error.
func (o *Outputs) Open(job sluice.JobID, a sluice.AttemptID, name string) (io.ReadCloser, error) {
	if _, err := o.local.Size(job, a, name); err == nil {
		if err := o.complete(job, stream{a, name}); err != nil {
			return nil, err
		}
	}
	return o.local.Open(job, a, name)
}

// complete has all of a stream be here.
func (o *Outputs) complete(job sluice.JobID, s stream) error {
	return o.with(job, func(j *printed) error { return j.whole(o.c.ctx, s) })
}

// Close forgets what is held open for a job. What is on its way to the others goes on.
func (o *Outputs) Close(job sluice.JobID) error {
	err := o.local.Close(job)
	o.mu.Lock()
	defer o.mu.Unlock()
	if j := o.jobs[job]; j != nil {
		j.flush()
		if j.idle() {
			j.mu.Lock()
			clear(j.written) // everybody has it
			j.mu.Unlock()
		}
	}
	for id, j := range o.jobs {
		if len(o.jobs) <= maxJobs {
			break
		}
		if j.uses == 0 && j.idle() {
			delete(o.jobs, id)
		}
	}
	return err
}

// Kept lists the jobs of which output is kept here.
func (o *Outputs) Kept(ctx context.Context) ([]sluice.Kept, error) { return o.local.Kept(ctx) }

// Discard removes all outputs of a job here; each of the others does when its copy of the log says so.
func (o *Outputs) Discard(ctx context.Context, job string) error {
	err := o.local.Discard(ctx, job)
	o.mu.Lock()
	defer o.mu.Unlock()
	if j := o.jobs[sluice.JobID(job)]; j != nil {
		j.removed()
	}
	return err
}

// AtWork are the outputs as those have them who carry attempts out: Sync makes them durable here. That a majority has them is waited for
// once for all attempts whose outcomes are appended together, before that, by who appends: an attempt would wait for nothing, and what it
// printed would count as lost where the others do not answer for a moment.
func (o *Outputs) AtWork() sluice.Outputs { return atWork{patient{o}} }

type atWork struct{ patient }

func (a atWork) Sync(job sluice.JobID) error { return a.local.Sync(job) }

// Patient are the outputs as those have them who take what workers print: where too few of the others answer to know how much there is, it
// is asked again for a while. A worker comes in the moment in which this server has become the owner of the log, and another one may just be
// starting anew; what it cannot hand over then counts as lost.
func (o *Outputs) Patient() sluice.Outputs { return patient{o} }

type patient struct{ *Outputs }

func (p patient) Write(job sluice.JobID, a sluice.AttemptID, name string, offset int64, data []byte) error {
	err := p.Outputs.Write(job, a, name, offset, data)
	if err == nil || p.known(job, a, name) != nil {
		return err
	}
	return p.Outputs.Write(job, a, name, offset, data)
}

func (p patient) Size(job sluice.JobID, a sluice.AttemptID, name string) (int64, error) {
	if size, err := p.Outputs.Size(job, a, name); err == nil || p.known(job, a, name) != nil {
		return size, err
	}
	return p.Outputs.Size(job, a, name)
}

// known waits until all of a stream is here, as far as the others answer some time.
func (p patient) known(job sluice.JobID, a sluice.AttemptID, name string) error {
	if _, bad := p.local.Size(job, a, name); bad != nil { // there is no such stream
		return bad
	}
	late := time.NewTimer(p.c.cfg.Again)
	defer late.Stop()
	for {
		err := p.complete(job, stream{a, name})
		if sluice.CodeOf(err) != sluice.Contact {
			return err
		}
		select {
		case <-p.c.ctx.Done():
			return err
		case <-late.C:
			return err
		case <-time.After(askAgain):
		}
	}
}

// askAgain is waited between two questions for the same.
const askAgain = 200 * time.Millisecond

// learn reads in the log which attempts there were.
func (j *printed) learn(ctx context.Context) error {
	j.learning.Lock()
	defer j.learning.Unlock()
	if j.known {
		return nil
	}
	before, fetches := map[sluice.AttemptID]*earlier{}, false
	ns, _, err := j.o.c.cfg.Log.FindJob(ctx, string(j.id))
	if err == nil {
		var events []sluice.Event
		if events, err = j.o.c.cfg.Log.ReadJob(ctx, ns, j.id); err != nil {
			return err
		}
		before = attempts(events, j.o.c.began(ns))
		spec := specOf(events)
		fetches = spec != nil && spec.Action.Kind == sluice.FetchFrom
	}
	if err != nil && sluice.CodeOf(err) != sluice.NotFound {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before, j.fetches, j.known = before, fetches, true
	return nil
}

// removed takes it that there is nothing any more of what there was.
func (j *printed) removed() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.before)
	clear(j.written)
}

// attempts are those that the events of a job have up to one of them, and whose output was not removed.
func attempts(events []sluice.Event, upTo uint64) map[sluice.AttemptID]*earlier {
	out := map[sluice.AttemptID]*earlier{}
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.TaskStarted:
			if e.Seq <= upTo {
				out[b.Attempt] = &earlier{}
			}
		case sluice.TaskFinished:
			if a := out[b.Attempt]; a != nil {
				a.ended = true
			}
		case sluice.OutputRemoved:
			clear(out)
		}
	}
	return out
}

// whole has this server have all that is kept of a stream.
func (j *printed) whole(ctx context.Context, s stream) error {
	if err := j.learn(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	if j.before[s.attempt] == nil || j.settled[s] {
		j.mu.Unlock()
		return nil
	}
	f := j.asking[s]
	if f == nil {
		f = &fetching{done: make(chan struct{})}
		if !j.o.c.begin(func() {
			f.err = j.bring(j.o.c.ctx, s)
			j.mu.Lock()
			delete(j.asking, s)
			j.mu.Unlock()
			close(f.done)
		}) {
			j.mu.Unlock()
			return errClosed
		}
		j.asking[s] = f
	}
	j.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bring asks the others how much they have of a stream, and gets what is not here.
func (j *printed) bring(ctx context.Context, s stream) error {
	have, err := j.o.local.Size(j.id, s.attempt, s.name)
	if err != nil {
		return err
	}
	more, all, err := j.others(ctx, s)
	if err != nil {
		return err
	}
	most := have
	for _, one := range more {
		most = max(most, one.is)
	}
	var lost []error
	for _, one := range more {
		if one.is <= have {
			continue
		}
		if have, err = j.copyFrom(ctx, one.from, s, have); err != nil {
			lost = append(lost, &peerError{one.from.Name(), err})
		}
	}
	if have < most {
		e := sluice.Errorf(sluice.Contact, "%s of attempt %s: the bytes from %d to %d are on another server only, and cannot be had from there now",
			s.name, s.attempt, have, most)
		e.Err = errors.Join(lost...)
		return e
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if all {
		j.settled[s] = true
	}
	// Its outcome will say that a majority has it, though perhaps nothing is written to it any more.
	if b := j.before[s.attempt]; have > 0 && b != nil && !b.ended && !j.written[s] {
		j.mark(s)
	}
	return nil
}

// others asks all others how much they have of a stream. A majority has to answer, this server included; all says whether all did. Who was
// away when it was asked last is not waited for, if it need not be.
func (j *printed) others(ctx context.Context, s stream) (out []said[int64], all bool, err error) {
	c := j.o.c
	ctx, done := context.WithCancel(ctx)
	defer done()
	present := 0
	for _, p := range c.cfg.Members() {
		if !c.isAway(p) {
			present++
		}
	}
	answers, asked := ask(ctx, c, func(ctx context.Context, p sluice.Peer) (int64, error) {
		return p.OutputSize(ctx, j.id, s.attempt, s.name)
	})
	size := c.cfg.Size()
	var lost []error
	for n := range asked {
		if n >= present && proven(1+len(out), size) {
			break
		}
		select {
		case a := <-answers:
			if a.err != nil {
				lost = append(lost, &peerError{a.from.Name(), a.err})
			} else {
				out = append(out, a)
			}
		case <-ctx.Done():
			return nil, false, errClosed
		}
	}
	if !proven(1+len(out), size) {
		e := sluice.Errorf(sluice.Contact, "%s of attempt %s: it cannot be known whether all of it is here, as %d of the %d other servers must say how much they have",
			s.name, s.attempt, enough(size), size-1)
		e.Err = errors.Join(lost...)
		return nil, false, e
	}
	slices.SortFunc(out, func(a, b said[int64]) int { return int(min(max(b.is-a.is, -1), 1)) })
	return out, len(out) == len(asked) && len(asked) == size-1, nil
}

// maxPiece is how much of a stream is sent as one piece, and maxBatch how much in one call.
const maxPiece, maxBatch = 256 << 10, 1 << 20

// copyFrom gets what another server has of a stream behind what is here, and returns how much is here then.
func (j *printed) copyFrom(ctx context.Context, p sluice.Peer, s stream, have int64) (int64, error) {
	ctx, moved, done := until(ctx, j.o.c.cfg.Stall)
	defer done()
	r, err := p.OpenOutput(ctx, j.id, s.attempt, s.name, have)
	if err != nil {
		return have, why(ctx, err)
	}
	buf := make([]byte, maxPiece)
	for {
		n, err := io.ReadFull(r, buf)
		moved()
		if n > 0 {
			if err := j.o.local.Write(j.id, s.attempt, s.name, have, buf[:n]); err != nil {
				return have, errors.Join(err, r.Close())
			}
			have += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return have, r.Close()
		}
		if err != nil {
			return have, errors.Join(why(ctx, err), r.Close())
		}
	}
}

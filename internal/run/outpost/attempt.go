package outpost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// attempt is one that this worker has.
type attempt struct {
	o    *Outpost
	id   sluice.AttemptID
	job  *sluice.Job
	host sluice.Host
	use  *job

	kill    context.CancelCauseFunc
	stop    context.CancelFunc
	drop    context.CancelFunc
	durable chan struct{} // closed when the outcome is
	once    sync.Once

	mu      sync.Mutex
	line    *link // that it is told on; nil: none
	running bool
	dropped bool
	shared  bool             // another worker may have had it meanwhile
	proved  bool             // it is carried out as one that somebody else may have had
	sent    map[string]int64 // of the streams, on this line
	record  record
}

func (a *attempt) ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record.ended()
}

func (a *attempt) unbind() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line = nil
}

// assign begins an attempt, or goes on telling about one that is here.
func (o *Outpost) assign(doing context.Context, l *link, w *sluice.WorkerAssign) {
	if a := o.find(w.Attempt); a != nil {
		a.mu.Lock()
		letGo := a.dropped && !a.record.ended()
		a.shared = a.shared || w.Resumed
		doubtful := a.shared && a.record.doubtful()
		a.mu.Unlock()
		if doubtful {
			a.forsake(l)
			return
		}
		if letGo { // it is on its way out, and may be given again
			l.send(sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: w.Attempt, Error: "the worker has just let go of it"}})
			return
		}
		a.bind(l, w)
		return
	}
	a, err := o.newAttempt(func() (*sluice.Job, *job, error) { return o.taken(w) }, w.Host, w.Attempt)
	if errors.Is(err, errNotHere) {
		id, _, _, _ := w.Attempt.Parse()
		l.send(sluice.ToServer{Opened: &sluice.WorkerOpened{Job: id, Error: err.Error()}})
	}
	var no *notApproved
	switch {
	case errors.As(err, &no): // nobody else may start it either, and what was started elsewhere is told to whoever asks the host
		l.send(sluice.ToServer{Outcome: &sluice.TaskFinished{Host: w.Host, Attempt: w.Attempt, Outcome: sluice.Failed, NotStarted: true, Reason: reason(err)}})
		return
	case err != nil:
		l.send(sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: w.Attempt, Error: err.Error()}})
		return
	}
	a.bind(l, w)
	mode := work.Run
	if w.Settle {
		mode = work.Settle
	}
	o.do(doing, a, mode, w.Resumed)
}

// forsake forgets an outcome that another worker may have made untrue, and lets the server have the host asked.
func (a *attempt) forsake(l *link) {
	a.mu.Lock()
	running := a.running
	a.mu.Unlock()
	if running {
		a.drop() // it waits for the outcome to be durable, which it will not be
	}
	a.leave(l, errDoubtful.Error())
}

// halt keeps an attempt from starting, if it has not. That it did not start is then told as ever: where another worker may
// have had it, the host is asked.
func (a *attempt) halt() {
	a.mu.Lock()
	stop := a.stop
	a.mu.Unlock()
	stop()
}

// errDoubtful is why an outcome is not told.
var errDoubtful = errors.New("it was not started here, and another worker may have started it")

// errLetGo is why an outcome is not kept.
var errLetGo = errors.New("the worker has let go of it")

func (o *Outpost) newAttempt(take func() (*sluice.Job, *job, error), h sluice.Host, id sluice.AttemptID) (*attempt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.attempts[id] != nil {
		return nil, fmt.Errorf("%s is here already", id)
	}
	j, use, err := take()
	if err != nil {
		return nil, err
	}
	a := &attempt{o: o, id: id, job: j, host: h, use: use, durable: make(chan struct{}), sent: map[string]int64{},
		kill: func(error) {}, stop: func() {}, drop: func() {}, record: record{Host: h, Attempt: id}}
	o.attempts[id] = a
	return a, nil
}

// do carries an attempt out.
func (o *Outpost) do(doing context.Context, a *attempt, mode work.Mode, resumed bool) {
	ctx, drop := context.WithCancel(doing)
	kill, end := context.WithCancelCause(context.Background())
	stop, halt := context.WithCancel(context.Background())
	a.mu.Lock()
	a.running, a.kill, a.stop = true, end, halt
	a.drop = func() {
		a.mu.Lock()
		a.dropped = true
		a.mu.Unlock()
		drop()
	}
	a.mu.Unlock()
	a.mu.Lock()
	a.proved = resumed || mode == work.Settle
	a.mu.Unlock()
	w := work.Assignment{Job: a.job, Host: a.host, Attempt: a.id, Mode: mode, Resumed: resumed, Kill: kill, Stop: stop, Step: a.step, Balanced: a.balanced, Output: a.output,
		Commit: func(ctx context.Context, r sluice.TaskFinished) error { return a.commit(ctx, record{Finished: &r}) },
		Withdraw: func(ctx context.Context, b sluice.TaskWithdrawn) error {
			return a.commit(ctx, record{Withdrawn: &b})
		},
		MayStart: func(ctx context.Context) error { return o.mayStart(ctx, a) }}
	if o.cfg.FetchDir != "" {
		w.FetchDir = filepath.Join(o.cfg.FetchDir, string(a.id))
	}
	o.doer.Go(func() {
		defer drop()
		defer end(nil)
		defer halt()
		err := a.use.worker.Do(ctx, w)
		o.sweep(w.FetchDir)
		a.landed(err, doing)
	})
}

// landed is what follows when the worker has done with an attempt.
func (a *attempt) landed(err error, doing context.Context) {
	a.mu.Lock()
	a.running = false
	line, dropped, ended, durable := a.line, a.dropped, a.record.ended(), false
	select {
	case <-a.durable:
		durable = true
	default:
	}
	a.mu.Unlock()
	switch {
	case err == nil:
		a.leave(line, "")
	case doing.Err() != nil: // this process ends; the next one has the record
	case ended && durable: // what is left on the target is swept there
		a.leave(line, "")
	case ended: // it is kept until the server has it
	case dropped:
		a.o.forget(a)
	default:
		a.leave(line, err.Error())
	}
}

// leave forgets an attempt, and says so.
func (a *attempt) leave(line *link, why string) {
	if err := a.o.removeRecord(a.id); err != nil {
		a.o.cfg.Notice(fmt.Sprintf("the record of %s cannot be removed: %v", a.id, err))
	}
	a.o.forget(a)
	if line != nil {
		line.send(sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: a.id, Error: why}})
	}
}

// bind tells all that the server does not have yet, and what comes from now on.
func (a *attempt) bind(l *link, w *sluice.WorkerAssign) {
	defer func() {
		a.o.mu.Lock()
		defer a.o.mu.Unlock()
		a.o.wake()
	}()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line = l
	a.sent["stdout"], a.sent["stderr"] = w.Stdout, w.Stderr
	for _, stream := range []string{"stdout", "stderr"} {
		if err := a.catchUp(stream); err != nil {
			a.o.cfg.Notice(fmt.Sprintf("the output of %s cannot be read: %v", a.id, err))
		}
	}
	for _, s := range a.record.Steps {
		l.send(sluice.ToServer{Step: &s})
	}
	for _, b := range a.record.Balanced {
		l.send(sluice.ToServer{Balanced: &b})
	}
	a.tellOutcome()
}

// pieceSize is how much output goes into one message.
const pieceSize = 64 << 10

// catchUp sends what is kept of a stream behind what the server has. The caller holds the lock.
func (a *attempt) catchUp(stream string) error {
	size, err := a.o.cfg.Outputs.Size(a.job.ID, a.id, stream)
	if err != nil || size <= a.sent[stream] || a.line == nil {
		return err
	}
	r, err := a.o.cfg.Outputs.Open(a.job.ID, a.id, stream)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if _, err := io.CopyN(io.Discard, r, a.sent[stream]); err != nil {
		return err
	}
	buf := make([]byte, pieceSize)
	for a.sent[stream] < size {
		n, err := io.ReadFull(r, buf[:min(pieceSize, size-a.sent[stream])])
		if n == 0 {
			return err
		}
		if !a.line.send(sluice.ToServer{Output: &sluice.WorkerOutput{Attempt: a.id, Stream: stream, Offset: a.sent[stream], Data: buf[:n]}}) {
			return nil
		}
		a.sent[stream] += int64(n)
	}
	return nil
}

// output sends a piece that was written, if the server has all before it.
func (a *attempt) output(stream string, offset int64, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end := offset + int64(len(data))
	if a.line == nil || end <= a.sent[stream] || offset > a.sent[stream] {
		return
	}
	data = data[a.sent[stream]-offset:]
	for len(data) > 0 {
		n := min(len(data), pieceSize)
		if !a.line.send(sluice.ToServer{Output: &sluice.WorkerOutput{Attempt: a.id, Stream: stream, Offset: a.sent[stream], Data: data[:n]}}) {
			return
		}
		a.sent[stream] += int64(n)
		data = data[n:]
	}
}

func (a *attempt) step(s sluice.TaskStep) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Steps = append(a.record.Steps, s)
	if a.line != nil {
		a.line.send(sluice.ToServer{Step: &s})
	}
}

func (a *attempt) balanced(b sluice.BalancerChanged) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.Balanced = append(a.record.Balanced, b)
	if a.line != nil {
		a.line.send(sluice.ToServer{Balanced: &b})
	}
}

// commit keeps an outcome on the disk, tells the server, and waits until it is durable there.
func (a *attempt) commit(ctx context.Context, r record) error {
	if err := a.handFetched(ctx, &r); err != nil {
		return err
	}
	a.mu.Lock()
	r.Host, r.Attempt, r.Steps, r.Balanced, r.Proved = a.host, a.id, a.record.Steps, a.record.Balanced, a.proved
	if a.shared && r.doubtful() {
		a.mu.Unlock()
		return errDoubtful // the server has the host asked
	}
	if a.dropped { // another has it, and nobody would ever ask for what is kept here
		a.mu.Unlock()
		return errLetGo
	}
	if err := a.o.writeRecord(a.job, r); err != nil {
		// It is told all the same: only this process can lose it.
		a.o.cfg.Notice(fmt.Sprintf("the outcome of %s cannot be kept: %v", a.id, err))
	}
	a.record = r
	a.tellOutcome()
	a.mu.Unlock()
	select {
	case <-a.durable:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handFetched gives the server what a fetch got.
func (a *attempt) handFetched(ctx context.Context, r *record) error {
	o := a.o
	if a.job.Action.Kind != sluice.FetchFrom || r.Finished == nil || r.Finished.Outcome != sluice.Succeeded || o.cfg.Fetched == nil {
		return nil
	}
	err := o.handOver(ctx, a.id, filepath.Join(o.cfg.FetchDir, string(a.id), string(a.host)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		code := 1
		r.Finished.Outcome, r.Finished.ExitCode = sluice.Failed, &code
		r.Finished.Reason = "what was fetched did not get to the server: " + err.Error()
	}
	return nil
}

// handOver tries until the server has it or says why not. Where it cannot be reached, what was fetched waits here.
func (o *Outpost) handOver(ctx context.Context, a sluice.AttemptID, dir string) error {
	wait := firstWait
	for {
		err := o.cfg.Fetched(ctx, a, dir)
		if err == nil || ctx.Err() != nil || sluice.CodeOf(err) != sluice.Contact {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		wait = min(2*wait, lastWait)
	}
}

// sweep removes what a fetch left here.
func (o *Outpost) sweep(dir string) {
	if dir == "" {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		o.cfg.Notice(fmt.Sprintf("what was fetched cannot be removed: %v", err))
	}
}

// tellOutcome sends the outcome if there is one. The caller holds the lock.
func (a *attempt) tellOutcome() {
	switch {
	case a.line == nil:
	case a.record.Finished != nil:
		a.line.send(sluice.ToServer{Outcome: a.record.Finished})
	case a.record.Withdrawn != nil:
		a.line.send(sluice.ToServer{Withdraw: a.record.Withdrawn})
	}
}

// committed lets the target forget an attempt whose outcome is durable.
func (o *Outpost) committed(doing context.Context, a *attempt) {
	a.mu.Lock()
	a.once.Do(func() { close(a.durable) })
	running, ended := a.running, a.record.ended()
	unknown := a.record.Finished != nil && a.record.Finished.Outcome == sluice.Unknown
	line := a.line
	a.mu.Unlock()
	switch {
	case running && !ended:
		a.drop() // the log has an outcome, and nobody waits for another
	case running:
	case unknown || a.record.Withdrawn != nil || a.job.Options.ReadOnly && a.job.Action.Validates == nil:
		a.leave(line, "")
	default: // an earlier process had it, or it was let go: the target is still to be told
		o.do(doing, a, work.Settle, true)
	}
}

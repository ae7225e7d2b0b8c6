package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/run/work"
)

// What is kept at most of what a worker sends and nobody has read yet, because the disk or the log is slow. What does not
// fit is left out: the worker has all of it, and tells it again when it is asked to.
const (
	maxInbox      = 1000
	maxInboxBytes = 1 << 20
)

// message is what an attempt that is waited for has to take notice of.
type message struct {
	worker   sluice.WorkerName
	give     bool
	resumed  bool
	kept     bool // the worker has had it all the while
	giveUp   string
	output   *sluice.WorkerOutput
	step     *sluice.TaskStep
	balanced *sluice.BalancerChanged
	outcome  *sluice.TaskFinished
	withdraw *sluice.TaskWithdrawn
	gone     *sluice.WorkerGone
}

// size is what a worker made it, about.
func (m *message) size() int {
	switch {
	case m.output != nil:
		return len(m.output.Data)
	case m.step != nil:
		return len(m.step.Step)
	case m.balanced != nil:
		return len(m.balanced.Error)
	case m.outcome != nil:
		return len(m.outcome.Reason)
	case m.withdraw != nil:
		return len(m.withdraw.Reason)
	}
	return 0
}

// flight is one Do.
type flight struct {
	p     *Pool
	a     work.Assignment
	local Worker

	mu     sync.Mutex
	inbox  []message
	bytes  int // in it
	missed bool
	news   chan struct{}

	on     sluice.WorkerName // that has it; "": none
	task   crew.Task         // as it was added
	secret bool              // its job has secrets, which are not those of the embedded worker
	only   sluice.WorkerName // who alone may have it then; shut: nobody yet
	shut   bool
	given  bool     // it may be with some worker
	passed bool     // more than one worker may have had it
	broken []string // streams that could not be kept
	over   bool     // the outcome is durable
	halted bool     // the worker that has it was told to start it no more
}

func (f *flight) push(m message) {
	f.mu.Lock()
	f.put(m)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// put keeps a message, if there is room for it. The caller holds the lock.
func (f *flight) put(m message) {
	switch {
	case m.give: // what was decided before and not done yet is not so any more
		f.inbox = slices.DeleteFunc(f.inbox, func(old message) bool {
			if old.give {
				m.kept = m.kept && (old.kept || !old.resumed)
			}
			return old.give
		})
	case m.giveUp != "":
	case m.gone != nil: // one is enough: there is nothing behind it
		if n := len(f.inbox); n > 0 && f.inbox[n-1].gone != nil && f.inbox[n-1].worker == m.worker {
			return
		}
	case f.missed || len(f.inbox) >= maxInbox || f.bytes+m.size() > maxInboxBytes:
		f.missed = true // from here on in order, or not at all
		return
	}
	f.bytes += m.size()
	f.inbox = append(f.inbox, m)
}

// Job is the pool as the worker of one job. local carries out what the embedded worker gets; it may be nil where there
// is none.
func (p *Pool) Job(local Worker) *Job { return &Job{p, local} }

// Job carries out the attempts of one job.
type Job struct {
	p     *Pool
	local Worker
}

// Do has an attempt carried out by one worker after the other, until its outcome is committed. It returns when the target
// is clean, or when that takes too long. When ctx ends, the worker that has it goes on, and keeps the outcome.
func (j *Job) Do(ctx context.Context, a work.Assignment) error {
	p := j.p
	secret := a.Job.Options.NeedsSecrets()
	if secret && p.Own(a.Job) {
		return j.local.Do(ctx, a)
	}
	f := &flight{p: p, a: a, local: j.local, secret: secret, news: make(chan struct{}, 1), given: a.Resumed || a.Mode == work.Settle}
	o := a.Job.Options
	reconnect := o.Reconnect
	if reconnect <= 0 {
		reconnect = sluice.DefaultReconnect
	}
	p.mu.Lock()
	p.flight[a.Attempt] = f
	if secret {
		f.only, f.shut = p.mayHave(f)
	}
	f.task = crew.Task{Attempt: a.Attempt, Job: a.Job.ID, Pool: a.Job.SSHFor(a.Host).Pool, Resumed: f.given, Reconnect: reconnect,
		Only: f.only, Shut: f.shut, Unsigned: !secret && a.Mode == work.Run}
	p.act(p.crew.Add(f.task, p.now()))
	p.mu.Unlock()
	err := f.do(ctx)
	f.end(ctx)
	return err
}

// end forgets the flight. A worker that still has something of it keeps it, unless nobody will ask again.
func (f *flight) end(ctx context.Context) {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flight, f.a.Attempt)
	if m := p.lines[f.on]; m != nil && !f.over && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		m.send(sluice.ToWorker{Drop: f.a.Attempt})
	}
	p.act(p.crew.End(f.a.Attempt, f.on != "" && !f.over))
}

// errDone ends the loop of a flight without an error.
var errDone = errors.New("done")

func (f *flight) do(ctx context.Context) error {
	var killed <-chan struct{}
	if f.a.Kill != nil {
		killed = f.a.Kill.Done()
	}
	look := time.NewTicker(glance)
	defer look.Stop()
	var late <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-killed:
			killed = nil
			err = f.kill(ctx)
		case <-look.C:
			f.halt()
			err = f.mayWait(ctx)
		case <-late:
			return nil // it is durable; the target is told later
		case <-f.news:
			err = f.read(ctx)
		}
		if errors.Is(err, errDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.over && late == nil {
			t := time.NewTimer(farewell)
			defer t.Stop()
			late = t.C
		}
	}
}

// kill passes a kill on. What no worker was given is over at once.
func (f *flight) kill(ctx context.Context) error {
	if !f.given {
		r := sluice.TaskFinished{Outcome: sluice.Cancelled, Reason: "cancelled before a worker took it", NotStarted: true}
		if f.timeLimit() {
			r.Outcome, r.Reason = sluice.TimedOut, "the job's time limit came before a worker took it"
		}
		return f.commit(ctx, r)
	}
	f.tell(sluice.ToWorker{Kill: &sluice.WorkerKill{Attempt: f.a.Attempt, TimeLimit: f.timeLimit()}})
	return nil
}

func (f *flight) killed() bool { return f.a.Kill != nil && f.a.Kill.Err() != nil }

func (f *flight) timeLimit() bool {
	return f.killed() && errors.Is(context.Cause(f.a.Kill), work.ErrTimeLimit)
}

// mayWait ends an attempt that no worker was given when its job is halted: it must not start any more.
func (f *flight) mayWait(ctx context.Context) error {
	if f.secret && f.on == "" && !f.over {
		f.p.mu.Lock()
		f.p.reserve(f)
		f.p.mu.Unlock()
	}
	if f.given || f.over || !f.stopped() {
		return nil
	}
	if f.a.Withdraw == nil {
		return f.commit(ctx, sluice.TaskFinished{Outcome: sluice.Cancelled, Reason: "the job was halted before a worker took it", NotStarted: true})
	}
	f.over = true
	if err := f.a.Withdraw(ctx, sluice.TaskWithdrawn{Host: f.a.Host, Attempt: f.a.Attempt, Reason: "the job was halted before a worker took it"}); err != nil {
		return err
	}
	return errDone
}

// halt tells the worker that has an attempt whose job is halted to start it no more, if it has not.
func (f *flight) halt() {
	if stopped := f.stopped(); !stopped || f.halted || f.over || f.on == "" {
		f.halted = f.halted && stopped
		return
	}
	f.halted = true
	f.tell(sluice.ToWorker{Stop: f.a.Attempt})
}

func (f *flight) stopped() bool { return f.a.Stopped != nil && f.a.Stopped() || f.p.alarmed() }

// commit makes an outcome durable that no worker gave.
func (f *flight) commit(ctx context.Context, r sluice.TaskFinished) error {
	r.Host, r.Attempt = f.a.Host, f.a.Attempt
	if err := f.a.Commit(ctx, r); err != nil {
		return err
	}
	f.over = true
	return errDone
}

// tell sends a message to the worker that has the attempt.
func (f *flight) tell(m sluice.ToWorker) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if line := f.p.lines[f.on]; line != nil {
		line.send(m)
	}
}

func (f *flight) read(ctx context.Context) error {
	f.mu.Lock()
	inbox, missed := f.inbox, f.missed
	f.inbox, f.bytes, f.missed = nil, 0, false
	f.mu.Unlock()
	for _, m := range inbox {
		if err := f.take(ctx, m); err != nil {
			return err
		}
	}
	if missed && !f.over && f.on != "" {
		// The worker tells all that the server does not have. If it has let go of the attempt meanwhile, it starts nothing.
		f.passed = true
		f.assign(true, true)
	}
	return nil
}

func (f *flight) take(ctx context.Context, m message) error {
	switch {
	case m.give:
		return f.give(ctx, m)
	case m.giveUp != "":
		return f.commit(ctx, sluice.TaskFinished{Outcome: sluice.Unknown, Reason: m.giveUp})
	case m.worker != f.on || f.over && m.gone == nil:
		return nil // of one that had it before
	case m.output != nil:
		f.keep(m.output)
	case m.step != nil:
		if f.a.Step != nil && m.step.Host == f.a.Host {
			f.a.Step(*m.step)
		}
	case m.balanced != nil:
		if f.a.Balanced != nil && m.balanced.Host == f.a.Host {
			b := *m.balanced
			b.By = "" // it is nobody's hand
			f.a.Balanced(b)
		}
	case m.outcome != nil:
		return f.outcome(ctx, *m.outcome)
	case m.withdraw != nil:
		if f.a.Withdraw == nil || f.doubtful() {
			return f.outcome(ctx, sluice.TaskFinished{Outcome: sluice.Failed, Reason: m.withdraw.Reason, NotStarted: true})
		}
		w := *m.withdraw
		w.Host, w.Attempt = f.a.Host, f.a.Attempt
		if err := f.a.Withdraw(ctx, w); err != nil {
			return err
		}
		return f.committed()
	case m.gone != nil:
		if f.over {
			return errDone
		}
		f.p.mu.Lock() // it cannot carry it out; another may
		f.on = ""
		f.p.act(f.p.crew.Again(f.a.Attempt, m.gone.Error, f.p.now()))
		f.p.mu.Unlock()
	}
	return nil
}

// give hands the attempt to a worker.
func (f *flight) give(ctx context.Context, m message) error {
	if f.over { // its worker came anew before it heard so, and nobody would ever ask it for what it keeps
		if f.on == m.worker {
			f.tell(sluice.ToWorker{Committed: f.a.Attempt})
		}
		return nil
	}
	if !f.given && !m.resumed && f.stopped() {
		if err := f.mayWait(ctx); err != nil {
			return err
		}
	}
	lacks := f.lacks(m.worker)
	if lacks && !f.given {
		f.putBack()
		return nil
	}
	// Who alone has had it all the while knows whether it sent the start. For everybody else only the host does.
	resumed := f.a.Resumed || m.resumed && !(m.kept && !f.passed)
	f.passed = f.passed || resumed
	settle := f.a.Mode == work.Settle || m.resumed && (f.stopped() || f.killed()) || lacks
	f.on, f.given, f.halted = m.worker, true, false
	if m.worker == sluice.EmbeddedWorker {
		return f.here(ctx, settle, resumed)
	}
	f.assign(settle, resumed)
	return nil
}

// assign gives the attempt to the worker that has it, or has it told anew what the server does not have of it. A worker
// that the crew holds to be another one by now gets nothing.
func (f *flight) assign(settle, resumed bool) {
	assign := &sluice.WorkerAssign{Job: f.a.Job.For(f.a.Host), Host: f.a.Host, Attempt: f.a.Attempt, Settle: settle,
		Resumed: resumed}
	if f.secret && f.p.cfg.Custody != nil {
		assign.Approvals = f.p.cfg.Custody.Approvals(f.a.Job.ID)
	}
	for stream, to := range map[string]*int64{"stdout": &assign.Stdout, "stderr": &assign.Stderr} {
		size, err := f.p.cfg.Outputs.Size(f.a.Job.ID, f.a.Attempt, stream)
		if err != nil {
			f.breaks(stream)
		}
		*to = size
	}
	f.p.mu.Lock()
	line, has := f.p.lines[f.on], f.p.crew.Has(f.on, f.a.Attempt)
	if has && line != nil {
		line.send(sluice.ToWorker{Assign: assign})
	}
	f.p.mu.Unlock()
	if !has {
		return // what follows is in the inbox, or will be
	}
	f.halt()
	if f.killed() {
		f.tell(sluice.ToWorker{Kill: &sluice.WorkerKill{Attempt: f.a.Attempt, TimeLimit: f.timeLimit()}})
	}
}

// here has the embedded worker carry it out.
func (f *flight) here(ctx context.Context, settle, resumed bool) error {
	a := f.a
	a.Resumed = a.Resumed || resumed
	if settle {
		a.Mode = work.Settle
	}
	f.over = true // the worker itself sees to the end
	if err := f.local.Do(ctx, a); err != nil {
		return err
	}
	return errDone
}

// doubt is why "not started" is not believed.
const doubt = "the host knows nothing of it; but the log lost something, and so it may have run, and been forgotten there since"

// doubtful reports whether "not started" proves nothing: a host forgets an attempt when its outcome is in the log, and a
// log that lost its end gives the attempt again.
func (f *flight) doubtful() bool { return f.a.Resumed && f.p.alarmed() }

func (f *flight) breaks(stream string) {
	if !slices.Contains(f.broken, stream) {
		f.broken = append(f.broken, stream)
	}
}

// keep writes a piece of output.
func (f *flight) keep(o *sluice.WorkerOutput) {
	if o.Stream != "stdout" && o.Stream != "stderr" || slices.Contains(f.broken, o.Stream) {
		return
	}
	if err := f.p.cfg.Outputs.Write(f.a.Job.ID, f.a.Attempt, o.Stream, o.Offset, o.Data); err != nil {
		f.breaks(o.Stream) // the outcome matters more than the output
		return
	}
	if f.a.Output != nil {
		f.a.Output(o.Stream, o.Offset, o.Data)
	}
}

// outcome commits what a worker found out.
func (f *flight) outcome(ctx context.Context, r sluice.TaskFinished) error {
	if r.NotStarted && f.doubtful() {
		r = sluice.TaskFinished{Outcome: sluice.Unknown, Reason: doubt}
	}
	r.Host, r.Attempt = f.a.Host, f.a.Attempt
	for _, s := range f.broken {
		if !slices.Contains(r.Truncated, s) {
			r.Truncated = append(r.Truncated, s)
		}
	}
	if err := f.a.Commit(ctx, r); err != nil {
		return err
	}
	return f.committed()
}

// committed tells the worker that the outcome is durable. Where another one may still start the attempt, its host must not
// forget it: the worker keeps the outcome then, and is told later.
func (f *flight) committed() error {
	f.p.mu.Lock()
	may := f.p.crew.MayForget(f.a.Attempt, f.p.now())
	f.p.mu.Unlock()
	if !may {
		return errDone
	}
	f.over = true
	f.tell(sluice.ToWorker{Committed: f.a.Attempt})
	return nil
}

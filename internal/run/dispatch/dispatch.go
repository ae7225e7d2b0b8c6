// Package dispatch drives a job: it reads the log, lets the schedule decide, makes the decision durable, and
// only then hands attempts to workers. What they report goes the same way.
//
// What it does is decided in internal/core/drive; here are the goroutines, the channels and the waiting. One goroutine
// owns the machine and is the only one that appends. Other processes may append to the same log, for jobs of their own;
// every decision is made on the head of the log and appended before anybody else can.
//
// It knows no transport and no terminal.
package dispatch

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/core/drive"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
	"sluice/internal/run/work"
)

// Worker carries out attempts. An error that is or wraps [work.ErrHandOver] has the attempt handed out again; after any
// other its outcome is not known.
type Worker interface {
	Do(ctx context.Context, a work.Assignment) error
}

// Config is what a Dispatcher needs.
type Config struct {
	Log       sluice.Log
	Namespace sluice.Namespace
	Drivers   sluice.Drivers
	Outputs   sluice.Outputs
	Worker    Worker
	Clock     sluice.Clock
	// Driver names this process in the log.
	Driver string
	// FetchDir is where fetched files go.
	FetchDir string
	// May is asked before anything of the job is started: before each append that would start attempts. An error with the
	// code Denied halts the job; after any other nothing starts, and it is asked again. Nil: everybody may.
	May func(ctx context.Context, j *sluice.Job) error
	// OnlySettle asks for outcomes that are not known, and starts and decides nothing.
	OnlySettle bool
	// Observe gets the events of the job as they become durable, in order, and its output; never two at once.
	// A slow observer slows the job down. May be nil.
	Observe func(sluice.Event)
	// Waits gets, at most once a second, what keeps tasks from starting. May be nil.
	Waits func([]schedule.Wait)
	// Notice tells the person at the terminal about trouble that is not an event, such as a full disk. May be nil.
	Notice func(string)
}

const (
	// retryAppend is waited after the log refused an append, and after it could not be found out who may do what.
	retryAppend = time.Second
	// sweepTime bounds the sweeping: a host that is away keeps what it has.
	sweepTime = 15 * time.Second
)

// Drive drives a job that the caller has claimed until it is finished or halted, and returns that last event.
// Attempts that an earlier process left behind are joined; those whose outcome is not known are asked for it.
//
// When ctx ends, Drive lets go at once: commands on the targets run on, and another process may drive the job.
func Drive(ctx context.Context, cfg Config, id sluice.JobID) (sluice.Event, error) {
	d := &driver{cfg: cfg, id: id, m: drive.New(drive.Config{Job: id, Driver: cfg.Driver, OnlySettle: cfg.OnlySettle}),
		kills: map[sluice.AttemptID]context.CancelCauseFunc{}, promises: map[uint64]chan<- error{},
		reports: make(chan report), landed: make(chan landing), begin: time.Now()}
	return d.run(ctx)
}

// report is what an attempt has to say: the end of a step, or its outcome.
type report struct {
	body sluice.Body
	done chan<- error // gets nil when the body is durable; nil: nobody waits
}

// landing is an attempt that its worker has done with; err says why it has no outcome.
type landing struct {
	attempt sluice.AttemptID
	err     error
}

type driver struct {
	cfg  Config
	id   sluice.JobID
	m    *drive.Machine
	head atomic.Uint64 // of what the machine knows, for the follower and for output
	// appending is held while the log and head may differ.
	appending sync.Mutex
	kills     map[sluice.AttemptID]context.CancelCauseFunc // of the attempts that workers have
	promises  map[uint64]chan<- error                      // by ticket
	ticket    uint64                                       // the last one
	reports   chan report
	landed    chan landing
	workers   sync.WaitGroup
	observer  sync.Mutex
	told      uint64 // number of the last event that the observer was told of, or that was there before; under observer
	begin     time.Time
	explain   time.Time   // when Waits was called last
	stopped   atomic.Bool // nothing more may start
	doubt     string      // why it could not be found out just now whether the job may start anything
	doubted   string      // the same of the time before, of which a person was told
}

func (d *driver) run(ctx context.Context) (sluice.Event, error) {
	if err := d.load(ctx, math.MaxUint64); err != nil { // what was before is no news
		return sluice.Event{}, err
	}
	begin, ok := d.m.Begin(d.since())
	if !ok {
		return sluice.Event{}, sluice.Errorf(sluice.NotFound, "there is no job %s", d.id)
	}
	inner, stop := context.WithCancel(ctx)
	news := make(chan struct{}, 1)
	var follower sync.WaitGroup
	follower.Go(func() { d.follow(inner, news) })
	defer func() {
		stop()
		d.workers.Wait() // whatever they still want to say, they listen to the context, too
		follower.Wait()
	}()
	d.carryOut(inner, begin)
	return d.loop(inner, news)
}

// load reads the log. Events of the job after the number seen go to the observer.
func (d *driver) load(ctx context.Context, seen uint64) error {
	state, events, err := fold.Job(ctx, d.cfg.Log, d.cfg.Namespace, d.id)
	all := events
	if of := drive.Needs(state, d.id); of != "" && err == nil {
		var more []sluice.Event
		more, err = d.cfg.Log.ReadJob(ctx, d.cfg.Namespace, of)
		more = slices.DeleteFunc(more, func(e sluice.Event) bool { return e.Seq > state.Seq() }) // those come as news
		all = slices.Concat(more, events)
	}
	d.m.Load(state, all)
	for _, e := range events {
		if e.Seq > seen {
			d.observe(e)
		}
	}
	if err == nil {
		d.head.Store(state.Seq())
		d.observer.Lock()
		d.told = max(d.told, min(seen, state.Seq()))
		d.observer.Unlock()
	}
	return err
}

// follow wakes the loop when other processes append.
func (d *driver) follow(ctx context.Context, news chan<- struct{}) {
	for ctx.Err() == nil {
		known := d.head.Load()
		if err := d.cfg.Log.Wait(ctx, d.cfg.Namespace, known); err != nil {
			if ctx.Err() != nil {
				return
			}
			select { // the log is in trouble; the loop will meet it, too
			case <-ctx.Done():
				return
			case <-time.After(retryAppend):
			}
		}
		d.appending.Lock() // an append of our own that goes on is no news
		ours := d.head.Load() > known
		d.appending.Unlock()
		if ours {
			continue
		}
		select {
		case news <- struct{}{}:
		default:
		}
		select { // until the loop has read it
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// carryOut does what the machine says.
func (d *driver) carryOut(ctx context.Context, e drive.Effects) {
	d.stopped.Store(d.m.Stopped())
	for _, ev := range e.Events {
		d.observe(ev)
	}
	for _, ticket := range e.Answers {
		d.promises[ticket] <- nil
		delete(d.promises, ticket)
	}
	for _, l := range e.Launches {
		d.launch(ctx, l)
	}
	for _, k := range e.Kills {
		if kill := d.kills[k.Attempt]; kill != nil {
			if k.TimeLimit {
				kill(work.ErrTimeLimit)
			} else {
				kill(errCancelled)
			}
		}
	}
}

// errCancelled is the cause of a kill that an operator asked for.
var errCancelled = errors.New("cancelled")

// launch hands an attempt to the worker.
func (d *driver) launch(ctx context.Context, l drive.Launch) {
	a := work.Assignment{Job: d.m.Job(), Host: l.Host, Attempt: l.Attempt, Mode: work.Run, Resumed: l.Resumed}
	if l.Settle {
		a.Mode = work.Settle
	}
	if l.Sweep {
		a.Commit = func(context.Context, sluice.TaskFinished) error { return nil }
		d.fly(ctx, a, sweepTime)
		return
	}
	kill, end := context.WithCancelCause(context.WithoutCancel(ctx))
	d.kills[l.Attempt] = end
	a.Kill, a.FetchDir, a.Stopped = kill, d.cfg.FetchDir, d.stopped.Load
	a.Step = func(s sluice.TaskStep) { d.report(ctx, report{body: s}) }
	a.Balanced = func(b sluice.BalancerChanged) { d.report(ctx, report{body: b}) }
	a.Commit = func(c context.Context, r sluice.TaskFinished) error { return d.commit(c, r) }
	a.Withdraw = func(c context.Context, b sluice.TaskWithdrawn) error { return d.commit(c, b) }
	if d.cfg.Observe != nil {
		a.Output = func(stream string, offset int64, data []byte) {
			d.observe(sluice.Event{Time: d.cfg.Clock(), Job: d.id, Body: sluice.NewTaskOutput(l.Host, l.Attempt, stream, offset, data)})
		}
	}
	d.fly(ctx, a, 0)
}

// fly has the worker carry an attempt out, within a limit of time if there is one.
func (d *driver) fly(ctx context.Context, a work.Assignment, limit time.Duration) {
	d.workers.Go(func() {
		within, cancel := ctx, context.CancelFunc(func() {})
		if limit > 0 {
			within, cancel = context.WithTimeout(ctx, limit)
		}
		err := d.cfg.Worker.Do(within, a)
		cancel()
		select {
		case d.landed <- landing{a.Attempt, err}:
		case <-ctx.Done():
		}
	})
}

func (d *driver) report(ctx context.Context, r report) {
	select {
	case d.reports <- r:
	case <-ctx.Done():
	}
}

// commit returns when the outcome is durable.
func (d *driver) commit(ctx context.Context, r sluice.Body) error {
	done := make(chan error, 1)
	select {
	case d.reports <- report{r, done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// observe tells the observer. What is not in the log, output, has the number of the event that was told last: it is known only
// once nobody else is telling anything.
func (d *driver) observe(e sluice.Event) {
	if d.cfg.Observe == nil {
		return
	}
	d.observer.Lock()
	defer d.observer.Unlock()
	if e.Seq == 0 {
		e.Seq = d.told
	}
	d.told = e.Seq
	d.cfg.Observe(e)
}

// since is the time since the driver began, by a clock that nobody sets.
func (d *driver) since() time.Duration { return time.Since(d.begin) }

func (d *driver) notice(text string) {
	if d.cfg.Notice != nil {
		d.cfg.Notice(text)
	}
}

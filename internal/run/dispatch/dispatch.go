// Package dispatch drives a job: it reads the log, lets the schedule decide, makes the decision durable, and
// only then hands attempts to workers. What they report goes the same way.
//
// One goroutine owns the state and is the only one that appends. Other processes may append to the same log, for
// jobs of their own; every decision is made on the head of the log and appended before anybody else can.
//
// It knows no transport and no terminal.
package dispatch

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
	"sluice/internal/run/work"
)

// Worker carries out attempts.
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
	// maxStepDelay is how long the end of a step may wait for company on its way into the log: an append costs as
	// much for one event as for many.
	maxStepDelay = 100 * time.Millisecond
	// maxOutcomeDelay is the same for outcomes, of which none waits longer than this share of the time that its
	// attempt took: the next host waits for the place.
	maxOutcomeDelay = 50 * time.Millisecond
	outcomeShare    = 25
)

// retryAppend is waited after the log refused an append.
const retryAppend = time.Second

// Drive drives a job that the caller has claimed until it is finished or halted, and returns that last event.
// Attempts that an earlier process left behind are joined; those whose outcome is not known are asked for it.
//
// When ctx ends, Drive lets go at once: commands on the targets run on, and another process may drive the job.
func Drive(ctx context.Context, cfg Config, id sluice.JobID) (sluice.Event, error) {
	d := &driver{cfg: cfg, id: id, state: schedule.New(), flights: map[sluice.AttemptID]*flight{},
		reports: make(chan report), steps: map[string]bool{}, outcomes: map[sluice.AttemptID]sluice.Outcome{},
		ended: map[sluice.AttemptID]time.Time{}}
	return d.run(ctx)
}

// report is what an attempt has to say: the end of a step, or its outcome.
type report struct {
	body sluice.Body
	done chan<- error // gets nil when the body is durable; nil: nobody waits
}

// flight is an attempt that a worker carries out.
type flight struct {
	kill   context.CancelCauseFunc
	killed bool
	sweep  bool // its outcome is in the log; only what it left on the host is removed
	since  time.Time
	told   bool // its outcome was reported, or will not be
}

type driver struct {
	cfg   Config
	id    sluice.JobID
	state *schedule.State
	spec  *sluice.Job
	head  atomic.Uint64 // of the state, for the follower and for output
	// appending is held while the log and head may differ.
	appending sync.Mutex
	flights   map[sluice.AttemptID]*flight
	flying    int // flights of which the outcome was not reported yet
	reports   chan report
	waiting   []report                            // durable with the next append
	steps     map[string]bool                     // that are in the log, or on their way into it
	outcomes  map[sluice.AttemptID]sluice.Outcome // that are in the log
	ended     map[sluice.AttemptID]time.Time      // since the job last came to an end; these may have left something on their hosts
	sign      time.Time                           // when attempts were last heard of
	workers   sync.WaitGroup
	observer  sync.Mutex
	explain   time.Time    // when Waits was called last
	last      sluice.Event // job.finished or job.halted, if the job is
	stopped   atomic.Bool  // nothing more may start
}

// landing is an attempt that ended without an outcome in the log.
type landing struct {
	attempt sluice.AttemptID
	err     error
}

func (d *driver) run(ctx context.Context) (sluice.Event, error) {
	if err := d.load(ctx, math.MaxUint64); err != nil { // what was before is no news
		return sluice.Event{}, err
	}
	info, ok := d.state.Job(d.id)
	if !ok {
		return sluice.Event{}, sluice.Errorf(sluice.NotFound, "there is no job %s", d.id)
	}
	d.spec = info.Spec
	inner, stop := context.WithCancel(ctx)
	landed := make(chan landing)
	news := make(chan struct{}, 1)
	var follower sync.WaitGroup
	follower.Go(func() { d.follow(inner, news) })
	defer func() {
		stop()
		d.workers.Wait() // whatever they still want to say, they listen to the context, too
		follower.Wait()
	}()
	d.takeUp(inner, landed)
	d.sweep(inner, landed)
	return d.loop(inner, news, landed)
}

// load folds the log. Events of the job after the number seen go to the observer.
func (d *driver) load(ctx context.Context, seen uint64) error {
	state, events, err := fold.Job(ctx, d.cfg.Log, d.cfg.Namespace, d.id)
	d.state = state
	for _, e := range events {
		d.remember(e)
		if e.Seq > seen {
			d.observe(e)
		}
	}
	if err == nil {
		d.head.Store(d.state.Seq())
	}
	return err
}

// remember keeps what must not go into the log twice.
func (d *driver) remember(e sluice.Event) {
	if e.Job != d.id {
		return
	}
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		d.sign = e.Time
	case sluice.TaskStep:
		d.steps[stepKey(b)] = true
		d.sign = e.Time
	case sluice.TaskFinished:
		if b.Attempt != "" {
			d.outcomes[b.Attempt] = b.Outcome
			d.sign = e.Time
			if !b.NotStarted { // else there is nothing on the host, and it may be one that refused us
				d.ended[b.Attempt] = e.Time
			}
		}
	case sluice.JobFinished, sluice.JobHalted:
		d.last = e
		clear(d.ended) // every host was told before
	case sluice.JobResumed:
		d.last = sluice.Event{}
	}
}

func stepKey(b sluice.TaskStep) string { return string(b.Attempt) + "\x00" + b.Step }

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

// takeUp joins what an earlier process left running, and asks for the outcomes that it did not learn.
func (d *driver) takeUp(ctx context.Context, landed chan<- landing) {
	info, _ := d.state.Job(d.id)
	for _, a := range d.state.Attempts(d.id) {
		if d.flights[a.ID] != nil || d.cfg.OnlySettle && !a.Unknown {
			continue
		}
		mode := work.Run
		if a.Unknown || info.Kill || info.State == schedule.Halting || info.State == schedule.Halted {
			mode = work.Settle
		}
		d.launch(ctx, a.Host, a.ID, mode, true, landed)
	}
	d.killIfAsked()
}

const (
	// sweepBack is how long before the last sign of an earlier process an attempt may have ended whose host was
	// not told; it covers the time that a worker takes for the telling.
	sweepBack = 10 * time.Second
	// sweepTime bounds the sweeping: a host that is away keeps what it has.
	sweepTime = 15 * time.Second
)

// sweep removes what attempts left on their hosts that ended just before an earlier process was killed: their
// outcome was durable, and the hosts had not been told yet.
func (d *driver) sweep(ctx context.Context, landed chan<- landing) {
	if d.spec.Options.ReadOnly {
		return
	}
	for id, at := range d.ended {
		_, index, _, ok := id.Parse()
		if !ok || index >= len(d.spec.Targets) || d.outcomes[id] == sluice.Unknown || at.Before(d.sign.Add(-sweepBack)) {
			continue
		}
		d.flights[id] = &flight{killed: true, sweep: true, told: true}
		d.fly(ctx, work.Assignment{Job: d.spec, Host: d.spec.Targets[index], Attempt: id, Mode: work.Settle, Resumed: true,
			Commit: func(context.Context, sluice.TaskFinished) error { return nil }}, sweepTime, landed)
	}
}

// launch hands an attempt to the worker.
func (d *driver) launch(ctx context.Context, h sluice.Host, id sluice.AttemptID, mode work.Mode, resumed bool, landed chan<- landing) {
	kill, end := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{kill: end, since: d.cfg.Clock()}
	d.flying++
	d.flights[id] = f
	a := work.Assignment{Job: d.spec, Host: h, Attempt: id, Mode: mode, Resumed: resumed, Kill: kill, FetchDir: d.cfg.FetchDir,
		Stopped:  d.stopped.Load,
		Step:     func(s sluice.TaskStep) { d.report(ctx, report{body: s}) },
		Commit:   func(c context.Context, r sluice.TaskFinished) error { return d.commit(c, r) },
		Withdraw: func(c context.Context, b sluice.TaskWithdrawn) error { return d.commit(c, b) },
	}
	if d.cfg.Observe != nil {
		a.Output = func(stream string, offset int64, data []byte) {
			d.observe(sluice.Event{Seq: d.head.Load(), Time: d.cfg.Clock(), Job: d.id,
				Body: sluice.NewTaskOutput(h, id, stream, offset, data)})
		}
	}
	d.fly(ctx, a, 0, landed)
}

// fly has the worker carry an attempt out, within a limit of time if there is one.
func (d *driver) fly(ctx context.Context, a work.Assignment, limit time.Duration, landed chan<- landing) {
	d.workers.Go(func() {
		within, cancel := ctx, context.CancelFunc(func() {})
		if limit > 0 {
			within, cancel = context.WithTimeout(ctx, limit)
		}
		err := d.cfg.Worker.Do(within, a)
		cancel()
		select {
		case landed <- landing{a.Attempt, err}:
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

func (d *driver) observe(e sluice.Event) {
	if d.cfg.Observe == nil {
		return
	}
	d.observer.Lock()
	defer d.observer.Unlock()
	d.cfg.Observe(e)
}

func (d *driver) notice(format string, args ...any) {
	if d.cfg.Notice != nil {
		d.cfg.Notice(fmt.Sprintf(format, args...))
	}
}

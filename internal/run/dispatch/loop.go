package dispatch

import (
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/work"
)

// loop decides, appends, acts and waits, until the job is finished or halted and every worker has landed.
func (d *driver) loop(ctx context.Context, news <-chan struct{}, landed chan landing) (sluice.Event, error) {
	for {
		if err := d.turn(ctx, landed); err != nil {
			return sluice.Event{}, err
		}
		if len(d.flights) == 0 && len(d.waiting) == 0 && (d.last.Body != nil || d.cfg.OnlySettle) {
			return d.last, nil
		}
		if err := d.wait(ctx, news, landed); err != nil {
			return sluice.Event{}, err
		}
	}
}

// turn makes one append: what others wrote is read, what was reported and decided is written. It returns when
// that is durable and acted on.
func (d *driver) turn(ctx context.Context, landed chan<- landing) error {
	for {
		var tail, mine []sluice.Event
		err := d.syncOutput()
		if err == nil {
			_, err = d.cfg.Log.Update(ctx, d.cfg.Namespace, d.state.Seq(), func(t []sluice.Event) ([]sluice.Event, error) {
				tail = t
				var err error
				mine, err = d.decide(t)
				return mine, err
			})
		}
		if err == nil {
			d.head.Store(d.state.Seq())
			d.act(ctx, tail, mine, landed)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// It is not known whether it was appended. What the attempts reported is kept and tried again, if the
		// log does not have it then; nothing starts meanwhile.
		d.notice("the journal cannot be written: %v; nothing new starts until it can", err)
		if err := d.again(ctx); err != nil {
			return err
		}
		d.takeUp(ctx, landed) // what the log says is started, and nobody carries out
	}
}

// syncOutput makes what ended attempts printed durable, before their outcomes are: then the targets forget it.
func (d *driver) syncOutput() error {
	for _, r := range d.waiting {
		if r.done != nil {
			return d.cfg.Outputs.Sync(d.id)
		}
	}
	return nil
}

// again waits a moment and folds the log afresh: the state has run ahead of it.
func (d *driver) again(ctx context.Context) error {
	seen := d.head.Load()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAppend):
		}
		if err := d.load(ctx, seen); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// decide applies what others wrote and what was reported, and lets the schedule decide on that.
func (d *driver) decide(tail []sluice.Event) ([]sluice.Event, error) {
	for _, e := range tail {
		if err := d.state.Apply(e); err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
	}
	now := d.cfg.Clock()
	var mine []sluice.Event
	add := func(b sluice.Body) {
		e := sluice.Event{Time: now, Job: d.id, Body: b}
		if err := d.state.Apply(e); err != nil {
			d.notice("%v", err) // such as an outcome of an attempt that was given up
			return
		}
		mine = append(mine, e)
	}
	if info, _ := d.state.Job(d.id); !info.Started && !d.cfg.OnlySettle {
		add(sluice.JobStarted{Driver: d.cfg.Driver})
	}
	for _, r := range d.waiting {
		if f, ok := r.body.(sluice.TaskFinished); ok {
			if !d.isNews(f) {
				continue
			}
		}
		if step, ok := r.body.(sluice.TaskStep); ok && d.steps[stepKey(step)] {
			continue // joined attempts tell it again
		}
		add(r.body)
	}
	if d.cfg.OnlySettle {
		return mine, nil
	}
	mine = append(mine, d.state.Decide(schedule.Input{Now: now,
		Owns:   func(id sluice.JobID) bool { return id == d.id },
		Driven: func(id sluice.JobID) bool { return id == d.id || d.cfg.Drivers.Driven(id) },
		// A job is over when its last host has been told so: a process that is killed before that leaves a job
		// that can be resumed, and then nothing stays behind on a host.
		Settling: func(sluice.JobID) bool { return len(d.flights) > 0 },
	})...)
	return mine, nil
}

// isNews reports whether an outcome belongs into the log. The first true one stays.
func (d *driver) isNews(f sluice.TaskFinished) bool {
	known, ok := d.outcomes[f.Attempt]
	if ok && known != sluice.Unknown && known != f.Outcome {
		d.notice("%s: the target now says %s, but the journal has %s; the journal stands", f.Attempt, f.Outcome, known)
	}
	return !ok || known == sluice.Unknown && f.Outcome != sluice.Unknown
}

// act does what became durable: it tells the observer, answers the workers, starts and kills attempts.
func (d *driver) act(ctx context.Context, tail, mine []sluice.Event, landed chan<- landing) {
	for _, e := range append(tail, mine...) {
		if e.Job == d.id {
			d.remember(e)
			d.observe(e)
		}
	}
	for _, r := range d.waiting {
		if r.done != nil {
			r.done <- nil
		}
	}
	d.waiting = d.waiting[:0]
	for _, e := range mine {
		if b, ok := e.Body.(sluice.TaskStarted); ok {
			d.launch(ctx, b.Host, b.Attempt, work.Run, false, landed)
		}
	}
	d.killIfAsked()
	if now := d.cfg.Clock(); d.cfg.Waits != nil && now.Sub(d.explain) >= time.Second {
		d.explain = now
		d.cfg.Waits(d.state.Waits(d.id))
	}
}

// killIfAsked passes a cancel, or the end of the job's time, on to the attempts.
func (d *driver) killIfAsked() {
	info, _ := d.state.Job(d.id)
	if !info.Kill {
		return
	}
	reason := work.KillTimeLimit
	if info.Cancelling {
		reason = work.KillCancel
	}
	for _, f := range d.flights {
		if !f.killed {
			f.killed = true
			f.kill <- reason
		}
	}
}

// wait returns when there is something to decide: an outcome, news from other processes, a time that has come, or
// steps that have waited long enough. Whatever else is ready by then is taken along.
func (d *driver) wait(ctx context.Context, news <-chan struct{}, landed <-chan landing) error {
	var due, late <-chan time.Time
	if at, ok := d.state.NextTimer(func(id sluice.JobID) bool { return id == d.id }); ok {
		t := time.NewTimer(at.Sub(d.cfg.Clock()))
		defer t.Stop()
		due = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-d.reports:
			if urgent := d.take(r); !urgent {
				if late == nil {
					t := time.NewTimer(maxStepDelay)
					defer t.Stop()
					late = t.C
				}
				continue
			}
		case l := <-landed:
			if !d.land(l) {
				continue
			}
		case <-news:
		case <-due:
		case <-late:
		}
		d.takeMore(landed)
		return nil
	}
}

// take keeps a report for the next append. Outcomes are urgent, steps are not.
func (d *driver) take(r report) (urgent bool) {
	d.waiting = append(d.waiting, r)
	_, step := r.body.(sluice.TaskStep)
	return !step
}

// takeMore takes what is ready without waiting.
func (d *driver) takeMore(landed <-chan landing) {
	for len(d.waiting) < maxBatch {
		select {
		case r := <-d.reports:
			d.take(r)
		case l := <-landed:
			d.land(l)
		default:
			return
		}
	}
}

// maxBatch is the number of reports in one append.
const maxBatch = 500

// land forgets an attempt that its worker has done with. It reports whether that may change a decision.
func (d *driver) land(l landing) bool {
	f := d.flights[l.attempt]
	delete(d.flights, l.attempt)
	if l.err != nil && (f == nil || !f.sweep) {
		d.giveUp(l)
		return true
	}
	return len(d.flights) == 0
}

// giveUp records that nobody knows how an attempt ended whose worker failed.
func (d *driver) giveUp(l landing) {
	_, index, _, ok := l.attempt.Parse()
	if _, known := d.outcomes[l.attempt]; known || !ok || index >= len(d.spec.Targets) {
		d.notice("%s: %v", l.attempt, l.err)
		return
	}
	d.waiting = append(d.waiting, report{body: sluice.TaskFinished{Host: d.spec.Targets[index], Attempt: l.attempt,
		Outcome: sluice.Unknown, Reason: l.err.Error()}})
}

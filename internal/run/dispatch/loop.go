package dispatch

import (
	"context"
	"errors"
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
	said := ""
	for {
		var tail, mine []sluice.Event
		err := d.syncOutput()
		if err == nil {
			err = d.update(ctx, func(t []sluice.Event) ([]sluice.Event, error) {
				tail = t
				var err error
				mine, err = d.decide(t)
				return mine, err
			})
		}
		if err == nil {
			d.act(ctx, tail, mine, landed)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if sluice.IsLasting(err) {
			return err
		}
		// It is not known whether it was appended. What the attempts reported is kept and tried again, if the
		// log does not have it then; nothing starts meanwhile.
		if now := err.Error(); now != said {
			said = now
			d.notice("the journal cannot be written: %v; nothing new starts until it can", err)
		}
		if err := d.again(ctx); err != nil {
			return err
		}
		d.takeUp(ctx, landed) // what the log says is started, and nobody carries out
	}
}

// update is one step of the log. The follower waits for the end of it, so as not to take what is ours for news.
func (d *driver) update(ctx context.Context, decide func(tail []sluice.Event) ([]sluice.Event, error)) error {
	d.appending.Lock()
	defer d.appending.Unlock()
	_, err := d.cfg.Log.Update(ctx, d.cfg.Namespace, d.state.Seq(), decide)
	if err == nil {
		d.head.Store(d.state.Seq())
	}
	return err
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

// unreadableAfter is how often in a row a log that answers must have failed to give its events, before the fault is
// held to be in what it has.
const unreadableAfter = 3

// again waits a moment and folds the log afresh: the state has run ahead of it. A log that does not answer is
// waited for; one that answers, but has something that cannot be read, stays as it is until a person sees to it.
func (d *driver) again(ctx context.Context) error {
	seen := d.head.Load()
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAppend):
		}
		err := d.load(ctx, seen)
		if err == nil {
			return nil
		}
		seen = max(seen, d.state.Seq()) // so far it was shown
		_, silent := d.cfg.Log.Namespaces(ctx)
		switch tries++; {
		case ctx.Err() != nil:
			return ctx.Err()
		case silent != nil:
			tries = 0
		case tries == unreadableAfter:
			return d.unreadable(ctx, err)
		}
	}
}

// unreadable says which journal cannot be read, from where on, and what to do.
func (d *driver) unreadable(ctx context.Context, err error) error {
	journal := "the journal"
	if s, ok := d.cfg.Log.(fmt.Stringer); ok { // it knows where it is
		journal = "the " + s.String()
	}
	e := sluice.Errorf(sluice.Contact, "%s cannot be read after event %d of the namespace %s, and job %s cannot go on",
		journal, d.lastReadable(ctx), d.cfg.Namespace, d.id).
		WithHint("sluice journal verify says what is wrong with it; what runs on the hosts runs on, and sluice resume %s joins it", d.id)
	e.Err = err
	return e
}

// lastReadable is the number of the last event before what cannot be read.
func (d *driver) lastReadable(ctx context.Context) uint64 {
	const most = 1 << 14 // more than are read at once when the log is folded
	at := d.state.Seq()
	if _, err := d.cfg.Log.Read(ctx, d.cfg.Namespace, at, most); err == nil {
		return at // the next one can be read, but does not fit
	}
	for limit := most / 2; limit > 0; limit /= 2 {
		if events, err := d.cfg.Log.Read(ctx, d.cfg.Namespace, at, limit); err == nil && len(events) > 0 {
			at = events[len(events)-1].Seq
		}
	}
	return at
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

// errCancelled is the cause of a kill that an operator asked for.
var errCancelled = errors.New("cancelled")

// killIfAsked passes a cancel, or the end of the job's time, on to the attempts.
func (d *driver) killIfAsked() {
	info, _ := d.state.Job(d.id)
	d.stopped.Store(info.Kill || info.State == schedule.Halting || info.State == schedule.Halted)
	if !info.Kill {
		return
	}
	reason := work.ErrTimeLimit
	if info.Cancelling {
		reason = errCancelled
	}
	for _, f := range d.flights {
		if !f.killed {
			f.killed = true
			f.kill(reason)
		}
	}
}

// wait returns when there is something to decide: reports that have waited long enough for company, news from other
// processes, or a time that has come. Whatever else is ready by then is taken along.
func (d *driver) wait(ctx context.Context, news <-chan struct{}, landed <-chan landing) error {
	var due <-chan time.Time
	if at, ok := d.state.NextTimer(func(id sluice.JobID) bool { return id == d.id }); ok {
		t := time.NewTimer(at.Sub(d.cfg.Clock()))
		defer t.Stop()
		due = t.C
	}
	var late grace
	defer late.stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-d.reports:
			if late.within(d.take(r)) {
				continue
			}
		case l := <-landed:
			if !d.land(l) {
				continue
			}
		case <-news:
		case <-due:
		case <-late.ends():
		}
		d.takeMore(landed)
		return nil
	}
}

// take keeps a report for the next append, and says how long it may wait for company on the way.
func (d *driver) take(r report) time.Duration {
	d.waiting = append(d.waiting, r)
	switch b := r.body.(type) {
	case sluice.TaskStep:
		return maxStepDelay
	case sluice.TaskFinished:
		f := d.flights[b.Attempt]
		if f == nil {
			return 0
		}
		d.told(f)
		if d.flying == 0 { // nobody else is on the way
			return 0
		}
		return min(maxOutcomeDelay, d.cfg.Clock().Sub(f.since)/outcomeShare)
	}
	return 0
}

// told notes that a flight has nothing more to say that decisions wait for.
func (d *driver) told(f *flight) {
	if !f.told {
		f.told = true
		d.flying--
	}
}

// grace is the time that reports may wait. The shortest of them counts.
type grace struct {
	timer *time.Timer
	end   time.Time
}

// within shortens the time, and reports whether any is left.
func (g *grace) within(d time.Duration) bool {
	if d <= 0 {
		return false
	}
	end := time.Now().Add(d)
	switch {
	case g.timer == nil:
		g.timer, g.end = time.NewTimer(d), end
	case end.Before(g.end):
		g.timer.Reset(d)
		g.end = end
	}
	return true
}

func (g *grace) ends() <-chan time.Time {
	if g.timer == nil {
		return nil
	}
	return g.timer.C
}

func (g *grace) stop() {
	if g.timer != nil {
		g.timer.Stop()
	}
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
	if f != nil {
		d.told(f)
	}
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

package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/drive"
	"sluice/internal/run/work"
)

// loop decides, appends, acts and waits, until the job is finished or halted and every worker has landed.
func (d *driver) loop(ctx context.Context, news <-chan struct{}) (sluice.Event, error) {
	for {
		again, err := d.turn(ctx)
		if err != nil {
			return sluice.Event{}, err
		}
		if last, over := d.m.Over(); over {
			return last, nil
		}
		if again {
			continue
		}
		if err := d.wait(ctx, news); err != nil {
			return sluice.Event{}, err
		}
	}
}

// turn makes one append: what others wrote is read, what was reported and decided is written. It returns when
// that is durable and acted on. again says that something would start once the right to it is known.
func (d *driver) turn(ctx context.Context) (again bool, err error) {
	said := ""
	for {
		in, err := d.right(ctx)
		if err != nil {
			return false, err
		}
		var tail []sluice.Event
		var decision drive.Decision
		if err = d.syncOutput(); err == nil {
			err = d.update(ctx, func(t []sluice.Event) ([]sluice.Event, error) {
				tail, in.Now = t, d.cfg.Clock()
				var err error
				decision, err = d.m.Decide(t, in)
				return decision.Events, err
			})
		}
		for _, text := range decision.Notices {
			d.notice(text)
		}
		if err == nil {
			d.carryOut(ctx, d.m.Done(tail, decision, d.since()))
			d.sayWaits()
			return decision.Ask, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if sluice.IsLasting(err) {
			return false, err
		}
		// It is not known whether it was appended. What the attempts reported is kept and tried again, if the
		// log does not have it then; nothing starts meanwhile.
		if now := err.Error(); now != said {
			said = now
			d.notice(fmt.Sprintf("the journal cannot be written: %v; nothing new starts until it can", err))
		}
		if err := d.again(ctx); err != nil {
			return false, err
		}
		d.carryOut(ctx, d.m.TakeUp(d.since())) // what the log says is started, and nobody carries out
	}
}

// right asks whether the job may start anything, where the next turn is likely to.
func (d *driver) right(ctx context.Context) (drive.Input, error) {
	in := drive.Input{Driven: d.cfg.Drivers.Driven}
	d.doubt, in.Right = "", drive.Given
	switch {
	case d.cfg.May == nil:
	case !d.m.Asks():
		in.Right = drive.NotAsked
	default:
		err := d.cfg.May(ctx, d.m.Job())
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return in, ctx.Err()
		case sluice.CodeOf(err) == sluice.Denied:
			in.Right, in.Reason = drive.Withdrawn, err.Error()
		default:
			in.Right, d.doubt = drive.InDoubt, err.Error()
		}
	}
	if d.doubt != "" && d.doubt != d.doubted {
		d.notice(fmt.Sprintf("it cannot be found out whether %s may go on with this: %s; nothing new starts until it can", d.m.Job().By, d.doubt))
	}
	if in.Right != drive.NotAsked {
		d.doubted = d.doubt
	}
	return in, nil
}

// sayWaits says what keeps tasks from starting, but not all the time.
func (d *driver) sayWaits() {
	if now := d.cfg.Clock(); d.cfg.Waits != nil && now.Sub(d.explain) >= time.Second {
		d.explain = now
		d.cfg.Waits(d.m.Waits())
	}
}

// update is one step of the log. The follower waits for the end of it, so as not to take what is ours for news.
func (d *driver) update(ctx context.Context, decide func(tail []sluice.Event) ([]sluice.Event, error)) error {
	d.appending.Lock()
	defer d.appending.Unlock()
	_, err := d.cfg.Log.Update(ctx, d.cfg.Namespace, d.m.Seq(), decide)
	if err == nil {
		d.head.Store(d.m.Seq())
	}
	return err
}

// syncOutput makes what ended attempts printed durable, before their outcomes are: then the targets forget it.
func (d *driver) syncOutput() error {
	if d.m.Promised() {
		return d.cfg.Outputs.Sync(d.id)
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
		seen = max(seen, d.m.Seq()) // so far it was shown
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
	at := d.m.Seq()
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

// wait returns when there is something to decide: reports that have waited long enough for company, news from other
// processes, or a time that has come. Whatever else is ready by then is taken along.
func (d *driver) wait(ctx context.Context, news <-chan struct{}) error {
	var due <-chan time.Time
	if at, ok := d.nextTimer(); ok {
		t := time.NewTimer(at)
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
		case l := <-d.landed:
			if !d.land(l) {
				continue
			}
		case <-news:
		case <-due:
		case <-late.ends():
		}
		d.takeMore()
		return nil
	}
}

// nextTimer is how long to wait at most.
func (d *driver) nextTimer() (in time.Duration, ok bool) {
	at, ok := d.m.NextTimer()
	in = at.Sub(d.cfg.Clock())
	if again, waits := d.m.NextAgain(); waits && (!ok || again-d.since() < in) {
		in, ok = again-d.since(), true
	}
	if d.doubt != "" && (!ok || in > retryAppend) {
		return retryAppend, true
	}
	return in, ok
}

// take keeps a report for the next append, and says how long it may wait for company on the way.
func (d *driver) take(r report) time.Duration {
	var ticket uint64
	if r.done != nil {
		d.ticket++
		ticket = d.ticket
		d.promises[ticket] = r.done
	}
	return d.m.Report(drive.Report{Body: r.body, Ticket: ticket}, d.since())
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
func (d *driver) takeMore() {
	for d.m.Pending() < maxBatch {
		select {
		case r := <-d.reports:
			d.take(r)
		case l := <-d.landed:
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
	delete(d.kills, l.attempt)
	var loss *drive.Loss
	if l.err != nil {
		loss = &drive.Loss{Text: l.err.Error(), HandOver: errors.Is(l.err, work.ErrHandOver), Untaken: errors.Is(l.err, work.ErrNoWorker)}
	}
	turn, notice := d.m.Land(l.attempt, loss, d.since())
	if notice != "" {
		d.notice(notice)
	}
	return turn
}

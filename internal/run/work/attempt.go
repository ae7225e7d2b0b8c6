package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"sluice"
	"sluice/internal/core/target"
)

// attempt is one Do.
type attempt struct {
	w    *Worker
	a    Assignment
	job  *sluice.Job
	ssh  sluice.SSH
	main []target.Word // what the command step runs

	parcel *parcel // what it needs on the host; nil for nothing
	deploy *deploy // what it has more that deploys; nil for others

	secrets        *target.Secrets
	blind          bool // there may be more secrets than those
	stdout, stderr *stream
	steps          int    // reported so far
	failed         string // the last step, if it failed
	prompts        *target.Prompts
	lure           target.Lure
	answered       func(accepted bool) // a prompt of the command waits for its verdict

	// mayRun says that the attempt may have been started: the go was sent, or somebody else started it.
	mayRun bool
	// untried says that the password was not tried on this host, because others had refused it.
	untried bool

	sudo     sluice.Secret
	sudoDone func(accepted bool) // nil: no password is held

	kill    context.Context // ends when the kill is asked for
	bar     context.Context // ends when nothing may start any more, for a kill or because the job was halted
	halted  bool            // it was kept from starting because the job was halted
	spoofed bool
	atEnd   []context.CancelFunc
	helpers sync.WaitGroup
}

func (w *Worker) newAttempt(ctx context.Context, a Assignment) (*attempt, error) {
	t := &attempt{w: w, a: a, job: a.Job, ssh: a.Job.SSHFor(a.Host), kill: a.Kill}
	if t.kill == nil {
		t.kill = context.Background()
	}
	t.mayRun = a.Resumed || a.Mode == Settle
	var values [][]byte
	if w.cfg.Credentials != nil {
		for _, s := range w.cfg.Credentials.Values() {
			values = append(values, s.Reveal())
		}
	}
	t.secrets = target.NewSecrets(values...)
	limit := a.Job.Options.OutputLimit
	if limit <= 0 {
		limit = sluice.DefaultOutputLimit
	}
	for _, s := range []struct {
		name string
		to   **stream
	}{{"stdout", &t.stdout}, {"stderr", &t.stderr}} {
		size, err := w.printed(ctx, a, s.name)
		if err != nil {
			return nil, fmt.Errorf("output of %s: %w", a.Attempt, err)
		}
		*s.to = &stream{t: t, name: s.name, read: size, written: size, limit: limit, redactor: t.secrets.Redactor()}
	}
	bar, end := context.WithCancel(t.kill)
	t.bar, t.atEnd = bar, append(t.atEnd, end)
	if a.Stop != nil {
		stop := context.AfterFunc(a.Stop, end)
		t.atEnd = append(t.atEnd, func() { stop() })
	}
	return t, nil
}

// printedRetry is waited before it is asked again how much an attempt has printed.
const printedRetry = 200 * time.Millisecond

// printed is how much of a stream is kept. Where others keep it, too, they may not answer for a while, as when a server of a cluster has
// just taken over: an outcome must not count as unknown for that, so it is waited for them for as long as for a host.
func (w *Worker) printed(ctx context.Context, a Assignment, stream string) (int64, error) {
	over := time.NewTimer(reconnect(a.Job))
	defer over.Stop()
	for {
		size, err := w.cfg.Outputs.Size(a.Job.ID, a.Attempt, stream)
		if sluice.CodeOf(err) != sluice.Contact {
			return size, err
		}
		select {
		case <-time.After(printedRetry):
		case <-over.C:
			return size, err
		case <-ctx.Done():
			return size, ctx.Err()
		}
	}
}

// reconnect is for how long it is tried to reach what an attempt needs.
func reconnect(job *sluice.Job) time.Duration {
	if job.Options.Reconnect > 0 {
		return job.Options.Reconnect
	}
	return sluice.DefaultReconnect
}

// killWord is why the attempt is to be killed, "" if it is not.
func (t *attempt) killWord() string {
	switch {
	case t.spoofed:
		return target.KillSpoof
	case t.kill.Err() == nil:
		return ""
	case errors.Is(context.Cause(t.kill), ErrTimeLimit):
		return target.KillJob
	}
	return target.KillCancel
}

// barred reports whether the attempt may not start any more, and notes if that is because the job was halted.
func (t *attempt) barred() bool {
	if t.killWord() != "" {
		return true
	}
	t.halted = t.halted || t.bar.Err() != nil
	return t.halted
}

func (t *attempt) end() {
	for _, end := range t.atEnd {
		end()
	}
	t.helpers.Wait()
	t.sudoAnswered(true) // it was never offered, or the host did not answer
	if t.answered != nil {
		t.answered(true)
	}
}

func (t *attempt) do(ctx context.Context) error {
	if err := t.validate(); err != nil {
		return t.commit(ctx, target.Conclude(target.Evidence{Sight: target.SawRefusal, Text: err.Error()}))
	}
	if t.plain() {
		return t.doPlain(ctx)
	}
	if err := t.prepareMain(ctx); err != nil {
		return t.commit(ctx, target.Conclude(target.Evidence{Sight: target.SawRefusal, Text: err.Error()}))
	}
	e, c, link, err := t.pursue(ctx)
	if err != nil {
		return err
	}
	if c != nil {
		defer func() { c.close(); _ = link.Close() }()
	}
	e.Kill, e.Failed = t.killWord(), t.failed
	if t.deploy != nil {
		e.Why = t.deploy.why
	}
	result := target.Conclude(e)
	if t.deploy != nil {
		t.concludeDeploy(ctx, link, e, &result)
	}
	t.settlePrompt()
	if err := t.commit(ctx, result); err != nil {
		return err
	}
	if result.Outcome != sluice.Unknown && e.Sight != target.SawNothing {
		t.clean(ctx, c)
	}
	return nil
}

// commit flushes what was printed, and hands the outcome over.
func (t *attempt) commit(ctx context.Context, r sluice.TaskFinished) error {
	r.Host, r.Attempt = t.a.Host, t.a.Attempt
	if r.Outcome != sluice.Unknown {
		t.stdout.flush()
		t.stderr.flush()
	}
	if t.stdout.fresh || t.stderr.fresh {
		if err := t.w.cfg.Outputs.Sync(t.job.ID); err != nil {
			t.stdout.broken, t.stderr.broken = true, true
		}
	}
	r.Truncated = nil
	for _, s := range []*stream{t.stdout, t.stderr} {
		if s.cut || s.broken {
			r.Truncated = append(r.Truncated, s.name)
		}
	}
	r.Reason = t.secrets.Text(r.Reason)
	if t.halted && r.NotStarted && t.killWord() == "" {
		r = sluice.TaskFinished{Host: r.Host, Attempt: r.Attempt, Outcome: sluice.Cancelled, Reason: "the job was halted before it started", NotStarted: true}
		if t.a.Withdraw != nil {
			return t.a.Withdraw(ctx, sluice.TaskWithdrawn{Host: r.Host, Attempt: r.Attempt, Reason: r.Reason})
		}
	}
	if t.untried && r.NotStarted && r.Outcome == sluice.Failed && t.a.Withdraw != nil {
		return t.a.Withdraw(ctx, sluice.TaskWithdrawn{Host: r.Host, Attempt: r.Attempt, Reason: r.Reason})
	}
	return t.a.Commit(ctx, r)
}

// clean tells the launcher that the outcome is durable, so that the record goes; and waits for that, but not
// for long: a record that stays is no fault of the attempt.
func (t *attempt) clean(ctx context.Context, c *conn) {
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if c.acknowledge(ctx) || ctx.Err() != nil {
		return
	}
	// The link was lost just now: once more, through another one.
	t.a.Mode, t.mayRun = Settle, true
	var p persistence
	if _, c, link, err := t.try(ctx, &p); err == nil {
		c.acknowledge(ctx)
		c.close()
		_ = link.Close()
	}
}

// pursue tries until there is evidence of how the attempt ended, or the time for reconnecting is over. Where
// the evidence came from a session, it is still open.
func (t *attempt) pursue(ctx context.Context) (target.Evidence, *conn, sluice.Link, error) {
	var p persistence
	for {
		e, c, link, err := t.try(ctx, &p)
		if err == nil {
			return e, c, link, nil
		}
		if ctx.Err() != nil {
			return e, nil, nil, ctx.Err()
		}
		if e, over := t.giveUp(&p, err); over {
			return e, nil, nil, nil
		}
		if err := t.pause(ctx, p.next()); err != nil {
			return e, nil, nil, err
		}
	}
}

// persistence counts how long and how often a host was tried.
type persistence struct {
	since time.Time // when the trying began; zero while there is contact
	tries int
}

func (p *persistence) progress() { *p = persistence{} }

// next is the pause before the next try: it doubles up to ten seconds, and a third of it is chance.
func (p *persistence) next() time.Duration {
	d := min(10*time.Second, 100*time.Millisecond<<min(p.tries, 7))
	return d - time.Duration(rand.Int64N(int64(d)/3))
}

// triesBefore bounds how often a host is tried before anything can have started there.
const triesBefore = 4

// giveUp decides whether an error is the end. Before the start only what passes by itself is tried again, a few
// times; afterwards everything is, for as long as the job allows, but for what may lock an account.
func (t *attempt) giveUp(p *persistence, err error) (target.Evidence, bool) {
	if p.since.IsZero() {
		p.since = t.w.cfg.Clock()
	}
	p.tries++
	text := describe(err)
	t.untried = !t.mayRun && errors.Is(err, sluice.ErrSecretRefused)
	if !t.mayRun {
		e := target.Evidence{Sight: target.SawNothing, Text: text, Refused: refusedPassword(err)}
		var refused *refusal
		var bad *sluice.ConnectError
		switch {
		case t.barred():
			return e, true
		case errors.As(err, &refused):
			e.Sight = target.SawRefusal
			return e, true
		case errors.As(err, &bad) && (bad.Failure == sluice.AuthRefused || bad.Failure == sluice.NeedSecret):
			return e, true
		}
		e.Unreachable = true
		return e, p.tries >= triesBefore || !transient(err)
	}
	e := target.Evidence{Sight: target.SawSilence, Text: text}
	var refused *refusal
	var bad *sluice.ConnectError
	final := errors.As(err, &refused) || errors.As(err, &bad) && bad.Failure != sluice.NoRoute
	return e, final || t.w.cfg.Clock().Sub(p.since) >= reconnect(t.job)
}

// describe says why there is no contact, for people.
func describe(err error) string {
	var bad *sluice.ConnectError
	if errors.As(err, &bad) && bad.Failure == sluice.AuthRefused {
		return "login refused: " + printable(err.Error())
	}
	return printable(err.Error())
}

// transient says that an error may pass by itself in a moment.
func transient(err error) bool {
	var bad *sluice.ConnectError
	if errors.As(err, &bad) && bad.Failure != sluice.NoRoute {
		return false
	}
	for _, e := range []error{sluice.ErrLinkLost, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, errForeignBytes} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits; a kill or a halt ends the wait early, once.
func (t *attempt) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	barred := t.bar.Done()
	if t.mayRun {
		barred = nil // what may run is not killed by waiting less
	}
	select {
	case <-timer.C:
	case <-barred:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// try connects once and follows the attempt as far as the link carries.
func (t *attempt) try(ctx context.Context, p *persistence) (target.Evidence, *conn, sluice.Link, error) {
	var none target.Evidence
	before, stop := t.untilKilled(ctx)
	defer stop()
	if !t.mayRun { // what may not start yet prepares nothing: it would be in the way of who may
		if err := t.mayStart(before); err != nil {
			return none, nil, nil, err
		}
	}
	link, err := t.w.cfg.Transport(t.ssh).Connect(before, t.a.Host, t.ssh)
	if err != nil {
		return none, nil, nil, err
	}
	if t.deploy != nil && t.a.Mode == Run {
		if err := t.survey(before, link); err != nil {
			_ = link.Close()
			return none, nil, nil, err
		}
	}
	c, err := t.open(before, link, t.job.Options.TTY && t.a.Mode == Run)
	if err != nil {
		_ = link.Close()
		return none, nil, nil, err
	}
	stop()
	f := &follower{t: t, c: c, link: link, seen: p.progress}
	e, err := f.follow(ctx)
	if err != nil {
		t.stdout.cut = t.stdout.cut || f.tty // what a terminal shows is kept nowhere else
		c.close()
		_ = link.Close()
		return none, nil, nil, err
	}
	return e, c, link, nil
}

// mayStart waits until a start is allowed, or will never be: see barred.
func (t *attempt) mayStart(ctx context.Context) error {
	if t.a.MayStart == nil || t.barred() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.bar, cancel)()
	err := t.a.MayStart(ctx)
	if t.barred() {
		return nil
	}
	return err
}

// untilKilled is a context for what a kill or a halt may interrupt: everything before the start. stop ends that; what was
// opened under the context stays open.
func (t *attempt) untilKilled(ctx context.Context) (before context.Context, stop func()) {
	if t.mayRun {
		return ctx, func() {}
	}
	before, cancel := context.WithCancel(ctx)
	t.atEnd = append(t.atEnd, cancel)
	watch := context.AfterFunc(t.bar, cancel)
	return before, func() { watch() }
}

package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/target"
)

// plain reports whether the attempt needs no supervisor: it changes nothing, so it may simply run again.
// Prompts and terminals are the supervisor's business, and so is what validates a release: what it asks for may not be asked twice.
func (t *attempt) plain() bool {
	o := t.job.Options
	if t.job.Action.Validates != nil {
		return false
	}
	return t.job.Action.Kind == sluice.FetchFrom ||
		o.ReadOnly && t.job.Action.Kind == sluice.RunCommand && len(o.Prompts) == 0 && !o.TTY
}

// ending is how a plain run ended.
type ending struct {
	code   int
	reason string // why it failed beyond the code
}

// Errors of a plain run that is ended from here.
var (
	errTimeLimit = errors.New("ended at its time limit")
	errKilled    = errors.New("killed")
	errHalted    = errors.New("halted before it started")
)

// doPlain runs a plain attempt, and again while the link is lost.
func (t *attempt) doPlain(ctx context.Context) error {
	if t.a.Mode == Settle {
		r := sluice.TaskFinished{Outcome: sluice.Failed, Reason: "interrupted: who ran it went away; it changes nothing on the host"}
		if word := t.killWord(); word != "" {
			r.Outcome, r.Reason = sluice.Cancelled, "cancelled"
		}
		return t.commit(ctx, r)
	}
	t.mayRun = false // a plain attempt is nobody else's
	begin := t.w.cfg.Clock()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if d := t.job.Options.Timeout; d > 0 {
		timer := time.AfterFunc(d, func() { cancel(errTimeLimit) })
		defer timer.Stop()
	}
	defer context.AfterFunc(t.kill, func() { cancel(errKilled) })()
	end, err := t.persist(running)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := t.concludePlain(context.Cause(running), end, err)
	r.DurationMS = t.w.cfg.Clock().Sub(begin).Milliseconds()
	return t.commit(ctx, r)
}

// persist tries until a run ended or the trying is over.
func (t *attempt) persist(ctx context.Context) (ending, error) {
	var p persistence
	for {
		end, err := t.tryPlain(ctx, &p)
		if err == nil || ctx.Err() != nil {
			return end, err
		}
		if _, over := t.giveUp(&p, err); over {
			return end, err
		}
		if err := t.pause(ctx, p.next()); err != nil {
			return end, err
		}
	}
}

func (t *attempt) concludePlain(cause error, end ending, err error) sluice.TaskFinished {
	ran := t.mayRun
	switch {
	case err == nil:
		return t.plainEnd(end)
	case errors.Is(cause, errTimeLimit):
		return sluice.TaskFinished{Outcome: sluice.TimedOut, Reason: "ended at its time limit", NotStarted: !ran}
	case errors.Is(cause, errKilled) && t.killWord() == target.KillJob:
		return sluice.TaskFinished{Outcome: sluice.TimedOut, Reason: "ended at the job's time limit", NotStarted: !ran}
	case errors.Is(cause, errKilled):
		return sluice.TaskFinished{Outcome: sluice.Cancelled, Reason: "ended by a cancel", NotStarted: !ran}
	}
	e, _ := t.giveUp(&persistence{tries: triesBefore}, err)
	return target.Conclude(e)
}

func (t *attempt) plainEnd(end ending) sluice.TaskFinished {
	code := end.code
	r := sluice.TaskFinished{Outcome: sluice.Succeeded, ExitCode: &code, Reason: end.reason}
	if code != 0 {
		r = target.Conclude(target.Evidence{Sight: target.SawRecord, Record: target.Record{Code: code, HasCode: true}})
		if end.reason != "" {
			r.Reason = end.reason
		}
	}
	return r
}

// tryPlain connects and runs once.
func (t *attempt) tryPlain(ctx context.Context, p *persistence) (ending, error) {
	link, err := t.w.cfg.Transport(t.ssh).Connect(ctx, t.a.Host, t.ssh)
	if err != nil {
		return ending{}, err
	}
	defer func() { _ = link.Close() }()
	if err := t.mayStart(ctx); err != nil {
		return ending{}, err
	}
	if t.barred() {
		return ending{}, errHalted
	}
	if t.job.Action.Kind == sluice.FetchFrom {
		return t.fetch(ctx, link)
	}
	mark := "sluice-" + nonce()
	c, err := t.startPlain(ctx, link, mark)
	if err != nil {
		return ending{}, err
	}
	defer c.close()
	return t.runPlain(ctx, c, mark, p)
}

// startPlain starts the command: in the login shell's own line where that is safe, else through a shell that
// reads it.
func (t *attempt) startPlain(ctx context.Context, link sluice.Link, mark string) (*conn, error) {
	o := t.job.Options
	env := t.env()
	delete(env, "SLUICE_COMMAND")
	env["SLUICE_PHASE"] = "command"
	line, ok := target.PlainLine(mark, t.job.Action.Shell, env)
	if ok && len(o.Env) == 0 && o.Sudo == "" {
		s, err := link.Start(ctx, line, false)
		if err != nil {
			return nil, err
		}
		_ = s.Stdin().Close()
		return newConn(s, false), nil
	}
	c, err := t.open(ctx, link, false)
	if err != nil {
		return nil, err
	}
	c.say(target.PlainScript(mark, t.job.Action.Shell, env, c.tty))
	return c, nil
}

// runPlain takes the output up to the end.
func (t *attempt) runPlain(ctx context.Context, c *conn, mark string, p *persistence) (ending, error) {
	begin := t.w.cfg.Clock()
	out, errs := target.NewMarker(mark), target.NewMarker(mark)
	var outAt, errAt int64
	for {
		select {
		case <-ctx.Done():
			return ending{}, ctx.Err()
		case piece, ok := <-c.pieces:
			if !ok {
				return t.endPlain(c, begin, out, errs)
			}
			m, s, at := out, t.stdout, &outAt
			if piece.stderr {
				m, s, at = errs, t.stderr, &errAt
			}
			data := m.Feed(piece.data)
			if m.Found() {
				p.progress()
				t.mayRun = true
			}
			s.take(*at, data)
			*at += int64(len(data))
			piece.release()
			if t.spoofed {
				return ending{code: 1, reason: "its output showed the prompt at which the password for sudo had been given; none was sent"}, nil
			}
		}
	}
}

func (t *attempt) endPlain(c *conn, begin time.Time, out, errs *target.Marker) (ending, error) {
	status, err := c.session.Wait()
	if err != nil {
		return ending{}, err
	}
	code := status.Code
	if status.Signal != "" {
		code = target.SignalCode(status.Signal)
	}
	if !out.Found() && !errs.Found() {
		text := fmt.Sprintf("the login shell ended with %d before it ran the command", code)
		if line := lastLine(out.Noise() + "\n" + errs.Noise()); line != "" {
			text += ": " + line
		}
		return ending{}, &refusal{text: text}
	}
	if t.a.Step != nil {
		t.a.Step(sluice.TaskStep{Host: t.a.Host, Attempt: t.a.Attempt, Step: "command", ExitCode: code, DurationMS: t.w.cfg.Clock().Sub(begin).Milliseconds()})
	}
	return ending{code: code}, nil
}

// refusedPassword says that a password was offered and refused.
func refusedPassword(err error) bool {
	var refused *refusal
	var bad *sluice.ConnectError
	return errors.As(err, &refused) && refused.password || errors.As(err, &bad) && bad.Password
}

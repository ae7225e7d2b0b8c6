package work

import (
	"context"
	"strings"

	"sluice"
)

// Service takes a host out of service and brings it back. Each may be called again when it was done already, also by
// another worker, and then finds that out; each reads back what it did.
type Service interface {
	// Drain stops new requests to the host and waits for those in flight. What each says is for people, in one line. tell is
	// called for everything that was done at a balancer.
	Drain(ctx context.Context, tell func(sluice.BalancerChanged)) (said string, err error)
	// Healthy waits until the host is well.
	Healthy(ctx context.Context) (said string, err error)
	// Return has requests sent to the host again.
	Return(ctx context.Context, tell func(sluice.BalancerChanged)) (said string, err error)
}

// word is what came of the worker's part.
type word struct {
	why  string // it could not be done; "" if it was
	said string
}

// duty is the worker's part in a step that waits for its word. The step says that it waits; but who joins reads that of
// steps that are long over, too. So it is asked, under a word of our own, and only a step that answers still waits.
type duty struct {
	step  string // that may wait; "" for none
	token string // under which it was asked
	end   context.CancelFunc
	done  chan word
}

// note takes what a step says to who follows.
func (f *follower) note(ctx context.Context, text string) {
	d := f.t.deploy
	if d == nil {
		return
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "why":
		if f.t.failed == "" {
			d.why = f.t.shown(rest)
		}
	case "wait":
		f.leaveDuty()
		d.duty = duty{step: rest, token: nonce()}
		d.out = d.out || rest == "drain"
		f.c.say("p " + rest + " hello " + d.duty.token + "\n")
	case "here":
		if step, token, _ := strings.Cut(rest, " hello "); step == d.duty.step && token == d.duty.token && d.duty.done == nil {
			f.beginDuty(ctx)
		}
	}
}

func (f *follower) beginDuty(ctx context.Context) {
	d := &f.t.deploy.duty
	ctx, d.end = context.WithCancel(ctx)
	unwatch := context.AfterFunc(f.t.kill, d.end)
	done, step := make(chan word, 1), d.step
	d.done = done
	f.t.helpers.Go(func() {
		defer unwatch()
		done <- f.t.serve(ctx, f.link, step)
	})
}

// leaveDuty ends what is being done for a step, and waits for it.
func (f *follower) leaveDuty() {
	if f.t.deploy == nil {
		return
	}
	d := &f.t.deploy.duty
	if d.end != nil {
		d.end()
	}
	if d.done != nil {
		<-d.done
	}
	*d = duty{}
}

// report gives the step its word. What was ended because we go away, or by a kill, is no word at all.
func (f *follower) report(ctx context.Context, w word) {
	d := &f.t.deploy.duty
	text := strings.TrimSpace("ok " + w.said)
	if w.why != "" {
		text = "no " + w.why
	}
	if f.t.killWord() == "" && ctx.Err() == nil {
		f.c.say("p " + d.step + " " + text + "\n")
	}
	d.end()
	*d = duty{}
}

// waiting is where the worker's own part ends; nil where it has none.
func (f *follower) waiting() <-chan word {
	if f.t.deploy == nil {
		return nil
	}
	return f.t.deploy.duty.done
}

// serve does the worker's part of a step.
func (t *attempt) serve(ctx context.Context, link sluice.Link, step string) word {
	if t.w.cfg.Service == nil {
		return word{}
	}
	var said string
	s, err := t.w.cfg.Service(ctx, t.job, t.a.Host, link)
	switch {
	case err != nil || s == nil:
	case step == "drain":
		said, err = s.Drain(ctx, t.balanced)
	case step == "healthy":
		said, err = s.Healthy(ctx)
	case step == "return":
		said, err = s.Return(ctx, t.balanced)
	}
	if err != nil {
		return word{why: t.shown(err.Error())}
	}
	return word{said: printable(t.secrets.Text(said))}
}

// balanced tells of something that was done at a balancer. Names are those of a file, but errors may be anything.
func (t *attempt) balanced(b sluice.BalancerChanged) {
	if t.a.Balanced == nil {
		return
	}
	b.Host, b.Attempt = t.a.Host, t.a.Attempt
	if b.Error != "" {
		b.Error = t.shown(b.Error)
	}
	t.a.Balanced(b)
}

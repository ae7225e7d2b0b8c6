package halts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
	"sluice/internal/run/rights"
)

const page = 10000

// TakerConfig is what a taker needs.
type TakerConfig struct {
	Log sluice.Log
	// Began are the heads of the log when the term began. Only what came since has times of the clock by which it is told when a halt was
	// asked for.
	Began  []sluice.Head
	Rights *rights.Keeper
	// Service halts.
	Service *control.Service
	// Members are the hosts of a tag in a namespace, as its fleet says now.
	Members func(ctx context.Context, ns sluice.Namespace) (func(sluice.Tag) []sluice.Host, error)
	// Told is told of each halt that was settled. It must not block.
	Told func(h sluice.KeptHalt, what string)
}

// Taker appends halts that servers kept. It is safe for concurrent use, by one process at a time: who owns the log.
type Taker struct {
	cfg   TakerConfig
	began map[sluice.Namespace]uint64
	turn  chan struct{} // holds one token; who has it may use what follows

	read    uint64          // events of [sluice.AccessNamespace]
	settled map[string]bool // by ids
}

// NewTaker makes a taker.
func NewTaker(cfg TakerConfig) *Taker {
	t := &Taker{cfg: cfg, began: map[sluice.Namespace]uint64{}, turn: make(chan struct{}, 1), settled: map[string]bool{}}
	for _, head := range cfg.Began {
		t.began[head.Namespace] = head.Seq
	}
	t.turn <- struct{}{}
	return t
}

// Take settles halts, and returns the ids of those that are: each of them was appended, now or earlier, or there is nothing to halt, or
// who asked for it may not any more. An error says why others are not.
func (t *Taker) Take(ctx context.Context, list []sluice.KeptHalt) (settled []string, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.turn:
	}
	defer func() { t.turn <- struct{}{} }()
	list = append([]sluice.KeptHalt(nil), list...)
	InOrder(list)
	if err := t.readOn(ctx); err != nil {
		return nil, err
	}
	var errs []error
	for _, h := range list {
		if !t.settled[h.ID] {
			if err := t.take(ctx, h); err != nil {
				errs = append(errs, fmt.Errorf("the halt of %s that %s asked the server %s for: %w", h.Of(), h.Principal, h.Server, err))
				continue
			}
			t.settled[h.ID] = true
		}
		settled = append(settled, h.ID)
	}
	return settled, errors.Join(errs...)
}

// readOn reads what was settled, also by those who owned the log before.
func (t *Taker) readOn(ctx context.Context) error {
	for {
		events, err := t.cfg.Log.Read(ctx, sluice.AccessNamespace, t.read, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			t.read = e.Seq
			if b, is := e.Body.(sluice.AccessNoted); is && b.Request != "" {
				t.settled[b.Request] = true
			}
		}
		if len(events) < page {
			return nil
		}
	}
}

// take halts first, and says so then: what is done twice is seen in the job's events.
func (t *Taker) take(ctx context.Context, h sluice.KeptHalt) error {
	note := sluice.AccessNoted{Principal: h.Principal, Token: h.Token, Right: sluice.HaltJob, From: h.From, Request: h.ID,
		What: fmt.Sprintf("the halt of %s, which the server %s was asked for at %s and kept while it had no majority", h.Of(), h.Server, h.At.UTC().Format(time.RFC3339))}
	what := ""
	h, refused, err := t.may(ctx, h)
	note.Namespace = h.Namespace
	switch {
	case err != nil:
		return err
	case refused != "":
		what = "it was refused: " + refused
		note.Refused = refused
	default:
		done, err := t.cfg.Service.As(string(h.Principal)).HaltKept(ctx, h, t.began)
		if err != nil {
			return err
		}
		what = told(done)
		note.What += ": " + what
	}
	if err := t.cfg.Rights.Note(ctx, note); err != nil {
		return err
	}
	t.cfg.Told(h, what)
	return nil
}

// told says what came of a halt.
func told(k control.Kept) (what string) {
	switch len(k.Halted) {
	case 0:
		what = "there was nothing to halt any more"
	case 1:
		what = fmt.Sprintf("it halts the job %s", k.Halted[0])
	default:
		what = fmt.Sprintf("it halts %d jobs", len(k.Halted))
	}
	switch len(k.Later) {
	case 0:
	case 1:
		what += fmt.Sprintf("; the job %s was resumed or submitted later, and goes on", k.Later[0])
	default:
		what += fmt.Sprintf("; %d jobs were resumed or submitted later, and go on", len(k.Later))
	}
	return what
}

// may looks at the head of the log why a halt is refused, "" if it is not: who asked for it may not any more, or its job is not there. The
// namespace is that of the job then. An error says that neither is known.
func (t *Taker) may(ctx context.Context, h sluice.KeptHalt) (_ sluice.KeptHalt, refused string, err error) {
	ask := access.Ask{Right: sluice.HaltJob, Namespace: h.Namespace}
	if h.Job != "" {
		i, _, err := t.cfg.Service.Info(ctx, string(h.Job))
		if sluice.CodeOf(err) == sluice.NotFound {
			return h, err.Error(), nil
		}
		if err != nil {
			return h, "", err
		}
		h.Namespace, ask.Namespace, ask.Hosts = i.Spec.Namespace, i.Spec.Namespace, i.Spec.Targets
	}
	b := access.Bearer{Principal: h.Principal, Token: h.Token}
	err = t.cfg.Rights.StillAllow(ctx, b, ask)
	if sluice.CodeOf(err) == sluice.Denied && h.Job != "" { // it may depend on tags: without those no fleet is needed
		members, failed := t.cfg.Members(ctx, h.Namespace)
		if failed != nil {
			return h, "", nil // the server that kept it found that they may, and to start something instead could not be taken back
		}
		ask.Members = members
		err = t.cfg.Rights.StillAllow(ctx, b, ask)
	}
	if sluice.CodeOf(err) == sluice.Denied {
		return h, err.Error(), nil
	}
	return h, "", err
}

// Package replica is one server's copy of the log that the servers of a cluster share. It is a whole journal of its own, in which
// everything is read; what is appended is in the cluster's engine first, and comes into the copies of the others from there.
//
// Only the owner of the log appends. That nobody else has appended, and that the term of the owner goes on, is proved by the engine with
// every record; the copy proves that each record continues the one before. A copy that has more than the engine, or something else,
// says that the engine has lost or changed something: then nothing is appended until a person has decided.
//
// It knows nothing of etcd, SQLite, or who becomes owner when.
package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice"
)

// Copy is a journal whose records come from elsewhere.
type Copy interface {
	sluice.Log
	sluice.Snapshots
	sluice.Chains
	fmt.Stringer
	// Append adds records as they are. Those that are there already are left out; what does not continue the copy is an error with
	// the code Contact.
	Append(ctx context.Context, records []sluice.Record) error
	// Settled are the ends of all namespaces as far as they stay when the machine loses power now.
	Settled(ctx context.Context) ([]sluice.Head, error)
}

// Config is what a journal needs.
type Config struct {
	Engine sluice.Engine
	// Missing brings records into the copy that the engine does not keep any more, up to at least these heads. nil: nobody can.
	Missing func(ctx context.Context, upTo []sluice.Head) error
	// Trouble is told what a person has to look at. It must not block.
	Trouble func(text string)
	// Retry is waited before something is tried again; 0: 0.2 s.
	Retry time.Duration
	// Look is how often the ends of copy and engine are compared while nothing comes; 0: 5 s.
	Look time.Duration
}

const (
	defaultRetry = 200 * time.Millisecond
	defaultLook  = 5 * time.Second
)

// Journal is the log of a cluster, as one of its servers has it. It is safe for concurrent use.
type Journal struct {
	Copy
	cfg Config

	turn chan struct{} // holds one token: who has it may append
	took bool          // the engine was given a record since Update began; of who has the turn
	kept bool          // the engine refused none since then, or was not asked; of who has the turn
	over chan struct{} // closed when nothing may be appended any more

	mu     sync.Mutex
	term   sluice.Term
	unsure bool          // it is not known whether all that is in the engine is here
	broken error         // why nothing may be appended any more
	failed chan struct{} // of the term: closed when the copy cannot keep what is appended
	why    error         // of that
	looked look          // the last one
	had    time.Time     // see Had
}

// New makes a journal. open opens the copy: first is to be called with every record that is appended to it, before it is there.
func New(cfg Config, open func(first func(context.Context, sluice.Record) error) (Copy, error)) (*Journal, error) {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	if cfg.Look <= 0 {
		cfg.Look = defaultLook
	}
	j := &Journal{cfg: cfg, turn: make(chan struct{}, 1), over: make(chan struct{}), failed: make(chan struct{})}
	j.turn <- struct{}{}
	var err error
	j.Copy, err = open(j.first)
	return j, err
}

// Run brings into the copy what comes into the engine, until ctx ends. An error with which it ends before says why nothing may be
// appended any more.
func (j *Journal) Run(ctx context.Context) error {
	told := ""
	for {
		err := j.follow(ctx)
		if ctx.Err() == nil && sluice.CodeOf(err) == sluice.NotFound && j.cfg.Missing != nil {
			err = j.fetch(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case sluice.IsLasting(err):
			j.end(err)
			return err
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			j.cfg.Trouble(told)
		}
		select {
		case <-ctx.Done():
		case <-time.After(j.cfg.Retry):
		}
	}
}

// end lets nothing be appended any more.
func (j *Journal) end(why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = why
		close(j.over)
	}
}

// Broken is why nothing may be appended here any more; nil: it may.
func (j *Journal) Broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// Prove reads the whole copy, each record of which is proved by that, and the chain that they make. Where something was changed, nothing
// is appended here any more.
func (j *Journal) Prove(ctx context.Context) error {
	err := j.Copy.Records(ctx, nil, func(sluice.Record) error { return ctx.Err() })
	if sluice.IsLasting(err) {
		j.end(err)
	}
	return err
}

// Over is closed when nothing may be appended here any more; [Journal.Broken] says why.
func (j *Journal) Over() <-chan struct{} { return j.over }

func (j *Journal) fetch(ctx context.Context) error {
	heads, err := j.cfg.Engine.Heads(ctx)
	if err != nil {
		return err
	}
	return j.cfg.Missing(ctx, heads)
}

// follow compares where both end, and brings over what comes from then on. An engine that went backwards hands on nothing, so the ends are
// compared while nothing comes, too; and it is known then whether there is a majority.
func (j *Journal) follow(ctx context.Context) error {
	after, err := j.compare(ctx)
	if err != nil {
		return err
	}
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var look sync.WaitGroup
	defer look.Wait()
	look.Go(func() {
		for {
			select {
			case <-inner.Done():
				return
			case <-time.After(j.cfg.Look):
			}
			if _, err := j.compare(inner); err != nil && inner.Err() == nil {
				stop(err)
			}
		}
	})
	err = j.cfg.Engine.Follow(inner, after, func(records []sluice.Record) error {
		err := j.Copy.Append(inner, records)
		if err != nil && inner.Err() == nil {
			j.fails(err)
		}
		return err
	})
	if cause := context.Cause(inner); cause != nil && ctx.Err() == nil {
		err = cause
	}
	stop(nil)
	return err
}

// compare says where the copy ends. It must not have more than the engine, nor something else.
func (j *Journal) compare(ctx context.Context) (map[sluice.Namespace]uint64, error) {
	mine, err := j.Copy.Heads(ctx) // first: what comes meanwhile is in the engine, and not here
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	theirs, err := j.cfg.Engine.Heads(ctx)
	if err != nil {
		return nil, err
	}
	ends := map[sluice.Namespace]sluice.Head{}
	for _, h := range theirs {
		ends[h.Namespace] = h
	}
	after := map[sluice.Namespace]uint64{}
	for _, h := range mine {
		end := ends[h.Namespace]
		if end.Seq < h.Seq || end.Seq == h.Seq && end.Hash != h.Hash {
			return nil, lost(h, end)
		}
		after[h.Namespace] = h.Seq
	}
	j.saw(look{asked, ends}, after)
	return after, nil
}

// look is where the engine ended at a moment.
type look struct {
	at   time.Time
	ends map[sluice.Namespace]sluice.Head
}

// reached reports whether a copy that ends so has all of it.
func (l look) reached(mine map[sluice.Namespace]uint64) bool {
	for ns, h := range l.ends {
		if mine[ns] < h.Seq {
			return false
		}
	}
	return !l.at.IsZero()
}

// saw remembers a look at the engine, and until when the copy has all that there was.
func (j *Journal) saw(now look, mine map[sluice.Namespace]uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range []look{j.looked, now} { // the one before, too: where events come all the time a copy is always a little behind
		if l.reached(mine) && l.at.After(j.had) {
			j.had = l.at
		}
	}
	if now.at.After(j.looked.at) {
		j.looked = now
	}
}

// Had is when this server's copy had all that the engine had, as far as that was looked at; zero: never since it was opened.
func (j *Journal) Had() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.had
}

// lost says that the engine does not have what this server has seen in it.
func lost(here, there sluice.Head) error {
	e := sluice.Errorf(sluice.Contact, "the cluster lost records: namespace %s ends there at event %d, and this server has event %d (%s) of it; nothing will be started",
		here.Namespace, there.Seq, here.Seq, here.Hash).Lasts().WithHint("docs/cluster.md says what to do")
	return e
}

// Own has this server append, in a term that it was given.
func (j *Journal) Own(t sluice.Term) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.term, j.unsure, j.failed, j.why = t, true, make(chan struct{}), nil
}

// Failed is closed when this server's copy cannot keep what is appended in the term that it was given last: its disk is full or
// broken. Another server should own the log then: as long as this one does, nothing goes on anywhere.
func (j *Journal) Failed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Failure is why.
func (j *Journal) Failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.why
}

// fails remembers that the copy could not be written in this term.
func (j *Journal) fails(why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.term != nil && j.why == nil {
		j.why = why
		close(j.failed)
	}
}

// Disown ends that.
func (j *Journal) Disown() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.term = nil
}

// NotOwner says that this server may not append.
var NotOwner = sluice.Errorf(sluice.Contact, "this server does not own the log now; nothing was changed").WithHint("try again in a moment")

// may is the term to append in.
func (j *Journal) may() (t sluice.Term, unsure bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.broken != nil:
		return nil, false, j.broken
	case j.term == nil:
		return nil, false, NotOwner
	}
	if !j.term.Lasts() {
		return nil, false, NotOwner
	}
	return j.term, j.unsure, nil
}

// setUnsure says whether all that is in the engine is here, of a term that goes on.
func (j *Journal) setUnsure(t sluice.Term, is bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.term == t {
		j.unsure = is
	}
}

// Update appends as [sluice.Log] says. Where this server does not own the log the error is [NotOwner].
func (j *Journal) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func(tail []sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-j.turn:
	}
	defer func() { j.turn <- struct{}{} }()
	t, err := j.settle(ctx)
	if err != nil {
		return 0, err
	}
	j.took, j.kept = false, true
	var refused error
	head, err := j.Copy.Update(ctx, ns, after, func(tail []sluice.Event) (events []sluice.Event, err error) {
		events, refused = decide(tail)
		return events, refused
	})
	switch {
	case err != nil:
		if refused == nil && j.kept && sluice.CodeOf(err) == sluice.Contact {
			j.fails(err) // it was neither who decides nor the engine
		}
		return 0, err
	case j.took:
		j.setUnsure(t, false)
		return head, nil
	}
	// Nothing was appended, so nobody has looked whether the term goes on: what was decided may be old.
	if now, _, err := j.may(); err != nil || now != t {
		return 0, errors.Join(err, NotOwner)
	}
	return head, nil
}

// settle returns when all that is in the engine is here: from then on it stays so, as nobody else appends in this term.
func (j *Journal) settle(ctx context.Context) (sluice.Term, error) {
	t, unsure, err := j.may()
	if err != nil || !unsure {
		return t, err
	}
	within, stop := j.during(ctx, t)
	defer stop()
	if err := j.catchUp(within); err != nil {
		if _, _, why := j.may(); why != nil {
			return nil, why
		}
		return nil, err
	}
	j.setUnsure(t, false)
	return t, nil
}

// catchUp returns when the copy has all that the engine has now. Run brings it.
func (j *Journal) catchUp(ctx context.Context) error {
	if _, err := j.compare(ctx); err != nil {
		return err
	}
	heads, err := j.cfg.Engine.Heads(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if err := j.Copy.Wait(ctx, h.Namespace, h.Seq-1); err != nil {
			return err
		}
	}
	return nil
}

// Current returns when all that the engine has now is here, too. Run brings it; where it cannot any more, the error says why.
func (j *Journal) Current(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		select {
		case <-j.over:
			stop()
		case <-ctx.Done():
		}
	})
	err := j.catchUp(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	return err
}

// during is a context that ends with the term, too, or when nothing may be appended any more.
func (j *Journal) during(ctx context.Context, t sluice.Term) (context.Context, func()) {
	ctx, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-t.Over():
			stop()
		case <-j.over:
			stop()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		watch.Wait()
	}
}

// first has a record in the engine. It waits as long as the term goes on, whoever asked for the append: an append that was given up in
// the middle may be there or not.
func (j *Journal) first(ctx context.Context, r sluice.Record) error {
	t, _, err := j.may()
	if err != nil {
		j.kept = false
		return err
	}
	j.setUnsure(t, true) // until it is here, too
	within, stop := j.during(context.WithoutCancel(ctx), t)
	defer stop()
	err = t.Append(within, r)
	j.kept = err == nil
	switch {
	case err == nil:
		j.took = true
		return nil
	case sluice.CodeOf(err) == sluice.Conflict:
		return fmt.Errorf("%w: %w", NotOwner, err)
	case errors.Is(err, context.Canceled): // the term is over
		e := sluice.Errorf(sluice.Contact, "this server does not own the log any more, and it is not known whether the events were appended")
		e.Err = err
		return e
	}
	return err
}

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/copies"
	"sluice/internal/run/halts"
	"sluice/internal/run/replica"
	"sluice/internal/run/rights"
)

const (
	haltsDir = "halts"
	// firstWithin bounds what a new owner waits for the others, before it begins to have jobs carried out.
	firstWithin = time.Second
	// offerEvery is how often a server offers the halts that it keeps while they are not settled.
	offerEvery = time.Second
)

// kept are the halts that this server was asked for while it had no majority, and how those that any server keeps come into the log.
type kept struct {
	*halts.Keeper
	taking atomic.Pointer[taking] // appends such, in the term in which this server owns the log; nil: it does not
	said   atomic.Pointer[string] // why some are not appended yet
}

// openHalts reads the halts that this server keeps.
func (c *cluster) openHalts() (err error) {
	c.halts.Keeper, err = halts.New(haltsdir.Dir(filepath.Join(c.s.Data, haltsDir)), c.seat.Name, c.journal.Heads, c.s.Clock)
	if err != nil {
		return err
	}
	for _, h := range c.halts.All() {
		c.s.Log.Warn("a halt is kept here until there is a majority", "of", h.Of(), "by", h.Principal, "at", h.At)
	}
	return nil
}

// noticed is a keeper that says in the server's log what it keeps.
type noticed struct{ c *cluster }

var _ httpapi.Halts = noticed{}

func (n noticed) All() []sluice.KeptHalt { return n.c.halts.All() }

func (n noticed) Keep(ctx context.Context, h sluice.KeptHalt) (sluice.KeptHalt, error) {
	h, err := n.c.halts.Keep(ctx, h)
	if err == nil {
		n.c.s.Log.Warn("a halt is kept here until there is a majority", "of", h.Of(), "by", h.Principal)
	}
	return h, err
}

// taking appends kept halts in a term of this server. What it needs for that it makes when there are any, as there seldom are.
type taking struct {
	c     *cluster
	began []sluice.Head // of the log, when the term began

	mu     sync.Mutex
	taker  *halts.Taker
	copies *copies.Copies
	closed bool
}

func (t *taking) take(ctx context.Context, list []sluice.KeptHalt) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	taker, err := t.get(ctx)
	if err != nil {
		return nil, err
	}
	return taker.Take(ctx, list)
}

func (t *taking) get(ctx context.Context) (*halts.Taker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, replica.NotOwner
	case t.taker != nil:
		return t.taker, nil
	}
	s := t.c.s
	service, err := s.Service(t.c.journal)
	if err != nil {
		return nil, err
	}
	keeper, err := rights.New(ctx, t.c.journal, s.Clock)
	if err != nil {
		return nil, err
	}
	t.copies = t.c.spread(t.began)
	service.By, service.Blobs = "server", t.copies.Blobs()
	t.taker = halts.NewTaker(halts.TakerConfig{Log: t.c.journal, Began: t.began, Rights: keeper, Service: service, Members: service.HostsOf,
		Told: func(h sluice.KeptHalt, what string) {
			s.Log.Warn("a halt that a server kept is settled", "of", h.Of(), "by", h.Principal, "kept by", h.Server, "result", what)
		}})
	return t.taker, nil
}

// close ends it with the term.
func (t *taking) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed = true; t.copies != nil {
		t.copies.Close()
	}
}

// haltFirst has kept halts in force, wherever they can be had soon, before this server has anything carried out as the owner of the log.
func (c *cluster) haltFirst(ctx context.Context, t *taking) error {
	others, err := c.neighbours.all(ctx)
	if err != nil {
		return err
	}
	failed := make([]error, len(others)+1)
	failed[len(others)] = c.settleNow(ctx, t, c.halts.All(), c.halts.Forget)
	var asked sync.WaitGroup
	for i, o := range others {
		asked.Go(func() {
			within, done := context.WithTimeout(ctx, firstWithin)
			var is about
			err := o.Ask(within, "about", struct{}{}, &is)
			done()
			if err == nil { // who does not answer now is asked again and again
				failed[i] = c.settleNow(ctx, t, is.Halts, func(ids []string) error { return c.tellSettled(ctx, o, ids) })
			}
		})
	}
	asked.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, err := range failed {
		if errors.Is(err, errNothingAppended) {
			return err // then nothing starts either
		}
		c.unsettled(err) // such as a namespace that cannot be read: nothing starts there, and the others are not to stand still for it
	}
	c.halts.taking.Store(t)
	return nil
}

var errNothingAppended = errors.New("nothing can be appended")

// settleNow is settleHalts for a server that has just become the owner: where it fails because nothing can be appended, the error says so. A
// namespace that cannot be read has the same code, on every server, and is no reason for nobody to own the log.
func (c *cluster) settleNow(ctx context.Context, t *taking, list []sluice.KeptHalt, forget func([]string) error) error {
	err := c.settleHalts(ctx, t, list, forget)
	if sluice.CodeOf(err) != sluice.Contact {
		return err
	}
	// An append of nothing is refused where the term is over, and waits for the engine where an append has failed.
	if _, at := c.journal.Update(ctx, sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) { return nil, nil }); at != nil {
		return fmt.Errorf("%w: %w", errNothingAppended, at)
	}
	return c.settleHalts(ctx, t, list, forget)
}

// settleHalts appends halts, and has their keeper forget them.
func (c *cluster) settleHalts(ctx context.Context, t *taking, list []sluice.KeptHalt, forget func([]string) error) error {
	ids, err := t.take(ctx, list)
	if len(ids) > 0 {
		if kept := forget(ids); kept != nil { // it offers them again, and they are known
			c.s.Log.Warn("a halt that was appended is still kept", "why", kept)
		}
	}
	return err
}

// unsettled says once why halts are not appended yet.
func (c *cluster) unsettled(err error) {
	if err == nil {
		return
	}
	text := err.Error()
	if was := c.halts.said.Swap(&text); was == nil || *was != text {
		c.s.Log.Warn("a halt that a server keeps is not appended yet", "why", text)
	}
}

func (c *cluster) tellSettled(ctx context.Context, o *neighbour, ids []string) error {
	within, done := context.WithTimeout(ctx, firstWithin)
	defer done()
	return o.Ask(within, "halts/settled", ids, nil)
}

// haltsSettled forgets halts that the owner of the log has appended.
func (c *cluster) haltsSettled(_ context.Context, _ string, in json.RawMessage) (any, error) {
	var ids []string
	if err := json.Unmarshal(in, &ids); err != nil {
		return nil, sluice.Errorf(sluice.Usage, "these are no ids of halts: %v", err)
	}
	return nil, c.halts.Forget(ids)
}

// haltsOffered are halts that another server keeps; the answer is the ids of those that are settled.
func (c *cluster) haltsOffered(ctx context.Context, _ string, in json.RawMessage) (any, error) {
	var list []sluice.KeptHalt
	if err := json.Unmarshal(in, &list); err != nil {
		return nil, sluice.Errorf(sluice.Usage, "these are no halts: %v", err)
	}
	t := c.halts.taking.Load()
	if t == nil {
		return nil, sluice.Errorf(sluice.Contact, "this server does not own the log")
	}
	ids, err := t.take(ctx, list)
	if len(ids) > 0 {
		c.unsettled(err)
		err = nil // the others are offered again
	}
	return ids, err
}

// offerHalts offers what this server keeps to whoever owns the log, until ctx ends.
func (c *cluster) offerHalts(ctx context.Context) {
	for ctx.Err() == nil {
		v := c.outlook.now()
		if err := c.offer(ctx, v); ctx.Err() == nil {
			c.unsettled(err)
		}
		select {
		case <-ctx.Done():
		case <-v.turns:
		case <-time.After(offerEvery):
		}
	}
}

func (c *cluster) offer(ctx context.Context, v view) error {
	if v.term == 0 {
		return nil
	}
	if t := c.halts.taking.Load(); t != nil {
		return c.settleHalts(ctx, t, c.halts.All(), c.halts.Forget)
	}
	list := c.halts.Next()
	if len(list) == 0 || !v.another(c.seat.Name) {
		return nil
	}
	k, err := c.neighbours.of(v.owner.Name, v.owner.Address)
	if err != nil {
		return err
	}
	within, done := context.WithTimeout(ctx, aboutWithin)
	defer done()
	var ids []string
	if err := k.Ask(within, "halts/offer", list, &ids); err != nil {
		return err
	}
	return c.halts.Forget(ids)
}

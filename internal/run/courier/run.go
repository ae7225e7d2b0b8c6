package courier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/webhook"
)

// Run delivers until ctx ends. Each webhook has a goroutine of its own: one that takes nothing keeps no other waiting.
func (c *Courier) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	rounds := map[sluice.WebhookID]*round{}
	s := webhook.New()
	for ctx.Err() == nil {
		err := c.read(ctx, s)
		if err == nil {
			c.match(ctx, &all, rounds, s)
			err = c.cfg.Log.Wait(ctx, sluice.WebhookNamespace, s.Seq())
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Trouble("the webhooks cannot be read: "+err.Error(), "")
			c.rest(ctx, c.cfg.Retry, nil)
		}
	}
}

// round is the delivering of one webhook as it is set.
type round struct {
	since uint64
	stop  context.CancelFunc
	done  chan struct{}
}

// match begins and ends rounds so that they are those of the webhooks that there are.
func (c *Courier) match(ctx context.Context, all *sync.WaitGroup, rounds map[sluice.WebhookID]*round, s *webhook.State) {
	for id, r := range rounds {
		if h, err := s.Hook(id); err != nil || h.Since != r.since {
			r.stop()
			<-r.done // two rounds of one webhook must not run at once
			delete(rounds, id)
			if err != nil {
				c.forget(id)
			}
		}
	}
	for _, h := range s.List() {
		if rounds[h.ID] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		r := &round{h.Since, stop, make(chan struct{})}
		rounds[h.ID] = r
		c.mu.Lock()
		if c.reports[h.ID] == nil {
			c.reports[h.ID] = &Report{}
		}
		c.mu.Unlock()
		all.Go(func() {
			defer close(r.done)
			defer stop()
			c.keep(ctx, h)
		})
	}
}

func (c *Courier) forget(id sluice.WebhookID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reports, id)
}

// keep delivers to one webhook until ctx ends.
func (c *Courier) keep(ctx context.Context, h webhook.Hook) {
	places, err := c.cfg.Files.Places(h.ID)
	for ctx.Err() == nil {
		bell := c.bell() // before the look, so that nothing is missed after it
		more := false
		if err == nil {
			more, err = c.look(ctx, h, places)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			c.cfg.Trouble(err.Error(), h.ID)
			c.rest(ctx, c.cfg.Retry, nil)
			places, err = c.cfg.Files.Places(h.ID)
		case !more:
			c.rest(ctx, c.cfg.Retry, bell)
		}
	}
}

// look delivers a page of every namespace. more says that there was something.
func (c *Courier) look(ctx context.Context, h webhook.Hook, places map[sluice.Namespace]uint64) (more bool, err error) {
	list, err := c.cfg.Log.Namespaces(ctx)
	if err != nil {
		return false, err
	}
	for _, ns := range slices.DeleteFunc(list, func(ns sluice.Namespace) bool { return !webhook.Covers(h.Webhook, ns) }) {
		events, err := c.cfg.Log.Read(ctx, ns, places[ns], page)
		if err != nil {
			return more, err
		}
		for _, e := range events {
			if webhook.Wants(h.Webhook, ns, e) {
				if err := c.deliver(ctx, h, ns, e); err != nil {
					return more, err
				}
				places[ns] = e.Seq
				if err := c.cfg.Files.SetPlaces(h.ID, places); err != nil {
					return more, err
				}
			}
			places[ns] = e.Seq
		}
		if len(events) > 0 {
			more = true
			if err := c.cfg.Files.SetPlaces(h.ID, places); err != nil {
				return more, err
			}
		}
	}
	return more, nil
}

// deliver sends an event until it is taken or given up. An error says that it was neither.
func (c *Courier) deliver(ctx context.Context, h webhook.Hook, ns sluice.Namespace, e sluice.Event) error {
	d, err := c.made(ctx, h, ns, e)
	if err != nil {
		return err
	}
	defer c.report(h.ID, func(r *Report) { r.Waiting, r.Tries, r.Next, r.Error = time.Time{}, 0, time.Time{}, "" })
	c.report(h.ID, func(r *Report) { r.Waiting = e.Time })
	for n := 1; ; n++ {
		err := c.post(ctx, h, d)
		if err == nil {
			c.cfg.Counted("delivered")
			c.report(h.ID, func(r *Report) { r.Delivered, r.Last = r.Delivered+1, c.cfg.Clock() })
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.cfg.Counted("failed")
		if c.cfg.Clock().Sub(e.Time) >= webhook.GiveUp {
			return c.giveUp(ctx, h, ns, e, n, err)
		}
		if n == 1 {
			c.cfg.Trouble("a webhook takes nothing, and is tried again: "+err.Error(), h.ID)
		}
		wait := webhook.Wait(n, c.cfg.Chance())
		c.report(h.ID, func(r *Report) { r.Tries, r.Error, r.Next = n, err.Error(), c.cfg.Clock().Add(wait) })
		if c.rest(ctx, wait, nil); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// made makes what is sent for an event.
func (c *Courier) made(ctx context.Context, h webhook.Hook, ns sluice.Namespace, e sluice.Event) (webhook.Delivery, error) {
	if h.Form != sluice.WebhookText {
		return webhook.Deliver(h.Webhook, ns, e)
	}
	events, err := c.cfg.Log.ReadJob(ctx, ns, e.Job)
	if err != nil {
		return webhook.Delivery{}, err
	}
	until := slices.IndexFunc(events, func(o sluice.Event) bool { return o.Seq > e.Seq })
	if until >= 0 {
		events = events[:until] // what came since is told in its turn
	}
	if len(events) == 0 {
		return webhook.Delivery{}, fmt.Errorf("the journal has event %d of job %s, and not the job", e.Seq, e.Job)
	}
	return webhook.DeliverText(h.Webhook, ns, events)
}

func (c *Courier) giveUp(ctx context.Context, h webhook.Hook, ns sluice.Namespace, e sluice.Event, tries int, why error) error {
	s := webhook.New()
	err := c.read(ctx, s)
	if err == nil {
		err = c.append(ctx, s, sluice.WebhookGaveUp{ID: h.ID, In: ns, Event: e.Seq, What: e.Body.Type(), Tries: tries, Reason: why.Error()})
	}
	if err != nil {
		return errors.Join(errors.New("a delivery is to be given up, and that cannot be written down"), err)
	}
	c.cfg.Counted("given_up")
	c.cfg.Trouble("an event was not delivered for a day and is given up: "+why.Error(), h.ID)
	return nil
}

// rest waits for a time, for a bell, or for the end.
func (c *Courier) rest(ctx context.Context, d time.Duration, bell <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-bell:
	}
}

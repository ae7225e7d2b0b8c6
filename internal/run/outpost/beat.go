package outpost

import (
	"context"
	"sync"
	"time"

	"sluice"
)

// beatTimes are when beats were sent whose lease has not come yet.
type beatTimes struct {
	mu sync.Mutex
	at map[uint64]time.Time
}

// beat shows signs of life, and closes a line on which no lease comes any more.
func (o *Outpost) beat(ctx context.Context, l *link, sent *beatTimes, every <-chan time.Duration) {
	pace := firstBeat
	last := time.Now()
	asked := last // when the first beat was sent that was not answered
	for n := uint64(1); ; n++ {
		wait := pace
		sent.mu.Lock()
		silent := len(sent.at) > 3 && time.Since(last) > 4*pace
		if len(sent.at) == 0 {
			asked = time.Now()
		}
		if o.mayGoElsewhere() {
			patience := max(pace/2, leastPatience)
			silent, wait = time.Since(asked) >= patience, min(pace, patience)
		}
		sent.at[n] = time.Now()
		sent.mu.Unlock()
		if silent {
			l.line.Close()
			return
		}
		if !l.send(sluice.ToServer{Beat: &sluice.WorkerBeat{Number: n, Held: o.Held()}}) {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case pace = <-every:
			last = time.Now()
			t.Stop()
			t.Reset(pace)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
		case <-t.C:
		}
	}
}

// mayGoElsewhere reports whether there is another server to go to when this one is silent.
func (o *Outpost) mayGoElsewhere() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.servers > 1
}

// extend makes a lease longer. It begins when the beat was sent, so it ends here before it does at the server.
// It reports whether it was one for a beat of this line.
func (o *Outpost) extend(l *sluice.WorkerLease, sent *beatTimes) bool {
	sent.mu.Lock()
	at, ok := sent.at[l.Number]
	for n := range sent.at {
		if n <= l.Number {
			delete(sent.at, n)
		}
	}
	sent.mu.Unlock()
	if !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lease.life == 0 && o.cfg.Ready != nil {
		o.cfg.Ready()
	}
	o.lease = lease{at, l.For}
	o.wake()
	return true
}

// mayStart waits until the attempt was assigned on the line that there is, and for a lease on it. What was assigned on an
// earlier line may be over by now, and its host may have forgotten it: the server has to say anew that it is still this
// worker's. A lease alone does not say so, and may come before the server has found out. It is all that
// is waited for where a is nil.
func (o *Outpost) mayStart(ctx context.Context, a *attempt) error {
	for {
		var on *link
		if a != nil {
			a.mu.Lock()
			on = a.line
			a.mu.Unlock()
		}
		o.mu.Lock()
		valid, leased := (a == nil || on != nil && on == o.line) && o.lease.valid(time.Now()), o.leased
		o.mu.Unlock()
		if valid {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-leased:
		}
	}
}

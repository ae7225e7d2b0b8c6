package serving

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/run/drain"
)

// Look reads how a pool is.
func (s *Serving) Look(ctx context.Context, b sluice.Balancing) (sluice.BalancedPool, error) {
	balancer, link, err := s.open(ctx, b)
	if err != nil {
		return sluice.BalancedPool{}, err
	}
	defer func() { _ = link.Close() }()
	pool, err := balancer.Pool(ctx, b.Pool)
	if err != nil {
		return pool, &sluice.Error{Code: sluice.CodeOf(err), Text: "the pool " + b.Pool + " of " + name(b), Err: err}
	}
	return pool, nil
}

// Change takes servers out of their pools, or puts them back, by the rules by which deploys do it. Of those that are to go out all
// go, or those that did are put back. room bounds the waiting for a pool that cannot do without a server yet, limit that for
// requests in flight.
func (s *Serving) Change(ctx context.Context, of []sluice.Balancing, wanted sluice.ServerState, room, limit time.Duration, say func(drain.Note)) error {
	var seats []drain.Seat
	for _, b := range of {
		balancer, link, err := s.open(ctx, b)
		if err != nil {
			return err
		}
		defer func() { _ = link.Close() }()
		seats = append(seats, drain.Seat{Balancer: balancer, Name: name(b), Key: place(b), Pool: b.Pool, Server: b.Server, Least: b.Least, Limit: limit})
	}
	t := drain.Times{Room: room, Back: BackTime}
	var err error
	if wanted == sluice.ServerUp {
		_, err = s.Desk.Return(ctx, seats, t, say)
	} else {
		_, err = s.Desk.Drain(ctx, seats, wanted, t, say)
	}
	return err
}

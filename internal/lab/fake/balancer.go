package fake

import (
	"context"
	"slices"
	"sync"

	"sluice"
)

// Balancer is a [sluice.Balancer] in memory. What is in flight goes away as the test says.
type Balancer struct {
	// Before is called before each call, with what it is for: "pool", or "set". Its error is that of the call.
	Before func(ctx context.Context, call string) error

	mu    sync.Mutex
	pools map[string][]sluice.BalancedServer
}

var _ sluice.Balancer = (*Balancer)(nil)

// NewBalancer returns one with a pool.
func NewBalancer(pool string, servers ...sluice.BalancedServer) *Balancer {
	return &Balancer{pools: map[string][]sluice.BalancedServer{pool: slices.Clone(servers)}}
}

func (b *Balancer) before(ctx context.Context, call string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if b.Before != nil {
		return b.Before(ctx, call)
	}
	return nil
}

// Pool implements [sluice.Balancer].
func (b *Balancer) Pool(ctx context.Context, pool string) (sluice.BalancedPool, error) {
	if err := b.before(ctx, "pool"); err != nil {
		return sluice.BalancedPool{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	servers, ok := b.pools[pool]
	if !ok {
		return sluice.BalancedPool{}, sluice.Errorf(sluice.NotFound, "there is no pool %s", pool)
	}
	return sluice.BalancedPool{Name: pool, Servers: slices.Clone(servers)}, nil
}

// Set implements [sluice.Balancer].
func (b *Balancer) Set(ctx context.Context, pool, server string, state sluice.ServerState) error {
	if err := b.before(ctx, "set"); err != nil {
		return err
	}
	if state != sluice.ServerUp && !state.Out() {
		return sluice.Errorf(sluice.Usage, "a server cannot be set %s", state)
	}
	if _, ok := b.change(pool, server, func(s *sluice.BalancedServer) { s.State = state }); !ok {
		return sluice.Errorf(sluice.NotFound, "there is no server %s in %s", server, pool)
	}
	return nil
}

// Change changes a server as the world does, and returns how it is then.
func (b *Balancer) Change(pool, server string, do func(*sluice.BalancedServer)) sluice.BalancedServer {
	s, _ := b.change(pool, server, do)
	return s
}

func (b *Balancer) change(pool, server string, do func(*sluice.BalancedServer)) (sluice.BalancedServer, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.pools[pool] {
		if s := &b.pools[pool][i]; s.Name == server {
			do(s)
			return *s, true
		}
	}
	return sluice.BalancedServer{}, false
}

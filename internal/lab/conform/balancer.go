package conform

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"sluice"
)

// Balancer is the suite of [sluice.Balancer]. pool names a pool of at least three servers that are all up, with nothing in
// flight; it is left so.
func Balancer(t *testing.T, b sluice.Balancer, pool string) {
	names := func(t *testing.T) []string {
		t.Helper()
		p := readPool(t, b, pool)
		var out []string
		for _, s := range p.Servers {
			if s.State != sluice.ServerUp || s.Weight < 1 || s.InFlight > 0 {
				t.Fatalf("%+v is not up and at rest", s)
			}
			out = append(out, s.Name)
		}
		if len(out) < 3 || p.Name != pool {
			t.Fatalf("the pool %s has %q", p.Name, out)
		}
		return out
	}
	all := names(t)
	t.Run("OutAndBack", func(t *testing.T) {
		for _, want := range []sluice.ServerState{sluice.ServerDraining, sluice.ServerMaintenance, sluice.ServerUp, sluice.ServerMaintenance,
			sluice.ServerDraining, sluice.ServerUp} {
			for range 2 { // again changes nothing
				set(t, b, pool, all[1], want)
				for _, s := range readPool(t, b, pool).Servers {
					switch as := s.State; {
					case s.Name != all[1] && as != sluice.ServerUp:
						t.Errorf("%s is %s, which nobody asked for", s.Name, as)
					case s.Name == all[1] && as != want && !(as.Out() && want.Out()):
						t.Errorf("%s is %s, not %s", s.Name, as, want)
					case s.Name == all[1] && as.Out() && s.InFlight > 0:
						waitDrained(t, b, pool, s.Name)
					}
				}
			}
		}
		if again := names(t); !slices.Equal(again, all) {
			t.Errorf("the servers were %q, and are %q", all, again)
		}
	})
	t.Run("Several", func(t *testing.T) {
		set(t, b, pool, all[0], sluice.ServerDraining)
		set(t, b, pool, all[2], sluice.ServerMaintenance)
		p := readPool(t, b, pool)
		for i, out := range []bool{true, false, true} {
			if s, _ := p.Server(all[i]); s.State.Out() != out {
				t.Errorf("%s is %s", all[i], s.State)
			}
		}
		set(t, b, pool, all[2], sluice.ServerUp)
		set(t, b, pool, all[0], sluice.ServerUp)
		names(t)
	})
	t.Run("AtOnce", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, name := range all {
			wg.Go(func() {
				set(t, b, pool, name, sluice.ServerDraining)
				readPool(t, b, pool)
				set(t, b, pool, name, sluice.ServerUp)
			})
		}
		wg.Wait()
		names(t)
	})
	t.Run("NotThere", func(t *testing.T) {
		if _, err := b.Pool(t.Context(), "no-such-pool"); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("a pool that is not there: %v", err)
		}
		for _, where := range [][2]string{{pool, "no-such-server"}, {"no-such-pool", all[0]}} {
			if err := b.Set(t.Context(), where[0], where[1], sluice.ServerDraining); sluice.CodeOf(err) != sluice.NotFound {
				t.Errorf("%s in %s: %v", where[1], where[0], err)
			}
		}
		for _, name := range []string{"a b", "a;b", "a\nb", "$(a)", "'a", ""} {
			if err := b.Set(t.Context(), pool, name, sluice.ServerDraining); err == nil {
				t.Errorf("the server %q was drained", name)
			}
		}
		for _, state := range []sluice.ServerState{sluice.ServerDown, sluice.ServerUnknown, "", "ready"} {
			if err := b.Set(t.Context(), pool, all[0], state); err == nil {
				t.Errorf("it was told to have a server %q", state)
			}
		}
		names(t)
	})
	t.Run("Ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Pool(ctx, pool); !errors.Is(err, context.Canceled) {
			t.Errorf("reading: %v", err)
		}
		if err := b.Set(ctx, pool, all[0], sluice.ServerDraining); !errors.Is(err, context.Canceled) {
			t.Errorf("draining: %v", err)
		}
		names(t)
	})
}

func readPool(t *testing.T, b sluice.Balancer, pool string) sluice.BalancedPool {
	t.Helper()
	p, err := b.Pool(t.Context(), pool)
	if err != nil {
		t.Error(err)
	}
	return p
}

func set(t *testing.T, b sluice.Balancer, pool, server string, state sluice.ServerState) {
	t.Helper()
	if err := b.Set(t.Context(), pool, server, state); err != nil {
		t.Errorf("%s %s: %v", server, state, err)
	}
}

// waitDrained waits until nothing is in flight.
func waitDrained(t *testing.T, b sluice.Balancer, pool, server string) {
	t.Helper()
	for t.Context().Err() == nil {
		if s, _ := readPool(t, b, pool).Server(server); s.InFlight == 0 || t.Failed() {
			return
		}
	}
}

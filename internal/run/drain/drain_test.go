package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/lab/fake"
)

func servers(n int) (out []sluice.BalancedServer) {
	for i := range n {
		out = append(out, sluice.BalancedServer{Name: fmt.Sprintf("s%d", i+1), State: sluice.ServerUp, Weight: 1})
	}
	return out
}

func seat(b sluice.Balancer, server string, least int) Seat {
	return Seat{Balancer: b, Name: "lb", Pool: "app", Server: server, Least: sluice.Count(least), Limit: 10 * time.Second}
}

var times = Times{Room: time.Minute, Back: time.Minute}

func stateOf(t *testing.T, b sluice.Balancer, server string) sluice.ServerState {
	t.Helper()
	p, err := b.Pool(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := p.Server(server)
	return s.State
}

func TestDrainAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 2 })
		time.AfterFunc(3*time.Second, func() { b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 0 }) })
		var d Desk
		out, err := d.Drain(t.Context(), []Seat{seat(b, "s1", 2)}, sluice.ServerDraining, times, nil)
		if err != nil || out[0].Cut != 0 || out[0].Waited < 3*time.Second || out[0].Before != sluice.ServerUp {
			t.Errorf("%+v, %v", out, err)
		}
		if got := stateOf(t, b, "s1"); got != sluice.ServerDraining {
			t.Errorf("it is %s", got)
		}
		if _, err := d.Return(t.Context(), []Seat{seat(b, "s1", 2)}, times, nil); err != nil || stateOf(t, b, "s1") != sluice.ServerUp {
			t.Errorf("it is %s: %v", stateOf(t, b, "s1"), err)
		}
		b.Change("app", "s2", func(s *sluice.BalancedServer) { s.InFlight = 5 })
		if out, err = d.Drain(t.Context(), []Seat{seat(b, "s2", 2)}, sluice.ServerDraining, times, nil); err != nil || out[0].Cut != 5 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// Many at once, in one process: the pool is never under its minimum, whoever looks and whenever.
func TestMinimumHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, least = 6, 4
		b := fake.NewBalancer("app", servers(n)...)
		var mu sync.Mutex
		out := map[string]bool{}
		worst := n
		look := &watched{Balancer: b, after: func(server string, s sluice.ServerState) {
			mu.Lock()
			defer mu.Unlock()
			out[server] = s.Out()
			up := n
			for _, o := range out {
				if o {
					up--
				}
			}
			worst = min(worst, up)
		}}
		var d Desk
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				one := []Seat{seat(look, fmt.Sprintf("s%d", i+1), least)}
				if _, err := d.Drain(t.Context(), one, sluice.ServerDraining, Times{Room: time.Hour}, nil); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if _, err := d.Return(t.Context(), one, times, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if worst < least {
			t.Errorf("only %d were up", worst)
		}
	})
}

// watched tells of each change after a moment in which others may look: what a slow balancer is like.
type watched struct {
	sluice.Balancer
	after func(server string, s sluice.ServerState)
}

func (w *watched) Pool(ctx context.Context, pool string) (sluice.BalancedPool, error) {
	p, err := w.Balancer.Pool(ctx, pool)
	time.Sleep(10 * time.Millisecond)
	return p, err
}

func (w *watched) Set(ctx context.Context, pool, server string, s sluice.ServerState) error {
	time.Sleep(10 * time.Millisecond)
	err := w.Balancer.Set(ctx, pool, server, s)
	w.after(server, s)
	return err
}

// Two processes know nothing of each other. Both come to an end, and no more stay out than may.
func TestMinimumBetweenProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		slow := &watched{Balancer: b, after: func(string, sluice.ServerState) {}}
		var wg sync.WaitGroup
		for _, server := range []string{"s1", "s2"} {
			wg.Go(func() {
				var d Desk // of its own
				one := []Seat{seat(slow, server, 2)}
				if _, err := d.Drain(t.Context(), one, sluice.ServerDraining, Times{Room: time.Hour}, nil); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // the other one may just be finding out, and putting its own back
				p, err := b.Pool(t.Context(), "app")
				if held := balance.StillHolds(p, server, sluice.Count(2)); err != nil || !held.OK {
					t.Errorf("%s, %v", held.Text(), err)
				}
				time.Sleep(time.Minute)
				if _, err := d.Return(t.Context(), one, times, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestNoPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(2)...)
		b.Change("app", "s2", func(s *sluice.BalancedServer) { s.State = sluice.ServerDown })
		var d Desk
		drained := func(server string) error {
			_, err := d.Drain(t.Context(), []Seat{seat(b, server, 1)}, sluice.ServerDraining, times, nil)
			return err
		}
		if err := drained("s1"); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "s2 is down") {
			t.Errorf("the last one: %v", err)
		}
		if err := drained("s9"); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("one that is not there: %v", err)
		}
		b.Before = func(_ context.Context, call string) error {
			if call == "pool" {
				return errors.New("no socket")
			}
			t.Error("it was told, though nobody could read it")
			return nil
		}
		if err := drained("s1"); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("unread: %v", err)
		}
		b.Before = nil
		if got := stateOf(t, b, "s1"); got != sluice.ServerUp {
			t.Errorf("it is %s", got)
		}
	})
}

// A balancer that is reloaded forgets: who was out is taken out again.
func TestSlipsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 1 })
		time.AfterFunc(2*time.Second, func() { b.Change("app", "s1", func(s *sluice.BalancedServer) { s.State = sluice.ServerUp }) })
		time.AfterFunc(5*time.Second, func() { b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 0 }) })
		var d Desk
		var said []string
		out, err := d.Drain(t.Context(), []Seat{seat(b, "s1", 2)}, sluice.ServerDraining, times, func(n Note) { said = append(said, n.Text) })
		if err != nil || out[0].Cut != 0 || stateOf(t, b, "s1") != sluice.ServerDraining || !strings.Contains(strings.Join(said, "\n"), "was reloaded") {
			t.Errorf("%+v, %v, %q", out, err, said)
		}
	})
}

// TestSlipsBackLate: whatever came to a server that slipped back has the whole time to end, and not what was left of it; and one that
// somebody wants up is not taken out for ever.
func TestSlipsBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 1 })
		time.AfterFunc(8*time.Second, func() { // it was reloaded and forgot, while another one is down
			b.Change("app", "s1", func(s *sluice.BalancedServer) { s.State, s.InFlight = sluice.ServerUp, 9 })
			b.Change("app", "s2", func(s *sluice.BalancedServer) { s.State = sluice.ServerDown })
		})
		time.AfterFunc(20*time.Second, func() { b.Change("app", "s2", func(s *sluice.BalancedServer) { s.State = sluice.ServerUp }) })
		time.AfterFunc(24*time.Second, func() { b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 0 }) })
		var d Desk
		out, err := d.Drain(t.Context(), []Seat{seat(b, "s1", 2)}, sluice.ServerDraining, times, func(Note) {})
		if err != nil || out[0].Cut != 0 {
			t.Errorf("%+v %v", out, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 1 })
		b.Before = func(_ context.Context, call string) error {
			if call == "pool" {
				b.Change("app", "s1", func(s *sluice.BalancedServer) { s.State = sluice.ServerUp })
			}
			return nil
		}
		var d Desk
		if out, err := d.Drain(t.Context(), []Seat{seat(b, "s1", 2)}, sluice.ServerDraining, times, func(Note) {}); err == nil {
			t.Errorf("%+v", out)
		}
	})
}

// What cannot be done in all balancers is undone in those where it was.
func TestUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := fake.NewBalancer("app", servers(3)...), fake.NewBalancer("app", servers(1)...)
		seats := []Seat{seat(two, "s1", 1), seat(one, "s1", 1)}
		seats[0].Name, seats[1].Name = "lb2", "lb1"
		var d Desk
		var r record
		if _, err := d.Drain(t.Context(), seats, sluice.ServerDraining, times, r.say); err == nil || !strings.Contains(err.Error(), "lb2") {
			t.Errorf("got %v", err)
		}
		// The one that may not go is looked at last, and nothing was done to it.
		r.want(t, "lb2 s1: draining, was -, is -, error", "lb1 s1: up, was up, is up")
		if got := stateOf(t, one, "s1"); got != sluice.ServerUp {
			t.Errorf("it is %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		one.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 1 })
		time.AfterFunc(time.Second, cancel)
		if _, err := d.Drain(ctx, seats[1:], sluice.ServerDraining, times, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if got := stateOf(t, one, "s1"); got != sluice.ServerUp {
			t.Errorf("it is %s", got)
		}
	})
}

// A balancer that died meanwhile keeps no server out of the others, wherever it is among them.
func TestUndoneBesideADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := fake.NewBalancer("app", servers(2)...), fake.NewBalancer("app", servers(2)...), fake.NewBalancer("app", servers(1)...)
		dead := false
		one.Before = func(context.Context, string) error {
			if dead {
				return errors.New("no socket")
			}
			return nil
		}
		three.Before = func(context.Context, string) error { dead = true; return nil }
		seats := []Seat{seat(one, "s1", 1), seat(two, "s1", 1), seat(three, "s1", 1)}
		seats[0].Name, seats[1].Name, seats[2].Name = "lb1", "lb2", "lb3"
		var d Desk
		var r record
		start := time.Now()
		var said time.Duration
		_, err := d.Drain(t.Context(), seats, sluice.ServerDraining, times, func(n Note) {
			if r.say(n); n.Balancer == "lb3" {
				start = time.Now()
			} else if n.Balancer == "lb2" {
				said = time.Since(start)
			}
		})
		if err == nil || !strings.Contains(err.Error(), "s1 in app of lb1: it could not be put back: no socket") {
			t.Errorf("got %v", err)
		}
		if got := stateOf(t, two, "s1"); got != sluice.ServerUp || said > time.Second {
			t.Errorf("in the balancer that is well it is %s after %s", got, said)
		}
		r.want(t, "lb3 s1: draining, was -, is -, error", "lb2 s1: up, was up, is up", "lb1 s1: up, was up, is unknown, error")
	})
}

// record is what is for the record.
type record []string

func (r *record) say(n Note) {
	c := n.Changed
	if c == nil {
		return
	}
	text := fmt.Sprintf("%s %s: %s, was %s, is %s", c.Balancer, c.Server, c.Wanted, cmp.Or(c.Before, "-"), cmp.Or(c.State, "-"))
	if c.Cut != 0 {
		text += fmt.Sprintf(", %d cut", c.Cut)
	}
	if c.Error != "" {
		text += ", error"
	}
	*r = append(*r, text)
}

func (r *record) want(t *testing.T, all ...string) {
	t.Helper()
	if !slices.Equal(*r, all) {
		t.Errorf("the record has %q, want %q", *r, all)
	}
	*r = nil
}

// What is done is for the record, as it was read back; what could not be, with the reason.
func TestForTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		var d Desk
		var r record
		var waited int64
		at := []Seat{seat(b, "s1", 2)}
		at[0].Key = "the same" // what it is called is for people
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.InFlight = 2 })
		if _, err := d.Drain(t.Context(), at, sluice.ServerDraining, times, func(n Note) {
			if r.say(n); n.Changed != nil {
				waited = n.Changed.WaitedMS
			}
		}); err != nil {
			t.Fatal(err)
		}
		r.want(t, "lb s1: draining, was up, is draining, 2 cut")
		if waited < 10_000 || waited > 12_000 {
			t.Errorf("it waited %d ms, and the limit is 10 s", waited)
		}
		if _, err := d.Drain(t.Context(), at, sluice.ServerMaintenance, times, r.say); err != nil {
			t.Fatal(err)
		}
		r.want(t, "lb s1: maintenance, was draining, is maintenance, 2 cut")
		if _, err := d.Return(t.Context(), at, times, r.say); err != nil {
			t.Fatal(err)
		}
		r.want(t, "lb s1: up, was maintenance, is up")
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.State = sluice.ServerDown })
		if _, err := d.Return(t.Context(), at, times, r.say); err == nil {
			t.Error("it is back")
		}
		r.want(t, "lb s1: up, was down, is down, error")
	})
}

// A balancer whose own checks do not find the server does not have it back.
func TestNotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fake.NewBalancer("app", servers(3)...)
		b.Change("app", "s1", func(s *sluice.BalancedServer) { s.State = sluice.ServerDown })
		var d Desk
		if _, err := d.Return(t.Context(), []Seat{seat(b, "s1", 1)}, times, nil); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "is down after 1m") {
			t.Errorf("got %v", err)
		}
	})
}

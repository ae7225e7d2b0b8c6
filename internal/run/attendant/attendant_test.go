package attendant_test

import (
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
	"sluice/internal/core/converge"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/attendant"
	"sluice/internal/run/control"
)

const every = 5 * time.Minute

// yard is a log with an attendant on it, and an app whose hosts the test breaks. It lives in a bubble of synctest.
type yard struct {
	*fake.Log
	end  context.CancelFunc
	over chan struct{}

	mu      sync.Mutex
	every   time.Duration
	jobs    []converge.Job
	lacks   []converge.Host
	bad     error // why nothing can be looked at
	denied  error // why whoever applied the fleet may not
	refused error // why nothing can be submitted
	looks   []time.Duration
	asked   int
	made    []string
	told    []string
	begun   time.Time
}

func newYard(t *testing.T) *yard {
	y := &yard{Log: fake.NewLog(), over: make(chan struct{}), every: every, begun: time.Now()}
	y.adds(t, sluice.FleetApplied{Version: 1})
	return y
}

func (y *yard) adds(t *testing.T, body sluice.Body) {
	t.Helper()
	_, err := y.Log.Update(context.Background(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: time.Now(), Body: body}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (y *yard) open(ctx context.Context) *yard {
	ctx, y.end = context.WithCancel(ctx)
	say := func(format string, a ...any) {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.told = append(y.told, fmt.Sprintf(format, a...))
	}
	go func() {
		defer close(y.over)
		attendant.Run(ctx, attendant.Config{Log: y, Clock: time.Now, Look: y.look, Retry: 5 * time.Second,
			May: func(_ context.Context, by sluice.Principal, ns sluice.Namespace, hosts []sluice.Host) error {
				y.mu.Lock()
				defer y.mu.Unlock()
				y.asked++
				return y.denied
			},
			Submit: func(_ context.Context, by sluice.Principal, c *control.Converging, hosts []sluice.Host) (sluice.JobID, error) {
				y.mu.Lock()
				defer y.mu.Unlock()
				if y.refused != nil {
					return "", y.refused
				}
				id := sluice.JobID(fmt.Sprintf("%012d", len(y.made)))
				y.made = append(y.made, fmt.Sprintf("%s %s/%s %v", by, c.Name, c.Env, hosts))
				tried := map[sluice.Host]bool{}
				for _, h := range hosts {
					tried[h] = false
				}
				y.jobs = slices.Insert(y.jobs, 0, converge.Job{ID: id, Itself: true, State: schedule.Running, Tried: tried})
				return id, nil
			},
			Left:      func(ns sluice.Namespace, l converge.Left) { say("%s %s/%s %v: %s", ns, l.App, l.Env, l.Hosts, l.Why) },
			Submitted: func(ns sluice.Namespace, job sluice.JobID, app, env string, hosts []sluice.Host) {},
			Trouble:   func(ns sluice.Namespace, err error) { say("trouble of %s: %v", ns, err) }})
	}()
	synctest.Wait()
	return y
}

func (y *yard) look(_ context.Context, ns sluice.Namespace) (control.Convergence, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.looks = append(y.looks, time.Since(y.begun))
	c := control.Converging{App: converge.App{Name: "shop", Env: "production", Jobs: slices.Clone(y.jobs), Hosts: slices.Clone(y.lacks)}}
	return control.Convergence{By: "ann", Apps: []control.Converging{c}, Limits: converge.Limits{Every: y.every}, Until: 1}, y.bad
}

// now lets something be otherwise from now on, and what follows happen.
func (y *yard) now(change func()) {
	y.mu.Lock()
	change()
	y.mu.Unlock()
	synctest.Wait()
}

func (y *yard) wants(t *testing.T, what string, made []string, told ...string) {
	t.Helper()
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	if !slices.Equal(y.made, made) {
		t.Errorf("%s: submitted are %q, want %q", what, y.made, made)
	}
	if !slices.Equal(y.told, told) {
		t.Errorf("%s: told is %q, want %q", what, y.told, told)
	}
}

func (y *yard) close() {
	y.end()
	<-y.over
}

func TestItLooksAtTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t).open(t.Context())
		defer y.close()
		y.wants(t, "nothing is missing", nil)
		y.now(func() { y.lacks = []converge.Host{{Name: "web1"}, {Name: "web2", Why: "held"}} })
		time.Sleep(every - time.Second)
		y.wants(t, "before it is time", nil)
		time.Sleep(time.Second)
		one := []string{"ann shop/production [web1]"}
		left := "prod shop/production [web2]: held"
		y.wants(t, "then", one, left)
		runs := "prod shop/production []: job 000000000000 changes it now"
		time.Sleep(3 * every)
		y.wants(t, "while that runs", one, left, runs)
		y.now(func() { y.jobs[0].State, y.lacks = schedule.Succeeded, y.lacks[1:] })
		time.Sleep(3 * every)
		y.wants(t, "when it has succeeded", one, left, runs, left)
		same := []time.Duration{0}
		for i := range 7 {
			same = append(same, time.Duration(i+1)*every)
		}
		if !slices.Equal(y.looks, same) {
			t.Errorf("it looked at %v", y.looks)
		}
	})
}

// TestSomethingWakesIt: a release, a return and another fleet, and nothing else.
func TestSomethingWakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t).open(t.Context())
		defer y.close()
		time.Sleep(time.Second)
		for _, c := range []struct {
			body  sluice.Body
			wakes int
		}{
			{sluice.HostHeld{Host: "web1"}, 0}, {sluice.HostReleased{Host: "web1"}, 1}, {sluice.HostRetired{Host: "web1"}, 0},
			{sluice.HostReturned{Host: "web1"}, 1}, {sluice.FleetApplied{Version: 2}, 1},
		} {
			before := len(y.looks)
			y.adds(t, c.body)
			synctest.Wait()
			if got := len(y.looks) - before; got != c.wakes {
				t.Errorf("%T: it looked %d times", c.body, got)
			}
		}
	})
}

// TestWhereNoFleetSaysSo: nothing is done, and only another fleet is a reason to look.
func TestWhereNoFleetSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.every, y.lacks = 0, []converge.Host{{Name: "web1"}}
		y.open(t.Context())
		defer y.close()
		y.adds(t, sluice.HostReleased{Host: "web1"})
		time.Sleep(100 * every)
		synctest.Wait()
		if y.wants(t, "off", nil); len(y.looks) != 1 {
			t.Errorf("it looked %d times", len(y.looks))
		}
		y.now(func() { y.every = every })
		y.adds(t, sluice.FleetApplied{Version: 2})
		y.wants(t, "on", []string{"ann shop/production [web1]"})
	})
}

// TestWhoMayNot is told once, and asked for the right each time.
func TestWhoMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.lacks, y.denied = []converge.Host{{Name: "web1"}}, sluice.Errorf(sluice.Denied, "no right")
		y.open(t.Context())
		defer y.close()
		time.Sleep(10 * every)
		refusal := "prod shop/production [web1]: ann applied the fleet, and may not: no right"
		y.wants(t, "refused", nil, refusal)
		if y.asked != 11 {
			t.Errorf("asked %d times", y.asked)
		}
		y.now(func() { y.denied, y.refused = nil, sluice.Errorf(sluice.Conflict, "changed since") })
		time.Sleep(10 * every)
		conflict := "prod shop/production [web1]: changed since"
		y.wants(t, "not taken", nil, refusal, conflict)
		y.now(func() { y.refused = nil })
		time.Sleep(every)
		y.wants(t, "taken", []string{"ann shop/production [web1]"}, refusal, conflict)
	})
}

// TestWhatCannotBeLookedAt is tried again, and told once; what lasts ends it.
func TestWhatCannotBeLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		y.bad, y.lacks = errors.New("no room"), []converge.Host{{Name: "web1"}}
		y.open(t.Context())
		defer y.close()
		time.Sleep(time.Minute)
		y.wants(t, "no contact", nil, "trouble of prod: no room")
		y.now(func() { y.bad = nil })
		time.Sleep(5 * time.Second)
		y.wants(t, "contact", []string{"ann shop/production [web1]"}, "trouble of prod: no room")
		y.now(func() { y.bad = sluice.Errorf(sluice.Contact, "the disk failed").Lasts() })
		time.Sleep(10 * every)
		synctest.Wait()
		if got := y.told[len(y.told)-1]; !strings.Contains(got, "nothing converges by itself any more") {
			t.Errorf("told: %q", got)
		}
		looks := len(y.looks)
		time.Sleep(10 * every)
		if len(y.looks) != looks {
			t.Error("it looks on")
		}
	})
}

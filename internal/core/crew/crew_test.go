package crew_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/crew"
)

const lease = 15 * time.Second

// model is what the orders of a crew have made true so far: who was told to carry out what.
type model struct {
	t      *rapid.T
	s      *crew.State
	now    time.Time
	on     map[sluice.AttemptID]sluice.WorkerName // of the tasks
	pool   map[sluice.AttemptID]sluice.Pool
	only   map[sluice.AttemptID]sluice.WorkerName
	shut   map[sluice.AttemptID]bool
	sent   map[sluice.AttemptID]bool                       // was given before
	holds  map[sluice.WorkerName]map[sluice.AttemptID]bool // of the workers themselves
	limit  map[sluice.WorkerName]int
	pools  map[sluice.WorkerName][]sluice.Pool
	live   map[sluice.WorkerName]bool
	drain  map[sluice.WorkerName]bool
	heard  map[sluice.WorkerName]time.Time
	barred map[sluice.AttemptID]time.Time // until then a worker that was removed may start it
	back   map[sluice.AttemptID]time.Time // when it was given back
	next   int
}

// obey does what is ordered, and complains about what must not be.
func (m *model) obey(orders []crew.Order, joined sluice.WorkerName) {
	for _, o := range orders {
		switch o.Kind {
		case crew.Give:
			_, is := m.pool[o.Attempt]
			held := m.holds[o.Worker][o.Attempt]
			switch {
			case !is:
				m.t.Fatalf("%s is given to %s, and nobody waits for it", o.Attempt, o.Worker)
			case !m.live[o.Worker]:
				m.t.Fatalf("%s is given to %s, which is not there", o.Attempt, o.Worker)
			case !held && m.drain[o.Worker]:
				m.t.Fatalf("%s is given to %s, which drains", o.Attempt, o.Worker)
			case !held && !slices.Contains(m.pools[o.Worker], m.pool[o.Attempt]):
				m.t.Fatalf("%s of the pool %s is given to %s", o.Attempt, m.pool[o.Attempt], o.Worker)
			case !held && m.shut[o.Attempt]:
				m.t.Fatalf("%s is given to %s, and nobody may have it", o.Attempt, o.Worker)
			case !held && m.only[o.Attempt] != "" && m.only[o.Attempt] != o.Worker:
				m.t.Fatalf("%s is given to %s, and only %s may have it", o.Attempt, o.Worker, m.only[o.Attempt])
			case !held && m.now.Before(m.barred[o.Attempt]):
				m.t.Fatalf("%s is given to %s, and who had it may still start it", o.Attempt, o.Worker)
			case !held && m.now.Sub(m.back[o.Attempt]) < 100*time.Millisecond:
				m.t.Fatalf("%s is given to %s, and was given back just now", o.Attempt, o.Worker)
			case o.Kept && m.on[o.Attempt] != o.Worker:
				m.t.Fatalf("%s is kept by %s, and was with %q", o.Attempt, o.Worker, m.on[o.Attempt])
			case m.sent[o.Attempt] && !o.Resumed:
				m.t.Fatalf("%s was given before, and %s is not told so", o.Attempt, o.Worker)
			}
			m.on[o.Attempt], m.sent[o.Attempt], m.holds[o.Worker][o.Attempt] = o.Worker, true, true
			load := 0
			for _, w := range m.on {
				if w == o.Worker {
					load++
				}
			}
			if load > m.limit[o.Worker] && !held {
				m.t.Fatalf("%s has %d attempts, and room for %d", o.Worker, load, m.limit[o.Worker])
			}
		case crew.Drop:
			delete(m.holds[o.Worker], o.Attempt)
		case crew.Cut:
			m.lose(o.Worker)
		}
	}
}

func (m *model) lose(w sluice.WorkerName) {
	m.live[w] = false
	for a, on := range m.on {
		if on == w {
			m.on[a] = ""
		}
	}
}

var pools = []sluice.Pool{"default", "dmz"}

func (m *model) actions() map[string]func(*rapid.T) {
	worker := rapid.SampledFrom([]sluice.WorkerName{"w1", "w2", "w3"})
	only := rapid.SampledFrom([]sluice.WorkerName{"", "w1", "w2"})
	return map[string]func(*rapid.T){
		"": func(t *rapid.T) { m.t = t; m.check() },
		"add": func(t *rapid.T) {
			m.t = t
			m.next++
			a := sluice.NewAttemptID("0123456789ab", m.next, 1)
			task := crew.Task{Attempt: a, Job: "0123456789ab", Pool: rapid.SampledFrom(pools).Draw(t, "pool"), Only: only.Draw(t, "only"), Shut: rapid.Bool().Draw(t, "shut"),
				Resumed: rapid.Bool().Draw(t, "resumed"), Reconnect: time.Minute}
			m.pool[a], m.only[a], m.shut[a], m.sent[a], m.on[a] = task.Pool, task.Only, task.Shut, task.Resumed, ""
			m.obey(m.s.Add(task, m.now), "")
		},
		"reserve": func(t *rapid.T) {
			m.t = t
			for _, a := range slices.Sorted(maps.Keys(m.pool)) {
				m.only[a], m.shut[a] = only.Draw(t, "only"), rapid.Bool().Draw(t, "shut")
				m.obey(m.s.Reserve(a, m.only[a], m.shut[a], m.now), "")
			}
		},
		"join": func(t *rapid.T) {
			m.t = t
			w := worker.Draw(t, "worker")
			var held []sluice.WorkerHeld
			keeps := map[sluice.AttemptID]bool{}
			if rapid.Bool().Draw(t, "remembers") {
				for n := range m.next {
					if a := sluice.NewAttemptID("0123456789ab", n+1, 1); m.holds[w][a] {
						keeps[a] = true
						held = append(held, sluice.WorkerHeld{Attempt: a, Ended: rapid.Bool().Draw(t, "ended")})
					}
				}
			}
			m.holds[w] = keeps
			for a, on := range m.on {
				if on == w && !keeps[a] {
					m.on[a] = ""
				}
			}
			m.heard[w] = m.now
			m.live[w], m.limit[w] = true, rapid.IntRange(1, 3).Draw(t, "limit")
			m.pools[w] = rapid.SampledFrom([][]sluice.Pool{pools, pools[:1], pools[1:]}).Draw(t, "pools")
			m.obey(m.s.Join(crew.Member{Name: w, Pools: m.pools[w], Limit: m.limit[w], Draining: m.drain[w]}, held, m.now), w)
		},
		"beat": func(t *rapid.T) {
			w := worker.Draw(t, "worker")
			m.heard[w] = m.now
			if got := m.s.Beat(w, m.now); got != m.live[w] {
				t.Fatalf("a beat of %s: %v, want %v", w, got, m.live[w])
			}
		},
		"remove": func(t *rapid.T) {
			m.t = t
			w := worker.Draw(t, "worker")
			for a, on := range m.on {
				if on == w && m.live[w] {
					m.barred[a] = m.heard[w].Add(lease)
				}
			}
			if _, known := m.limit[w]; known {
				m.drain[w] = false
				delete(m.limit, w)
			}
			m.obey(m.s.Remove(w, m.now), "")
			m.live[w] = false
		},
		"time": func(t *rapid.T) {
			m.t = t
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			m.obey(m.s.Tick(m.now), "")
			if at, ok := m.s.Next(); ok && !at.After(m.now) {
				t.Fatalf("after a tick there is still something to do")
			}
		},
		"drain": func(t *rapid.T) {
			m.t = t
			w, on := worker.Draw(t, "worker"), rapid.Bool().Draw(t, "on")
			if _, known := m.limit[w]; known {
				m.drain[w] = on
			}
			m.obey(m.s.Drain(w, on), "")
		},
		"give back": func(t *rapid.T) {
			m.t = t
			for _, a := range slices.Sorted(maps.Keys(m.pool)) {
				w := m.on[a]
				if w == "" || !m.live[w] || !rapid.Bool().Draw(t, "this one") {
					continue
				}
				delete(m.holds[w], a)
				m.on[a], m.back[a] = "", m.now
				m.s.Forget(w, a)
				m.obey(m.s.Again(a, "its disk is full", m.now), "")
			}
		},
		"end": func(t *rapid.T) {
			m.t = t
			for n := range m.next {
				a := sluice.NewAttemptID("0123456789ab", n+1, 1)
				if _, is := m.pool[a]; is {
					for _, holds := range m.holds {
						delete(holds, a)
					}
					delete(m.pool, a)
					delete(m.on, a)
					m.obey(m.s.End(a, false), "")
					return
				}
			}
		},
	}
}

// check: who waits is told why, and nobody waits while there is room.
func (m *model) check() {
	for a, on := range m.on {
		why, _ := m.s.Waits(a)
		if (on == "") != (why != "") {
			m.t.Fatalf("%s is with %q, and waits because %q", a, on, why)
		}
		if on != "" || m.shut[a] || m.now.Before(m.barred[a]) || m.now.Sub(m.back[a]) < 10*time.Second {
			continue
		}
		for _, w := range m.s.Members() {
			if w.Live && !w.Draining && w.Running < w.Limit && slices.Contains(w.Pools, m.pool[a]) && (m.only[a] == "" || m.only[a] == w.Name) {
				m.t.Fatalf("%s waits, and %s has room", a, w.Name)
			}
		}
	}
	for _, w := range m.s.Members() {
		load := 0
		for _, on := range m.on {
			if on == w.Name {
				load++
			}
		}
		if w.Running != load {
			m.t.Fatalf("%s has %d attempts, and counts %d", w.Name, load, w.Running)
		}
	}
}

// TestCrew: whatever comes and goes, attempts are given to live workers of their pool with room, and nobody is given one
// that another may have without being told.
func TestCrew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, s: crew.New(lease), now: time.Unix(0, 0), on: map[sluice.AttemptID]sluice.WorkerName{}, pool: map[sluice.AttemptID]sluice.Pool{},
			only: map[sluice.AttemptID]sluice.WorkerName{}, shut: map[sluice.AttemptID]bool{}, sent: map[sluice.AttemptID]bool{}, holds: map[sluice.WorkerName]map[sluice.AttemptID]bool{},
			limit: map[sluice.WorkerName]int{}, pools: map[sluice.WorkerName][]sluice.Pool{}, live: map[sluice.WorkerName]bool{}, drain: map[sluice.WorkerName]bool{},
			heard: map[sluice.WorkerName]time.Time{}, barred: map[sluice.AttemptID]time.Time{}, back: map[sluice.AttemptID]time.Time{}}
		for _, w := range []sluice.WorkerName{"w1", "w2", "w3"} {
			m.holds[w] = map[sluice.AttemptID]bool{}
		}
		t.Repeat(m.actions())
	})
}

// TestLostAndGivenUp: a worker that is silent for a lease is lost; what it had waits for another, and then nobody knows.
func TestLostAndGivenUp(t *testing.T) {
	s, now := crew.New(lease), time.Unix(0, 0)
	s.Join(crew.Member{Name: "w1", Pools: pools, Limit: 1}, nil, now)
	a := sluice.NewAttemptID("0123456789ab", 0, 1)
	if got := s.Add(crew.Task{Attempt: a, Job: "0123456789ab", Reconnect: time.Minute}, now); fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.Give, Attempt: a, Worker: "w1"}}) {
		t.Errorf("added: %+v", got)
	}
	if got := s.Tick(now.Add(lease - 1)); got != nil {
		t.Errorf("before the lease ended: %+v", got)
	}
	if got := s.Tick(now.Add(lease)); fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.Cut, Worker: "w1"}}) {
		t.Errorf("at its end: %+v", got)
	}
	if got := s.Tick(now.Add(lease + time.Minute)); fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.GiveUp, Attempt: a, Why: "its worker was lost, and no worker of pool default is connected"}}) {
		t.Errorf("a minute later: %+v", got)
	}
	// One that was never given waits for ever.
	b := sluice.NewAttemptID("0123456789ab", 1, 1)
	s.Add(crew.Task{Attempt: b, Job: "0123456789ab", Reconnect: time.Minute}, now)
	if got := s.Tick(now.Add(1000 * time.Hour)); got != nil {
		t.Errorf("one that nobody had: %+v", got)
	}
}

// TestGivenBack: an attempt that a worker cannot carry out goes to another one, after a pause that grows; who waits is told
// what the last one said, and where they all give it back for too long, that is the end of it.
func TestGivenBack(t *testing.T) {
	begin := time.Unix(0, 0)
	s, now := crew.New(time.Hour), begin
	a := sluice.NewAttemptID("0123456789ab", 0, 1)
	s.Join(crew.Member{Name: "w1", Pools: pools, Limit: 1}, nil, now)
	s.Add(crew.Task{Attempt: a, Job: "0123456789ab", Reconnect: time.Minute}, now)
	s.Join(crew.Member{Name: "w2", Pools: pools, Limit: 9}, nil, now)
	given, on := 0, sluice.WorkerName("w1")
	for last := time.Duration(0); ; given++ {
		if got := s.Again(a, "its disk is full", now); got != nil {
			t.Fatalf("given back at %v: %+v", now.Sub(begin), got)
		}
		if why, until := s.Waits(a); why != "worker "+string(on)+" gave it back: its disk is full" || until != "it is given again" {
			t.Fatalf("%q until %q", why, until)
		}
		at, ok := s.Next()
		pause := at.Sub(now)
		if last = min(max(100*time.Millisecond, 2*last), 10*time.Second); !ok || pause > last {
			t.Fatalf("%v, %v; want at most %v", pause, ok, last)
		}
		now = at
		got := s.Tick(now)
		if len(got) == 1 && got[0].Kind == crew.GiveUp {
			if want := "worker " + string(on) + " gave it back: its disk is full"; got[0].Why != want || now.Sub(begin) != time.Minute {
				t.Errorf("after %v: %+v", now.Sub(begin), got)
			}
			break
		}
		other := map[sluice.WorkerName]sluice.WorkerName{"w1": "w2", "w2": "w1"}[on]
		if fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.Give, Attempt: a, Worker: other, Resumed: true}}) {
			t.Fatalf("after %v: %+v", now.Sub(begin), got)
		}
		on = other
	}
	if given < 8 || given > 14 {
		t.Errorf("it was given %d times", given)
	}
}

// TestGivenBackLater: what was carried out for a long time and is given back then is not given up at once.
func TestGivenBackLater(t *testing.T) {
	s, now := crew.New(100*time.Hour), time.Unix(0, 0)
	a := sluice.NewAttemptID("0123456789ab", 0, 1)
	s.Join(crew.Member{Name: "w1", Pools: pools, Limit: 1}, nil, now)
	s.Add(crew.Task{Attempt: a, Job: "0123456789ab", Reconnect: time.Minute}, now)
	for range 3 {
		s.Again(a, "its disk is full", now)
		now = now.Add(100 * time.Millisecond)
		if got := s.Tick(now); len(got) != 1 || got[0].Kind != crew.Give {
			t.Fatalf("%+v", got)
		}
		now = now.Add(time.Hour)
	}
}

// TestRoster: an invitation is good once, for its name and its time; certificates count until they are replaced.
func TestRoster(t *testing.T) {
	r, now := crew.NewRoster(), time.Unix(1000, 0)
	add := func(b sluice.Body) {
		t.Helper()
		if err := r.Apply(sluice.Event{Seq: r.Seq() + 1, Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	admit := func(serial string, want bool) {
		t.Helper()
		if _, err := r.Admit("w1", serial); (err == nil) != want {
			t.Errorf("with %s: %v", serial, err)
		}
	}
	add(sluice.WorkerInvited{Worker: "w1", Pools: pools, Digest: crew.Digest("secret"), Expires: now.Add(time.Minute)})
	for _, c := range []struct {
		name   sluice.WorkerName
		secret string
		at     time.Time
		ok     bool
	}{{"w1", "secret", now, true}, {"w2", "secret", now, false}, {"w1", "other", now, false}, {"w1", "", now, false}, {"w1", "secret", now.Add(time.Minute), false}} {
		if err := r.MayEnrol(c.name, c.secret, c.at); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	admit("1", false)
	add(sluice.WorkerEnrolled{Worker: "w1", Serial: "1"})
	admit("1", true)
	if r.MayEnrol("w1", "secret", now) == nil {
		t.Error("the token is good twice")
	}
	add(sluice.WorkerRenewed{Worker: "w1", Serial: "2"})
	admit("1", true) // until the new one has arrived
	admit("2", true)
	add(sluice.WorkerRenewed{Worker: "w1", Serial: "3"})
	admit("1", false)
	add(sluice.WorkerInvited{Worker: "w1", Pools: pools[:1], Digest: crew.Digest("again"), Expires: now.Add(time.Minute)})
	admit("3", true)
	add(sluice.WorkerEnrolled{Worker: "w1", Serial: "4"})
	admit("3", false)
	add(sluice.WorkerRemoved{Worker: "w1"})
	admit("4", false)
	if len(r.All()) != 0 {
		t.Errorf("there are %+v", r.All())
	}
}

// TestWhatAnEarlierServerGave: what a worker brings along is its own at once; the rest waits until no worker of the earlier
// server may start it, and what nobody ever had does not wait.
func TestWhatAnEarlierServerGave(t *testing.T) {
	now := time.Unix(100, 0)
	s := crew.New(lease)
	s.Hold(now.Add(lease))
	brought, lost, fresh := sluice.NewAttemptID("0123456789ab", 1, 1), sluice.NewAttemptID("0123456789ab", 2, 1), sluice.NewAttemptID("0123456789ab", 3, 1)
	given := func(orders []crew.Order) (out []sluice.AttemptID) {
		for _, o := range orders {
			if o.Kind == crew.Give {
				out = append(out, o.Attempt)
			}
		}
		return out
	}
	for a, resumed := range map[sluice.AttemptID]bool{brought: true, lost: true} {
		s.Add(crew.Task{Attempt: a, Resumed: resumed, Reconnect: time.Minute}, now)
	}
	w := crew.Member{Name: "w1", Pools: []sluice.Pool{sluice.DefaultPool}, Limit: 9}
	if got := given(s.Join(w, []sluice.WorkerHeld{{Attempt: brought}}, now)); !slices.Equal(got, []sluice.AttemptID{brought}) {
		t.Errorf("when it comes it is given %v", got)
	}
	if got := given(s.Add(crew.Task{Attempt: fresh, Reconnect: time.Minute}, now)); !slices.Equal(got, []sluice.AttemptID{fresh}) {
		t.Errorf("a new one: %v", got)
	}
	if why, _ := s.Waits(lost); why == "" {
		t.Error("nobody says why the other one waits")
	}
	s.Beat("w1", now.Add(lease-time.Second))
	if got := given(s.Tick(now.Add(lease - 1))); len(got) > 0 {
		t.Errorf("too early: %v", got)
	}
	if at, ok := s.Next(); !ok || !at.Equal(now.Add(lease)) {
		t.Errorf("it is looked again at %v", at)
	}
	if got := given(s.Tick(now.Add(lease))); !slices.Equal(got, []sluice.AttemptID{lost}) {
		t.Errorf("then: %v", got)
	}
}

// TestWhatAnotherMayStartIsNotForgotten: a worker that comes back with an outcome, while another one may start the attempt,
// keeps it until that one has ended or its lease is over. Then it is asked for, or told that it need not keep it.
func TestWhatAnotherMayStartIsNotForgotten(t *testing.T) {
	a := sluice.NewAttemptID("0123456789ab", 1, 1)
	member := func(name sluice.WorkerName) crew.Member {
		return crew.Member{Name: name, Pools: []sluice.Pool{sluice.DefaultPool}, Limit: 9}
	}
	ended := []sluice.WorkerHeld{{Attempt: a, Ended: true}}
	says := func(what string, got []crew.Order, want ...crew.Order) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	now := time.Unix(100, 0)
	// passed is a crew in which w1 was lost and w2 has what it had; then w1 comes back with the outcome.
	passed := func(t *testing.T) *crew.State {
		s := crew.New(lease)
		s.Join(member("w1"), nil, now)
		s.Add(crew.Task{Attempt: a, Reconnect: time.Hour}, now)
		s.Join(member("w2"), nil, now.Add(lease-1))
		says("w1 is lost", s.Tick(now.Add(lease)), crew.Order{Kind: crew.Cut, Worker: "w1"}, crew.Order{Kind: crew.Give, Attempt: a, Worker: "w2", Resumed: true})
		says("w1 is back", s.Join(member("w1"), ended, now.Add(lease+1)))
		return s
	}
	t.Run("the other one ends it", func(t *testing.T) {
		says("w2 has ended it", passed(t).End(a, false), crew.Order{Kind: crew.Ask, Attempt: a, Worker: "w1"})
	})
	t.Run("the other one is lost", func(t *testing.T) {
		s := passed(t)
		s.Beat("w1", now.Add(2*lease-2))
		says("w2 is lost", s.Tick(now.Add(2*lease-1)), crew.Order{Kind: crew.Cut, Worker: "w2"}, crew.Order{Kind: crew.Give, Attempt: a, Worker: "w1", Resumed: true})
	})
	t.Run("the other one is removed", func(t *testing.T) {
		s := passed(t)
		over := now.Add(2*lease - 1) // of w2
		says("w2 is removed", s.Remove("w2", now.Add(lease+2)), crew.Order{Kind: crew.Cut, Worker: "w2"}, crew.Order{Kind: crew.Give, Attempt: a, Worker: "w1", Resumed: true})
		if s.MayForget(a, over.Add(-1)) || !s.MayForget(a, over) {
			t.Error("its host may forget it at another time than when the lease is over")
		}
		says("w1 told how it ended", s.End(a, true))
		s.Beat("w1", over.Add(-1))
		if at, ok := s.Next(); !ok || !at.Equal(over) {
			t.Errorf("it is looked again at %v", at)
		}
		says("the lease is over", s.Tick(over), crew.Order{Kind: crew.Ask, Attempt: a, Worker: "w1"})
	})
	t.Run("an earlier server gave it to somebody", func(t *testing.T) {
		s := crew.New(lease)
		s.Hold(now.Add(lease))
		says("w1 comes", s.Join(member("w1"), ended, now))
		says("somebody waits", s.Add(crew.Task{Attempt: a, Resumed: true, Reconnect: time.Hour}, now), crew.Order{Kind: crew.Give, Attempt: a, Worker: "w1", Resumed: true})
		if s.MayForget(a, now) {
			t.Error("its host may forget it at once")
		}
		says("w1 told how it ended", s.End(a, true))
		s.Beat("w1", now.Add(lease-1))
		says("the lease is over", s.Tick(now.Add(lease)), crew.Order{Kind: crew.Ask, Attempt: a, Worker: "w1"})
	})
}

// TestUnsigned: a worker that starts only what was signed is not given anything else, and does not keep it from others.
func TestUnsigned(t *testing.T) {
	s, now := crew.New(lease), time.Unix(0, 0)
	s.Join(crew.Member{Name: "strict", Pools: pools, Limit: 9, SignedOnly: true}, nil, now)
	a, b := sluice.NewAttemptID("0123456789ab", 0, 1), sluice.NewAttemptID("0123456789ab", 1, 1)
	if got := s.Add(crew.Task{Attempt: a, Job: "0123456789ab", Unsigned: true}, now); got != nil {
		t.Errorf("given: %+v", got)
	}
	if got := s.Add(crew.Task{Attempt: b, Job: "0123456789ab"}, now); fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.Give, Attempt: b, Worker: "strict"}}) {
		t.Errorf("what may go there does not: %+v", got)
	}
	if got := s.Join(crew.Member{Name: "w1", Pools: pools, Limit: 1}, nil, now); fmt.Sprint(got) != fmt.Sprint([]crew.Order{{Kind: crew.Give, Attempt: a, Worker: "w1"}}) {
		t.Errorf("another one came: %+v", got)
	}
}

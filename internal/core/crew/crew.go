// Package crew decides which worker carries out which attempt: by pool, room and load; what happens to attempts whose
// worker is lost; and what a worker that comes back keeps of those that it holds.
//
// Values in, values out. The time is passed in, and only differences of it count. The package knows nothing of lines,
// logs and certificates; who may be a worker is decided in [Roster].
package crew

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"sluice"
)

// Task is an attempt that somebody waits for.
type Task struct {
	Attempt sluice.AttemptID
	Job     sluice.JobID
	Pool    sluice.Pool
	// Only is the one worker that may have it, because it alone has the secrets of the job; "": any of its pool.
	Only sluice.WorkerName
	// Shut keeps it from all workers, until one has the secrets of the job. Whoever holds it already keeps it.
	Shut bool
	// Unsigned keeps it from workers that start only what was signed.
	Unsigned bool
	// Resumed says that it may have been given to a worker before.
	Resumed bool
	// Reconnect is how long one that may run waits for a worker before nobody knows how it ended.
	Reconnect time.Duration
}

// OrderKind says what is to be done.
type OrderKind int

const (
	Give   OrderKind = iota // give the attempt to the worker, or let it keep the one that it holds
	Drop                    // the worker must let go of it
	Ask                     // the worker holds one that nobody waits for: is its outcome durable?
	GiveUp                  // nobody can say how the attempt ended
	Cut                     // the worker is lost: end its line
)

// Order is one thing to do.
type Order struct {
	Kind    OrderKind
	Attempt sluice.AttemptID
	Worker  sluice.WorkerName
	Resumed bool // with Give
	// Kept says, with Give, that the attempt stays with the worker that has had it all the while.
	Kept bool
	// Why says, with GiveUp, why nobody can.
	Why string
}

type task struct {
	Task
	on    sluice.WorkerName // "": it waits
	since time.Time         // when it began to wait
	over  bool              // it waited for too long
	// notBefore is when nobody who had it may start it any more: until then it is given to nobody else, and its host must not
	// forget it.
	notBefore time.Time
	given     time.Time // when it last was
	back      returned
}

// returned is that workers gave an attempt back that they could not carry out.
type returned struct {
	times int // one after the other; 0: what follows says nothing
	by    sluice.WorkerName
	why   string
	first time.Time
	until time.Time // it is given to nobody before
}

// said is who gave it back and why, "" where nobody did.
func (r returned) said() string {
	if r.times == 0 {
		return ""
	}
	return "worker " + string(r.by) + " gave it back: " + r.why
}

// An attempt that was given back waits before it is given anew, each time longer.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Member is a worker, as it is now.
type Member struct {
	Name     sluice.WorkerName
	Pools    []sluice.Pool
	Limit    int
	Running  int
	Live     bool // it has a lease
	Draining bool
	Version  string
	// SignedOnly says that it starts only what was signed.
	SignedOnly bool
	Since      time.Time // when it last came
	Heard      time.Time
	embedded   bool
	held       map[sluice.AttemptID]bool // that nobody waits for, or another one has; true: ended
}

// State is the crew. The zero value is not ready; see [New].
type State struct {
	lease   time.Duration
	members map[sluice.WorkerName]*Member
	tasks   map[sluice.AttemptID]*task
	waiting []sluice.AttemptID // in the order in which they came
	now     time.Time          // as it was passed in last
	held    time.Time          // until then workers of an earlier server may start what it gave them
	// later are attempts that nobody waits for and that somebody may start all the same, until a time: whoever holds their
	// outcome is not told before that it is durable, since then the host forgets them.
	later map[sluice.AttemptID]time.Time
	lost  map[sluice.Pool]uint64 // leases, since the beginning
}

// New makes a crew without workers. A worker that was not heard of for a lease is lost.
func New(lease time.Duration) *State {
	return &State{lease: lease, members: map[sluice.WorkerName]*Member{}, tasks: map[sluice.AttemptID]*task{}, lost: map[sluice.Pool]uint64{},
		later: map[sluice.AttemptID]time.Time{}}
}

// Embed adds the worker that cannot be lost, for all pools that are named.
func (s *State) Embed(limit int, pools []sluice.Pool, version string, now time.Time) {
	s.members[sluice.EmbeddedWorker] = &Member{Name: sluice.EmbeddedWorker, Pools: pools, Limit: limit, Live: true,
		Version: version, Since: now, Heard: now, embedded: true}
}

// Hold has attempts that an earlier server may have given to workers wait until a time, but for those that a worker brings
// along: until then the others may still be started.
func (s *State) Hold(until time.Time) { s.held = until }

// Join takes a worker in that came, or came back, with what it holds.
func (s *State) Join(m Member, held []sluice.WorkerHeld, now time.Time) []Order {
	s.now = now
	if old := s.members[m.Name]; old != nil {
		m.Draining = m.Draining || old.Draining
	}
	m.Live, m.Since, m.Heard, m.Running, m.embedded, m.held = true, now, now, len(s.on(m.Name)), false, map[sluice.AttemptID]bool{}
	s.members[m.Name] = &m
	var out []Order
	has := map[sluice.AttemptID]bool{}
	for _, h := range held {
		has[h.Attempt] = true
		t := s.tasks[h.Attempt]
		switch {
		case t == nil:
			m.held[h.Attempt] = h.Ended
			if now.Before(s.held) {
				s.later[h.Attempt] = s.held
			}
			if !s.later[h.Attempt].After(now) {
				out = append(out, Order{Kind: Ask, Attempt: h.Attempt, Worker: m.Name})
			}
		case t.on == m.Name:
			out = append(out, Order{Kind: Give, Attempt: h.Attempt, Worker: m.Name, Resumed: true, Kept: true})
		case t.on != "":
			// The other one may start it while it has a lease. An outcome that is here is kept: were it taken now, the host
			// would forget the attempt, and it could run a second time.
			m.held[h.Attempt] = h.Ended
			if !h.Ended {
				out = append(out, Order{Kind: Drop, Attempt: h.Attempt, Worker: m.Name})
			}
		default:
			s.put(t, m.Name)
			out = append(out, Order{Kind: Give, Attempt: h.Attempt, Worker: m.Name, Resumed: true})
		}
	}
	for _, t := range s.on(m.Name) {
		if !has[t.Attempt] { // it was started anew
			s.wait(t, now)
		}
	}
	return append(out, s.place()...)
}

// Beat is a sign of life. It reports whether the worker is still one of the crew.
func (s *State) Beat(name sluice.WorkerName, now time.Time) bool {
	s.now = now
	m := s.members[name]
	if m == nil || !m.Live {
		return false
	}
	m.Heard = now
	return true
}

// Drain keeps new attempts from a worker, or no more.
func (s *State) Drain(name sluice.WorkerName, on bool) []Order {
	if m := s.members[name]; m != nil {
		m.Draining = on
	}
	return s.place()
}

// Remove forgets a worker. What it had is given to others, when its lease is over.
func (s *State) Remove(name sluice.WorkerName, now time.Time) []Order {
	s.now = now
	m := s.members[name]
	if m == nil {
		return nil
	}
	if m.Live {
		for _, t := range s.on(name) {
			t.notBefore = m.Heard.Add(s.lease)
		}
	}
	delete(s.members, name)
	out := []Order{{Kind: Cut, Worker: name}}
	return append(out, s.lose(name, now)...)
}

func (s *State) lose(name sluice.WorkerName, now time.Time) []Order {
	for _, t := range s.on(name) {
		s.wait(t, now)
	}
	return s.place()
}

// Add takes an attempt in that somebody waits for.
func (s *State) Add(t Task, now time.Time) []Order {
	s.now = now
	t.Pool = t.Pool.OrDefault()
	one := &task{Task: t, since: now}
	s.tasks[t.Attempt] = one
	one.notBefore = s.later[t.Attempt]
	delete(s.later, t.Attempt)
	if t.Resumed && now.Before(s.held) {
		one.notBefore = s.held
	}
	for _, m := range s.sorted() {
		if _, is := m.held[t.Attempt]; is && m.Live {
			delete(m.held, t.Attempt)
			s.put(one, m.Name)
			return []Order{{Kind: Give, Attempt: t.Attempt, Worker: m.Name, Resumed: true}}
		}
	}
	if one.notBefore.After(now) {
		one.since = one.notBefore
	}
	s.waiting = append(s.waiting, t.Attempt)
	return s.place()
}

// End forgets an attempt that nobody waits for any more. keeps says that its worker still has it.
func (s *State) End(a sluice.AttemptID, keeps bool) []Order {
	t := s.tasks[a]
	if t == nil {
		return nil
	}
	delete(s.tasks, a)
	s.unwait(a)
	if m := s.members[t.on]; m != nil {
		m.Running--
		if keeps && !m.embedded {
			m.held[a] = false
		}
	}
	if t.notBefore.After(s.now) {
		s.later[a] = t.notBefore
		return s.place()
	}
	return append(s.ask(a), s.place()...)
}

// ask has those who hold an attempt told whether its outcome is durable.
func (s *State) ask(a sluice.AttemptID) (out []Order) {
	for _, m := range s.sorted() {
		if _, is := m.held[a]; is && m.Live {
			out = append(out, Order{Kind: Ask, Attempt: a, Worker: m.Name})
		}
	}
	return out
}

// MayForget reports whether nobody but the worker that has it may start an attempt any more: then its host may forget it.
func (s *State) MayForget(a sluice.AttemptID, now time.Time) bool {
	t := s.tasks[a]
	return t == nil || !t.notBefore.After(now)
}

// Forget says that a worker has nothing of an attempt any more.
func (s *State) Forget(name sluice.WorkerName, a sluice.AttemptID) {
	if m := s.members[name]; m != nil {
		delete(m.held, a)
	}
}

// Has reports whether an attempt is the worker's.
func (s *State) Has(name sluice.WorkerName, a sluice.AttemptID) bool {
	t := s.tasks[a]
	return t != nil && t.on == name
}

// Again has an attempt wait for a worker anew: the one that had it cannot say how it ended, and says why. It is given to
// another one rather, and after a pause: what keeps a worker from it may last. Where they all give it back for as long as an
// attempt is without a worker at most, nobody can say how it ended.
func (s *State) Again(a sluice.AttemptID, why string, now time.Time) []Order {
	s.now = now
	t := s.tasks[a]
	if t == nil || t.on == "" {
		return s.place()
	}
	by, back := t.on, t.back
	s.wait(t, now)
	if back.times == 0 || now.Sub(t.given) >= t.Reconnect { // it was carried out meanwhile
		back.times, back.first = 0, now
	}
	pause := lastPause
	if back.times < 7 { // 6.4 s
		pause = firstPause << back.times
	}
	t.back = returned{times: back.times + 1, by: by, why: cmp.Or(why, "it has nothing of it any more"), first: back.first, until: now.Add(pause)}
	if t.since.Equal(now) { // nobody else may start it: the time to give up counts from the first that gave it back
		t.since = back.first
	}
	return s.place()
}

// Tick is called when time has passed, at [State.Next] at the latest.
func (s *State) Tick(now time.Time) []Order {
	s.now = now
	var out []Order
	for _, m := range s.sorted() {
		if !m.embedded && m.Live && now.Sub(m.Heard) >= s.lease {
			m.Live = false
			for _, p := range m.Pools {
				s.lost[p]++
			}
			out = append(out, Order{Kind: Cut, Worker: m.Name})
			out = append(out, s.lose(m.Name, now)...)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(s.later)) {
		if !s.later[a].After(now) {
			delete(s.later, a)
			out = append(out, s.ask(a)...)
		}
	}
	out = append(out, s.place()...)
	for _, a := range s.waiting {
		if t := s.tasks[a]; t.Resumed && !t.over && now.Sub(t.since) >= t.Reconnect {
			t.over = true
			why := t.back.said()
			if why == "" {
				why, _ = s.Waits(a)
				why = "its worker was lost, and " + why
			}
			out = append(out, Order{Kind: GiveUp, Attempt: a, Why: why})
		}
	}
	return out
}

// Next is when Tick has something to do, if ever.
func (s *State) Next() (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, m := range s.members {
		if m.Live && !m.embedded {
			sooner(m.Heard.Add(s.lease))
		}
	}
	for _, a := range s.waiting {
		t := s.tasks[a]
		if t.Resumed && !t.over {
			sooner(t.since.Add(t.Reconnect))
		}
		if at := t.from(); at.After(s.now) {
			sooner(at)
		}
	}
	for _, at := range s.later {
		sooner(at)
	}
	return at, ok
}

// Members lists the crew by name.
func (s *State) Members() []Member {
	var out []Member
	for _, m := range s.sorted() {
		one := *m
		one.held, one.Pools = nil, slices.Clone(m.Pools)
		out = append(out, one)
	}
	return out
}

// Census is how it stands with a pool.
type Census struct {
	Waiting    int    // attempts without a worker
	LeasesLost uint64 // of its workers, since the beginning
}

// Census tells about every pool that attempts wait for, or whose workers lost a lease.
func (s *State) Census() map[sluice.Pool]Census {
	out := map[sluice.Pool]Census{}
	for p, n := range s.lost {
		out[p] = Census{LeasesLost: n}
	}
	for _, a := range s.waiting {
		p := s.tasks[a].Pool
		c := out[p]
		c.Waiting++
		out[p] = c
	}
	return out
}

func (s *State) put(t *task, name sluice.WorkerName) {
	if m := s.members[t.on]; m != nil {
		m.Running--
	}
	s.unwait(t.Attempt)
	t.on, t.Resumed, t.given = name, true, s.now
	s.members[name].Running++
}

func (s *State) wait(t *task, now time.Time) {
	if m := s.members[t.on]; m != nil {
		m.Running--
	}
	t.on, t.since, t.Resumed, t.back = "", now, true, returned{}
	if t.notBefore.After(now) {
		t.since = t.notBefore // it is not yet looked for another worker
	}
	s.waiting = append(s.waiting, t.Attempt)
}

// from is when it may be given to somebody new.
func (t *task) from() time.Time {
	if t.back.until.After(t.notBefore) {
		return t.back.until
	}
	return t.notBefore
}

func (s *State) unwait(a sluice.AttemptID) {
	if i := slices.Index(s.waiting, a); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// on are the tasks of a worker, by attempt.
func (s *State) on(name sluice.WorkerName) []*task {
	var out []*task
	for _, t := range s.tasks {
		if t.on == name {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *task) int { return cmp.Compare(a.Attempt, b.Attempt) })
	return out
}

func (s *State) sorted() []*Member {
	var out []*Member
	for _, m := range s.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

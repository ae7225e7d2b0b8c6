package sim

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"sluice"
	"sluice/internal/lab/check"
	"sluice/internal/lab/invariant"
)

const (
	ns = sluice.Namespace("sim")
	// lease is how long a worker may start attempts after it sent the heartbeat that they were given on, by its own
	// monotonic clock; margin is taken off for the time that a start is under way and for what clocks drift.
	lease  = 15 * time.Second
	margin = 5 * time.Second
	// latest bounds how late what is sent over an open session arrives.
	latest = 4 * time.Second
	// claim is how long a job stays with a dispatcher that says nothing.
	claim = 12 * time.Second
)

// world is everything that there is.
type world struct {
	seed    uint64
	bug     string // the planted one
	rnd     *rand.Rand
	now     time.Duration
	queue   queue
	count   int
	steps   int
	weather weather
	hash    hash.Hash64
	talk    func(string)

	log     []sluice.Event
	times   []time.Duration // true, of the events
	broken  time.Duration   // until then the log takes nothing
	claims  map[sluice.JobID]*claimed
	revoked map[sluice.JobID]bool

	c           *cluster // nil: there is one log, which does what it is asked
	dispatchers []*dispatcher
	workers     []*worker
	targets     map[sluice.Host]*host
	hosts       []sluice.Host
	people      *people
	cut         map[[2]*party]time.Duration // one way, until

	plain    *check.Checker
	promises *invariant.Checker
	bad      []string
	seen     map[string]bool // pairs of state and event
	calm     bool
}

// weather is how bad things are in a seed.
type weather struct {
	drop, double, slow    float64
	crash, pause, cutting time.Duration // mean time between; 0: never
	lostAnswer, diskFull  float64
	fragile               float64 // dispatchers die in the middle of an append
	clocks                bool
	pauses                bool // gates with pauses
}

type claimed struct {
	by    *dispatcher
	epoch uint64
	till  time.Duration
}

// party is something with a life of its own.
type party struct {
	name  string
	up    bool
	life  int
	stops time.Duration // it stands still until then
	skew  time.Duration // of its wall clock
	rate  float64       // of its monotonic clock
	boot  func()
	crash func()
}

// mono is the party's clock that nobody sets.
func (w *world) mono(p *party) time.Duration { return time.Duration(float64(w.now) * p.rate) }

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) wall(p *party) time.Time { return begin.Add(w.now + p.skew) }

type item struct {
	at   time.Duration
	n    int
	who  *party
	life int
	kind string
	do   func()
}

type queue []*item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*item)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// after has a party do something later, if it lives until then. who is nil for the world itself.
func (w *world) after(who *party, d time.Duration, kind string, do func()) {
	w.count++
	it := &item{at: w.now + max(0, d), n: w.count, who: who, kind: kind, do: do}
	if who != nil {
		it.life = who.life
	}
	heap.Push(&w.queue, it)
}

// step plays the next event; false if there is none before the end.
func (w *world) step(end time.Duration) bool {
	if len(w.queue) == 0 || w.queue[0].at > end || len(w.bad) > 0 {
		return false
	}
	it := heap.Pop(&w.queue).(*item)
	w.now = it.at
	if p := it.who; p != nil {
		if p.life != it.life || !p.up {
			return true
		}
		if p.stops > w.now { // it will do that when it goes on
			it.at = p.stops
			w.count++
			it.n = w.count
			heap.Push(&w.queue, it)
			return true
		}
	}
	w.steps++
	if w.steps > 2_000_000 {
		w.wrong("there is no end to it: %s", it.kind)
	}
	w.note(it.kind, it.who)
	it.do()
	for _, v := range w.promises.Found() {
		w.wrong("%v", v)
		break
	}
	return true
}

func (w *world) wrong(format string, args ...any) {
	w.bad = append(w.bad, fmt.Sprintf("at %v: ", w.now)+fmt.Sprintf(format, args...))
}

// note makes what happens part of the trace.
func (w *world) note(kind string, who *party, args ...any) {
	var b [8]byte
	for i := range b {
		b[i] = byte(w.now >> (8 * i))
	}
	_, _ = w.hash.Write(b[:])
	_, _ = w.hash.Write([]byte(kind))
	if who != nil {
		_, _ = w.hash.Write([]byte(who.name))
	}
	if w.talk != nil {
		name := "world"
		if who != nil {
			name = who.name
		}
		w.talk(fmt.Sprintf("%12v %-8s %s %v", w.now, name, kind, args))
	}
}

// saw notes that a state met an event.
func (w *world) saw(machine, state, event string) { w.seen[machine+" "+state+" / "+event] = true }

func (w *world) chance(p float64) bool { return p > 0 && w.rnd.Float64() < p }

// span is a time up to d.
func (w *world) span(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d) + 1)) }

func (w *world) mean(d time.Duration) time.Duration {
	return time.Duration(w.rnd.ExpFloat64() * float64(d))
}

func pick[T any](w *world, of []T) T { return of[w.rnd.IntN(len(of))] }

// send carries a message from one party to another: late, or not at all, or twice.
func (w *world) send(from, to *party, kind string, do func()) {
	if w.cut[[2]*party{from, to}] > w.now || w.chance(w.weather.drop) {
		w.note("lost "+kind, to)
		return
	}
	times := 1
	if w.chance(w.weather.double) {
		times = 2
	}
	for range times {
		d := time.Millisecond + w.span(20*time.Millisecond)
		if w.chance(w.weather.slow) {
			d = w.span(40 * time.Second)
		}
		w.arrive(to, d, kind, do)
	}
}

// session carries a message over an open session: in time, or not at all.
func (w *world) session(from, to *party, kind string, do func()) {
	if w.cut[[2]*party{from, to}] > w.now || w.chance(w.weather.drop) {
		return
	}
	d := time.Millisecond + w.span(20*time.Millisecond)
	if w.chance(w.weather.slow) {
		d = w.span(latest)
	}
	w.arrive(to, d, kind, do)
}

// arrive delivers to whatever life the party has by then.
func (w *world) arrive(to *party, d time.Duration, kind string, do func()) {
	w.after(nil, d, "net", func() {
		if !to.up {
			return
		}
		w.after(to, 0, kind, do)
	})
}

// append puts events into the log.
func (w *world) append(events []sluice.Event) {
	for i := range events {
		events[i].Seq = uint64(len(w.log) + 1)
		e := events[i]
		w.log, w.times = append(w.log, e), append(w.times, w.now)
		w.note("event "+e.Body.Type(), nil, e.Seq, e.Job, e.Body)
		w.promises.Event(e, w.now)
		if f, ok := e.Body.(sluice.TaskFinished); ok && f.Outcome.Failure() && !w.calm && w.chance(0.2) {
			w.after(nil, w.span(3*time.Second), "people retry at once", func() { w.people.retry(e.Job) })
		}
		for _, v := range w.plain.Add(e) {
			w.wrong("%v", v)
		}
	}
	if w.c != nil {
		return // it comes with the copy
	}
	for _, d := range w.dispatchers {
		w.after(&d.party, time.Millisecond+w.span(100*time.Millisecond), "news", d.news)
	}
}

func text(e sluice.Event) string {
	b, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// mark writes down what truly happened on a target.
func (w *world) mark(t *host, kind invariant.Kind, a sluice.AttemptID, code int) {
	w.note("process "+string(kind), &t.party, a, code)
	w.promises.Mark(invariant.Mark{Kind: kind, Host: t.host, Attempt: a, Code: code, At: w.now})
}

// newWorld makes a world of a seed.
func newWorld(seed uint64, bug string, clustered bool) *world {
	w := &world{seed: seed, bug: bug, rnd: rand.New(rand.NewPCG(seed, 7657)), hash: fnv.New64a(),
		claims: map[sluice.JobID]*claimed{}, revoked: map[sluice.JobID]bool{}, targets: map[sluice.Host]*host{},
		cut: map[[2]*party]time.Duration{}, plain: check.New(), promises: invariant.New(), seen: map[string]bool{}}
	w.promises.HaltReach = lease
	w.weather = weather{clocks: w.chance(0.5)}
	w.weather.pauses = !w.weather.clocks
	for _, p := range []*float64{&w.weather.drop, &w.weather.double, &w.weather.slow, &w.weather.lostAnswer, &w.weather.diskFull, &w.weather.fragile} {
		if w.chance(0.6) {
			*p = w.rnd.Float64() * 0.15
		}
	}
	for _, m := range []*time.Duration{&w.weather.crash, &w.weather.pause, &w.weather.cutting} {
		if w.chance(0.7) {
			*m = 10*time.Second + w.span(3*time.Minute)
		}
	}
	for i := range 2 + w.rnd.IntN(9) {
		t := newHost(w, sluice.Host(fmt.Sprintf("h%02d", i)))
		w.hosts, w.targets[t.host] = append(w.hosts, t.host), t
	}
	for i := range 1 + w.rnd.IntN(3) {
		w.workers = append(w.workers, newWorker(w, i))
	}
	if clustered {
		newCluster(w, pick(w, []int{3, 3, 3, 3, 1, 5}))
	} else {
		w.addDispatchers()
	}
	w.people = newPeople(w)
	for _, p := range w.parties() {
		p.up, p.rate = true, 1+(w.rnd.Float64()-0.5)/100
		if w.weather.clocks {
			p.skew = w.span(2*time.Hour) - time.Hour
		}
		p.boot()
	}
	w.misfortune("crash", w.weather.crash, w.crashSomebody)
	w.misfortune("pause", w.weather.pause, w.pauseSomebody)
	w.misfortune("cut", w.weather.cutting, w.cutSomething)
	if w.c != nil {
		w.c.misfortunes()
	}
	if w.weather.clocks {
		w.misfortune("clock", 2*time.Minute, w.setClock)
	}
	return w
}

func (w *world) addDispatchers() {
	for i := range 1 + w.rnd.IntN(3) {
		w.dispatchers = append(w.dispatchers, newDispatcher(w, i))
	}
}

// misfortune happens again and again until the calm.
func (w *world) misfortune(kind string, every time.Duration, do func()) {
	if every == 0 {
		return
	}
	var again func()
	again = func() {
		if !w.calm {
			do()
			w.after(nil, w.mean(every), kind, again)
		}
	}
	w.after(nil, w.mean(every), kind, again)
}

func (w *world) parties() (all []*party) {
	for _, d := range w.dispatchers {
		all = append(all, &d.party)
	}
	for _, x := range w.workers {
		all = append(all, &x.party)
	}
	for _, h := range w.hosts {
		all = append(all, &w.targets[h].party)
	}
	return all
}

func (w *world) crashSomebody() { w.crash(pick(w, w.parties())) }

func (w *world) crash(p *party) {
	if !p.up {
		return
	}
	w.note("dies", p)
	p.crash()
	p.up, p.stops = false, 0
	p.life++
	rest := w.mean(15 * time.Second)
	if w.chance(0.4) {
		rest = w.span(time.Second)
	}
	w.after(nil, rest, "boot", func() { w.start(p) })
}

func (w *world) start(p *party) {
	if !p.up {
		w.note("boots", p)
		p.up = true
		p.life++
		p.boot()
	}
}

func (w *world) pauseSomebody() {
	all := w.parties()
	p := all[w.rnd.IntN(len(w.dispatchers)+len(w.workers))]
	if p.up {
		p.stops = w.now + w.mean(lease)
		w.note("stands still until", p, p.stops)
	}
}

func (w *world) cutSomething() {
	all := w.parties()
	a, b := pick(w, all), pick(w, all)
	till := w.now + w.mean(40*time.Second)
	w.cut[[2]*party{a, b}] = till
	if w.chance(0.5) {
		w.cut[[2]*party{b, a}] = till
	}
	w.note("cut", a, b.name, till)
}

func (w *world) setClock() {
	p := pick(w, w.parties())
	p.skew = pick(w, []time.Duration{time.Hour, -time.Hour, 87600 * time.Hour, -87600 * time.Hour, time.Second, 0})
	w.note("clock is set to", p, p.skew)
}

// becalm ends all misfortune.
func (w *world) becalm() {
	w.calm, w.weather, w.broken = true, weather{}, 0
	clear(w.cut)
	for _, p := range w.parties() {
		p.stops, p.skew = 0, 0
		w.start(p)
	}
}

func (w *world) aliveWorkers(of map[*worker]time.Duration, since time.Duration) (out []*worker) {
	for _, x := range w.workers {
		if at, is := of[x]; is && at >= since {
			out = append(out, x)
		}
	}
	return out
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

package sim

import (
	"time"

	"sluice"
	"sluice/internal/core/drive"
	"sluice/internal/core/schedule"
	"sluice/internal/core/target"
)

// dispatcher is a process that drives jobs. Which of them has a job is kept beside the log; the log compares it with every
// append.
type dispatcher struct {
	party
	w      *world
	s      *server // of a cluster; nil: there is one log, and all dispatchers append to it
	state  *schedule.State
	drives map[sluice.JobID]*driving
	heard  map[*worker]time.Duration // by its own clock
	beats  map[*worker]uint64
}

// driving is one job in hand.
type driving struct {
	d       *dispatcher
	id      sluice.JobID
	epoch   uint64
	m       *drive.Machine
	flights map[sluice.AttemptID]*flown
	tickets map[uint64]*worker
	of      map[uint64]sluice.AttemptID
	ticket  uint64
	known   map[*worker]uint64 // heartbeats that had come when the log was read last
	busy    bool               // an append is under way
	again   bool
	asked   uint64 // number of the append
	due     time.Duration
	waits   bool
	doubt   bool
	over    bool
}

// flown is an attempt that a worker is to have.
type flown struct {
	order order
	by    *worker
	has   bool
	kill  string
	told  bool // its outcome came
}

func newDispatcher(w *world, i int) *dispatcher {
	d := &dispatcher{w: w}
	d.name = "server" + string(rune('0'+i))
	d.boot = func() {
		d.state = schedule.New()
		d.drives = map[sluice.JobID]*driving{}
		d.heard, d.beats = map[*worker]time.Duration{}, map[*worker]uint64{}
		w.after(&d.party, w.span(time.Second), "tick", d.tick)
	}
	d.crash = func() {
		for _, id := range sortedKeys(d.drives) {
			w.saw("driver", d.drives[id].phase(), "crash")
		}
		d.drives = nil
	}
	return d
}

func (g *driving) phase() string {
	switch {
	case g.over:
		return "over"
	case g.busy:
		return "appending"
	case g.doubt:
		return "in doubt"
	}
	return "idle"
}

// tick renews what is claimed, claims what nobody drives, and looks after the workers.
func (d *dispatcher) tick() {
	w := d.w
	if d.s != nil && !d.s.serving {
		return
	}
	again := d.tick
	if d.s != nil {
		term := d.s.term
		again = func() {
			if d.s.term == term {
				d.tick()
			}
		}
	}
	w.after(&d.party, 2*time.Second+w.span(time.Second), "tick", again)
	d.catchUp()
	for _, info := range d.state.Jobs() {
		id := info.Spec.ID
		open := info.State != schedule.Halted && info.State != schedule.Succeeded && info.State != schedule.Failed && info.State != schedule.Cancelled
		c := d.claims()[id]
		mine := c != nil && c.by == d && d.drives[id] != nil && d.drives[id].epoch == c.epoch
		switch {
		case mine:
			c.till = w.now + claim
		case d.drives[id] != nil: // somebody else has it by now
			d.drop(d.drives[id])
		case open && (c == nil || c.till <= w.now):
			d.take(id)
		}
		if w.bug == "a halted job resumes by itself" && info.State == schedule.Halted && w.chance(0.3) {
			d.sneak(sluice.Event{Time: w.wall(&d.party), Job: id, Body: sluice.JobResumed{Generation: info.Generation + 1}})
		}
	}
	for _, id := range sortedKeys(d.drives) {
		g := d.drives[id]
		for _, a := range sortedKeys(g.flights) {
			f := g.flights[a]
			if f.by != nil && w.mono(&d.party)-d.heard[f.by] > lease+margin && !f.told {
				g.land(a, &drive.Loss{Text: "the worker is gone", HandOver: true})
			} else if !f.has && !f.told {
				g.order(f)
			} else if f.kill != "" {
				g.kill(f)
			}
		}
	}
}

// sneak appends what nobody decided.
func (d *dispatcher) sneak(e sluice.Event) {
	if len(d.log()) == int(d.state.Seq()) {
		d.w.append([]sluice.Event{e})
	}
}

// log is what the dispatcher reads.
func (d *dispatcher) log() []sluice.Event {
	if d.s != nil {
		return d.s.copy
	}
	return d.w.log
}

// claims are beside the log, and of a term in a cluster.
func (d *dispatcher) claims() map[sluice.JobID]*claimed {
	if d.s != nil {
		return d.s.claims
	}
	return d.w.claims
}

func (d *dispatcher) term() uint64 {
	if d.s != nil {
		return d.s.term
	}
	return 0
}

func (d *dispatcher) catchUp() {
	if d.state.Seq() > uint64(len(d.log())) {
		return
	}
	for _, e := range d.log()[d.state.Seq():] {
		if err := d.state.Apply(e); err != nil {
			d.cannotRead(err)
			return
		}
	}
}

// cannotRead ends a drive whose log is not one that the rules can have made. That is a find, too, but with a planted bug
// the checkers are to find it.
func (d *dispatcher) cannotRead(err error) {
	if d.w.bug == "" {
		d.w.wrong("%s cannot read the log: %v", d.name, err)
	}
}

// take claims a job and begins to drive it.
func (d *dispatcher) take(id sluice.JobID) {
	w := d.w
	epoch := uint64(1)
	if c := d.claims()[id]; c != nil {
		epoch = c.epoch + 1
	}
	if d.s != nil {
		d.s.takes++
		epoch = d.s.term<<20 + d.s.takes
	}
	d.claims()[id] = &claimed{d, epoch, w.now + claim}
	g := &driving{d: d, id: id, epoch: epoch, m: drive.New(drive.Config{Job: id, Driver: d.name}),
		flights: map[sluice.AttemptID]*flown{}, tickets: map[uint64]*worker{}, of: map[uint64]sluice.AttemptID{}, known: map[*worker]uint64{}}
	d.drives[id] = g
	w.saw("driver", "none", "claim")
	if !g.load() {
		return
	}
	e, ok := g.m.Begin(w.mono(&d.party))
	if !ok {
		w.wrong("%s drives job %s, which there is not", d.name, id)
		return
	}
	g.carryOut(e)
	g.wake(0)
}

func (d *dispatcher) drop(g *driving) {
	g.over = true
	delete(d.drives, g.id)
}

// news comes when somebody appended.
func (d *dispatcher) news() {
	for _, id := range sortedKeys(d.drives) {
		d.w.saw("driver", d.drives[id].phase(), "news")
		d.drives[id].turn()
	}
}

// load reads the log afresh.
func (g *driving) load() bool {
	g.w().saw("driver", g.phase(), "load")
	state := schedule.New()
	var of []sluice.Event
	for _, e := range g.d.log() {
		for _, seen := range g.misread(e, true) {
			if err := state.Apply(seen); err != nil {
				g.d.cannotRead(err)
				g.d.drop(g)
				return false
			}
			if seen.Job == g.id {
				of = append(of, seen)
			}
		}
	}
	g.know()
	g.m.Load(state, of)
	return true
}

// know notes which heartbeats there were when the log was read.
func (g *driving) know() {
	for x, n := range g.d.beats {
		g.known[x] = n
	}
}

func (g *driving) w() *world { return g.d.w }

// wake has a turn made.
func (g *driving) wake(in time.Duration) {
	at := g.w().now + max(0, in)
	if g.waits && g.due <= at {
		return
	}
	g.waits, g.due = true, at
	g.w().after(&g.d.party, in, "turn", func() {
		if g.waits && g.due == at {
			g.waits = false
			g.turn()
		}
	})
}

// turn is one step of the log: what is decided at its head is appended if that is still the head.
func (g *driving) turn() {
	w := g.w()
	switch {
	case g.over:
		return
	case g.busy:
		g.again = true
		return
	}
	if g.m.Seq() > uint64(len(g.d.log())) { // a log tells whoever has read more than there is
		g.d.cannotRead(nil)
		g.d.drop(g)
		return
	}
	g.know()
	var tail []sluice.Event
	for _, e := range g.d.log()[g.m.Seq():] {
		tail = append(tail, g.misread(e, false)...)
	}
	in := drive.Input{Now: w.wall(&g.d.party), Driven: g.driven, Right: drive.NotAsked}
	if g.m.Asks() {
		in.Right = g.right()
	}
	g.doubt = in.Right == drive.InDoubt
	in.Reason = "the right was withdrawn"
	decision, err := g.m.Decide(tail, in)
	if err != nil {
		g.d.cannotRead(err)
		g.d.drop(g)
		return
	}
	g.tamper(&decision)
	if len(decision.Events) == 0 {
		g.done(tail, decision)
		return
	}
	if w.bug == "launches do not wait for the log" {
		g.launchEarly(decision)
	}
	g.append(tail, decision)
}

func (g *driving) right() drive.Right {
	switch w := g.w(); {
	case w.revoked[g.id]:
		return drive.Withdrawn
	case !w.calm && w.chance(0.03):
		return drive.InDoubt
	}
	return drive.Given
}

func (g *driving) driven(id sluice.JobID) bool {
	c := g.d.claims()[id]
	return c != nil && c.till > g.w().now
}

// append asks the log to take a decision. It may never hear whether it did.
func (g *driving) append(tail []sluice.Event, decision drive.Decision) {
	w := g.w()
	if w.c != nil {
		w.c.append(g, tail, decision)
		return
	}
	g.busy = true
	g.asked++
	n, head, heard := g.asked, uint64(len(w.log)), false
	delay := w.span(3 * time.Millisecond)
	if w.chance(w.weather.slow) {
		delay = w.span(20 * time.Second)
	}
	answer := func(how string) {
		if w.chance(w.weather.lostAnswer) {
			return
		}
		w.after(&g.d.party, w.span(2*time.Millisecond), "log "+how, func() {
			if g.over || g.asked != n || heard {
				return
			}
			heard = true
			g.answered(how, tail, decision)
		})
	}
	if w.chance(w.weather.diskFull) {
		w.broken = max(w.broken, w.now+w.mean(5*time.Second))
	}
	if w.chance(w.weather.fragile / 3) {
		when := w.span(10 * time.Millisecond)
		if w.chance(0.5) { // before it is sent
			w.after(nil, 0, "crash", func() { w.crash(&g.d.party) })
			return
		}
		w.after(nil, when, "crash", func() { w.crash(&g.d.party) })
	}
	w.after(nil, delay, "append", func() { answer(w.take(g, head, decision.Events)) })
	w.after(&g.d.party, 10*time.Second, "no answer of the log", func() {
		if !g.over && g.asked == n && !heard {
			heard = true
			g.answered("silent", tail, decision)
		}
	})
}

// take is the log's side of an append.
func (w *world) take(g *driving, head uint64, events []sluice.Event) (how string) {
	switch c := w.claims[g.id]; {
	case w.broken > w.now:
		return "full"
	case (c.by != g.d || c.epoch != g.epoch) && w.bug != "appends are not fenced":
		return "fenced"
	case head != uint64(len(w.log)) && w.bug != "appends do not compare the head":
		return "conflict"
	}
	w.promises.Epoch(g.id, g.epoch)
	w.append(events)
	if w.bug == "the log loses a tail" && w.chance(0.01) {
		w.log, w.times = w.log[:len(w.log)-1], w.times[:len(w.log)-1]
	}
	return "ok"
}

// answered goes on after an append.
func (g *driving) answered(how string, tail []sluice.Event, decision drive.Decision) {
	w := g.w()
	w.saw("driver", g.phase(), "log "+how)
	g.busy = false
	switch {
	case how == "ok", how == "silent" && w.bug == "a lost append counts as done":
		g.done(tail, decision)
	case how == "fenced":
		g.d.drop(g)
		return
	default:
		g.busy = true
		pause := time.Second
		if how == "conflict" {
			pause = 0
		}
		if how == "busy" { // somebody else appends
			pause = 10 * time.Millisecond
		}
		n := g.asked
		w.after(&g.d.party, pause, "load", func() {
			if g.over || g.asked != n {
				return
			}
			g.busy = false
			if g.load() {
				g.carryOut(g.m.TakeUp(w.mono(&g.d.party)))
				g.turn()
			}
		})
		return
	}
	if g.again {
		g.again = false
		g.wake(0)
	}
}

// done follows a decision that is durable.
func (g *driving) done(tail []sluice.Event, decision drive.Decision) {
	w := g.w()
	g.carryOut(g.m.Done(tail, decision, w.mono(&g.d.party)))
	if g.over {
		return
	}
	if _, over := g.m.Over(); over {
		w.saw("driver", g.phase(), "end")
		g.d.drop(g)
		if c := g.d.claims()[g.id]; c != nil && c.by == g.d && c.epoch == g.epoch {
			c.till = w.now
		}
		return
	}
	if decision.Ask {
		g.wake(0)
	}
	if g.doubt {
		g.wake(time.Second)
	}
	if at, ok := g.m.NextTimer(); ok {
		g.wake(max(time.Millisecond, at.Sub(w.wall(&g.d.party))))
	}
	if at, ok := g.m.NextAgain(); ok {
		g.wake(max(time.Millisecond, at-w.mono(&g.d.party))) // clocks run at different rates
	}
}

func (g *driving) carryOut(e drive.Effects) {
	w := g.w()
	for _, t := range e.Answers {
		x, id := g.tickets[t], g.of[t]
		f := g.flights[id]
		shared := f == nil || f.order.resumed || f.by != x
		delete(g.tickets, t)
		delete(g.of, t)
		if x != nil {
			w.send(&g.d.party, &x.party, "acknowledged", func() { x.acknowledged(id, shared) })
		}
		g.land(id, nil)
	}
	for _, l := range e.Launches {
		g.launch(l)
	}
	for _, k := range e.Kills {
		if f := g.flights[k.Attempt]; f != nil {
			f.kill = target.KillCancel
			if k.TimeLimit {
				f.kill = target.KillJob
			}
			g.kill(f)
		}
	}
}

func (g *driving) launch(l drive.Launch) {
	w := g.w()
	f := &flown{order: order{from: g.d, term: g.d.term(), job: g.m.Job(), epoch: g.epoch, host: l.Host, attempt: l.Attempt, settle: l.Settle,
		resumed: l.Resumed, sweep: l.Sweep}}
	g.flights[l.Attempt] = f
	what := "launch"
	if l.Settle {
		what = "settle"
	}
	w.saw("driver", g.phase(), what)
	alive := w.aliveWorkers(g.d.heard, w.mono(&g.d.party)-lease)
	if len(alive) == 0 {
		w.after(&g.d.party, 0, "no worker", func() {
			if g.flights[l.Attempt] == f {
				g.land(l.Attempt, &drive.Loss{Text: "there is no worker", HandOver: true, Untaken: true})
			}
		})
		return
	}
	f.by = pick(w, alive)
	f.order.beat = g.known[f.by]
	if l.Sweep {
		w.after(&g.d.party, lease, "swept", func() {
			if g.flights[l.Attempt] == f {
				g.land(l.Attempt, nil)
			}
		})
	}
	g.order(f)
}

func (g *driving) order(f *flown) {
	if f.by == nil {
		return
	}
	o, x := f.order, f.by
	g.w().send(&g.d.party, &x.party, "order", func() { x.take(o) })
}

func (g *driving) kill(f *flown) {
	if f.by == nil {
		return
	}
	id, word, x := f.order.attempt, f.kill, f.by
	g.w().send(&g.d.party, &x.party, "kill", func() { x.kill(id, word) })
}

// land tells the machine that an attempt is in nobody's hands any more.
func (g *driving) land(id sluice.AttemptID, loss *drive.Loss) {
	if g.over || g.flights[id] == nil {
		return
	}
	what := "landed"
	if loss != nil {
		what = "lost"
	}
	g.w().saw("driver", g.phase(), what)
	delete(g.flights, id)
	if turn, _ := g.m.Land(id, loss, g.w().mono(&g.d.party)); turn {
		g.wake(0)
	}
}

// What workers say.

func (d *dispatcher) heartbeat(x *worker, n uint64, has map[sluice.AttemptID]bool) {
	if d.s != nil {
		if !d.s.serving {
			return
		}
		term := d.s.term
		d.w.send(&d.party, &x.party, "term", func() { x.hears(term) })
	}
	if n <= d.beats[x] {
		return // an old one
	}
	d.beats[x], d.heard[x] = n, d.w.mono(&d.party)
	for _, id := range sortedKeys(d.drives) {
		g := d.drives[id]
		for _, a := range sortedKeys(g.flights) {
			if f := g.flights[a]; f.by == x && f.has && !f.told && !has[a] {
				g.land(a, &drive.Loss{Text: "the worker has forgotten it", HandOver: true})
			}
		}
	}
}

func (d *dispatcher) flight(x *worker, o order) (*driving, *flown) {
	g := d.drives[o.job.ID]
	if g == nil || g.flights[o.attempt] == nil {
		return g, nil
	}
	return g, g.flights[o.attempt]
}

func (d *dispatcher) has(x *worker, o order) {
	if _, f := d.flight(x, o); f != nil && f.by == x {
		f.has = true
	}
}

func (d *dispatcher) refused(x *worker, o order) {
	if g, f := d.flight(x, o); f != nil && f.by == x && f.order == o && !f.told {
		d.w.saw("driver", g.phase(), "refused")
		g.land(o.attempt, &drive.Loss{Text: "the lease was over", HandOver: true})
	}
}

func (d *dispatcher) step(o order, s sluice.TaskStep) {
	if g, f := d.flight(nil, o); f != nil {
		d.w.saw("driver", g.phase(), "step")
		g.wake(g.m.Report(drive.Report{Body: s}, d.w.mono(&d.party)))
	}
}

// outcome is reported until it is acknowledged; that is when it is durable.
func (d *dispatcher) outcome(x *worker, o order, b sluice.TaskFinished) {
	w := d.w
	g, f := d.flight(x, o)
	if f == nil && g != nil && w.bug == "outcomes are taken for the host's newest attempt" {
		for _, id := range sortedKeys(g.flights) {
			if g.flights[id].order.host == o.host {
				f, b.Attempt = g.flights[id], id
			}
		}
	}
	if f == nil {
		if known(d.log(), b) {
			w.send(&d.party, &x.party, "acknowledged", func() { x.acknowledged(b.Attempt, true) })
		}
		return
	}
	w.saw("driver", g.phase(), "outcome")
	if f.order.sweep {
		w.send(&d.party, &x.party, "acknowledged", func() { x.acknowledged(b.Attempt, true) })
		g.land(b.Attempt, nil)
		return
	}
	if f.told {
		return
	}
	if f.by != x && b.NotStarted && w.bug != "not by me is not at all" { // others may have started it since
		w.send(&d.party, &x.party, "acknowledged", func() { x.acknowledged(b.Attempt, true) })
		return
	}
	f.told = true
	if w.bug == "outcomes are acknowledged before they are durable" {
		w.send(&d.party, &x.party, "acknowledged", func() { x.acknowledged(b.Attempt, true) })
	}
	g.ticket++
	g.tickets[g.ticket], g.of[g.ticket] = x, b.Attempt
	g.wake(g.m.Report(drive.Report{Body: b, Ticket: g.ticket}, w.mono(&d.party)))
}

// known reports whether the true outcome of an attempt is in the log.
func known(log []sluice.Event, b sluice.TaskFinished) bool {
	for i := len(log) - 1; i >= 0; i-- {
		if f, ok := log[i].Body.(sluice.TaskFinished); ok && f.Attempt == b.Attempt && (f.Outcome != sluice.Unknown || b.Outcome == sluice.Unknown) {
			return true
		}
	}
	return false
}

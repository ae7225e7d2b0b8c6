package sim

import (
	"time"

	"sluice"
	"sluice/internal/core/target"
)

const beat = 3 * time.Second

// worker carries attempts out. It starts one only while the lease lasts that the attempt was given under: that is the
// heartbeat that the dispatcher had from it when it last knew from the log that the attempt may start.
type worker struct {
	party
	w      *world
	number uint64 // of the last heartbeat
	sent   map[uint64]time.Duration
	hands  map[sluice.AttemptID]*hand
	disk   map[sluice.AttemptID]*result // kept until it is acknowledged as durable
	epochs map[sluice.JobID]uint64
	term   uint64 // the highest that it has heard of
	// past are the attempts that it had, with the newest heartbeat at the time when it was done with them: an order for
	// one that is older than that is a late one.
	past map[sluice.AttemptID]uint64
}

// hand is an attempt that a worker has.
type hand struct {
	order  order
	mayRun bool // the start was sent, by this worker or another one
	asked  int  // number of the request that is answered next
	tries  int
	out    bool // no contact
	since  time.Duration
	kill   string
	leased bool // it was valid when the order came
}

// result is an outcome that is not acknowledged yet.
type result struct {
	order order
	sight target.Sight
	body  sluice.TaskFinished
	told  int
}

// order is what a dispatcher sends.
type order struct {
	from    *dispatcher
	term    uint64
	job     *sluice.Job
	epoch   uint64
	host    sluice.Host
	attempt sluice.AttemptID
	settle  bool
	resumed bool
	sweep   bool
	beat    uint64 // the heartbeat that the lease counts from
}

func newWorker(w *world, i int) *worker {
	x := &worker{w: w, sent: map[uint64]time.Duration{}, disk: map[sluice.AttemptID]*result{}, epochs: map[sluice.JobID]uint64{}}
	x.name = "worker" + string(rune('0'+i))
	x.boot = func() {
		x.hands, x.past = map[sluice.AttemptID]*hand{}, map[sluice.AttemptID]uint64{}
		if w.bug != "a lease outlives its process" {
			clear(x.sent)
		}
		x.beats()
		for _, id := range sortedKeys(x.disk) {
			x.report(x.disk[id])
		}
	}
	x.crash = func() {
		for _, id := range sortedKeys(x.hands) {
			w.saw("worker", x.state(id), "crash")
		}
		x.hands = nil
	}
	return x
}

// state is where an attempt stands here.
func (x *worker) state(id sluice.AttemptID) string {
	h := x.hands[id]
	switch {
	case x.disk[id] != nil:
		return "ended"
	case h == nil:
		return "none"
	case !h.mayRun:
		return "fresh"
	case h.out:
		return "silence"
	}
	return "follows"
}

// beats sends heartbeats for ever.
func (x *worker) beats() {
	x.number++
	n := x.number
	x.sent[n] = x.w.mono(&x.party)
	delete(x.sent, n-40)
	has := map[sluice.AttemptID]bool{}
	for id := range x.hands {
		has[id] = true
	}
	for id := range x.disk {
		has[id] = true
	}
	for _, d := range x.w.dispatchers {
		x.w.send(&x.party, &d.party, "heartbeat", func() { d.heartbeat(x, n, has) })
	}
	x.w.after(&x.party, beat, "beat", x.beats)
}

// leased reports whether something may be started under a heartbeat.
func (x *worker) leased(n uint64) bool {
	if x.w.bug == "workers start without a lease" {
		return true
	}
	if x.w.bug == "any heartbeat renews every lease" {
		n = x.number
	}
	at, known := x.sent[n]
	return known && x.w.mono(&x.party) < at+lease-margin
}

// take gets an order from a dispatcher, perhaps once more.
func (x *worker) take(o order) {
	w := x.w
	what := "run"
	if o.settle {
		what = "settle"
	}
	w.saw("worker", x.state(o.attempt), what)
	late := x.past[o.attempt] >= o.beat && x.past[o.attempt] > 0 && w.bug != "workers forget what they had"
	x.hears(o.term)
	if o.term < x.term && w.bug != "workers take orders of a lower term" || o.epoch < x.epochs[o.job.ID] && w.bug != "workers follow old epochs" || late && x.hands[o.attempt] == nil && x.disk[o.attempt] == nil {
		w.send(&x.party, &o.from.party, "refused", func() { o.from.refused(x, o) })
		return
	}
	x.epochs[o.job.ID] = max(o.epoch, x.epochs[o.job.ID])
	if r := x.disk[o.attempt]; r != nil && r.sight == target.SawNothing && o.resumed && w.bug != "not by me is not at all" {
		delete(x.disk, o.attempt) // that this worker did not start it was all that it knew
	}
	if r := x.disk[o.attempt]; r != nil {
		r.order = o
		x.report(r)
		return
	}
	w.send(&x.party, &o.from.party, "has", func() { o.from.has(x, o) })
	if h := x.hands[o.attempt]; h != nil {
		h.order.from, h.order.epoch = o.from, o.epoch
		h.order.settle = h.order.settle || o.settle
		h.order.beat = max(h.order.beat, o.beat)
		return
	}
	h := &hand{order: o, mayRun: o.resumed || o.settle, leased: x.leased(o.beat)}
	if w.bug == "a second worker does not know that it is one" {
		h.mayRun = o.settle
	}
	x.hands[o.attempt] = h
	if w.c != nil && o.term < x.term {
		w.wrong("%s follows term %d after %d", x.name, o.term, x.term)
	}
	x.reach(h)
}

// hears of a term.
func (x *worker) hears(term uint64) { x.term = max(x.term, term) }

// kill asks for the end of an attempt.
func (x *worker) kill(id sluice.AttemptID, word string) {
	x.w.saw("worker", x.state(id), "kill")
	if h := x.hands[id]; h != nil && h.kill == "" {
		h.kill = word
	}
}

// reach tries to get into contact with the host.
func (x *worker) reach(h *hand) {
	h.asked++
	n, t := h.asked, x.w.targets[h.order.host]
	x.w.session(&x.party, &t.party, "connect", func() {
		x.w.session(&t.party, &x.party, "hello", func() {
			if x.hands[h.order.attempt] == h && h.asked == n {
				x.ask(h, t)
			}
		})
	})
	x.w.after(&x.party, 3*latest, "no answer", func() {
		if x.hands[h.order.attempt] == h && h.asked == n {
			x.silence(h)
		}
	})
}

// ask sends the attempt, the same for every try, or asks how it ended.
func (x *worker) ask(h *hand, t *host) {
	w, o := x.w, h.order
	settle := o.settle
	w.saw("worker", x.state(o.attempt), "hello")
	if !settle && !x.mayStart(h) {
		if !h.mayRun { // somebody else may decide anew whether it is to start
			delete(x.hands, o.attempt)
			x.past[o.attempt] = x.number
			w.send(&x.party, &o.from.party, "refused", func() { o.from.refused(x, o) })
			return
		}
		settle = true
	}
	if !h.mayRun && h.kill != "" {
		x.conclude(h, target.Evidence{Sight: target.SawNothing})
		return
	}
	h.mayRun = true
	n, kill := h.asked, h.kill
	w.session(&x.party, &t.party, "ask", func() {
		r := t.run(o.attempt, settle, kill)
		w.session(&t.party, &x.party, "answer", func() {
			if x.hands[o.attempt] == h && h.asked == n {
				x.answer(h, r)
			}
		})
	})
}

// mayStart reports whether the start may be sent now.
func (x *worker) mayStart(h *hand) bool {
	if x.w.bug == "the lease is looked at too early" {
		return h.leased
	}
	return x.leased(h.order.beat)
}

func (x *worker) answer(h *hand, r reply) {
	w := x.w
	w.saw("worker", x.state(h.order.attempt), "answer")
	h.tries, h.out = 0, false
	if r.runs {
		h.asked++
		w.after(&x.party, w.span(4*time.Second), "look again", func() {
			if x.hands[h.order.attempt] == h {
				x.reach(h)
			}
		})
		return
	}
	e := target.Evidence{Sight: r.sight, Record: r.record}
	if r.sight == target.SawRecord && r.record.Kill == "" && !h.order.sweep {
		o := h.order
		step := sluice.TaskStep{Host: o.host, Attempt: o.attempt, Step: "command", ExitCode: r.record.Code}
		w.send(&x.party, &o.from.party, "step", func() { o.from.step(o, step) })
	}
	x.conclude(h, e)
}

// silence is a try without an answer.
func (x *worker) silence(h *hand) {
	w, o := x.w, h.order
	w.saw("worker", x.state(o.attempt), "no answer")
	if !h.out {
		h.out, h.since = true, w.mono(&x.party)
	}
	h.tries++
	switch {
	case !h.mayRun && h.tries >= 4:
		x.conclude(h, target.Evidence{Sight: target.SawNothing, Unreachable: true})
	case h.mayRun && w.mono(&x.party)-h.since >= o.job.Options.Reconnect:
		x.conclude(h, target.Evidence{Sight: target.SawSilence})
	default:
		w.after(&x.party, w.span(4*time.Second), "try again", func() {
			if x.hands[o.attempt] == h {
				x.reach(h)
			}
		})
	}
}

// conclude keeps the outcome that the evidence allows, and reports it until it is durable.
func (x *worker) conclude(h *hand, e target.Evidence) {
	o := h.order
	e.Kill = h.kill
	r := &result{order: o, sight: e.Sight, body: target.Conclude(e)}
	r.body.Host, r.body.Attempt = o.host, o.attempt
	switch {
	case x.w.bug == "silence is success" && e.Sight == target.SawSilence,
		x.w.bug == "a restarted host has done it" && e.Sight == target.SawReboot:
		r.body.Outcome = sluice.Succeeded
	case x.w.bug == "silence is failure" && e.Sight == target.SawSilence:
		r.body.Outcome = sluice.Failed
	}
	delete(x.hands, o.attempt)
	x.disk[o.attempt] = r
	if x.w.bug == "targets forget before the log knows" {
		x.clean(o, e.Sight, r.body.Outcome)
	}
	x.report(r)
}

func (x *worker) report(r *result) {
	o := r.order
	if x.disk[o.attempt] != r {
		return
	}
	body := r.body
	r.told++
	n := r.told
	x.w.send(&x.party, &o.from.party, "outcome", func() { o.from.outcome(x, o, body) })
	x.w.after(&x.party, 3*time.Second, "report again", func() {
		if r.told == n {
			x.report(r)
		}
	})
}

// acknowledged is told when an outcome is durable. Where another worker may have been given the attempt, too, the host
// must not forget it before that one's lease is over: its start may be under way.
func (x *worker) acknowledged(id sluice.AttemptID, shared bool) {
	x.w.saw("worker", x.state(id), "acknowledged")
	r := x.disk[id]
	if r == nil {
		return
	}
	delete(x.disk, id)
	x.past[id] = x.number
	if shared && x.w.bug != "a host forgets what another worker may start" {
		x.w.after(&x.party, lease+margin, "clean later", func() { x.clean(r.order, r.sight, r.body.Outcome) })
		return
	}
	x.clean(r.order, r.sight, r.body.Outcome)
}

func (x *worker) clean(o order, sight target.Sight, outcome sluice.Outcome) {
	if outcome != sluice.Unknown && sight != target.SawNothing {
		t := x.w.targets[o.host]
		x.w.session(&x.party, &t.party, "clean", func() { t.clean(o.attempt) })
	}
}

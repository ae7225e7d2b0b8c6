package sim

import (
	"context"
	"time"

	"sluice"
	"sluice/internal/core/drive"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

const (
	// ttl is the lease of a term.
	ttl = 2 * time.Second
	// renew is how often it is renewed.
	renew = ttl / 5
	// onceMore is when an append that has no answer is sent again.
	onceMore = 250 * time.Millisecond
)

// cluster is what several servers share: an engine, which is a majority of the nodes that live in them. world.log is what the
// engine has; who reads the log reads a server's copy.
type cluster struct {
	w       *world
	servers []*server
	term    uint64 // of the newest owner
	owner   *server
	lead    *server       // whose node answered last
	till    time.Duration // the engine ends the term then
	records uint64
	ids     map[uint64]uint64 // the record that an event is the last of
	halts   []*keptHalt       // all that were ever taken, for the checker
	must    map[sluice.JobID]bool
	met     map[string]int
}

// server is one machine: a node of the engine, a copy, and the dispatcher while it owns the log.
type server struct {
	*dispatcher
	c *cluster
	// On its disk:
	copy  []sluice.Event
	has   int // of the engine's log, in its node
	empty bool
	kept  []*keptHalt
	// In its memory:
	term      uint64
	since     time.Duration // when what last renewed the term was asked for
	unsure    bool
	appending bool
	serving   bool
	atBegin   int // where the engine's log ended when the term began; for the checker
	claims    map[sluice.JobID]*claimed
	takes     uint64
}

type keptHalt struct {
	job sluice.JobID
	at  *server
	in  bool
}

func (w *world) meet(fault string) { w.c.met[fault]++ }

// newCluster puts servers around the dispatchers.
func newCluster(w *world, n int) {
	c := &cluster{w: w, ids: map[uint64]uint64{}, must: map[sluice.JobID]bool{}, met: map[string]int{}}
	w.c = c
	for i := range n {
		d := newDispatcher(w, i)
		s := &server{dispatcher: d, c: c}
		d.s = s
		d.boot = s.begin
		d.crash = s.end
		w.dispatchers, c.servers = append(w.dispatchers, d), append(c.servers, s)
	}
}

// begin is the start of the process: it follows the engine, and wants to own the log.
func (s *server) begin() {
	s.forget()
	s.w.after(&s.party, s.w.span(time.Second), "follow", s.follow)
	s.w.after(&s.party, s.w.span(time.Second), "own", s.own)
}

// forget is what is gone with a term.
func (s *server) forget() {
	for _, id := range sortedKeys(s.drives) {
		s.drives[id].over = true
	}
	s.term, s.unsure, s.appending, s.serving = 0, false, false, false
	s.state, s.drives, s.claims = schedule.New(), map[sluice.JobID]*driving{}, map[sluice.JobID]*claimed{}
	s.heard, s.beats = map[*worker]time.Duration{}, map[*worker]uint64{}
}

// end is the death of the process; its disk may be gone with it.
func (s *server) end() {
	s.forget()
	w := s.w
	if w.bug == "kept halts are in memory alone" {
		s.kept = nil
	}
	if others := s.c.voters() - 1; !w.calm && !s.empty && others > len(s.c.servers)/2 && w.chance(0.3) {
		w.meet("a server lost its data")
		for _, k := range s.kept {
			k.in = true // it was on this disk alone
		}
		s.copy, s.kept, s.has, s.empty = nil, nil, 0, true
	}
}

func (c *cluster) voters() (n int) {
	for _, s := range c.servers {
		if !s.empty {
			n++
		}
	}
	return n
}

func (w *world) reaches(a, b *party) bool { return a == b || w.cut[[2]*party{a, b}] <= w.now }

func (s *server) alive() bool { return s.up && s.stops <= s.w.now }

// group are the servers that hear a node and are heard by it.
func (c *cluster) group(of *server) (all []*server) {
	for _, x := range c.servers {
		if x.alive() && c.w.reaches(&of.party, &x.party) && c.w.reaches(&x.party, &of.party) {
			all = append(all, x)
		}
	}
	return all
}

// majority is whether a request of a server gets to a node that has one, and whether the answer gets back. What no node of a majority has
// is lost.
func (c *cluster) majority(s *server) (there, back bool) {
	for _, lead := range c.servers {
		if !lead.alive() || !c.w.reaches(&s.party, &lead.party) || lead.empty && c.w.bug != "a server without data votes" {
			continue
		}
		votes, have := 0, 0
		for _, x := range c.group(lead) {
			if !x.empty || c.w.bug == "a server without data votes" {
				votes++
				have = max(have, x.has)
			}
		}
		if votes <= len(c.servers)/2 {
			continue
		}
		if have < len(c.w.log) {
			c.w.log, c.w.times = c.w.log[:have], c.w.times[:have]
		}
		c.lead = lead
		return true, c.w.reaches(&lead.party, &s.party)
	}
	c.w.meet("no majority")
	return false, false
}

// spread is the engine's own copying, among those that hear who answers.
func (c *cluster) spread() {
	for _, x := range c.group(c.lead) {
		x.has = len(c.w.log)
	}
}

// ask sends a request to the engine. do runs there, at most once and perhaps much later; answer runs here, if the process lives on.
func (s *server) ask(kind string, do func(), answer func()) {
	w, c, life := s.w, s.c, s.life
	if w.chance(w.weather.drop) {
		return
	}
	d := time.Millisecond + w.span(10*time.Millisecond)
	if w.chance(w.weather.slow) {
		d = w.span(8 * time.Second)
		w.meet("a late request")
	}
	w.after(nil, d, "engine "+kind, func() {
		there, back := c.majority(s)
		if !there {
			return
		}
		do()
		if !back || w.chance(w.weather.lostAnswer) {
			w.meet("a lost answer")
			return
		}
		w.after(nil, time.Millisecond+w.span(5*time.Millisecond), "net", func() {
			if s.up && s.life == life {
				w.after(&s.party, 0, "answer "+kind, answer)
			}
		})
	})
}

// owns says whether the term goes on, by this server's own clock.
func (s *server) owns() bool {
	if s.w.bug == "a term does not end by itself" {
		return s.term > 0
	}
	return s.term > 0 && s.w.mono(&s.party) < s.since+ttl-renew/2
}

// own asks for a term, again and again.
func (s *server) own() {
	w, c := s.w, s.c
	w.after(&s.party, 500*time.Millisecond+w.span(time.Second), "own", s.own)
	if s.term > 0 || s.empty {
		return
	}
	asked, got := w.mono(&s.party), uint64(0)
	s.ask("own", func() {
		if c.owner != nil && c.till > w.now {
			return
		}
		for _, x := range c.servers { // the one that is over must know that by now
			if x != s && x.alive() && x.owns() {
				w.wrong("%s and %s own the log at a time", x.name, s.name)
			}
		}
		c.term++
		c.owner, c.till, got = s, w.now+ttl, c.term
		s.atBegin = len(w.log)
	}, func() {
		if got == 0 || s.term > 0 {
			return
		}
		w.meet("a term")
		s.term, s.since, s.unsure = got, asked, true
		if w.bug == "the lease counts from the answer" {
			s.since = w.mono(&s.party)
		}
		s.keep(got)
		s.settle(got)
	})
}

// keep renews a term, and ends it.
func (s *server) keep(term uint64) {
	w, c := s.w, s.c
	if s.term != term {
		return
	}
	if !s.owns() {
		w.meet("a term that ran out")
		s.forget()
		return
	}
	asked, is := w.mono(&s.party), false
	s.ask("renew", func() {
		if is = c.term == term && c.owner == s && c.till > w.now; is {
			c.till = w.now + ttl
		}
	}, func() {
		if is && s.term == term {
			if w.bug == "the lease counts from the answer" {
				asked = w.mono(&s.party)
			}
			s.since = max(s.since, asked)
		}
	})
	w.after(&s.party, renew, "keep", func() { s.keep(term) })
}

// settle has the copy caught up, as often as that is not known.
func (s *server) settle(term uint64) {
	w := s.w
	if s.term != term {
		return
	}
	w.after(&s.party, 200*time.Millisecond+w.span(100*time.Millisecond), "settle", func() { s.settle(term) })
	if !s.serving && w.bug == "a new owner begins before it has caught up" {
		s.unsure = false
		s.serve(term)
		return
	}
	if s.serving && !s.unsure && !s.appending && s.owns() && w.bug != "kept halts are handed over late" {
		s.fetch() // from those that can be reached by now
	}
	if !s.unsure || s.appending || !s.owns() {
		return
	}
	end := 0
	s.ask("heads", func() { end = len(w.log) }, func() {
		if s.term == term && !s.appending && len(s.copy) >= end {
			s.unsure = false
			if !s.serving {
				s.serve(term)
			}
		}
	})
}

// serve is what a single server does when it starts; halts that others keep come first.
func (s *server) serve(term uint64) {
	w, c := s.w, s.c
	if len(s.copy) < s.atBegin {
		w.wrong("%s serves term %d with %d events, and there were %d when it began", s.name, term, len(s.copy), s.atBegin)
	}
	c.must = map[sluice.JobID]bool{}
	for _, k := range c.halts {
		if !k.in && k.at.alive() && w.reaches(&s.party, &k.at.party) && w.reaches(&k.at.party, &s.party) {
			c.must[k.job] = true
		}
	}
	if w.bug == "kept halts are handed over late" {
		w.after(&s.party, 3*time.Second, "halts", func() { s.fetch() }) // much too late
	} else if !s.fetch() {
		return // once more
	}
	s.serving = true
	s.tick()
}

// fetch appends the halts that are kept on the servers that can be reached.
func (s *server) fetch() bool {
	w := s.w
	for _, x := range s.c.servers {
		if !x.alive() || !w.reaches(&s.party, &x.party) || !w.reaches(&x.party, &s.party) {
			continue
		}
		for len(x.kept) > 0 {
			k := x.kept[0]
			desk := &control.Service{Log: ledger{w, s}, Clock: w.people.desk.Clock, By: "ann"}
			if _, err := desk.Halt(context.Background(), k.job, ""); err != nil && sluice.CodeOf(err) == sluice.Contact {
				return false
			}
			w.meet("a kept halt handed over")
			k.in, x.kept = true, x.kept[1:]
			delete(s.c.must, k.job)
		}
	}
	return true
}

// follow brings into the copy what the engine has.
func (s *server) follow() {
	w := s.w
	w.after(&s.party, 50*time.Millisecond+w.span(400*time.Millisecond), "follow", s.follow)
	if s.appending || !s.empty && len(s.copy) == len(w.log) && s.has == len(w.log) { // nothing comes
		return
	}
	var got []sluice.Event
	from, end := len(s.copy), 0
	s.ask("follow", func() {
		end = len(w.log)
		if from > end {
			w.wrong("%s has %d events, and the engine has %d", s.name, from, end)
			return
		}
		got = w.log[from:end:end]
		s.c.spread()
	}, func() {
		if s.appending {
			return
		}
		there := len(s.copy) - from
		if there < 0 || there > len(got) || w.bug == "what a copy has is added once more" {
			there = 0
		}
		s.add(got[there:])
		if s.empty && len(s.copy) >= end {
			s.empty = false
			w.meet("a server filled again")
		}
	})
}

// add puts events into the copy. It has to be where the engine is.
func (s *server) add(events []sluice.Event) {
	if len(events) == 0 {
		return
	}
	w := s.w
	for _, e := range events {
		s.copy = append(s.copy, e)
		if n := len(s.copy); n > len(w.log) || text(w.log[n-1]) != text(e) {
			if w.bug == "" || s.up {
				w.wrong("event %d of %s is not what the engine has", n, s.name)
			}
			return
		}
	}
	if s.serving {
		w.after(&s.party, time.Millisecond, "news", s.news)
	}
}

// take is the engine's side of an append.
func (c *cluster) take(s *server, term uint64, head int, id uint64, events []sluice.Event, g *driving) (how string) {
	w := c.w
	last := uint64(head + len(events))
	switch {
	case c.ids[last] == id && uint64(len(w.log)) >= last:
		return "ok" // it was put, and the answer was lost
	case (c.term != term || c.owner != s || c.till <= w.now) && w.bug != "the engine does not compare the term":
		w.meet("an append of a term that is over")
		return "refused"
	case head != len(w.log) && w.bug != "the engine does not compare the head":
		return "refused"
	}
	if c.term != term {
		w.wrong("%s appended in term %d, and it is %d", s.name, term, c.term)
	}
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.TaskStarted:
			if c.must[e.Job] {
				w.wrong("job %s starts on %s, and a halt of it is kept", e.Job, b.Host)
			}
		case sluice.JobHalting, sluice.JobHalted, sluice.JobResumed, sluice.JobFinished:
			delete(c.must, e.Job)
		}
	}
	if g != nil {
		w.promises.Epoch(g.id, g.epoch)
	}
	own := append([]sluice.Event(nil), events...)
	w.append(own)
	copy(events, own) // their numbers
	c.ids[uint64(len(w.log))] = id
	c.spread()
	return "ok"
}

// append is a drive's append, through the server's journal.
func (c *cluster) append(g *driving, tail []sluice.Event, decision drive.Decision) {
	w, s := c.w, g.d.s
	g.busy = true
	g.asked++
	n, term, events := g.asked, s.term, decision.Events
	head := len(s.copy)
	answer := func(how string) {
		w.after(&s.party, 0, "journal "+how, func() {
			if !g.over && g.asked == n {
				g.answered(how, tail, decision)
			}
		})
	}
	switch {
	case !s.owns():
		answer("full")
		return
	case s.unsure || s.appending:
		answer("busy")
		return
	}
	c.records++
	id, done := c.records, false
	s.appending, s.unsure = true, true
	if w.bug == "a copy commits before the engine" {
		s.add(events)
	}
	if w.chance(w.weather.fragile / 3) {
		w.after(nil, w.span(20*time.Millisecond), "crash", func() { w.crash(&s.party) })
	}
	heard := func(how string) {
		if done || s.term != term {
			return
		}
		done, s.appending = true, false
		switch {
		case how == "refused":
			w.meet("a refused append")
			how = "full"
		case w.chance(w.weather.diskFull):
			w.meet("a commit that failed")
			how = "full"
		default:
			if len(s.copy) == head {
				s.add(events)
			}
			s.unsure = false
		}
		answer(how)
	}
	if !w.calm && w.chance(0.02) {
		w.meet("an owner that stands still, and its append comes late")
		s.stops = w.now + ttl + w.span(2*ttl)
		w.after(nil, ttl+w.span(2*ttl), "late append", func() {
			if there, _ := c.majority(s); there {
				c.take(s, term, head, id, events, g)
			}
		})
	}
	var try func()
	try = func() {
		if done || s.term != term {
			return
		}
		if !s.owns() {
			w.meet("an append with an unknown result")
			s.forget()
			return
		}
		how := ""
		s.ask("append", func() { how = c.take(s, term, head, id, events, g) }, func() { heard(how) })
		w.after(&s.party, onceMore, "once more", func() {
			if done || s.term != term {
				return
			}
			w.meet("an append sent again")
			switch w.bug {
			case "an unknown result counts as done":
				heard("ok")
			case "an append is sent again as another one":
				c.records++
				id = c.records
				head = max(head, len(w.log))
			}
			try()
		})
	}
	try()
}

// update is an append that somebody asks for, through the server's journal. It happens at once.
func (c *cluster) update(s *server, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	w := c.w
	if s == nil {
		return 0, sluice.Errorf(sluice.Contact, "no server owns the log")
	}
	if !s.owns() || s.unsure || s.appending || after > uint64(len(s.copy)) {
		return 0, sluice.Errorf(sluice.Contact, "not now")
	}
	events, err := decide(s.copy[after:])
	if err != nil || len(events) == 0 {
		return uint64(len(s.copy)), err
	}
	s.unsure = true
	there, back := c.majority(s)
	c.records++
	if there && !w.calm && w.chance(0.05) { // it is on its way for long
		w.meet("an append of people that comes late")
		term, head, id := s.term, len(s.copy), c.records
		w.after(nil, w.span(2*ttl), "late append", func() {
			if there, _ := c.majority(s); there {
				c.take(s, term, head, id, events, nil)
			}
		})
		return 0, sluice.Errorf(sluice.Contact, "unknown")
	}
	if !there {
		return 0, sluice.Errorf(sluice.Contact, "no majority")
	}
	if how := c.take(s, s.term, len(s.copy), c.records, events, nil); how != "ok" {
		return 0, sluice.Errorf(sluice.Contact, "refused")
	}
	if !back || w.chance(w.weather.lostAnswer) {
		w.meet("an append of people with an unknown result")
		return 0, sluice.Errorf(sluice.Contact, "unknown")
	}
	s.add(events)
	s.unsure = false
	return uint64(len(s.copy)), nil
}

// reach is the owner that people get to, by any server.
func (c *cluster) reach() *server {
	var of []*server
	for _, s := range c.servers {
		if s.alive() && s.serving && s.owns() {
			of = append(of, s)
		}
	}
	if len(of) == 0 {
		return nil
	}
	via, s := pick(c.w, c.servers), pick(c.w, of)
	if !via.alive() || !c.w.reaches(&via.party, &s.party) || !c.w.reaches(&s.party, &via.party) {
		return nil
	}
	return s
}

// keepHalt has a server keep a halt, where nobody owns the log.
func (c *cluster) keepHalt(id sluice.JobID) {
	s := pick(c.w, c.servers)
	if !s.alive() || s.empty || c.owner != nil && c.till > c.w.now {
		return
	}
	c.w.meet("a kept halt")
	k := &keptHalt{job: id, at: s}
	s.kept, c.halts = append(s.kept, k), append(c.halts, k)
}

// misfortunes of servers.
func (c *cluster) misfortunes() {
	w := c.w
	w.misfortune("servers", 40*time.Second, func() {
		for range w.rnd.IntN(3) {
			w.after(nil, w.span(10*time.Second), "people halt", w.people.halt)
		}
		s := pick(w, c.servers)
		if c.owner != nil && w.chance(0.6) {
			s = c.owner
		}
		till := w.now + w.mean(10*time.Second)
		switch w.rnd.IntN(6) {
		case 0:
			w.meet("a server killed")
			w.crash(&s.party)
		case 1:
			w.meet("a server paused")
			if s.up {
				s.stops = w.now + w.mean(2*ttl)
			}
		case 2, 3:
			how := pick(w, []string{"both ways", "out", "in"})
			w.meet("a server cut off " + how)
			for _, x := range c.servers {
				if x == s {
					continue
				}
				if how != "in" {
					w.cut[[2]*party{&s.party, &x.party}] = till
				}
				if how != "out" {
					w.cut[[2]*party{&x.party, &s.party}] = till
				}
			}
		case 4:
			w.meet("a majority killed")
			for _, x := range c.servers[:len(c.servers)/2+1] {
				w.crash(&x.party)
			}
		case 5:
			w.meet("all killed at once")
			for _, x := range c.servers {
				w.crash(&x.party)
			}
		}
	})
}

// ends is what holds when the weather has been fair for long.
func (c *cluster) ends() {
	for _, s := range c.servers {
		if len(s.copy) != len(c.w.log) {
			c.w.wrong("%s has %d events in fair weather, and the engine has %d", s.name, len(s.copy), len(c.w.log))
		}
		if len(s.kept) > 0 {
			c.w.wrong("%s still keeps a halt in fair weather", s.name)
		}
	}
	for _, k := range c.halts {
		if !k.in {
			c.w.wrong("a halt of job %s is lost, which %s had kept", k.job, k.at.name)
		}
	}
}

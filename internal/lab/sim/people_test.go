package sim

import (
	"context"
	"fmt"
	"io"
	"time"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/invariant"
	"sluice/internal/run/control"
)

// people submit jobs and change their minds. What they do goes through the same service as in a server.
type people struct {
	w     *world
	desk  *control.Service
	fleet *sluice.Fleet
	jobs  []sluice.JobID
	acks  []invariant.Ack
}

// ledger is the world's log as a port. Everything happens at once: there is one goroutine.
type ledger struct {
	w  *world
	at *server // of a cluster; nil: whoever can be reached
}

// server is whom people speak to, in a cluster.
func (l ledger) server() *server {
	if l.at != nil {
		return l.at
	}
	return l.w.c.reach()
}

func (l ledger) Update(_ context.Context, _ sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if l.w.c != nil {
		return l.w.c.update(l.server(), after, decide)
	}
	if l.w.broken > l.w.now {
		return 0, sluice.Errorf(sluice.Contact, "no space left")
	}
	if after > uint64(len(l.w.log)) {
		return 0, sluice.Errorf(sluice.Contact, "the log lost events")
	}
	events, err := decide(l.w.log[after:])
	if err != nil {
		return 0, err
	}
	if len(events) > 0 {
		l.w.append(events)
	}
	return uint64(len(l.w.log)), nil
}

// read is what is there: of a server's copy, if it is asked by its name.
func (l ledger) read() []sluice.Event {
	if l.at != nil {
		return l.at.copy
	}
	return l.w.log
}

func (l ledger) Read(_ context.Context, _ sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	rest := l.read()[min(after, uint64(len(l.read()))):]
	return rest[:min(limit, len(rest))], nil
}

func (l ledger) ReadJob(_ context.Context, _ sluice.Namespace, id sluice.JobID) (out []sluice.Event, err error) {
	for _, e := range l.read() {
		if e.Job == id {
			out = append(out, e)
		}
	}
	return out, nil
}

func (l ledger) Wait(context.Context, sluice.Namespace, uint64) error { return io.EOF }
func (l ledger) Namespaces(context.Context) ([]sluice.Namespace, error) {
	return []sluice.Namespace{ns}, nil
}
func (l ledger) FindJob(_ context.Context, prefix string) (sluice.Namespace, sluice.JobID, error) {
	return ns, sluice.JobID(prefix), nil
}

func newPeople(w *world) *people {
	p := &people{w: w, fleet: &sluice.Fleet{Namespace: ns, Hosts: w.hosts}}
	p.desk = &control.Service{Log: ledger{w: w}, Clock: func() time.Time { return begin.Add(w.now) }, By: "ann"}
	p.limits()
	w.after(nil, 0, "people", p.submit)
	w.after(nil, w.span(20*time.Second), "people", p.act)
	return p
}

// limits makes constraints that overlap.
func (p *people) limits() {
	w := p.w
	p.fleet.Constraints = nil
	for i := range 1 + w.rnd.IntN(3) {
		var members []sluice.Host
		for _, h := range w.hosts {
			if i == 0 || w.chance(0.6) {
				members = append(members, h)
			}
		}
		limit := sluice.Count(1 + w.rnd.IntN(4))
		if w.chance(0.4) {
			limit = sluice.Percent(10 + w.rnd.IntN(60))
		}
		if len(members) > 0 {
			name := fmt.Sprintf("$c%d", i)
			p.fleet.Constraints = append(p.fleet.Constraints, sluice.Constraint{Name: name,
				Groups: []sluice.Group{{Name: name, Limit: limit, Members: members}}})
		}
	}
}

// submit puts a job into the log: on some of the hosts, in some stages.
func (p *people) submit() {
	w := p.w
	var targets []sluice.Host
	for _, h := range w.hosts {
		if w.chance(0.8) {
			targets = append(targets, h)
		}
	}
	if len(targets) == 0 {
		targets = w.hosts[:1]
	}
	id := sluice.JobID(fmt.Sprintf("%012d", len(p.jobs)+1))
	o := sluice.Options{Reconnect: 20*time.Second + w.span(time.Minute), ReadOnly: w.chance(0.1)}
	if w.chance(0.4) {
		m := sluice.Count(w.rnd.IntN(4))
		o.MaxFailures = &m
	}
	if w.chance(0.3) {
		m := sluice.Count(1 + w.rnd.IntN(3))
		o.MaxParallel = &m
	}
	if w.chance(0.3) {
		o.Concurrency = 1 + w.rnd.IntN(4)
	}
	if w.chance(0.1) && !w.weather.clocks {
		o.JobTimeout = time.Minute + w.span(10*time.Minute)
	}
	rules, err := sluice.NewRules(p.fleet.Hosts, p.fleet.Constraints)
	if err != nil {
		w.wrong("%v", err)
		return
	}
	made, ordered, err := plan.Make(p.fleet, targets)
	if err != nil {
		w.wrong("%v", err)
		return
	}
	d := &control.Draft{Rules: rules, Job: sluice.Job{ID: id, Namespace: ns, By: "ann", Command: "true", Options: o,
		Targets: ordered, Tracks: p.stages(made.Tracks, ordered), Rules: rules.Digest}}
	events, err := p.desk.Submit(context.Background(), d)
	if err != nil {
		w.after(nil, 5*time.Second, "people", p.submit)
		return
	}
	p.acknowledge(events)
	p.jobs = append(p.jobs, id)
}

// stages cuts a plan into stages with gates.
func (p *people) stages(made []sluice.Track, targets []sluice.Host) []sluice.Track {
	w := p.w
	if w.chance(0.3) || len(targets) < 2 {
		return made
	}
	t := sluice.Track{Name: "rollout"}
	for len(targets) > 0 {
		n := 1 + w.rnd.IntN(len(targets))
		st := sluice.Stage{Name: fmt.Sprintf("s%d", len(t.Stages)), Entry: len(t.Stages), Hosts: targets[:n:n], MaxFailures: w.rnd.IntN(2)}
		if w.chance(0.2) {
			st.Gate.Approve = true
		}
		if w.chance(0.2) && w.weather.pauses {
			st.Gate.Pause = w.span(time.Minute)
		}
		t.Stages = append(t.Stages, st)
		targets = targets[n:]
	}
	return []sluice.Track{t}
}

// acknowledge is what somebody heard; not everybody hears everything.
func (p *people) acknowledge(events []sluice.Event) {
	if p.w.chance(p.w.weather.lostAnswer) {
		return
	}
	for _, e := range events {
		p.acks = append(p.acks, invariant.Ack{Seq: e.Seq, Text: text(e)})
	}
}

// act does one thing, and another one later.
func (p *people) act() {
	w := p.w
	if w.calm {
		return
	}
	w.after(nil, w.mean(25*time.Second), "people", p.act)
	if len(p.jobs) == 0 {
		return
	}
	ctx, id, hosts := context.Background(), pick(w, p.jobs), []sluice.Host{pick(w, w.hosts)}
	var events []sluice.Event
	var err error
	what := pick(w, []string{"halt", "resume", "resume", "cancel", "retry", "retry", "skip", "approve", "approve", "hold", "release", "release",
		"submit", "submit", "lower", "right", "retire", "return"})
	w.note("people "+what, nil, id, hosts)
	switch what {
	case "halt":
		events, err = p.desk.Halt(ctx, id, "")
		if w.c != nil && sluice.CodeOf(err) == sluice.Contact {
			w.c.keepHalt(id)
		}
	case "resume":
		delete(w.revoked, id)
		events, err = p.desk.Resume(ctx, id, nil)
	case "cancel":
		if w.chance(0.4) {
			events, err = p.desk.Cancel(ctx, id, "")
		}
	case "retry":
		delete(w.revoked, id)
		events, err = p.desk.Retry(ctx, id, nil, nil)
	case "skip":
		events, err = p.desk.Skip(ctx, id, hosts, "no need")
	case "approve":
		events, err = p.desk.Approve(ctx, id, "", "")
	case "hold":
		events, err = p.desk.ChangeHosts(ctx, ns, control.Hold, hosts, "repair")
	case "release":
		events, err = p.desk.ChangeHosts(ctx, ns, control.Release, p.outOfService(), "seen to")
	case "retire":
		if w.chance(0.3) {
			events, err = p.desk.ChangeHosts(ctx, ns, control.Retire, hosts, "old")
		}
	case "return":
		events, err = p.desk.ChangeHosts(ctx, ns, control.Return, hosts, "not so old")
	case "submit":
		if len(p.jobs) < 5 {
			p.submit()
		}
	case "lower":
		p.limits()
		var rules sluice.Rules
		if rules, err = sluice.NewRules(p.fleet.Hosts, p.fleet.Constraints); err == nil && w.broken <= w.now {
			_, err = p.desk.Log.Update(ctx, ns, 0, func([]sluice.Event) ([]sluice.Event, error) {
				return []sluice.Event{{Time: begin.Add(w.now), Body: sluice.RulesApplied{Rules: rules, By: "ann"}}}, nil
			})
		}
	case "right":
		w.revoked[id] = true
	}
	if code := sluice.CodeOf(err); err != nil && code != sluice.Conflict && code != sluice.NotFound && code != sluice.Contact {
		w.wrong("%s: %v", what, err)
	}
	if err == nil {
		p.acknowledge(events)
	}
}

// halt is somebody who sees that something is wrong. A server that reaches no owner keeps it.
func (p *people) halt() {
	if len(p.jobs) == 0 || p.w.calm {
		return
	}
	id := pick(p.w, p.jobs)
	events, err := p.desk.Halt(context.Background(), id, "")
	switch {
	case err == nil:
		p.acknowledge(events)
	case sluice.CodeOf(err) == sluice.Contact:
		p.w.c.keepHalt(id)
	}
}

// retry is somebody in a hurry.
func (p *people) retry(id sluice.JobID) {
	if events, err := p.desk.Retry(context.Background(), id, nil, nil); err == nil {
		p.acknowledge(events)
	}
}

// outOfService is one host that is.
func (p *people) outOfService() []sluice.Host {
	out, err := p.desk.Out(context.Background(), ns)
	if err != nil || len(out) == 0 {
		return []sluice.Host{"h00"}
	}
	return []sluice.Host{pick(p.w, out).Host}
}

// settle brings jobs to their end when the misfortunes are over.
func (p *people) settle() {
	ctx := context.Background()
	state := schedule.New()
	for _, e := range p.w.log {
		if err := state.Apply(e); err != nil {
			p.w.wrong("the log cannot be folded: %v", err)
			return
		}
	}
	for _, j := range state.Jobs() {
		id, unknown := j.Spec.ID, false
		for _, a := range state.Attempts(id) {
			unknown = unknown || a.Unknown
		}
		if len(j.Gates) > 0 {
			_, _ = p.desk.Approve(ctx, id, "", "")
		}
		if unknown || j.State == schedule.Halted {
			delete(p.w.revoked, id)
			_, _ = p.desk.Resume(ctx, id, nil)
		}
	}
}

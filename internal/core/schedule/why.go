package schedule

import (
	"fmt"
	"time"

	"sluice"
)

// Reason says why a task waits, or why a job is halted.
type Reason struct {
	Host       sluice.Host // that waits
	Rule       sluice.Rule
	Constraint string // as the tag is written, such as "$app"
	Group      string // such as "$app.web"
	Text       string // for people
	Holders    []Holder
}

// Holder is a host that is in the way.
type Holder struct {
	Host  sluice.Host
	Job   sluice.JobID // whose attempt it was; "" where an operator holds it
	Since time.Time
	Why   string // "running", an outcome, "held", "retired", "waiting"
}

func (r *Reason) hosts() (out []sluice.Host) {
	for _, h := range r.Holders {
		out = append(out, h.Host)
	}
	return out
}

// Why returns the reasons of all tasks of a job that wait, in their order. Tasks that wait for the same thing
// share the list of holders.
func (s *State) Why(id sluice.JobID) []Reason {
	j := s.byID[id]
	if j == nil || j.finished != "" {
		return nil
	}
	s.build(j)
	for i := range j.tracks { // a halted job does not decide, but goes on being told of what ends
		j.advance(s, j.tracks[i].name)
	}
	w := asker{State: s, holders: map[*group][]Holder{}}
	var out []Reason
	for _, t := range j.tasks {
		if t.phase == pending {
			r := w.why(t)
			if r.Rule == sluice.RuleSequence && r.Host == j.spec.Action.After() {
				r.Text += ", and it runs what this release runs once after all others"
			}
			out = append(out, r)
		}
	}
	return out
}

// asker answers for many tasks of a job and remembers the holders of groups.
type asker struct {
	*State
	holders map[*group][]Holder
	stages  map[place][]Holder
}

func (w *asker) why(t *task) Reason {
	j := t.job
	r := Reason{Host: w.hosts[t.host].name}
	switch {
	case j.cancelling != nil:
		r.Rule, r.Text = sluice.RuleOperator, "the job is being cancelled by "+j.cancelling.By
	case j.halting != nil:
		r.Rule, r.Text = j.halting.Rule, "the job is being halted: "+j.halting.Reason
	case j.overBudget():
		r = w.budget(j, r.Host)
	case j.refused >= maxRefused:
		r.Rule, r.Text = sluice.RuleAuth, "two logins were refused"
	case w.lockedBy(j) != nil:
		o := w.lockedBy(j)
		r.Rule, r.Text = sluice.RuleLock, fmt.Sprintf("job %s of %s has the lock %s until it ends", o.id(), o.spec.By, j.spec.Options.Lock)
	case t.closed > 0:
		w.closed(t, &r)
	default:
		w.ready(t, &r)
	}
	return r
}

func (w *asker) budget(j *job, h sluice.Host) Reason {
	r := Reason{Host: h, Rule: sluice.RuleBudget,
		Text: fmt.Sprintf("%d failed, and the job may have %d", j.failures, j.budget)}
	for _, t := range j.tasks {
		if t.outcome.Failure() {
			r.Holders = append(r.Holders, Holder{Host: w.hosts[t.host].name, Job: j.id(), Why: string(t.outcome), Since: w.since(t)})
		}
	}
	return r
}

// since is when the last outcome of a task came, as far as its host still remembers it.
func (w *asker) since(t *task) time.Time {
	if b := w.hosts[t.host].bad; b != nil && b.job == t.job.id() {
		return b.since
	}
	return time.Time{}
}

// closed explains a task whose stage is not open.
func (w *asker) closed(t *task, r *Reason) {
	for _, p := range t.places {
		tr := &t.job.tracks[p.track]
		if int(p.stage) < tr.reach {
			continue
		}
		if k, kind, ok := tr.atGate(); ok && int(p.stage) > k {
			st := &tr.stages[k]
			r.Rule = sluice.RuleGate
			if kind == sluice.GatePause {
				r.Text = fmt.Sprintf("pause after %s", st.name)
				if !st.pauseTill.IsZero() {
					r.Text += " until " + st.pauseTill.UTC().Format(time.RFC3339)
				}
			} else {
				r.Text = fmt.Sprintf("%s waits for approval", st.name)
			}
			return
		}
		r.Rule = sluice.RuleSequence
		r.Holders = w.before(t.job, p)
		r.Text = fmt.Sprintf("%s of %s is not done", tr.stages[max(tr.reach-1, 0)].name, tr.name)
		return
	}
}

// before lists what keeps a stage closed: first what failed, then what runs, and only if there is neither what
// waits.
func (w *asker) before(j *job, p place) []Holder {
	if known, ok := w.stages[p]; ok {
		return known
	}
	var failed, active, waiting []Holder
	for _, st := range j.tracks[p.track].stages[:p.stage] {
		for _, t := range st.tasks {
			h := Holder{Host: w.hosts[t.host].name, Job: j.id(), Since: w.since(t)}
			switch {
			case t.phase == running:
				h.Why, h.Since = "running", w.hosts[t.host].since
				active = append(active, h)
			case t.phase == settled && !t.outcome.Passed():
				h.Why = string(t.outcome)
				failed = append(failed, h)
			case t.phase == pending && len(waiting) == 0:
				h.Why = "waiting"
				waiting = append(waiting, h)
			}
		}
	}
	out := append(failed, active...)
	if len(out) == 0 {
		out = waiting
	}
	if w.stages == nil {
		w.stages = map[place][]Holder{}
	}
	w.stages[p] = out
	return out
}

// ready explains a task whose stages are open.
func (w *asker) ready(t *task, r *Reason) {
	j, h := t.job, &w.hosts[t.host]
	switch {
	case h.retired != nil:
		r.Rule, r.Text = sluice.RuleHeld, "the host was retired: "+h.retired.reason
		r.Holders = []Holder{{Host: h.name, Since: h.retired.since, Why: "retired"}}
		return
	case !j.readOnly() && h.held != nil:
		r.Rule, r.Text = sluice.RuleHeld, fmt.Sprintf("%s holds the host: %s", h.held.by, h.held.reason)
		r.Holders = []Holder{{Host: h.name, Since: h.held.since, Why: "held"}}
		return
	case !j.readOnly() && h.attempt != nil:
		holder := w.holder(h)
		r.Rule, r.Holders = sluice.RuleHost, []Holder{holder}
		r.Text = "another task runs on the host"
		if h.unknown {
			r.Text = "it is not known how the last command on the host ended"
		}
		return
	}
	c := w.classOf(t)
	if g := c.full(); g != nil {
		r.Rule, r.Constraint, r.Group = sluice.RuleConstraint, g.constraint, g.name
		r.Holders = w.holdersOf(g, j)
		r.Text = fmt.Sprintf("%s has no room: %d of %d hosts may be out, %d are", g.name, g.capacity(), g.members, g.out)
		return
	}
	if limit := j.spec.Options.Concurrency; limit > 0 && j.running >= limit {
		r.Rule, r.Text = sluice.RuleConcurrency, fmt.Sprintf("%d attempts run, as many as the job may have at once", j.running)
		return
	}
	if j.halted != nil {
		r.Rule, r.Text = sluice.RuleHalted, "the job is halted: "+j.halted.Reason
		return
	}
	r.Rule, r.Text = sluice.RuleOrder, "its turn comes next"
}

// holdersOf lists the hosts of a group that are out.
func (w *asker) holdersOf(g *group, j *job) []Holder {
	if known, ok := w.holders[g]; ok {
		return known
	}
	members := g.hosts
	if g == j.limit {
		for _, t := range j.tasks {
			members = append(members, t.host)
		}
	}
	var out []Holder
	for _, i := range members {
		if h := &w.hosts[i]; h.counts().out {
			out = append(out, w.holder(h))
		}
	}
	w.holders[g] = out
	return out
}

// holder says why a host is out. What runs now comes first, then what an operator did, then what failed.
func (w *asker) holder(h *host) Holder {
	switch {
	case h.attempt != nil && !h.unknown:
		return Holder{h.name, h.attempt.job.id(), h.since, "running"}
	case h.held != nil:
		return Holder{h.name, "", h.held.since, "held"}
	case h.bad != nil:
		return Holder{h.name, h.bad.job, h.bad.since, h.bad.why}
	case h.attempt != nil:
		return Holder{h.name, h.attempt.job.id(), h.since, string(sluice.Unknown)}
	}
	return Holder{Host: h.name}
}

// verdict says why a job of which nothing runs and nothing can start is to be halted; nil: it only waits for
// time, for an approval, for a lock, or for what other jobs run.
func (d *decision) verdict(j *job) *Reason {
	w := asker{State: d.State, holders: map[*group][]Holder{}}
	if j.overBudget() {
		r := w.budget(j, "")
		return &r
	}
	if d.lockedBy(j) != nil {
		return nil
	}
	for i := range j.tracks {
		if _, _, waits := j.tracks[i].atGate(); waits {
			return nil
		}
	}
	if d.othersRun(j) && d.wouldStart(j) {
		return nil
	}
	var first, closed *task
	for _, t := range j.tasks {
		switch {
		case t.phase != pending:
		case t.closed > 0 && closed == nil:
			closed = t
		case t.closed == 0 && first == nil:
			first = t
		}
	}
	if first == nil {
		first = closed
	}
	r := w.why(first)
	return &r
}

// othersRun reports whether another job that somebody drives has attempts that run, or is about to start some.
func (d *decision) othersRun(j *job) bool {
	if len(d.reserved) > 0 {
		return true
	}
	for _, other := range d.open {
		if other != j && other.running > 0 && (d.in.Owns(other.id()) || d.in.Driven(other.id())) {
			return true
		}
	}
	return false
}

// wouldStart reports whether something of the job could start if all that other jobs run now succeeded.
func (d *decision) wouldStart(j *job) bool {
	for _, c := range j.queues.list {
		if len(c.tasks) > 0 && c.wouldStart() {
			return true
		}
	}
	for _, t := range j.tasks {
		if h := &d.hosts[t.host]; t.onHost && h.attempt != nil && !h.unknown && h.held == nil && d.classOf(t).wouldStart() {
			return true
		}
	}
	return false
}

func (c *class) wouldStart() bool {
	for _, g := range c.groups {
		if limit := g.capacity(); g.busy-g.live+1 > limit || !c.ownPlace && g.out-g.live+1 > limit {
			return false
		}
	}
	return true
}

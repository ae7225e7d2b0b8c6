package invariant

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"sluice"
)

// launch is I1, I3, I4, I7 and I10.
func (c *Checker) launch(j *job, b sluice.TaskStarted) {
	h := c.host(b.Host)
	if !j.targets[b.Host] {
		c.report("I10", "%s is launched on %s, which is no target", b.Attempt, b.Host)
	}
	if j.stopped || j.over != nil {
		c.report("I7", "%s is launched though its job was stopped", b.Attempt)
	}
	if c.attempts[b.Attempt] != nil {
		c.report("I3", "%s is launched twice", b.Attempt)
	}
	if last := c.attempts[j.last[b.Host]]; last != nil {
		if last.outcome == "" || last.outcome == sluice.Unknown && !last.dropped {
			c.report("I3", "%s is launched before the try before it ended", b.Attempt)
		}
		if !j.retried[b.Host] {
			c.report("I3", "%s is another try that nobody asked for", b.Attempt)
		}
	}
	if !j.spec.Options.ReadOnly {
		if c.busy(b.Host) {
			c.report("I4", "%s is launched on %s, where an attempt runs or may run", b.Attempt, b.Host)
		}
		if h.held {
			c.report("I5", "%s is launched on %s, which is held", b.Attempt, b.Host)
		}
		c.limits(j, b)
	}
	a := &attempt{job: j, host: b.Host, number: len(c.attempts) + 1}
	c.attempts[b.Attempt] = a
	c.on[a.host] = append(c.on[a.host], a)
	if !j.spec.Options.ReadOnly {
		h.last = a.number
	}
	j.last[b.Host] = b.Attempt
	delete(j.retried, b.Host)
}

// limits is I1: with the host of the launch, no group has more hosts busy, nor more out of service, than it may.
func (c *Checker) limits(j *job, b sluice.TaskStarted) {
	for _, digest := range []string{c.inForce, j.spec.Rules} {
		for _, constraint := range c.rules[digest].Constraints {
			for _, g := range constraint.Groups {
				c.limit(b, g)
			}
		}
	}
	if m := j.spec.Options.MaxParallel; m != nil {
		c.limit(b, sluice.Group{Name: "max-parallel", Limit: *m, Members: j.spec.Targets})
	}
}

func (c *Checker) limit(b sluice.TaskStarted, g sluice.Group) {
	if !slices.Contains(g.Members, b.Host) {
		return
	}
	members, busy, out, in := 0, 0, 0, false
	for _, m := range g.Members {
		if c.host(m).retired {
			continue
		}
		members++
		switch {
		case m == b.Host:
			in = true
		default:
			if c.busy(m) {
				busy++
			}
			if c.out(m) {
				out++
			}
		}
	}
	if !in {
		return
	}
	limit := allowed(g.Limit, members)
	if busy+1 > limit {
		c.report("I1", "%s is launched with %d others busy in %s, of %d that may be", b.Attempt, busy, g.Name, limit)
	}
	if out+1 > limit && !c.host(b.Host).bad {
		c.report("I1", "%s is launched with %d others out of service in %s, of %d that may be", b.Attempt, out, g.Name, limit)
	}
}

// allowed is what a limit comes to: a percentage is rounded down, but is at least one unless it is 0 %.
func allowed(limit sluice.Amount, members int) int {
	digits, percent := strings.CutSuffix(limit.String(), "%")
	share, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0
	}
	if percent {
		share.Mul(share, big.NewRat(int64(members), 100))
	}
	n := int(new(big.Int).Quo(share.Num(), share.Denom()).Int64())
	if percent && share.Sign() > 0 {
		n = max(n, 1)
	}
	return n
}

// outcome is I5, I14 and I16 as far as they can be seen at once: an attempt has one outcome that is true.
func (c *Checker) outcome(j *job, b sluice.TaskFinished) {
	if b.Attempt == "" {
		if b.Outcome != sluice.Skipped || b.By == "" {
			c.report("I16", "job %s gives up %s as %s, which nobody signed", j.spec.ID, b.Host, b.Outcome)
		}
		j.outcome[b.Host] = b.Outcome
		delete(j.retried, b.Host)
		return
	}
	a := c.attempts[b.Attempt]
	if a == nil {
		c.report("I14", "%s has an outcome and was never launched", b.Attempt)
		return
	}
	if a.outcome != "" && (a.outcome != sluice.Unknown || b.Outcome == sluice.Unknown) {
		c.report("I14", "%s is %s after it was %s", b.Attempt, b.Outcome, a.outcome)
	}
	if b.Outcome == sluice.Succeeded && !c.endedWell(b.Attempt) {
		c.report("I16", "%s is said to have succeeded; on its host: %v", b.Attempt, c.truth[b.Attempt])
	}
	if b.Outcome == sluice.Failed && !b.NotStarted && len(c.truth[b.Attempt]) > 0 && c.endedWell(b.Attempt) {
		c.report("I14", "%s is said to have failed; on its host: %v", b.Attempt, c.truth[b.Attempt])
	}
	if b.NotStarted && len(c.truth[b.Attempt]) > 0 {
		c.report("I3", "%s is said never to have started; on its host: %v", b.Attempt, c.truth[b.Attempt])
	}
	a.outcome, a.proved = b.Outcome, b.NotStarted
	if j.last[b.Host] == b.Attempt && j.outcome[b.Host] != sluice.Skipped || j.outcome[b.Host] == "" {
		j.outcome[b.Host] = b.Outcome
	}
	h := c.host(b.Host)
	if j.spec.Options.ReadOnly || a.number != h.last {
		return
	}
	switch {
	case b.Outcome == sluice.Succeeded:
		h.bad = false
	case b.Outcome == sluice.Cancelled && b.NotStarted:
	case a.dropped && b.Outcome == sluice.Unknown:
	default:
		h.bad = true
	}
}

func (c *Checker) endedWell(a sluice.AttemptID) bool {
	for _, m := range c.truth[a] {
		if m.Kind == Ended && m.Code == 0 {
			return true
		}
	}
	return false
}

// finished is I16 and I17.
func (c *Checker) finished(j *job, b sluice.JobFinished) {
	j.over = &b
	passed, sum := 0, 0
	for _, h := range j.spec.Targets {
		if o := j.outcome[h]; (o == sluice.Succeeded || o == sluice.Skipped) && !j.retried[h] {
			passed++
		}
	}
	for _, n := range b.Counts {
		sum += n
	}
	if (b.Outcome == sluice.Succeeded) != (passed == len(j.spec.Targets)) {
		c.report("I16", "job %s is %s, and %d of its %d targets succeeded or were skipped", j.spec.ID, b.Outcome, passed, len(j.spec.Targets))
	}
	if sum != len(j.spec.Targets) {
		c.report("I17", "job %s counts %d of its %d targets", j.spec.ID, sum, len(j.spec.Targets))
	}
	for id, a := range c.attempts {
		if a.job == j && a.outcome == "" {
			c.report("I17", "job %s is over, and %s runs", j.spec.ID, id)
		}
	}
}

// Mark takes the next line of what the targets wrote down.
func (c *Checker) Mark(m Mark) {
	a := c.attempts[m.Attempt]
	c.truth[m.Attempt] = append(c.truth[m.Attempt], m)
	if m.Kind != Started {
		if c.runs[m.Host] == m.Attempt {
			delete(c.runs, m.Host)
		}
		return
	}
	if a == nil {
		c.report("I3", "%s runs on %s and is not in the log", m.Attempt, m.Host)
		return
	}
	if a.host != m.Host {
		c.report("I10", "%s runs on %s, but is for %s", m.Attempt, m.Host, a.host)
	}
	for _, before := range c.truth[m.Attempt][:len(c.truth[m.Attempt])-1] {
		if before.Kind == Started {
			c.report("I3", "%s is started on %s a second time", m.Attempt, m.Host)
		}
	}
	if a.proved {
		c.report("I3", "%s starts on %s after it was proved that it never will", m.Attempt, m.Host)
	}
	if a.outcome != "" && a.outcome != sluice.Unknown {
		c.report("I3", "%s starts on %s after its outcome", m.Attempt, m.Host)
	}
	if a.job.stopped && m.At > a.job.stoppedAt+c.HaltReach {
		c.report("I8", "%s starts on %s %v after its job was stopped", m.Attempt, m.Host, m.At-a.job.stoppedAt)
	}
	if a.job.spec.Options.ReadOnly {
		return
	}
	if other, is := c.runs[m.Host]; is && !c.attempts[other].dropped {
		c.report("I4", "%s starts on %s while %s runs there", m.Attempt, m.Host, other)
	}
	c.runs[m.Host] = m.Attempt
	c.together(m)
}

// together is I1 where it counts: how many processes truly run. Where the rules have changed there is no one number to
// compare that with.
func (c *Checker) together(m Mark) {
	if len(c.rules) != 1 {
		return
	}
	for _, constraint := range c.rules[c.attempts[m.Attempt].job.spec.Rules].Constraints {
		for _, g := range constraint.Groups {
			members, running, in := 0, 0, false
			for _, h := range g.Members {
				members++
				in = in || h == m.Host
				if id, is := c.runs[h]; is && !c.attempts[id].dropped && !c.host(h).retired {
					running++
				}
			}
			if in && running > allowed(g.Limit, members) {
				c.report("I1", "%d processes run on hosts of %s, of %d that may", running, g.Name, allowed(g.Limit, members))
			}
		}
	}
}

// Healed is I14 and I15 when all links are up again and everything was asked for: what the targets know is in the log, and
// so is what was acknowledged.
func (c *Checker) Healed(acks []Ack, text func(sluice.Event) string) {
	for _, ack := range acks {
		if ack.Seq == 0 || ack.Seq > uint64(len(c.events)) || text(c.events[ack.Seq-1]) != ack.Text {
			c.report("I15", "event %d was acknowledged and is not in the log as it was: %s", ack.Seq, ack.Text)
		}
	}
	for id, marks := range c.truth {
		a := c.attempts[id]
		if a == nil || a.dropped || a.outcome == sluice.Unknown && a.job.outcome[a.host] == sluice.Skipped {
			continue // a person decided that nobody needs to know
		}
		m, right := marks[len(marks)-1], false
		switch m.Kind {
		case Ended:
			right = a.outcome == sluice.Succeeded && m.Code == 0 || a.outcome == sluice.Failed && m.Code != 0
		case Killed:
			right = a.outcome == sluice.Cancelled || a.outcome == sluice.TimedOut
		case Cut:
			right = a.outcome == sluice.Failed
		case Orphaned: // nobody will ever know, but for a host that has restarted since
			right = a.outcome == sluice.Unknown || a.outcome == sluice.Failed
		}
		if !right {
			c.report("I14", "%s is %q in the log; on its host: %v", id, a.outcome, marks)
		}
	}
}

// Stopped returns since when a job has been stopped.
func (c *Checker) Stopped(id sluice.JobID) (since time.Duration, is bool) {
	j := c.jobs[id]
	if j == nil || !j.stopped {
		return 0, false
	}
	return j.stoppedAt, true
}

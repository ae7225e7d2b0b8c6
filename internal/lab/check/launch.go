package check

import (
	"fmt"
	"maps"
	"slices"

	"sluice"
)

// objection is a rule that keeps a task from starting.
type objection struct {
	invariant string
	why       string // goes on after "although"
}

func object(invariant, format string, args ...any) []objection {
	return []objection{{invariant, fmt.Sprintf(format, args...)}}
}

// objections are all the rules that keep the job from starting on the host now.
func (c *Checker) objections(j *job, h sluice.Host) []objection {
	var all []objection
	all = append(all, againstTry(j.tasks[h])...)
	all = append(all, againstJob(j)...)
	all = append(all, c.againstLock(j)...)
	all = append(all, c.againstStages(j, h)...)
	if c.retired[h] {
		all = append(all, object(Retired, "the host is retired")...)
	}
	if j.Options.ReadOnly {
		return all // what changes nothing needs no lock and no capacity
	}
	if c.held[h] {
		all = append(all, object(Held, "an operator holds the host")...)
	}
	if len(c.busy[h]) > 0 {
		all = append(all, object(HostBusy, "the host is busy with %s", slices.Sorted(maps.Keys(c.busy[h])))...)
	}
	return append(all, c.againstCapacity(j, h)...)
}

func againstTry(t *task) []objection {
	switch {
	case t.attempt != nil && t.attempt.open():
		return object(NewTry, "attempt %s is not over", t.attempt.id)
	case t.state != planned:
		return object(NewTry, "the task is %s and nobody asked to try again", t.outcome)
	}
	return nil
}

func againstJob(j *job) []objection {
	var all []objection
	if j.stopped != "" {
		all = append(all, object(Halt, "the job was stopped by %s and not resumed", j.stopped)...)
	}
	if j.refused >= 2 {
		all = append(all, object(Refusals, "the password was refused %d times", j.refused)...)
	}
	if j.budget != nil && len(j.failed) > j.budget.Floor(len(j.Targets)) {
		all = append(all, object(Budget, "%d hosts failed and the budget is %s of %d", len(j.failed), j.budget, len(j.Targets))...)
	}
	if limit := j.Options.Concurrency; limit > 0 && len(j.running) >= limit {
		all = append(all, object(Concurrency, "%d attempts of the job run and no more than %d may", len(j.running), limit)...)
	}
	return all
}

// againstLock goes over all jobs: one that is not finished and was submitted before has the lock, and so has one that runs. One that
// undoes or validates another counts as submitted right before that.
func (c *Checker) againstLock(j *job) []objection {
	if j.Options.Lock == "" {
		return nil
	}
	before := true
	for _, o := range c.inLine() {
		switch {
		case o == j:
			before = false
		case o.Options.Lock != j.Options.Lock || o.finished:
		case before, len(o.running) > 0:
			return object(Locked, "job %s has the lock %s", o.id, j.Options.Lock)
		}
	}
	return nil
}

func (c *Checker) inLine() (line []*job) {
	for _, j := range c.order {
		for _, o := range c.order {
			if o.Action.Follows() == j.id {
				line = append(line, o)
			}
		}
		if c.jobs[j.Action.Follows()] == nil {
			line = append(line, j)
		}
	}
	return line
}

// againstCapacity asks the rules that the job was planned under, those in force now, and the job's own limit.
func (c *Checker) againstCapacity(j *job, h sluice.Host) []objection {
	var groups []*group
	if j.frozen != nil {
		groups = append(groups, j.frozen.groups[h]...)
	}
	if c.current != nil && c.current != j.frozen {
		groups = append(groups, c.current.groups[h]...)
	}
	if j.parallel != nil {
		groups = append(groups, j.parallel)
	}
	_, bad := c.bad[h]
	own := bad && !c.held[h]
	var all []objection
	for _, g := range groups {
		limit := g.limit.Capacity(c.members(g))
		busy, out := c.count(g, h)
		switch {
		case busy > limit:
			all = append(all, object(BusyLimit, "%d hosts of %s would be busy and its capacity is %d", busy, g.name, limit)...)
		case out > limit && !own:
			all = append(all, object(OutLimit, "%d hosts of %s would be out and its capacity is %d", out, g.name, limit)...)
		}
	}
	return all
}

// members is the size of a group: retired hosts are no members.
func (c *Checker) members(g *group) int {
	n := len(g.members)
	for h := range c.retired {
		if g.members[h] {
			n--
		}
	}
	return n
}

// count returns how many members of the group are busy, and how many are out, with an attempt on h, over all jobs
// of the namespace.
func (c *Checker) count(g *group, h sluice.Host) (busy, out int) {
	other := func(x sluice.Host) bool { return x != h && g.members[x] && !c.retired[x] }
	busy, out = 1, 1
	for x := range c.busy {
		if other(x) {
			busy++
			out++
		}
	}
	for x := range c.bad {
		if other(x) && len(c.busy[x]) == 0 {
			out++
		}
	}
	for x := range c.held {
		if _, bad := c.bad[x]; other(x) && len(c.busy[x]) == 0 && !bad {
			out++
		}
	}
	return busy, out
}

package schedule

import (
	"fmt"
	"time"

	"sluice"
)

// submit opens a job: its tasks in order, its stages, and what it is limited by.
func (s *State) submit(spec sluice.Job, at time.Time) error {
	if s.byID[spec.ID] != nil {
		return fmt.Errorf("job %s was submitted before", spec.ID)
	}
	if len(spec.Targets) == 0 {
		return fmt.Errorf("job %s has no targets", spec.ID)
	}
	j := &job{number: len(s.jobs), name: spec.ID, spec: &spec, look: spec.Look, submitted: at, budget: -1, dirty: true,
		byTarget: make([]*task, len(spec.Targets)), byHost: make(map[int32]*task, len(spec.Targets))}
	if m := spec.Options.MaxFailures; m != nil {
		j.budget = m.Floor(len(spec.Targets))
	}
	if m := spec.Options.MaxParallel; m != nil && !j.readOnly() {
		j.limit = newLimit(*m)
	}
	if spec.Rules != "" {
		if j.frozen = s.rules[spec.Rules]; j.frozen == nil {
			return fmt.Errorf("job %s is under rules that were never applied", spec.ID)
		}
	}
	if err := s.makeTasks(j); err != nil {
		return err
	}
	j.unsettled = len(j.tasks)
	s.jobs = append(s.jobs, j)
	s.open = append(s.open, j)
	s.byID[spec.ID] = j
	s.watch(j)
	return nil
}

// newLimit is the group of a job's own limit.
func newLimit(m sluice.Amount) *group {
	return &group{constraint: "max-parallel", name: "max-parallel", limit: m}
}

// makeTasks makes a task of each target, as the plan places it.
func (s *State) makeTasks(j *job) error {
	all := make([]task, len(j.spec.Targets))
	for i, name := range j.spec.Targets {
		t := &all[i]
		*t = task{job: j, host: s.host(name), target: int32(i), order: -1}
		if j.byHost[t.host] != nil {
			return fmt.Errorf("job %s names host %q twice", j.id(), name)
		}
		j.byTarget[i], j.byHost[t.host] = t, t
	}
	return s.layOut(j)
}

// layOut numbers the tasks in the order in which they go: track, stage, fleet order.
func (s *State) layOut(j *job) error {
	for i, tr := range j.spec.Tracks {
		t := track{name: tr.Name, stages: make([]stage, len(tr.Stages))}
		for k, st := range tr.Stages {
			t.stages[k] = stage{name: st.Name, entry: st.Entry, limit: st.MaxFailures, gate: st.Gate,
				unsettled: len(st.Hosts), tasks: make([]*task, len(st.Hosts))}
			for n, name := range st.Hosts {
				task, err := j.taskOf(s, name)
				if err != nil {
					return err
				}
				if task.order < 0 {
					task.order = int32(len(j.tasks))
					j.tasks = append(j.tasks, task)
				}
				task.places = append(task.places, place{int32(i), int32(k)})
				t.stages[k].tasks[n] = task
			}
		}
		j.tracks = append(j.tracks, t)
	}
	if len(j.tasks) != len(j.byTarget) {
		return fmt.Errorf("the plan of job %s covers %d of %d targets", j.id(), len(j.tasks), len(j.byTarget))
	}
	return nil
}

func (s *State) openStage(j *job, b sluice.StageOpened) error {
	st, err := j.stage(b.Track, b.Index)
	if err != nil {
		return err
	}
	if !st.opened {
		st.opened = true
		if !j.dirty {
			j.advance(s, b.Track)
		}
	}
	return nil
}

func (s *State) taskStarted(j *job, b sluice.TaskStarted, at time.Time) error {
	t, err := j.taskOf(s, b.Host)
	if err != nil {
		return err
	}
	if _, _, try, ok := b.Attempt.Parse(); !ok || try != int(t.try)+1 {
		return fmt.Errorf("attempt %q follows try %d", b.Attempt, t.try)
	}
	if t.phase == running {
		return fmt.Errorf("host %s runs an attempt of the job already", b.Host)
	}
	j.touched = s.seq + 1
	s.begin(t, at)
	return nil
}

// begin marks a task as running.
func (s *State) begin(t *task, at time.Time) {
	s.leaveQueue(t)
	t.try++
	t.phase = running
	t.job.running++
	if !t.job.readOnly() {
		s.setHost(t.host, func(h *host) {
			t.before = h.last
			h.attempt, h.last, h.unknown, h.since = t, t.ref(), false, at
		})
	}
}

// takeBack undoes begin: the start was only tried out.
func (s *State) takeBack(t *task) {
	t.try--
	t.phase = pending
	t.job.running--
	if !t.job.readOnly() {
		s.setHost(t.host, func(h *host) { h.attempt, h.last = nil, t.before })
		t.before = taskRef{}
	}
	s.enqueue(t)
}

func (s *State) taskFinished(j *job, b sluice.TaskFinished, at time.Time) error {
	t, err := j.taskOf(s, b.Host)
	if err != nil {
		return err
	}
	if b.Attempt == "" { // skipped by an operator, before any attempt or after a bad one
		if t.phase == running {
			return fmt.Errorf("host %s runs an attempt and cannot be skipped", b.Host)
		}
		s.leaveQueue(t)
		s.settle(t, b.Outcome, true)
		return nil
	}
	if _, _, try, ok := b.Attempt.Parse(); !ok || try != int(t.try) {
		return fmt.Errorf("attempt %q ends, but the last one is number %d", b.Attempt, t.try)
	}
	j.touched = s.seq + 1
	if t.phase == running {
		j.running--
	}
	if b.Refused {
		j.refused++
	}
	if t.phase != settled || t.outcome != sluice.Skipped { // what an operator skipped stays skipped
		s.settle(t, b.Outcome, b.NotStarted)
	}
	if !j.readOnly() {
		s.setHost(t.host, func(h *host) { conclude(h, t, b, at) })
	}
	return nil
}

// taskWithdrawn makes a task wait again whose attempt never started. Why it did not is reason enough to halt.
func (s *State) taskWithdrawn(j *job, b sluice.TaskWithdrawn) error {
	t, err := j.taskOf(s, b.Host)
	if err != nil {
		return err
	}
	if _, _, try, ok := b.Attempt.Parse(); !ok || try != int(t.try) || t.phase != running {
		return fmt.Errorf("attempt %q is withdrawn, but the last one is number %d", b.Attempt, t.try)
	}
	t.phase = pending
	j.running--
	j.refused = max(j.refused, maxRefused)
	if !j.readOnly() {
		s.setHost(t.host, func(h *host) {
			if h.attempt == t {
				h.attempt, h.last = nil, t.before
			}
		})
		t.before = taskRef{}
	}
	s.enqueue(t)
	return nil
}

// conclude says what an outcome means for the host.
func conclude(h *host, t *task, b sluice.TaskFinished, at time.Time) {
	if h.last != t.ref() {
		return // the host was released meanwhile, and something newer ran
	}
	if h.attempt == t {
		h.unknown = b.Outcome == sluice.Unknown
		if !h.unknown {
			h.attempt = nil
		}
	}
	switch {
	case b.Outcome == sluice.Succeeded:
		h.bad = nil
	case b.Outcome == sluice.Cancelled && b.NotStarted:
	case b.Outcome.Bad():
		h.bad = &mark{job: t.job.id(), why: string(b.Outcome), since: at, reason: b.Reason}
	}
}

// settle gives a task an outcome and keeps all counts true.
func (s *State) settle(t *task, o sluice.Outcome, notStarted bool) {
	j := t.job
	if t.phase == settled || t.outcome != "" { // it had an outcome before
		j.failures -= failure(t.outcome)
	}
	j.failures += failure(o)
	wasUnsettled := t.phase != settled
	if wasUnsettled {
		j.unsettled--
	}
	for _, p := range t.places {
		st := &j.tracks[p.track].stages[p.stage]
		if wasUnsettled {
			st.unsettled--
		} else if !t.outcome.Passed() {
			st.failed--
		}
		if !o.Passed() {
			st.failed++
		}
	}
	t.phase, t.outcome, t.stopped, t.givenUp, t.before = settled, o, notStarted, false, taskRef{}
}

func failure(o sluice.Outcome) int {
	if o.Failure() {
		return 1
	}
	return 0
}

// taskRetried makes tasks pending again. They keep their last outcome until they have a new one.
func (s *State) taskRetried(j *job, b sluice.TaskRetried) error {
	for _, name := range b.Hosts {
		t, err := j.taskOf(s, name)
		if err != nil {
			return err
		}
		if !t.retriable() {
			return fmt.Errorf("host %s cannot be tried again: %s", name, t.outcome)
		}
		t.phase = pending
		j.unsettled++
		for _, p := range t.places {
			st := &j.tracks[p.track].stages[p.stage]
			st.unsettled++
			st.failed--
		}
	}
	j.dirty = true
	return nil
}

// retriable reports whether a task has an outcome that another try may better. While nobody knows whether the
// command runs, it has none; whoever releases the host says that it does not.
func (t *task) retriable() bool {
	return t.phase == settled && !t.outcome.Passed() && (t.outcome != sluice.Unknown || t.givenUp)
}

package schedule

import (
	"slices"
	"time"

	"sluice"
)

// JobState is where a job stands, in one word.
type JobState string

const (
	Waiting   JobState = "waiting" // nothing runs yet, or other jobs are in the way
	Running   JobState = "running"
	Paused    JobState = "paused" // a gate waits for time or approval
	Halting   JobState = "halting"
	Halted    JobState = "halted"
	Succeeded JobState = "succeeded"
	Failed    JobState = "failed"
	Cancelled JobState = "cancelled"
)

// Over reports whether a job has its result.
func (s JobState) Over() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Info is what is known of a job.
type Info struct {
	Spec       *sluice.Job
	State      JobState
	Number     int // order of submission in the namespace
	Targets    int // number of its hosts
	Submitted  time.Time
	TakenUp    time.Time // last time that it was taken up or resumed; zero before
	Ended      time.Time // when it was finished or halted; zero while it goes on
	Generation int
	Started    bool // somebody took it up
	Running    int
	Unsettled  int // targets without an outcome, or to be tried again
	Failures   int // last outcomes that count against the budget
	Budget     int // -1: none
	Counts     map[sluice.Outcome]int
	Halted     *sluice.JobHalted
	Cancelling bool
	Kill       bool // running attempts are to be ended
	Gates      []Gate
	Why        string // in lists: in one line, why it does not go on
	Stranded   bool   // in lists: all that runs as far as the log goes has no worker, and gets none before somebody starts one
}

// Gate is a gate that waits.
type Gate struct {
	Track, Stage string
	Index        int
	Kind         sluice.GateKind
	Until        time.Time
}

// Job returns what is known of a job; ok is false if there is none.
func (s *State) Job(id sluice.JobID) (Info, bool) {
	j := s.job(id)
	if j == nil {
		return Info{}, false
	}
	return j.info(), true
}

// MayStart reports whether a job has tasks that wait, and is not on its way to its end.
func (s *State) MayStart(id sluice.JobID) bool {
	j := s.job(id)
	return j != nil && !j.stopped() && j.unsettled > j.running
}

// Locked lists the jobs that have a lock or wait for it, in the order in which they get it.
func (s *State) Locked(l sluice.Lock) (out []Info) {
	var want []*job
	for _, j := range s.open {
		if l != "" && j.spec.Options.Lock == l {
			want = append(want, j)
		}
	}
	slices.SortFunc(want, s.inLine)
	for _, j := range want {
		out = append(out, j.info())
	}
	return out
}

// TouchedSince reports whether a job that was submitted after another one, of the same app and environment, has tried something on a
// host, and the newest attempt there is not the other's. That it left all as it was, or brought it back, is no matter: it is asked
// before hosts are changed without anybody looking, and where another job was at work, that is left to people.
func (s *State) TouchedSince(id sluice.JobID, h sluice.Host) bool {
	j := s.job(id)
	i, known := s.index[h]
	if j == nil || !known || s.hosts[i].last.job == j {
		return false
	}
	of := j.spec.Action.Release
	for _, o := range s.jobs[j.number+1:] {
		rel := s.base(o).Action.Release
		if of == nil || rel == nil || rel.App != of.App || rel.Env != of.Env {
			continue
		}
		if t, is := s.Task(o.name, h); is && t.Try > 0 {
			return true
		}
	}
	return false
}

// Cancelled is the end of an open job that is cancelled now; ok is false where something of it runs.
func (s *State) Cancelled(id sluice.JobID) (end sluice.JobFinished, ok bool) {
	j := s.job(id)
	if j == nil || j.running > 0 || j.finished != "" {
		return end, false
	}
	return sluice.JobFinished{Outcome: sluice.Cancelled, Counts: j.counts(true)}, true
}

// Jobs lists all jobs in order of submission. Specs of jobs that are over may be without their tracks and the targets'
// own SSH settings.
func (s *State) Jobs() []Info {
	out := make([]Info, len(s.jobs))
	for i, j := range s.jobs {
		out[i] = j.info()
		if j.packed != nil {
			spec := s.packedSpec(j)
			out[i].Spec = &spec
		}
	}
	return out
}

func (j *job) info() Info {
	counts, targets := j.counts(false), len(j.byTarget)
	if j.packed != nil {
		counts, targets = j.packed.tally.counts(), j.packed.targets
	}
	gates := j.gates()
	return Info{Spec: j.spec, Number: j.number, Targets: targets, Submitted: j.submitted, TakenUp: j.started, Ended: j.ended, Generation: j.generation, Started: j.everUp, Running: j.running,
		Unsettled: j.unsettled, Failures: j.failures, Budget: j.budget, Counts: counts, Halted: j.halted, Cancelling: j.cancelling != nil,
		Kill: j.cancelling != nil || j.halting != nil && j.halting.Kill, Gates: gates, State: j.state(len(gates) > 0)}
}

// state is where the job stands; gated says that a gate waits.
func (j *job) state(gated bool) JobState {
	switch {
	case j.finished != "":
		return JobState(j.finished)
	case j.halted != nil && j.cancelling == nil: // one that is cancelled is on its way to its end
		return Halted
	case j.halting != nil || j.cancelling != nil:
		return Halting
	case j.running > 0:
		return Running
	case gated:
		return Paused
	}
	return Waiting
}

// Census is how much there is of everything.
type Census struct {
	Jobs    map[JobState]int
	Running int // attempts
	// Out are hosts out of service that are neither held nor retired, and on which nothing runs: their last outcome was
	// bad or is not known.
	Out, Held, Retired int
}

// Census counts. It looks at every job and host once, and makes nothing that grows with them.
func (s *State) Census() Census {
	c := Census{Jobs: map[JobState]int{}}
	for _, j := range s.jobs {
		c.Jobs[j.state(len(j.gates()) > 0)]++
		c.Running += j.running
	}
	for i := range s.hosts {
		h := &s.hosts[i]
		switch {
		case h.retired != nil:
			c.Retired++
		case h.held != nil:
			c.Held++
		case h.attempt != nil && !h.unknown: // it is being tried
		case h.bad != nil || h.attempt != nil:
			c.Out++
		}
	}
	return c
}

func (j *job) gates() (out []Gate) {
	if j.finished != "" {
		return nil
	}
	for i := range j.tracks {
		tr := &j.tracks[i]
		if k, kind, ok := tr.atGate(); ok {
			st := &tr.stages[k]
			g := Gate{Track: tr.name, Stage: st.name, Index: k, Kind: kind}
			if kind == sluice.GatePause {
				g.Until = st.pauseTill
			}
			out = append(out, g)
		}
	}
	return out
}

// Attempt is one that runs, or whose outcome is not known.
type Attempt struct {
	Host    sluice.Host
	ID      sluice.AttemptID
	Unknown bool
}

// Attempts lists the attempts of a job that run or whose outcome is not known, in their order.
func (s *State) Attempts(id sluice.JobID) (out []Attempt) {
	j := s.job(id)
	if j == nil {
		return nil
	}
	for _, t := range j.tasks {
		unknown := t.phase == settled && t.outcome == sluice.Unknown
		if t.phase == running || unknown {
			out = append(out, Attempt{s.hosts[t.host].name, sluice.NewAttemptID(id, int(t.target), int(t.try)), unknown})
		}
	}
	return out
}

// Task is where one task of a job stands.
type Task struct {
	Host    sluice.Host
	Outcome sluice.Outcome // "" before the first
	Running bool
	Pending bool // has no outcome, or is to be tried again
	Try     int
	Target  int // index of the host in the job's targets
	// Retriable says that another try may better the outcome.
	Retriable bool
}

// Task returns where a task stands; ok is false if the job does not exist or the host is no target.
func (s *State) Task(id sluice.JobID, h sluice.Host) (Task, bool) {
	j := s.job(id)
	if j == nil {
		return Task{}, false
	}
	t, err := j.taskOf(s, h)
	if err != nil {
		return Task{}, false
	}
	return t.info(s), true
}

// Tasks lists the tasks of a job in the order of its targets.
func (s *State) Tasks(id sluice.JobID) []Task {
	j := s.job(id)
	if j == nil {
		return nil
	}
	out := make([]Task, len(j.byTarget))
	for i, t := range j.byTarget {
		out[i] = t.info(s)
	}
	return out
}

func (t *task) info(s *State) Task {
	return Task{Host: s.hosts[t.host].name, Outcome: t.outcome, Running: t.phase == running, Pending: t.phase == pending,
		Try: int(t.try), Target: int(t.target), Retriable: t.retriable()}
}

// HostInfo is a host that is out of service, and why.
type HostInfo struct {
	Holder
	Held, Retired bool
	By, Reason    string
	Unknown       bool // an attempt's outcome is not known
	Running       bool
}

// Out lists the hosts that are out of service or retired, in the order in which the log named them first.
func (s *State) Out() (out []HostInfo) {
	for i := range s.hosts {
		if info, is := s.outInfo(int32(i)); is {
			out = append(out, info)
		}
	}
	return out
}

// outInfo says why a host is out of service or retired; false: it is not.
func (s *State) outInfo(i int32) (HostInfo, bool) {
	h := &s.hosts[i]
	if h.retired == nil && !h.counts().out {
		return HostInfo{}, false
	}
	w := asker{State: s}
	info := HostInfo{Holder: w.holder(h), Unknown: h.attempt != nil && h.unknown, Running: h.attempt != nil && !h.unknown}
	m := h.bad
	switch {
	case h.retired != nil:
		info.Retired, m = true, h.retired
		info.Holder = Holder{Host: h.name, Since: m.since, Why: "retired"}
	case h.held != nil:
		info.Held, m = true, h.held
	}
	if m != nil {
		info.By, info.Reason = m.by, m.reason
	}
	return info, true
}

// Clears lists those of the hosts that a success would put back into service: their last outcome was bad.
func (s *State) Clears(hosts []sluice.Host) (out []Holder) {
	w := asker{State: s}
	for _, name := range hosts {
		if i, ok := s.index[name]; ok && s.hosts[i].bad != nil && s.hosts[i].retired == nil {
			out = append(out, w.holder(&s.hosts[i]))
		}
	}
	return out
}

// Retired lists the hosts that are retired.
func (s *State) Retired() (out []sluice.Host) {
	for _, i := range s.retired {
		out = append(out, s.hosts[i].name)
	}
	slices.Sort(out)
	return out
}

// InForce returns the digest of the rules in force, "" before the first.
func (s *State) InForce() string {
	if s.force == nil {
		return ""
	}
	return s.force.digest
}

// KnowsRules reports whether rules of this digest were applied before.
func (s *State) KnowsRules(digest string) bool { return s.rules[digest] != nil }

// Wait is a reason that several tasks share.
type Wait struct {
	Reason // of the first of them
	Hosts  int
}

// Waits sums up why tasks of a job wait, in the order of the first of them.
func (s *State) Waits(id sluice.JobID) []Wait { return SumUp(s.Why(id)) }

// SumUp folds reasons that tasks share, in the order of the first of them.
func SumUp(reasons []Reason) (out []Wait) {
	type key struct {
		rule        sluice.Rule
		group, text string
	}
	at := map[key]int{}
	for _, r := range reasons {
		k := key{r.Rule, r.Group, r.Text}
		if i, ok := at[k]; ok {
			out[i].Hosts++
			continue
		}
		at[k] = len(out)
		out = append(out, Wait{r, 1})
	}
	return out
}

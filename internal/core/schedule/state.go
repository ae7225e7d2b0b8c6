package schedule

import (
	"fmt"
	"slices"
	"time"

	"sluice"
)

// State is what the log of one namespace says. It is not safe for concurrent use.
type State struct {
	seq     uint64
	hosts   []host
	index   map[sluice.Host]int32
	rules   map[string]*ruleset // by digest
	used    []*ruleset          // those with users, by digest
	force   *ruleset            // in force now; nil before the first
	retired []int32             // hosts, in the order in which they were retired
	jobs    []*job              // in order of submission
	open    []*job              // those that are not finished, in order of submission
	byID    map[sluice.JobID]*job
	tables  tables      // what the snapshots name by number
	newest  []time.Time // of each job and those before it, when the newest was submitted; as far as lists asked
}

// host is what is known of one host. The flags are what constraints count.
type host struct {
	name    sluice.Host
	attempt *task   // of a job that is not read-only: runs, or its outcome is not known
	last    taskRef // the newest attempt was one of this task
	unknown bool    // the attempt's outcome is not known
	since   time.Time
	bad     *mark // why the last outcome keeps it out of service
	held    *mark
	retired *mark
	tasks   []*task // of open jobs that are not read-only
	waiting []*task // ready, but for this host
}

// mark is why a host is out of service.
type mark struct {
	job    sluice.JobID
	why    string
	by     string
	since  time.Time
	reason string
}

// counts is what a host means to the groups that it is in.
type counts struct {
	member, busy, live, out bool
}

func (h *host) counts() counts {
	if h.retired != nil {
		return counts{}
	}
	busy := h.attempt != nil
	return counts{member: true, busy: busy, live: busy && !h.unknown && h.held == nil, out: busy || h.bad != nil || h.held != nil}
}

type phase int8

const (
	pending phase = iota // has no outcome, or is to be tried again
	running
	settled
)

// place is a stage that a task stands in.
type place struct{ track, stage int32 }

// task is one job on one host.
type task struct {
	job     *job
	order   int32 // in the job: track, stage, fleet order
	host    int32
	target  int32 // index in the job's targets
	try     int32 // the last attempt's number; 0: none yet
	phase   phase
	stopped bool // the last attempt was cancelled or ended before anything started
	outcome sluice.Outcome
	givenUp bool    // the last attempt's outcome is unknown, and the host was released since
	places  []place // at least one; the first gives the order
	before  taskRef // what was the host's last before this one began; kept only while it runs
	closed  int32   // how many of the places are not open; kept only while the job's queues are built
	queue   *class  // where it stands, or nil
	pos     int32   // in the queue
	onHost  bool    // in the waiting list of its host
}

// taskRef names a task, of a job that may be packed. The zero taskRef names none.
type taskRef struct {
	job   *job
	order int32
}

func (t *task) ref() taskRef { return taskRef{t.job, t.order} }

// stage keeps count of its tasks.
type stage struct {
	name      string
	entry     int
	limit     int // failures of the entry that let the next stage open
	gate      sluice.Gate
	tasks     []*task
	unsettled int
	failed    int // settled, but neither succeeded nor skipped
	opened    bool
	pauseTill time.Time // end of the pause; zero before it began
	paused    bool      // the pause is over
	asked     bool      // the approval was asked for
	approved  bool
}

type track struct {
	name   string
	stages []stage
	reach  int // number of stages that are open, from the first; kept only while the queues are built
}

// job is the fold of a job's events. One that is over and comes from a snapshot is packed until somebody asks for its
// tasks: then it has no spec, tracks and tasks.
type job struct {
	number     int // order of submission
	name       sluice.JobID
	spec       *sluice.Job
	packed     *packed
	frozen     *ruleset
	limit      *group // of --max-parallel; nil: none
	tracks     []track
	tasks      []*task // by order
	byTarget   []*task
	byHost     map[int32]*task
	submitted  time.Time
	started    time.Time // last time it was taken up or resumed
	ended      time.Time // when it was finished or halted; zero while it goes on
	everUp     bool
	budget     int // -1: none
	generation int
	halting    *sluice.JobHalting
	halted     *sluice.JobHalted
	cancelling *sluice.JobCancelling
	finished   sluice.Outcome // "" while it is not
	running    int
	unsettled  int
	failures   int // last outcomes that count against the budget
	refused    int // logins refused since the last resume
	look       *sluice.Look
	touched    uint64 // number of the last event that said something of an attempt; 0: none has
	dirty      bool
	queues     queues
}

func (j *job) id() sluice.JobID { return j.name }
func (j *job) readOnly() bool   { return j.spec.Options.ReadOnly }

// stopped reports whether nothing of the job may start.
func (j *job) stopped() bool {
	return j.halting != nil || j.halted != nil || j.cancelling != nil || j.finished != ""
}

// New returns the state of an empty log.
func New() *State {
	return &State{index: map[sluice.Host]int32{}, rules: map[string]*ruleset{}, byID: map[sluice.JobID]*job{}}
}

// Seq is the number of the last event that was applied.
func (s *State) Seq() uint64 { return s.seq }

// Apply takes the next event of the log. Events that it does not know change nothing. An error says that the
// log is not one that these rules can have made; the state is then of no use.
func (s *State) Apply(e sluice.Event) error {
	if e.Seq != 0 && e.Seq != s.seq+1 {
		return fmt.Errorf("event %d follows event %d", e.Seq, s.seq)
	}
	if err := s.apply(e); err != nil {
		return fmt.Errorf("event %d (%s): %w", s.seq+1, e.Body.Type(), err)
	}
	s.seq++
	return nil
}

func (s *State) apply(e sluice.Event) error {
	switch b := e.Body.(type) {
	case sluice.RulesApplied:
		s.applyRules(b.Rules)
	case sluice.JobSubmitted:
		return s.submit(b.Submitted, e.Time)
	case sluice.HostHeld:
		s.setHost(s.host(b.Host), func(h *host) {
			h.held = &mark{why: "held", by: b.By, since: e.Time, reason: b.Reason}
		})
	case sluice.HostReleased:
		i := s.host(b.Host)
		s.setHost(i, release)
		for _, j := range s.jobs {
			if j.packed != nil {
				if j.packed.tally.of(sluice.Unknown) == 0 {
					continue
				}
				s.unpack(j)
			}
			if t := j.byHost[i]; t != nil && t.outcome == sluice.Unknown {
				t.givenUp = true
			}
		}
	case sluice.HostRetired:
		i := s.host(b.Host)
		if !slices.Contains(s.retired, i) {
			s.retired = append(s.retired, i)
		}
		s.setHost(i, func(h *host) {
			h.retired = &mark{why: "retired", by: b.By, since: e.Time, reason: b.Reason}
		})
	case sluice.HostReturned:
		i := s.host(b.Host)
		s.retired = slices.DeleteFunc(s.retired, func(x int32) bool { return x == i })
		s.setHost(i, func(h *host) { h.retired = nil })
	case sluice.UnknownBody, sluice.FleetApplied, sluice.TaskStep, sluice.TaskOutput, sluice.OutputRemoved,
		sluice.BalancerChanged, sluice.BalancerAsked:
	default:
		j := s.job(e.Job)
		if j == nil {
			return fmt.Errorf("there is no job %q", e.Job)
		}
		return s.applyToJob(j, e)
	}
	return nil
}

// release puts a host back into service. An attempt that nobody knows the outcome of is given up, not one that
// runs.
func release(h *host) {
	h.bad, h.held = nil, nil
	if h.attempt != nil && h.unknown {
		h.attempt, h.unknown = nil, false
	}
}

func (s *State) applyToJob(j *job, e sluice.Event) error {
	switch b := e.Body.(type) {
	case sluice.JobStarted:
		j.started, j.everUp = e.Time, true
	case sluice.StageOpened:
		return s.openStage(j, b)
	case sluice.GateWaiting:
		st, err := j.stage(b.Track, b.Index)
		if err != nil {
			return err
		}
		if b.Kind == sluice.GatePause {
			st.pauseTill = b.Until
		} else {
			st.asked = true
		}
	case sluice.GatePassed:
		st, err := j.stage(b.Track, b.Index)
		if err != nil {
			return err
		}
		if b.Kind == sluice.GatePause {
			st.paused = true
		} else {
			st.approved = true
		}
	case sluice.TaskStarted:
		return s.taskStarted(j, b, e.Time)
	case sluice.TaskFinished:
		return s.taskFinished(j, b, e.Time)
	case sluice.TaskWithdrawn:
		return s.taskWithdrawn(j, b)
	case sluice.TaskRetried:
		return s.taskRetried(j, b)
	case sluice.JobHalting:
		j.halting = &b
	case sluice.JobHalted:
		j.halted, j.halting, j.generation, j.ended = &b, nil, b.Generation, e.Time
	case sluice.JobResumed:
		s.resume(j, b, e.Time)
	case sluice.JobCancelling:
		j.cancelling = &b
	case sluice.JobFinished:
		s.finish(j, b, e.Time)
	}
	return nil
}

func (s *State) resume(j *job, b sluice.JobResumed, at time.Time) {
	if j.finished != "" {
		s.watch(j)
		at, _ := slices.BinarySearchFunc(s.open, j.number, func(o *job, n int) int { return o.number - n })
		s.open = slices.Insert(s.open, at, j)
	}
	j.halted, j.halting, j.cancelling, j.finished = nil, nil, nil, ""
	j.generation, j.refused, j.started, j.ended, j.dirty = b.Generation, 0, at, time.Time{}, true
	if b.MaxFailures != nil {
		j.budget = b.MaxFailures.Floor(len(j.tasks))
	}
}

// finish closes a job. What never started is cancelled.
func (s *State) finish(j *job, b sluice.JobFinished, at time.Time) {
	over := j.finished != ""
	j.ended = at
	j.finished, j.halted, j.halting, j.cancelling = b.Outcome, nil, nil, nil
	for _, t := range j.tasks {
		if t.phase == pending {
			s.settle(t, sluice.Cancelled, true)
		}
	}
	if !over {
		s.unwatch(j)
		s.open = slices.DeleteFunc(s.open, func(o *job) bool { return o == j })
	}
	j.dirty = true
}

// job returns a job with all that is known of it, or nil.
func (s *State) job(id sluice.JobID) *job {
	j := s.byID[id]
	if j != nil && j.packed != nil {
		s.unpack(j)
	}
	return j
}

func (j *job) stage(name string, index int) (*stage, error) {
	for i := range j.tracks {
		if t := &j.tracks[i]; t.name == name && index >= 0 && index < len(t.stages) {
			return &t.stages[index], nil
		}
	}
	return nil, fmt.Errorf("job %s has no stage %d of track %q", j.id(), index, name)
}

func (s *State) host(name sluice.Host) int32 {
	i, ok := s.index[name]
	if !ok {
		i = int32(len(s.hosts))
		s.index[name] = i
		s.hosts = append(s.hosts, host{name: name})
	}
	return i
}

func (j *job) taskOf(s *State, name sluice.Host) (*task, error) {
	if i, ok := s.index[name]; ok {
		if t := j.byHost[i]; t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("job %s has no target %q", j.id(), name)
}

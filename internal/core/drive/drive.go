// Package drive decides for whoever drives a job: what goes into the log next, and what follows once that is durable:
// which attempts are handed to workers, which are killed, who is answered.
//
// A [Machine] knows what the log says and what the attempts reported since. A turn of its driver is one step of the log:
// [Machine.Decide] gets what others appended and returns what to append; [Machine.Done] says what follows from it. Where
// it is not known whether it was appended, the log is read afresh and handed to [Machine.Load].
//
// It knows no log, no worker, no clock and no goroutine: the live driver and the simulation run the same code. Times are
// of two kinds: a [time.Time] is the wall clock's, for events and what people gave times for; a [time.Duration] since a
// moment of the driver's choice is that of a clock that nobody sets, for how long something takes.
package drive

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Config is what a Machine must know beside the log.
type Config struct {
	Job sluice.JobID
	// Driver names this process in the log.
	Driver string
	// OnlySettle asks for outcomes that are not known, and starts and decides nothing.
	OnlySettle bool
}

// Machine decides for the driver of one job. It is not safe for concurrent use.
type Machine struct {
	cfg      Config
	state    *schedule.State
	spec     *sluice.Job
	flights  map[sluice.AttemptID]*flight
	flying   int                                 // flights of which the outcome was not reported yet
	waiting  []Report                            // durable with the next append
	decided  int                                 // how many of them the last decision took
	steps    map[string]bool                     // that are in the log
	outcomes map[sluice.AttemptID]sluice.Outcome // that are in the log
	ended    map[sluice.AttemptID]time.Time      // since the job last came to an end; these may have left something on their hosts
	sign     time.Time                           // when attempts were last heard of
	withheld bool                                // the last decision would have started something, and had not asked for the right
	stale    bool                                // something landed since the last decision
	last     sluice.Event                        // job.finished or job.halted, if the job is
	undone   bool                                // it may have to be undone
	checked  bool                                // it is validated when it succeeds
	of       sluice.JobID                        // the deploy that it validates, and that its failure takes back; "" for none
	said     []sluice.Event                      // of one of these: what its hosts said, and who resumed it
	deployed []sluice.Event                      // the same of that deploy
}

// Report is what an attempt has to say: the end of a step, or its outcome.
type Report struct {
	Body sluice.Body
	// Ticket is answered when the body is durable; 0: nobody waits.
	Ticket uint64
}

// flight is an attempt that a worker carries out, or that is to be taken up again.
type flight struct {
	host   sluice.Host
	killed bool
	sweep  bool // its outcome is in the log; only what it left on the host is removed
	since  time.Duration
	told   bool // its outcome was reported, or will not be
	lost   lost
}

// Launch has a worker carry an attempt out.
type Launch struct {
	Host    sluice.Host
	Attempt sluice.AttemptID
	// Settle never starts anything: it fetches the true result, or proves that nothing started and never will.
	Settle bool
	// Resumed says that the attempt may have been sent to the host before.
	Resumed bool
	// Sweep only removes what an attempt left on its host whose outcome is in the log. It is not worth much waiting.
	Sweep bool
}

// Kill ends an attempt that runs.
type Kill struct {
	Attempt sluice.AttemptID
	// TimeLimit says that the job took too long; else an operator cancelled it.
	TimeLimit bool
}

// Effects are what is to be done now, in this order.
type Effects struct {
	Events   []sluice.Event // of the job, that became durable
	Answers  []uint64       // tickets whose reports are durable
	Launches []Launch
	Kills    []Kill
}

// New returns a machine that has read nothing yet.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, state: schedule.New(), flights: map[sluice.AttemptID]*flight{}, steps: map[string]bool{},
		outcomes: map[sluice.AttemptID]sluice.Outcome{}, ended: map[sluice.AttemptID]time.Time{}}
}

// Load takes the log as it stands: the state that was folded from it, which is the machine's from now on, and the events
// of the job that are in it, with those of the job that [Needs] names. What was reported and is not in there stays to be appended.
func (m *Machine) Load(state *schedule.State, events []sluice.Event) {
	m.state, m.decided, m.said, m.deployed = state, 0, nil, nil
	m.of = Needs(state, m.cfg.Job)
	for _, e := range events {
		m.remember(e)
	}
}

// remember keeps what must not go into the log twice.
func (m *Machine) remember(e sluice.Event) {
	if e.Job == m.of && m.of != "" {
		m.deployed = append(m.deployed, e)
	}
	if e.Job != m.cfg.Job {
		return
	}
	m.listen(e)
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		m.sign = e.Time
	case sluice.TaskStep, sluice.BalancerChanged:
		key, _, _ := onTheWay(b)
		m.steps[key] = true
		m.sign = e.Time
	case sluice.TaskFinished:
		if b.Attempt != "" {
			m.outcomes[b.Attempt] = b.Outcome
			m.sign = e.Time
			if !b.NotStarted { // else there is nothing on the host, and it may be one that refused us
				m.ended[b.Attempt] = e.Time
			}
		}
	case sluice.JobFinished, sluice.JobHalted:
		m.last = e
		clear(m.ended) // every host was told before
	case sluice.JobResumed:
		m.last = sluice.Event{}
	}
}

// onTheWay says whether a body tells of something on the way of an attempt, which is told again by whoever joins, and by a key that
// is the same then. What was done at a balancer is the same if all that is said of it is.
func onTheWay(b sluice.Body) (key string, a sluice.AttemptID, ok bool) {
	switch b := b.(type) {
	case sluice.TaskStep:
		return string(b.Attempt) + "\x00" + b.Step, b.Attempt, true
	case sluice.BalancerChanged:
		return fmt.Sprintf("%s\x00\x00%+v", b.Attempt, b), b.Attempt, true
	}
	return "", "", false
}

// Begin joins what an earlier process left running, asks for the outcomes that it did not learn, and tidies up behind
// what ended just before it was killed. ok is false if the log has no such job.
func (m *Machine) Begin(now time.Duration) (e Effects, ok bool) {
	info, ok := m.state.Job(m.cfg.Job)
	if !ok {
		return Effects{}, false
	}
	m.spec = info.Spec
	e = m.TakeUp(now)
	m.sweep(&e)
	return e, true
}

// Seq is the number of the last event that the machine knows, or has decided on.
func (m *Machine) Seq() uint64 { return m.state.Seq() }

// Job is what is driven.
func (m *Machine) Job() *sluice.Job { return m.spec }

// Over reports whether there is nothing left to drive, and returns the event that ended the job, if one did.
func (m *Machine) Over() (last sluice.Event, over bool) {
	return m.last, !m.stale && len(m.flights) == 0 && len(m.waiting) == 0 && (m.last.Body != nil || m.cfg.OnlySettle)
}

// Pending is the number of reports that are to be appended.
func (m *Machine) Pending() int { return len(m.waiting) }

// Promised reports whether somebody waits for the next append: what its attempts printed must be durable before it.
func (m *Machine) Promised() bool {
	return slices.ContainsFunc(m.waiting, func(r Report) bool { return r.Ticket != 0 })
}

// Waits sums up why tasks of the job wait.
func (m *Machine) Waits() []schedule.Wait { return m.state.Waits(m.cfg.Job) }

// NextTimer returns when a turn is due though nothing happens, by the wall clock.
func (m *Machine) NextTimer() (at time.Time, ok bool) {
	return m.state.NextTimer(func(id sluice.JobID) bool { return id == m.cfg.Job })
}

// NextAgain returns when an attempt is to be handed out again, by the clock that nobody sets.
func (m *Machine) NextAgain() (at time.Duration, ok bool) {
	for _, f := range m.flights {
		if again := f.lost.again; f.lost.waits && (!ok || again < at) {
			at, ok = again, true
		}
	}
	return at, ok
}

// inOrder are the attempts of the flights, in the order of the targets.
func (m *Machine) inOrder() []sluice.AttemptID { return sorted(m.flights) }

func sorted[V any](of map[sluice.AttemptID]V) []sluice.AttemptID {
	return slices.SortedFunc(maps.Keys(of), func(a, b sluice.AttemptID) int {
		_, i, n, _ := a.Parse()
		_, k, o, _ := b.Parse()
		return cmp.Or(cmp.Compare(i, k), cmp.Compare(n, o))
	})
}

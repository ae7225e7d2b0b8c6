// Package live knows what runs where: which version of an app is live on each host of an environment, since when and by whom,
// as the events of deploys and rollbacks prove it. What they do not prove is said to be unknown.
package live

import (
	"cmp"
	"slices"
	"time"

	"sluice"
)

// Place is where an app has one version live.
type Place struct {
	App, Env string
	Host     sluice.Host
}

// State is what is known of a place.
type State struct {
	Place
	// Known says that Live is proved. Where it is not, Live is what was proved last, and Why says what came after it.
	Known bool
	Live  sluice.Installed
	Why   Why
	// Since is when Live was first proved without a break, By and Job whose work that was; both are "" where the version had
	// been there before the first job that looked.
	Since time.Time
	By    string
	Job   sluice.JobID
	// Before is what was live before Live.
	Before sluice.Installed
	// Last is the job that last touched the place.
	Last sluice.JobID
}

// Why says why it is not known what is live.
type Why string

const (
	Running Why = "an attempt is running"
	Unclear Why = "the outcome of the last attempt is not known"
	Silent  Why = "the last attempt ended, and the host did not say what is live"
	Broken  Why = "the last attempt failed after it had made another version live"
)

// Map is what runs where. The zero value is not ready: see [New].
type Map struct {
	jobs   map[sluice.JobID]*sluice.Job
	places map[Place]*place
}

// place has the attempts in the order in which they started. A late outcome changes its own attempt, and never what a later one proved.
type place struct {
	attempts []*attempt
	byID     map[attemptKey]*attempt
}

type attemptKey struct {
	job sluice.JobID
	id  sluice.AttemptID
}

type attempt struct {
	job      *sluice.Job
	ended    *sluice.TaskFinished // nil while it runs
	at       time.Time            // when it ended
	withdraw bool
}

// New returns a map without places.
func New() *Map {
	return &Map{jobs: map[sluice.JobID]*sluice.Job{}, places: map[Place]*place{}}
}

// At is what the events up to t, t included, come to.
func At(events []sluice.Event, t time.Time) *Map {
	m := New()
	for _, e := range events {
		if !e.Time.After(t) {
			m.Apply(e)
		}
	}
	return m
}

// Deploys reports whether a job changes what is live.
func Deploys(j *sluice.Job) bool {
	return j.Action.Release != nil && (j.Action.Kind == sluice.DeployTo || j.Action.Kind == sluice.RollBack)
}

// Apply takes one more event, in the order of the log.
func (m *Map) Apply(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		if j := b.Submitted; Deploys(&j) {
			j.ID = e.Job
			m.jobs[e.Job] = &j
		}
	case sluice.TaskStarted:
		m.attempt(e.Job, b.Host, b.Attempt)
	case sluice.TaskWithdrawn:
		if a := m.attempt(e.Job, b.Host, b.Attempt); a != nil {
			a.withdraw = true
		}
	case sluice.TaskFinished:
		if a := m.attempt(e.Job, b.Host, b.Attempt); a != nil {
			a.ended, a.at = &b, e.Time
		}
	}
}

// attempt is nil for jobs that deploy nothing, and where no attempt was made.
func (m *Map) attempt(job sluice.JobID, host sluice.Host, id sluice.AttemptID) *attempt {
	j := m.jobs[job]
	if j == nil || id == "" {
		return nil
	}
	at := Place{j.Action.Release.App, j.Action.Release.Env, host}
	p := m.places[at]
	if p == nil {
		p = &place{byID: map[attemptKey]*attempt{}}
		m.places[at] = p
	}
	k := attemptKey{job, id}
	if p.byID[k] == nil {
		p.byID[k] = &attempt{job: j}
		p.attempts = append(p.attempts, p.byID[k])
	}
	return p.byID[k]
}

// States lists the places that keep says yes to, by app, environment and host.
func (m *Map) States(keep func(Place) bool) []State {
	var all []State
	for at, p := range m.places {
		if !keep(at) {
			continue
		}
		s := State{Place: at}
		touched := false
		for _, a := range p.attempts {
			touched = a.apply(&s) || touched
		}
		if touched {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Env, b.Env), cmp.Compare(a.Host, b.Host))
	})
	return all
}

// apply reports whether the attempt says anything of the place.
func (a *attempt) apply(s *State) bool {
	f := a.ended
	switch {
	case a.withdraw, f != nil && f.NotStarted && f.Release == nil:
		return false // nothing ran: what was so before is still so
	case f == nil:
		s.doubt(Running)
	case f.Outcome == sluice.Unknown:
		s.doubt(Unclear)
	case f.Release == nil:
		s.doubt(Silent)
	case f.Outcome == sluice.Succeeded:
		s.prove(a)
	case f.Release.Live != f.Release.Before:
		s.doubt(Broken)
	case s.Last != "" && !s.Known:
		// It failed before its swing, and what it found is what one that failed or is not known had left behind.
	default:
		s.prove(a)
	}
	s.Last = a.job.ID
	return true
}

func (s *State) doubt(why Why) { s.Known, s.Why = false, why }

// prove takes what the host said.
func (s *State) prove(a *attempt) {
	r := a.ended.Release
	same := s.Known && s.Live == r.Live && r.Before == r.Live
	s.Known, s.Why = true, ""
	if same {
		return // it has been live all along
	}
	s.Live, s.Before, s.Since, s.By, s.Job = r.Live, r.Before, a.at, "", ""
	if a.ended.Outcome == sluice.Succeeded {
		s.By, s.Job = a.job.By, a.job.ID
	}
}

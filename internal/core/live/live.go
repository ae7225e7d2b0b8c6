// Package live knows what runs where: which version of an app is live on each host of an environment, since when and by whom,
// as the events of deploys and rollbacks prove it. What they do not prove is said to be unknown.
//
// It is values in and values out, and must not know where events come from. What is not needed of them any more it forgets.
package live

import (
	"cmp"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/validate"
)

// Place is where an app has one version live.
type Place struct {
	App, Env string
	Host     sluice.Host
}

// Map is what runs where. The zero value is not ready: see [New].
type Map struct {
	jobs     map[sluice.JobID]*Release
	checks   map[sluice.JobID]*Release // by the job that validates it last
	releases []*Release                // as they were submitted
	places   map[Place]*place
	retired  map[sluice.Host]bool
	deploys  map[key]*Release // the last one of each release
	took     map[key]*took
	numbers  map[sluice.Host]int // of hosts, for what is kept by host
	seq      uint64
}

// Release is a job that makes a version live, or brings hosts back.
type Release struct {
	Job      sluice.JobID
	Kind     sluice.ActionKind
	App, Env string
	// Version and Config are "" for a rollback where they are not the same on all hosts.
	Version, Config string
	Commit          *sluice.Commit
	By              string
	Submitted       time.Time
	Targets         int
	Began           bool             // an attempt of it was started
	Reason          string           // why it exists, where nobody asked for it
	Changed         int              // attempts that made something else live, as far as hosts said so
	Validate        *sluice.Validate // what it is validated by; nil where nobody asked for that
	Validation      validate.Record  // what came of it, as far as it has begun
}

// key is a release, whichever jobs bring it to hosts.
type key struct{ app, env, version, config string }

func (r *Release) key() key { return key{r.App, r.Env, r.Version, r.Config} }

func (s *State) key() key { return key{s.App, s.Env, s.Live.Version, s.Config} }

// Deploys reports whether a job changes what is live.
func Deploys(j *sluice.Job) bool {
	return j.Action.Release != nil && (j.Action.Kind == sluice.DeployTo || j.Action.Kind == sluice.RollBack)
}

// New returns a map without places.
func New() *Map {
	return &Map{jobs: map[sluice.JobID]*Release{}, checks: map[sluice.JobID]*Release{}, places: map[Place]*place{}, retired: map[sluice.Host]bool{}, deploys: map[key]*Release{}, took: map[key]*took{},
		numbers: map[sluice.Host]int{}}
}

// Until are the events that had happened at a time, t included: those before the first one that is later. So nothing that is
// appended afterwards changes what is said of a past moment, whatever the clock does. Where it was set back, what came after that
// belongs to the moments after the highest time before.
func Until(events []sluice.Event, t time.Time) []sluice.Event {
	for i, e := range events {
		if e.Time.After(t) {
			return events[:i]
		}
	}
	return events
}

// Apply takes one more event, in the order of the log.
func (m *Map) Apply(e sluice.Event) {
	m.apply(e)
	if r := m.checks[e.Job]; r != nil {
		r.Validation.Apply(e)
	}
}

func (m *Map) apply(e sluice.Event) {
	m.seq = e.Seq
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		if j := &b.Submitted; Deploys(j) {
			r := j.Action.Release
			one := &Release{Job: e.Job, Kind: j.Action.Kind, App: r.App, Env: r.Env, Version: r.Version, Config: r.Config, Commit: r.Commit,
				By: j.By, Reason: j.Reason, Submitted: e.Time, Targets: len(j.Targets), Validate: j.Action.Validation()}
			m.jobs[e.Job], m.releases = one, append(m.releases, one)
			if one.Kind == sluice.DeployTo {
				m.deploys[one.key()] = one
			}
		} else if v := j.Action.Validates; v != nil && m.jobs[v.Job] != nil {
			m.checks[e.Job], m.jobs[v.Job].Validation = m.jobs[v.Job], validate.Record{}
		}
	case sluice.TaskStarted:
		if r := m.jobs[e.Job]; r != nil {
			m.start(r, b.Host, b.Attempt)
		}
	case sluice.TaskWithdrawn:
		m.end(e, b.Host, b.Attempt, func(a *attempt) { a.ended, a.nothing = true, true })
	case sluice.TaskFinished:
		m.end(e, b.Host, b.Attempt, func(a *attempt) {
			a.ended, a.at, a.outcome, a.word = true, e.Time, b.Outcome, b.Release
			a.nothing = b.NotStarted && b.Release == nil
		})
	case sluice.JobResumed:
		if r := m.jobs[e.Job]; r != nil { // what comes of it now is another deploy
			delete(m.checks, r.Validation.Job)
			r.Validation = validate.Record{}
		}
	case sluice.HostRetired:
		m.retired[b.Host] = true
	case sluice.HostReturned:
		delete(m.retired, b.Host)
	}
}

func (m *Map) start(r *Release, h sluice.Host, id sluice.AttemptID) {
	r.Began = true
	at := Place{r.App, r.Env, h}
	p := m.places[at]
	if p == nil {
		p = &place{base: standing{State: State{Place: at}}}
		m.places[at] = p
	}
	if p.attempt(r.Job, id) == nil {
		p.open = append(p.open, &attempt{id: id, of: r})
	}
}

// end takes how an attempt ended. One that is not open is over, or a later one has proved what matters.
func (m *Map) end(e sluice.Event, h sluice.Host, id sluice.AttemptID, how func(*attempt)) {
	r := m.jobs[e.Job]
	if r == nil {
		return
	}
	p := m.places[Place{r.App, r.Env, h}]
	if p == nil {
		return
	}
	a := p.attempt(r.Job, id)
	if a == nil || a.over() {
		return
	}
	how(a)
	if a.said() {
		if a.word.Live != a.word.Before {
			r.Changed++
		}
		if a.outcome == sluice.Succeeded {
			m.note(a, h)
		}
	}
	p.settle()
}

// Seq is the number of the last event that was applied.
func (m *Map) Seq() uint64 { return m.seq }

// States lists the places that keep says yes to, by app, environment and host. Hosts that are retired have none.
func (m *Map) States(keep func(Place) bool) []State {
	var all []State
	for at, p := range m.places {
		if m.retired[at.Host] || !keep(at) {
			continue
		}
		if s, ok := p.now(); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Env, b.Env), cmp.Compare(a.Host, b.Host))
	})
	return all
}

// Releases lists those of an app in an environment, as they were submitted; "" stands for all. Nobody may change them.
func (m *Map) Releases(app, env string) (out []*Release) {
	for _, r := range m.releases {
		if (app == "" || r.App == app) && (env == "" || r.Env == env) {
			out = append(out, r)
		}
	}
	return out
}

// Origin is the last job that deployed what is live in a place, there or elsewhere in the environment: a rollback knows no commit.
// It is nil where none did.
func (m *Map) Origin(s *State) *Release { return m.deploys[s.key()] }

// On counts on how many of the hosts a release is live: what a job deployed, whichever job brought it there; of a rollback, what it
// brought back itself.
func On(states []State) func(*Release) int {
	by, of := map[sluice.JobID]int{}, map[key]int{}
	for i := range states {
		if s := &states[i]; s.Known {
			by[s.Job]++
			of[s.key()]++
		}
	}
	return func(r *Release) int {
		if r.Kind == sluice.RollBack {
			return by[r.Job]
		}
		return of[r.key()]
	}
}

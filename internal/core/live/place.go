package live

import (
	"slices"
	"time"

	"sluice"
)

// State is what is known of a place.
type State struct {
	Place
	// Known says that Live is proved, and that nothing came after that could have changed it. Where it is not, Live is what was
	// proved last, and Why says what came after it.
	Known bool
	Live  sluice.Installed // without a version: nothing
	Why   Why
	// Config is the configuration of the release that is live. The host may know its files by an older one, in Live, that came to the
	// same there.
	Config string
	// Since is when Live was first proved, By and Job whose work that was; both are "" where that is not on record.
	Since time.Time
	By    string
	Job   sluice.JobID
	// Changed says that nothing on record made Live so, though something else was proved before: it was changed by hand.
	Changed bool
	// Failed says that the attempt that made it live failed afterwards, and that none has succeeded since: it may not be well.
	Failed bool
	// Before is what was live before Live.
	Before sluice.Installed
	// Last is the job that last touched the place.
	Last sluice.JobID
}

// standing is a state, with what of the past may come back.
type standing struct {
	State
	// had are what was live and is known by the host under another configuration than that of its release.
	had []known
}

// known is of which configuration the release was last of which something was live.
type known struct {
	is     sluice.Installed
	config string
}

// mostKnown bounds what is kept of a place; hosts keep about as many versions.
const mostKnown = 8

// know remembers the configuration of the release that is live.
func (s *standing) know() {
	had := slices.DeleteFunc(slices.Clone(s.had), func(k known) bool { return k.is == s.Live })
	if s.Config != s.Live.Config {
		had = append(had, known{s.Live, s.Config})
	}
	s.had = had[max(0, len(had)-mostKnown):]
}

// configOf is the configuration of the release of which this was live last.
func (s *standing) configOf(i sluice.Installed) string {
	for _, k := range s.had {
		if k.is == i {
			return k.config
		}
	}
	return i.Config
}

// Why says why it is not known what is live.
type Why string

const (
	Running Why = "an attempt is running"
	Unclear Why = "the outcome of the last attempt is not known"
	Silent  Why = "the last attempt ended, and the host did not say what is live"
)

// place has the attempts that matter still, in the order in which they started: a late outcome changes its own attempt, and never
// what a later one proved. What those before them came to is in base.
type place struct {
	base standing
	open []*attempt
	// doubt is in base who may have changed the place since a host last said what it has.
	doubt []*Release
}

type attempt struct {
	of      *Release
	id      sluice.AttemptID
	ended   bool
	nothing bool // it is proved that nothing ran
	outcome sluice.Outcome
	at      time.Time          // when it ended
	word    *sluice.Activation // what the host said then; nil: nothing
}

func (p *place) attempt(job sluice.JobID, id sluice.AttemptID) *attempt {
	for _, a := range p.open {
		if a.of.Job == job && a.id == id {
			return a
		}
	}
	return nil
}

// over reports whether nothing can be learned of the attempt any more.
func (a *attempt) over() bool { return a.ended && a.outcome != sluice.Unknown }

// said reports whether the host said at the end what is live.
func (a *attempt) said() bool { return a.over() && a.word != nil }

// settle forgets attempts: those before one that made something else live and said so, and those that are over with all before them.
func (p *place) settle() {
	for i := len(p.open) - 1; i > 0; i-- {
		if a := p.open[i]; a.said() && a.word.Live != a.word.Before {
			p.open, p.base, p.doubt = p.open[i:], standing{State{Place: p.base.Place}, p.base.had}, nil
			break
		}
	}
	for len(p.open) > 0 && p.open[0].over() {
		p.doubt = p.open[0].apply(&p.base, p.doubt)
		p.open = p.open[1:]
	}
}

// now is false where nothing is known that ever ran there.
func (p *place) now() (State, bool) {
	s, doubt := p.base, p.doubt[:len(p.doubt):len(p.doubt)]
	for _, a := range p.open {
		doubt = a.apply(&s, doubt)
	}
	return s.State, s.Last != ""
}

// apply brings a state from before an attempt to after it, and so those who may have changed it unseen.
func (a *attempt) apply(s *standing, doubt []*Release) []*Release {
	if a.nothing {
		return doubt // what was so before is still so
	}
	s.Last = a.of.Job
	why := Silent
	switch {
	case a.said():
		s.find(a.word.Before, a.at, doubt)
		s.leave(a)
		return nil
	case !a.ended:
		why = Running
	case a.outcome == sluice.Unknown:
		why = Unclear
	}
	s.Known, s.Why = false, why
	return append(doubt, a.of)
}

// find takes what an attempt found on the host: what was there, what one of those in doubt left, or what nobody on record put there.
func (s *standing) find(found sluice.Installed, at time.Time, doubt []*Release) {
	first := s.Since.IsZero()
	s.Known, s.Why = true, ""
	if !first && s.Live == found {
		return
	}
	s.Live, s.Config, s.Before, s.Since, s.By, s.Job, s.Failed = found, s.configOf(found), s.Live, at, "", "", false
	s.Changed = !first && len(doubt) == 0
	for _, r := range doubt {
		if r.makes(found) {
			s.By, s.Job = r.By, r.Job
		}
	}
}

// leave takes what an attempt left on the host.
func (s *standing) leave(a *attempt) {
	w, good := a.word, a.outcome == sluice.Succeeded
	switch {
	case w.Live != w.Before:
		s.Live, s.Config, s.Before, s.Since, s.By, s.Job, s.Failed, s.Changed = w.Live, s.configOf(w.Live), w.Before, a.at, a.of.By, a.of.Job, !good, false
		if !a.of.makes(w.Live) {
			s.By, s.Job, s.Failed, s.Changed = "", "", false, true
			return
		}
	case good && a.of.makes(w.Live):
		s.Failed = false
		if s.Job == "" { // it was there, and now somebody wants it there
			s.By, s.Job, s.Changed = a.of.By, a.of.Job, false
		}
	default:
		return
	}
	if a.of.Kind == sluice.DeployTo {
		s.Config = a.of.Config
		s.know()
	}
}

// makes reports whether it may be the job's work that this is live.
func (r *Release) makes(live sluice.Installed) bool {
	return r.Version == live.Version || r.Kind == sluice.RollBack && r.Version == ""
}

// Told says in one word how it stands with a place, live, unknown or changed, and in a line what is to be known beside that.
func (s *State) Told() (word, reason string) {
	switch {
	case !s.Known:
		return "unknown", string(s.Why)
	case s.Changed:
		return "changed", "no job on record made it live: it was changed by hand"
	case s.Failed:
		return "live", "the attempt that made it live failed afterwards"
	}
	return "live", ""
}

package crew

import (
	"time"

	"sluice"
)

// Reserve says which worker alone may have an attempt from now on, or that none may yet. Who has it keeps it.
func (s *State) Reserve(a sluice.AttemptID, only sluice.WorkerName, shut bool, now time.Time) []Order {
	s.now = now
	t := s.tasks[a]
	if t == nil {
		return nil
	}
	t.Only, t.Shut = only, shut
	return s.place()
}

// Live reports whether a worker has a lease.
func (s *State) Live(name sluice.WorkerName) bool {
	m := s.members[name]
	return m != nil && m.Live
}

// Busy reports whether a worker has attempts of a job.
func (s *State) Busy(name sluice.WorkerName, job sluice.JobID) bool {
	for _, t := range s.tasks {
		if t.on == name && t.Job == job {
			return true
		}
	}
	return false
}

// waitsForSecrets says why an attempt waits that one worker alone may have.
func (s *State) waitsForSecrets(t *task) (why, until string) {
	m := s.members[t.Only]
	who := "the worker " + string(t.Only) + ", which alone has the secrets of the job,"
	switch {
	case t.Shut:
		return "no worker has the secrets of the job", "one has them"
	case m == nil || !m.Live:
		return who + " is not connected", "it comes back"
	}
	return who + " is full or draining", "it has room"
}

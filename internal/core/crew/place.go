package crew

import (
	"cmp"
	"slices"

	"sluice"
)

// Nobody begins the reason of attempts that wait until somebody starts a worker.
const Nobody = "no worker of pool "

// Waits says why an attempt has no worker, and until when; "" where it has one.
func (s *State) Waits(a sluice.AttemptID) (why, until string) {
	t := s.tasks[a]
	if t == nil || t.on != "" {
		return "", ""
	}
	if t.notBefore.After(s.now) {
		return "a worker that is gone may still start it", "it may not any more"
	}
	if t.back.until.After(s.now) {
		return t.back.said(), "it is given again"
	}
	if t.Shut || t.Only != "" {
		return s.waitsForSecrets(t)
	}
	strict := false
	for _, m := range s.members {
		if m.Live && slices.Contains(m.Pools, t.Pool) {
			if t.Unsigned && m.SignedOnly {
				strict = true
				continue
			}
			return "all workers of pool " + string(t.Pool) + " are full or draining", "one has room"
		}
	}
	if strict {
		return "the workers of pool " + string(t.Pool) + " carry out signed jobs alone, and this one is not", "another one comes; sluice run --sign makes a job that is"
	}
	return Nobody + string(t.Pool) + " is connected", "one comes"
}

// place gives waiting attempts to workers with room.
func (s *State) place() []Order {
	var out []Order
	type kind struct {
		pool     sluice.Pool
		unsigned bool
	}
	full := map[kind]bool{}
	rest := s.waiting[:0]
	for _, a := range s.waiting {
		t := s.tasks[a]
		if m := s.holder(a); m != nil { // it has the outcome
			t.on, t.Resumed, t.given = m.Name, true, s.now
			m.Running++
			out = append(out, Order{Kind: Give, Attempt: a, Worker: m.Name, Resumed: true})
			continue
		}
		of := kind{t.Pool, t.Unsigned}
		if full[of] && t.Only == "" || t.Shut || t.from().After(s.now) {
			rest = append(rest, a)
			continue
		}
		m := s.choose(t)
		if m == nil {
			full[of] = full[of] || t.Only == ""
			rest = append(rest, a)
			continue
		}
		t.on, t.given = m.Name, s.now
		m.Running++
		out = append(out, Order{Kind: Give, Attempt: a, Worker: m.Name, Resumed: t.Resumed})
		t.Resumed = true
	}
	clear(s.waiting[len(rest):])
	s.waiting = rest
	return out
}

// holder is a worker that came with the outcome of an attempt while another one had it.
func (s *State) holder(a sluice.AttemptID) (first *Member) {
	for _, m := range s.members {
		if m.held[a] && m.Live && (first == nil || m.Name < first.Name) {
			first = m
		}
	}
	return first
}

// choose finds the worker for a task: of its pool, with room, the least loaded. Who has just given it back is the last choice.
func (s *State) choose(t *task) *Member {
	var best *Member
	for _, m := range s.members {
		if !m.Live || m.Draining || m.Running >= m.Limit || !slices.Contains(m.Pools, t.Pool) || t.Only != "" && t.Only != m.Name || t.Unsigned && m.SignedOnly {
			continue
		}
		// Shares are compared as products, so that equal loads are equal.
		if best == nil || cmp.Or(t.gaveBack(m)-t.gaveBack(best), cmp.Compare(m.Running*best.Limit, best.Running*m.Limit), cmp.Compare(m.Name, best.Name)) < 0 {
			best = m
		}
	}
	return best
}

// gaveBack is 1 for the worker that gave the task back last, 0 for others.
func (t *task) gaveBack(m *Member) int {
	if t.back.times > 0 && t.back.by == m.Name {
		return 1
	}
	return 0
}

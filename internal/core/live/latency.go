package live

import (
	"slices"
	"time"

	"sluice"
)

// took is how long it took until hosts had a release for the first time.
type took struct {
	seen  []uint64 // the hosts that had it, by their numbers
	times []time.Duration
}

// Latency is how long it took from a release's commit, or where that is not known from its build, until each host had it for the first time: the median and the 99th
// percentile of the hosts that have had it. Hosts is how many those are; 0 where neither time is known.
type Latency struct {
	Hosts    int
	P50, P99 time.Duration
}

// note takes that a deploy succeeded on a host.
func (m *Map) note(a *attempt, h sluice.Host) {
	r := a.of
	since := r.Commit.Since()
	if r.Kind != sluice.DeployTo || since.IsZero() || !r.makes(a.word.Live) {
		return
	}
	n, known := m.numbers[h]
	if !known {
		n = len(m.numbers)
		m.numbers[h] = n
	}
	t := m.took[r.key()]
	if t == nil {
		t = &took{}
		m.took[r.key()] = t
	}
	for len(t.seen) <= n/64 {
		t.seen = append(t.seen, 0)
	}
	if bit := uint64(1) << (n % 64); t.seen[n/64]&bit == 0 {
		t.seen[n/64] |= bit
		t.times = append(t.times, max(0, a.at.Sub(since)))
	}
}

// Latency measures a release: the same version with another configuration is another one.
func (m *Map) Latency(r *Release) Latency {
	t := m.took[r.key()]
	if t == nil || r.Kind != sluice.DeployTo {
		return Latency{}
	}
	times := slices.Sorted(slices.Values(t.times))
	rank := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] }
	return Latency{len(times), rank(50), rank(99)}
}

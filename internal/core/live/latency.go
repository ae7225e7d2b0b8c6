package live

import (
	"slices"
	"time"

	"sluice"
)

// key is a release, whichever jobs bring it to hosts.
type key struct{ app, env, version, config string }

// took is how long it took until hosts had a release for the first time.
type took struct {
	seen  []uint64 // the hosts that had it, by their numbers
	times []time.Duration
}

// Latency is how long it took from a release's commit until each host had it for the first time: the median and the 99th
// percentile of the hosts that have had it. Hosts is how many those are; 0 where the time of the commit is not known.
type Latency struct {
	Hosts    int
	P50, P99 time.Duration
}

// note takes that a deploy succeeded on a host.
func (m *Map) note(a *attempt, h sluice.Host) {
	r := a.of
	if r.Kind != sluice.DeployTo || r.Commit == nil || r.Commit.Time.IsZero() || !r.makes(a.word.Live) {
		return
	}
	n, known := m.numbers[h]
	if !known {
		n = len(m.numbers)
		m.numbers[h] = n
	}
	k := key{r.App, r.Env, r.Version, r.Config}
	t := m.took[k]
	if t == nil {
		t = &took{}
		m.took[k] = t
	}
	for len(t.seen) <= n/64 {
		t.seen = append(t.seen, 0)
	}
	if bit := uint64(1) << (n % 64); t.seen[n/64]&bit == 0 {
		t.seen[n/64] |= bit
		t.times = append(t.times, max(0, a.at.Sub(r.Commit.Time)))
	}
}

// Latency measures a release: the same version with another configuration is another one.
func (m *Map) Latency(r *Release) Latency {
	t := m.took[key{r.App, r.Env, r.Version, r.Config}]
	if t == nil || r.Kind != sluice.DeployTo {
		return Latency{}
	}
	times := slices.Sorted(slices.Values(t.times))
	rank := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] }
	return Latency{len(times), rank(50), rank(99)}
}

package live

import (
	"cmp"
	"slices"
	"time"

	"sluice"
)

// Most is the version that most of the hosts have of which it is known, the greater name where two are as many; false where none is known.
func Most(states []State) (sluice.Installed, bool) {
	n := map[sluice.Installed]int{}
	var most sluice.Installed
	for _, s := range states {
		if s.Known {
			n[s.Live]++
		}
	}
	for v, k := range n {
		if k > n[most] || k == n[most] && cmp.Or(cmp.Compare(v.Version, most.Version), cmp.Compare(v.Manifest, most.Manifest), cmp.Compare(v.Config, most.Config)) > 0 {
			most = v
		}
	}
	return most, len(n) > 0
}

// Latency is how long it took from a release's commit until each host had it for the first time: the median and the 99th
// percentile of the hosts that have had it. Hosts is how many those are; 0 where the time of the commit is not known.
type Latency struct {
	Hosts    int
	P50, P99 time.Duration
}

// Latency measures a version of an app in an environment.
func (m *Map) Latency(app, env, version string) Latency {
	var took []time.Duration
	for at, p := range m.places {
		if at.App != app || at.Env != env {
			continue
		}
		for _, a := range p.attempts {
			r := a.job.Action.Release
			if f := a.ended; f == nil || f.Outcome != sluice.Succeeded || f.Release == nil || f.Release.Live.Version != version ||
				r.Version != version || r.Commit == nil || r.Commit.Time.IsZero() {
				continue
			}
			took = append(took, a.at.Sub(r.Commit.Time))
			break
		}
	}
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] }
	return Latency{len(took), rank(50), rank(99)}
}

package live

import (
	"cmp"
	"maps"
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
	return latencyOf(slices.Clone(t.times))
}

// latencyOf is of one time at least, which it puts into order.
func latencyOf(times []time.Duration) Latency {
	slices.Sort(times)
	rank := func(percent int) time.Duration { return times[(len(times)*percent+99)/100-1] }
	return Latency{len(times), rank(50), rank(99)}
}

// Period is how long the releases of an app in an environment took that were submitted within a day or a week.
type Period struct {
	App, Env string
	From     time.Time // midnight, UTC; of a week that of its Monday
	Days     int       // 1 or 7
	Releases int
	Latency  // of all hosts that have had one of them
}

const (
	day = 24 * time.Hour
	// daily is how long the time is at most, from the first release of an app to its last, of which each day stands for itself.
	daily = 14 * day
)

// OverTime sums up the latencies of releases, given as they were submitted: by app and environment, of each the newest periods, so many
// at most, newest first. Each release counts once, with all of its hosts, when the first job of these that deploys it was submitted. A
// period without one of which something is known is left out.
func (m *Map) OverTime(releases []*Release, most int) (out []Period) {
	type in struct{ app, env string }
	of, counted := map[in][]*Release{}, map[key]bool{}
	for _, r := range releases {
		if k := r.key(); r.Kind == sluice.DeployTo && m.took[k] != nil && !counted[k] {
			counted[k] = true
			of[in{r.App, r.Env}] = append(of[in{r.App, r.Env}], r)
		}
	}
	for _, list := range of {
		out = append(out, m.periods(list, most)...)
	}
	slices.SortFunc(out, func(a, b Period) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Env, b.Env), b.From.Compare(a.From))
	})
	return out
}

// periods are those of an app in an environment, in any order.
func (m *Map) periods(releases []*Release, most int) (out []Period) {
	bySubmission := func(a, b *Release) int { return a.Submitted.Compare(b.Submitted) }
	first, last := slices.MinFunc(releases, bySubmission), slices.MaxFunc(releases, bySubmission)
	days := 7
	if last.Submitted.UTC().Truncate(day).Sub(first.Submitted.UTC().Truncate(day)) < daily {
		days = 1
	}
	in := map[time.Time][]*Release{}
	for _, r := range releases {
		from := r.Submitted.UTC().Truncate(time.Duration(days) * day) // the zero time is a Monday
		in[from] = append(in[from], r)
	}
	newest := slices.SortedFunc(maps.Keys(in), func(a, b time.Time) int { return b.Compare(a) })
	for _, from := range newest[:min(len(newest), most)] {
		var times []time.Duration
		for _, r := range in[from] {
			times = append(times, m.took[r.key()].times...)
		}
		out = append(out, Period{releases[0].App, releases[0].Env, from, days, len(in[from]), latencyOf(times)})
	}
	return out
}

package prometheus

import (
	prom "github.com/prometheus/client_golang/prometheus"

	"sluice"
)

var _ prom.Collector = (*Metrics)(nil)

// states and whys are given also where there is none of them: an alarm on a series that is not there does not ring.
var (
	states = []string{"waiting", "running", "paused", "halting", "halted", "succeeded", "failed", "cancelled"}
	whys   = []string{"bad", "held", "retired"}
	health = []string{"connected", "draining", "lost", "invited"}
)

// Describe says what Collect gives.
func (m *Metrics) Describe(to chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{m.jobs, m.running, m.out, m.oldest, m.workers, m.limit, m.load, m.waiting, m.silent, m.leases} {
		to <- d
	}
	for _, d := range m.cluster.all() {
		to <- d
	}
}

// Collect counts what there is now.
func (m *Metrics) Collect(to chan<- prom.Metric) {
	sums := map[string]*Census{}
	for _, c := range m.census() {
		name := m.space(c.Namespace)
		s := sums[name]
		if s == nil {
			s = &Census{Jobs: map[string]int{}, Hosts: map[string]int{}}
			sums[name] = s
		}
		s.Running += c.Running
		add(s.Jobs, c.Jobs)
		add(s.Hosts, c.Hosts)
	}
	gauge := func(d *prom.Desc, v float64, labels ...string) {
		to <- prom.MustNewConstMetric(d, prom.GaugeValue, v, labels...)
	}
	for name, s := range sums {
		gauge(m.running, float64(s.Running), name)
		for _, state := range states {
			gauge(m.jobs, float64(s.Jobs[state]), name, state)
		}
		for _, why := range whys {
			gauge(m.out, float64(s.Hosts[why]), name, why)
		}
	}
	m.collectPools(to, gauge)
	m.collectCluster(to)
	if m.wait != nil {
		for hook, d := range m.wait() {
			gauge(m.oldest, d.Seconds(), hook)
		}
	}
}

func (m *Metrics) collectPools(to chan<- prom.Metric, gauge func(*prom.Desc, float64, ...string)) {
	if m.pools == nil {
		return
	}
	sums := map[string]*Pool{}
	for _, p := range m.pools() {
		name := m.pool(p.Name)
		s := sums[name]
		if s == nil {
			s = &Pool{Workers: map[string]int{}}
			sums[name] = s
		}
		s.Limit, s.Running, s.Waiting, s.Silent = s.Limit+p.Limit, s.Running+p.Running, s.Waiting+p.Waiting, max(s.Silent, p.Silent)
		s.LeasesLost += p.LeasesLost
		add(s.Workers, p.Workers)
	}
	for name, s := range sums {
		for _, h := range health {
			gauge(m.workers, float64(s.Workers[h]), name, h)
		}
		gauge(m.limit, float64(s.Limit), name)
		gauge(m.load, float64(s.Running), name)
		gauge(m.waiting, float64(s.Waiting), name)
		gauge(m.silent, s.Silent.Seconds(), name)
		to <- prom.MustNewConstMetric(m.leases, prom.CounterValue, float64(s.LeasesLost), name)
	}
}

// pool is the label of a pool.
func (m *Metrics) pool(p sluice.Pool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.named[p] {
		if len(m.named) >= maxPools {
			return Others
		}
		m.named[p] = true
	}
	return string(p)
}

func add(sum, more map[string]int) {
	for k, n := range more {
		sum[k] += n
	}
}

package prometheus

import (
	prom "github.com/prometheus/client_golang/prometheus"
)

var _ prom.Collector = (*Metrics)(nil)

// states and whys are given also where there is none of them: an alarm on a series that is not there does not ring.
var (
	states = []string{"waiting", "running", "paused", "halting", "halted", "succeeded", "failed", "cancelled"}
	whys   = []string{"bad", "held", "retired"}
)

// Describe says what Collect gives.
func (m *Metrics) Describe(to chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{m.jobs, m.running, m.out, m.oldest} {
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
	if m.wait != nil {
		for hook, d := range m.wait() {
			gauge(m.oldest, d.Seconds(), hook)
		}
	}
}

func add(sum, more map[string]int) {
	for k, n := range more {
		sum[k] += n
	}
}

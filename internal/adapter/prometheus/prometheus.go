// Package prometheus counts what a server does, in the form that Prometheus collects.
//
// It is told what happens and knows nothing of how it comes about. Labels are of a few kinds that are known beforehand;
// none is ever a host, a job, a path that somebody sent or any other text of strangers: what is counted must not grow
// with what it counts. Namespaces, pools and apps are, up to a number of them.
package prometheus

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice"
)

// maxNamespaces is how many are counted apart, maxPools how many pools of workers, and maxApps how many apps, each environment by itself;
// all further ones are Others together.
const (
	maxNamespaces = 100
	maxPools      = 100
	maxApps       = 100
)

// Others stands for the namespaces, pools and apps beyond those that are counted apart.
const Others = "(others)"

// Census is how much there is of everything in a namespace.
type Census struct {
	Namespace sluice.Namespace
	Jobs      map[string]int // by state
	Running   int            // attempts
	Hosts     map[string]int // out of service, by why
}

// Pool is how it stands with the workers of a pool. One that is of several pools counts in each.
type Pool struct {
	Name       sluice.Pool
	Workers    map[string]int // by health
	Limit      int            // attempts that its connected workers carry out at once
	Running    int            // attempts that they have, of whatever pool
	Waiting    int            // attempts that wait for a worker
	Silent     time.Duration  // since the one was heard of that is silent the longest, of those connected
	LeasesLost uint64
}

// Cluster is what is to be seen of the engine that servers share.
type Cluster struct {
	Size, InUse, Quota int64             // bytes of this server's node; Quota 0: not known
	Leads, Owns, Held  bool              // the nodes go by this server's; it owns the log; nothing is appended, as there is no room
	Behind             map[string]uint64 // events that a member's copy lacks
	Unknown            int               // members whose copies could not be asked
	Alarms             map[string]int    // members that have it, by kind
	Trims, Defrags     uint64
	LeaderChanges      uint64
	Sync, Commit       Spread
}

// Spread is how long something took, how often.
type Spread struct {
	Count   uint64
	Sum     float64 // seconds
	Buckets map[float64]uint64
}

// Metrics are all that a server counts. It is safe for concurrent use.
type Metrics struct {
	registry *prom.Registry

	submitted, finished, halted *prom.CounterVec
	started, ended              *prom.CounterVec
	attempt                     *prom.HistogramVec
	firstStart, lastStart, rest prom.Histogram
	commit                      *prom.HistogramVec

	append          *prom.HistogramVec
	appended        prom.Counter
	fold, behind    prom.Histogram
	requests        *prom.CounterVec
	latency         *prom.HistogramVec
	streams         prom.Gauge
	deliveries      *prom.CounterVec
	spans           *prom.CounterVec
	jobs, out       *prom.Desc
	running, oldest *prom.Desc

	workers, limit, load *prom.Desc
	waiting              *prom.Desc
	silent, leases       *prom.Desc

	cluster clusterDescs

	mu     sync.Mutex
	spaces map[sluice.Namespace]bool
	named  map[sluice.Pool]bool
	apps   map[[2]string]bool
	pools  func() []Pool
	census func() []Census
	wait   func() map[string]time.Duration
	shared func() *Cluster
}

// Config says what is asked when somebody collects.
type Config struct {
	Version, Revision string
	Census            func() []Census
	// Waiting is how long the oldest undelivered event of each webhook has waited. May be nil.
	Waiting func() map[string]time.Duration
	// Pools are those of the workers. May be nil.
	Pools func() []Pool
	// Cluster is the engine that servers share. May be nil, and return nil: there is none.
	Cluster func() *Cluster
}

// Buckets, in seconds: of what takes a moment on one machine, of what takes as long as people and hosts do, and of what waits for reviews and weekends.
var (
	quick = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	long  = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
	days  = []float64{60, 300, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 86400, 2 * 86400, 4 * 86400, 7 * 86400, 14 * 86400, 28 * 86400}
)

// New makes metrics.
func New(cfg Config) *Metrics {
	m := &Metrics{registry: prom.NewRegistry(), spaces: map[sluice.Namespace]bool{}, named: map[sluice.Pool]bool{}, apps: map[[2]string]bool{},
		census: cfg.Census, wait: cfg.Waiting, pools: cfg.Pools, shared: cfg.Cluster, cluster: describeCluster()}
	ns := []string{"namespace"}
	m.submitted = m.counters("sluice_jobs_submitted_total", "Jobs that were submitted.", ns...)
	m.finished = m.counters("sluice_jobs_finished_total", "Jobs that ended, by outcome.", "namespace", "outcome")
	m.halted = m.counters("sluice_jobs_halted_total", "Halts of jobs, by the rule that halted them.", "namespace", "rule")
	m.started = m.counters("sluice_attempts_started_total", "Attempts that were allowed to start on a host.", ns...)
	m.ended = m.counters("sluice_attempts_finished_total", "Attempts that ended, by outcome; withdrawn ones never began on the host.", "namespace", "outcome")
	m.attempt = m.histograms("sluice_attempt_seconds", "What attempts took on their hosts, by outcome.", long, "outcome")
	m.firstStart = m.histogram("sluice_job_first_start_seconds", "From a job's submission to its first attempt.", long)
	m.lastStart = m.histogram("sluice_job_halt_last_start_seconds", "From the wish to halt a job to the last attempt that began in spite of it; 0 if none did.", long)
	m.rest = m.histogram("sluice_job_halt_rest_seconds", "From the wish to halt a job until nothing of it runs.", long)
	m.commit = m.histograms("sluice_commit_to_live_seconds", "From a release's commit, or else its build, until a host had it by a deploy.", days, "app", "env")
	m.append = m.histograms("sluice_log_append_seconds", "Appends to the log, with the wait for their turn, until they are durable.", quick, "result")
	m.appended = m.counter("sluice_log_events_appended_total", "Events that were appended to the log by this process.")
	m.fold = m.histogram("sluice_log_fold_seconds", "Reading the log of a namespace into a state, at the start.", quick)
	m.behind = m.histogram("sluice_log_behind_seconds", "From an event to its being seen by whoever follows the log.", quick)
	m.requests = m.counters("sluice_api_requests_total", "Answered requests, by route and status.", "method", "route", "status")
	m.latency = m.histograms("sluice_api_request_seconds", "Time to answer a request, by route; streams of events are not counted.", quick, "method", "route")
	m.streams = prom.NewGauge(prom.GaugeOpts{Name: "sluice_api_streams", Help: "Streams of events that are open."})
	m.registry.MustRegister(m.streams)
	m.deliveries = m.counters("sluice_webhook_deliveries_total", "Deliveries of webhooks: delivered, failed (and tried again), given_up.", "result")
	m.spans = m.counters("sluice_trace_spans_total", "Spans of traces: sent, failed, dropped because nobody took them in time.", "result")
	m.jobs = prom.NewDesc("sluice_jobs", "Jobs, by state.", []string{"namespace", "state"}, nil)
	m.running = prom.NewDesc("sluice_attempts_running", "Attempts that run now.", ns, nil)
	m.out = prom.NewDesc("sluice_hosts_out", "Hosts out of service on which nothing runs: held, retired, or bad (their last outcome was).", []string{"namespace", "why"}, nil)
	m.oldest = prom.NewDesc("sluice_webhook_waiting_seconds", "Age of the oldest event that a webhook has not taken.", []string{"webhook"}, nil)
	pool := []string{"pool"}
	m.workers = prom.NewDesc("sluice_workers", "Workers, by pool and health; one of several pools counts in each.", []string{"pool", "health"}, nil)
	m.limit = prom.NewDesc("sluice_workers_limit", "Attempts that the connected workers of a pool carry out at once.", pool, nil)
	m.load = prom.NewDesc("sluice_workers_running", "Attempts that the workers of a pool have.", pool, nil)
	m.waiting = prom.NewDesc("sluice_attempts_waiting", "Attempts that wait for a worker of a pool.", pool, nil)
	m.silent = prom.NewDesc("sluice_workers_silent_seconds", "Since that worker of a pool was heard of that is silent the longest, of those connected.", pool, nil)
	m.leases = prom.NewDesc("sluice_worker_leases_lost_total", "Leases of the workers of a pool that ended because nothing was heard of them.", pool, nil)
	build := prom.NewGaugeFunc(prom.GaugeOpts{Name: "sluice_build_info", Help: "Always 1; the labels say which program this is.",
		ConstLabels: prom.Labels{"version": cfg.Version, "revision": cfg.Revision, "go": runtime.Version()}}, func() float64 { return 1 })
	m.registry.MustRegister(build, m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Names lists the server's own metrics, whether they have been counted yet or not.
func (m *Metrics) Names() (out []string) {
	all := make(chan *prom.Desc)
	go func() {
		defer close(all)
		m.registry.Describe(all)
	}()
	for d := range all {
		// A Desc tells its name in its text only.
		if _, rest, ok := strings.Cut(d.String(), `fqName: "`); ok {
			if name, _, ok := strings.Cut(rest, `"`); ok && strings.HasPrefix(name, "sluice_") {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (m *Metrics) counter(name, help string) prom.Counter {
	c := prom.NewCounter(prom.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prom.CounterVec {
	c := prom.NewCounterVec(prom.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, buckets []float64) prom.Histogram {
	h := prom.NewHistogram(prom.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) histograms(name, help string, buckets []float64, labels ...string) *prom.HistogramVec {
	h := prom.NewHistogramVec(prom.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

// app are the labels of an app in an environment.
func (m *Metrics) app(app, env string) [2]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	labels := [2]string{app, env}
	if !m.apps[labels] {
		if len(m.apps) >= maxApps {
			return [2]string{Others, Others}
		}
		m.apps[labels] = true
	}
	return labels
}

// space is the label of a namespace.
func (m *Metrics) space(ns sluice.Namespace) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.spaces[ns] {
		if len(m.spaces) >= maxNamespaces {
			return Others
		}
		m.spaces[ns] = true
	}
	return string(ns)
}

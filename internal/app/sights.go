package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/otlp"
	"sluice/internal/adapter/prometheus"
	"sluice/internal/core/measure"
	"sluice/internal/core/schedule"
	"sluice/internal/core/spans"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/courier"
	"sluice/internal/run/observe"
	"sluice/internal/run/recent"
)

// sights are all who look at what a server does: metrics, traces, its own log. They follow the sluice.Log as anybody could.
type sights struct {
	metrics  *prometheus.Metrics
	observer *observe.Observer
	sender   *otlp.Sender // nil: no traces
	courier  *courier.Courier
	log      *slog.Logger
	journal  sluice.Log // whose appends are timed, and whose newest events are at hand
	clock    sluice.Clock
	commands bool
	crew     *workers // set before anybody collects; nil: none

	mu     sync.Mutex
	spaces map[sluice.Namespace]*sight
}

// sight is what is remembered of a namespace. It belongs to the one goroutine that follows it.
type sight struct {
	meter  measure.Meter
	tracer spans.Tracer
}

// look makes those who look at a log. Nothing looks before run.
func (s *Server) look(journal sluice.Log, engine func() *prometheus.Cluster) (*sights, error) {
	k := &sights{log: s.Log, clock: s.Clock, commands: s.TraceCommands, spaces: map[sluice.Namespace]*sight{}}
	b := program()
	k.metrics = prometheus.New(prometheus.Config{Version: b.Version, Revision: b.Revision, Census: k.census, Cluster: engine,
		Waiting: func() map[string]time.Duration { return k.courier.Waiting() },
		Pools: func() []prometheus.Pool {
			if k.crew == nil {
				return nil
			}
			return k.crew.census()
		}})
	k.journal = recent.Log(k.metrics.Log(journal))
	var err error
	if k.courier, err = s.courier(k.journal, k.metrics.Delivery); err != nil {
		return nil, err
	}
	k.observer = observe.New(observe.Config{Log: k.journal, Begin: k.begin, Take: k.take, Trouble: func(text string) { s.Log.Warn(text) }})
	env := s.Env
	if s.OTLPEndpoint == "" && env("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return k, nil
	}
	k.sender, err = otlp.New(otlp.Config{Endpoint: s.OTLPEndpoint, Version: b.Version, Counted: k.metrics.Spans,
		Trouble: func(text string) { s.Log.Warn(text) }})
	return k, err
}

// run looks until ctx ends.
func (k *sights) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if k.sender != nil {
		// It ends after the observer, so that it has all that was seen.
		late, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		all.Go(func() {
			if err := k.sender.Run(late); err != nil {
				k.log.Warn("traces are not sent any more: " + err.Error())
			}
		})
	}
	all.Go(func() { k.courier.Run(ctx) })
	k.observer.Run(ctx)
}

func (k *sights) census() (out []prometheus.Census) {
	k.observer.Each(func(ns sluice.Namespace, s *schedule.State) {
		c := s.Census()
		jobs := map[string]int{}
		for state, n := range c.Jobs {
			jobs[string(state)] = n
		}
		out = append(out, prometheus.Census{Namespace: ns, Jobs: jobs, Running: c.Running,
			Hosts: map[string]int{"bad": c.Out, "held": c.Held, "retired": c.Retired}})
	})
	return out
}

func (k *sights) of(ns sluice.Namespace) *sight {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.spaces[ns]
	if s == nil {
		s = &sight{tracer: spans.Tracer{Commands: k.commands}}
		k.spaces[ns] = s
	}
	return s
}

// begin learns of the jobs that are under way, so that what comes of them has a beginning, and of what was deployed. What they did before was told
// by the process that saw it.
func (k *sights) begin(ctx context.Context, ns sluice.Namespace, state *schedule.State, took time.Duration) {
	k.metrics.Folded(took)
	s := k.of(ns)
	for _, j := range state.Jobs() {
		s.meter.Submitted(j.Spec.ID, j.Spec)
		if j.State == schedule.Succeeded || j.State == schedule.Failed || j.State == schedule.Cancelled {
			continue
		}
		if !j.Started {
			s.meter.Waiting(j.Spec.ID, j.Submitted)
		}
		if k.sender == nil {
			continue
		}
		events, err := k.journal.ReadJob(ctx, ns, j.Spec.ID)
		if err != nil {
			return // its trace will be without what comes; the observer tells about a log that cannot be read
		}
		for _, e := range events {
			if e.Seq <= state.Seq() {
				s.tracer.Take(e)
			}
		}
	}
}

// take tells everybody about events.
func (k *sights) take(ns sluice.Namespace, events []sluice.Event) {
	s, now := k.of(ns), k.clock()
	var ended []otlp.Span
	for _, e := range events {
		k.metrics.Happened(ns, e)
		k.metrics.Behind(now.Sub(e.Time))
		for _, m := range s.meter.Take(e) {
			k.measured(m)
		}
		if k.sender != nil {
			for _, sp := range s.tracer.Take(e) {
				ended = append(ended, spanOf(sp))
			}
		}
		k.tell(ns, e)
	}
	if k.sender != nil {
		k.sender.Send(ended)
	}
	k.courier.Ring()
}

func (k *sights) measured(m measure.Sample) {
	switch m.Kind {
	case measure.FirstStart:
		k.metrics.FirstStart(m.Took)
	case measure.LastStart:
		k.metrics.LastStart(m.Took)
	case measure.Rest:
		k.metrics.Rest(m.Took)
	case measure.CommitToLive:
		k.metrics.CommitToLive(m.App, m.Env, m.Took)
	}
}

func spanOf(s spans.Span) otlp.Span {
	out := otlp.Span{Trace: s.Trace, ID: s.ID, Parent: s.Parent, Name: s.Name, Start: s.Start, End: s.End, Attributes: s.Attributes,
		Failed: s.Failed, Reason: s.Reason}
	for _, m := range s.Marks {
		out.Marks = append(out.Marks, otlp.Mark(m))
	}
	return out
}

// tell writes what happens to jobs into the server's log. Commands, reasons and whatever else people wrote stay out of it:
// the sluice.Log has them, for those who may read it.
func (k *sights) tell(ns sluice.Namespace, e sluice.Event) {
	level, at := slog.LevelInfo, []slog.Attr{slog.String("event", e.Body.Type()), slog.String("namespace", string(ns)), slog.Uint64("seq", e.Seq)}
	if e.Job != "" {
		at = append(at, slog.String("job", string(e.Job)))
	}
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		at = append(at, slog.String("by", b.Submitted.By), slog.Int("targets", len(b.Submitted.Targets)))
	case sluice.JobHalted:
		level, at = slog.LevelWarn, append(at, slog.String("rule", string(b.Rule)), slog.String("group", b.Group))
	case sluice.JobFinished:
		at = append(at, slog.String("outcome", string(b.Outcome)))
	case sluice.TaskStarted:
		level, at = slog.LevelDebug, append(at, slog.String("host", string(b.Host)), slog.String("attempt", string(b.Attempt)))
	case sluice.TaskStep:
		level, at = slog.LevelDebug, append(at, slog.String("host", string(b.Host)), slog.String("attempt", string(b.Attempt)),
			slog.String("step", b.Step), slog.Int("exit_code", b.ExitCode))
	case sluice.BalancerChanged:
		at = append(at, slog.String("host", string(b.Host)), slog.String("attempt", string(b.Attempt)), slog.String("balancer", b.Balancer),
			slog.String("pool", b.Pool), slog.String("server", b.Server), slog.String("wanted", string(b.Wanted)), slog.String("state", string(b.State)))
		if b.Error != "" {
			level, at = slog.LevelWarn, append(at, slog.String("error", b.Error))
		}
	case sluice.TaskFinished:
		if b.Outcome == sluice.Succeeded || b.Outcome == sluice.Skipped {
			level = slog.LevelDebug
		}
		at = append(at, slog.String("host", string(b.Host)), slog.String("attempt", string(b.Attempt)), slog.String("outcome", string(b.Outcome)))
	case sluice.TaskWithdrawn:
		at = append(at, slog.String("host", string(b.Host)), slog.String("attempt", string(b.Attempt)))
	}
	k.log.LogAttrs(context.Background(), level, e.Body.Type(), at[1:]...)
}

// Answered counts a request, and writes a line about it for who wants to see all of them.
func (k *sights) Answered(r httpapi.Request) {
	k.metrics.Answered(r.Method, r.Route, r.Status, r.Duration, r.Stream)
	k.log.LogAttrs(context.Background(), slog.LevelDebug, "request", slog.String("method", r.Method), slog.String("route", r.Route),
		slog.Int("status", r.Status), slog.Duration("duration", r.Duration), slog.String("principal", string(r.Principal)))
}

// Streaming counts streams of events.
func (k *sights) Streaming(by int) { k.metrics.Streaming(by) }

// serveMetrics answers Prometheus, without a token, on an address of the loopback.
func (k *sights) serveMetrics(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", k.metrics.Handler())
	server := &http.Server{ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(k.log.Handler(), slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !httpapi.IsLoopback(r.Host) { // a page that makes its own name mean our address
				http.Error(w, "this address is for the loopback alone", http.StatusMisdirectedRequest)
				return
			}
			mux.ServeHTTP(w, r)
		})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("metrics: %w", err)
	case <-ctx.Done():
		return errors.Join(server.Close(), notClosed(<-ended))
	}
}

func notClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listenMetrics opens the address for metrics; nil where there is none.
func (s *Server) listenMetrics(ctx context.Context) (net.Listener, error) {
	if s.MetricsListen == "" {
		return nil, nil
	}
	if !httpapi.IsLoopback(s.MetricsListen) {
		return nil, sluice.Errorf(sluice.Usage, "metrics are given without a token on the loopback alone, not on %q", s.MetricsListen).
			WithHint("GET /metrics of the server itself takes a token with the right %s", sluice.SeeServer)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.MetricsListen)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the metrics cannot be listened for", Err: err}
	}
	return l, nil
}

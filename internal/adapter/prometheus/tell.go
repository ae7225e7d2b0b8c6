package prometheus

import (
	"context"
	"strconv"
	"time"

	"sluice"
)

// Happened counts an event of a namespace.
func (m *Metrics) Happened(ns sluice.Namespace, e sluice.Event) {
	name := m.space(ns)
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		m.submitted.WithLabelValues(name).Inc()
	case sluice.JobFinished:
		m.finished.WithLabelValues(name, string(b.Outcome)).Inc()
	case sluice.JobHalted:
		m.halted.WithLabelValues(name, string(b.Rule)).Inc()
	case sluice.TaskStarted:
		m.started.WithLabelValues(name).Inc()
	case sluice.TaskWithdrawn:
		m.ended.WithLabelValues(name, "withdrawn").Inc()
	case sluice.TaskFinished:
		if b.Attempt == "" { // skipped: nobody tried
			return
		}
		m.ended.WithLabelValues(name, string(b.Outcome)).Inc()
		m.attempt.WithLabelValues(string(b.Outcome)).Observe(float64(b.DurationMS) / 1000)
	}
}

// FirstStart is from a job's submission to its first attempt.
func (m *Metrics) FirstStart(d time.Duration) { m.firstStart.Observe(d.Seconds()) }

// LastStart is from the wish to halt to the last start after it.
func (m *Metrics) LastStart(d time.Duration) { m.lastStart.Observe(d.Seconds()) }

// Rest is from the wish to halt until nothing runs.
func (m *Metrics) Rest(d time.Duration) { m.rest.Observe(d.Seconds()) }

// CommitToLive is from a release's commit until a host had it.
func (m *Metrics) CommitToLive(app, env string, d time.Duration) {
	labels := m.app(app, env)
	m.commit.WithLabelValues(labels[:]...).Observe(d.Seconds())
}

// Folded says how long it took to read a namespace.
func (m *Metrics) Folded(d time.Duration) { m.fold.Observe(d.Seconds()) }

// Behind says how old an event was when it was seen.
func (m *Metrics) Behind(d time.Duration) { m.behind.Observe(max(0, d.Seconds())) }

// Answered counts a request. method and route are names of the API's own. stream: its duration says nothing.
func (m *Metrics) Answered(method, route string, status int, took time.Duration, stream bool) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	if !stream {
		m.latency.WithLabelValues(method, route).Observe(took.Seconds())
	}
}

// Streaming counts open streams.
func (m *Metrics) Streaming(by int) { m.streams.Add(float64(by)) }

// Delivery counts one of a webhook: "delivered", "failed" or "given_up".
func (m *Metrics) Delivery(result string) { m.deliveries.WithLabelValues(result).Inc() }

// Spans counts spans: "sent", "failed" or "dropped".
func (m *Metrics) Spans(result string, n int) { m.spans.WithLabelValues(result).Add(float64(n)) }

// Log is a log whose appends are timed. Where l keeps snapshots, so does it.
func (m *Metrics) Log(l sluice.Log) sluice.Log {
	timed := timed{l, m}
	if shots, ok := l.(sluice.Snapshots); ok {
		return struct {
			sluice.Log
			sluice.Snapshots
		}{timed, shots}
	}
	return timed
}

type timed struct {
	sluice.Log
	m *Metrics
}

// Update times what appends something or tries to.
func (t timed) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	began, n := time.Now(), 0
	head, err := t.Log.Update(ctx, ns, after, func(tail []sluice.Event) ([]sluice.Event, error) {
		out, err := decide(tail)
		if err == nil {
			n = len(out)
		}
		return out, err
	})
	if n > 0 {
		result := "ok"
		if err != nil {
			result = "error"
		} else {
			t.m.appended.Add(float64(n))
		}
		t.m.append.WithLabelValues(result).Observe(time.Since(began).Seconds())
	}
	return head, err
}

// Package otlp sends spans to a collector by the OpenTelemetry protocol over HTTP.
//
// It is handed spans that have ended and knows nothing of what they stand for. Whoever hands them over never waits: what
// nobody takes in time is dropped, and counted.
package otlp

import (
	"context"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"sluice"
)

// Span is a span that has ended. Attributes are strings and int64s.
type Span struct {
	Trace      [16]byte
	ID, Parent [8]byte // a zero parent: none
	Name       string
	Start, End time.Time
	Attributes map[string]any
	Failed     bool
	Reason     string
	Marks      []Mark
}

// Mark is a point in time within a span.
type Mark struct {
	Time time.Time
	Name string
	Text string
}

// Config says where spans go.
type Config struct {
	// Endpoint is a URL such as http://127.0.0.1:4318, to which /v1/traces is added where it has no path. "" leaves it to
	// the variables OTEL_EXPORTER_OTLP_*, which also set headers, certificates and time limits.
	Endpoint string
	Version  string
	// Counted is told what became of spans: "sent", "failed" or "dropped".
	Counted func(result string, n int)
	// Trouble is told the first of several errors in a row. It must not block.
	Trouble func(text string)
	// Linger is how long spans wait for others; 0: two seconds.
	Linger time.Duration
}

const (
	defaultLinger = 2 * time.Second
	batch         = 512
	room          = 20000 // spans that may wait
	last          = 5 * time.Second
)

// Sender sends spans while Run runs.
type Sender struct {
	cfg    Config
	client otlptrace.Client
	news   chan struct{}

	mu      sync.Mutex
	waiting []*tracepb.Span
}

// New makes a sender. It connects to nothing yet.
func New(cfg Config) (*Sender, error) {
	var options []otlptracehttp.Option
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return nil, sluice.Errorf(sluice.Usage, "the address for traces is no http or https URL").WithHint("such as http://127.0.0.1:4318")
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	}
	if cfg.Linger <= 0 {
		cfg.Linger = defaultLinger
	}
	return &Sender{cfg: cfg, client: otlptracehttp.NewClient(options...), news: make(chan struct{}, 1)}, nil
}

// Send hands spans over. It does not wait for anybody.
func (s *Sender) Send(list []Span) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	fit := min(len(list), room-len(s.waiting))
	for _, sp := range list[:fit] {
		s.waiting = append(s.waiting, encode(sp))
	}
	full := len(s.waiting) >= batch
	s.mu.Unlock()
	if fit < len(list) {
		s.cfg.Counted("dropped", len(list)-fit)
	}
	if full {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// Run sends until ctx ends, and then what is left.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.client.Start(ctx); err != nil {
		return err
	}
	t := time.NewTicker(s.cfg.Linger)
	defer t.Stop()
	well := true
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-s.news:
		}
		well = s.flush(ctx, well)
	}
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), last)
	defer stop()
	s.flush(late, well)
	return s.client.Stop(late)
}

// flush sends all that waits. well says that the last time nothing was wrong; it returns the same of this time.
func (s *Sender) flush(ctx context.Context, well bool) bool {
	for {
		s.mu.Lock()
		n := min(batch, len(s.waiting))
		part := s.waiting[:n:n]
		s.waiting = s.waiting[n:]
		s.mu.Unlock()
		if n == 0 {
			return well
		}
		err := s.client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
			Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", "sluice"), text("service.version", s.cfg.Version)}},
			ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "sluice", Version: s.cfg.Version}, Spans: part}},
		}})
		switch {
		case err == nil:
			s.cfg.Counted("sent", n)
			well = true
		case ctx.Err() != nil: // it may have arrived; the last flush sends it, and the ids are the same
			s.mu.Lock()
			s.waiting = append(part, s.waiting...)
			s.mu.Unlock()
			return well
		default:
			s.cfg.Counted("failed", n)
			if well {
				s.cfg.Trouble("traces cannot be sent: " + err.Error())
			}
			well = false
		}
	}
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func encode(s Span) *tracepb.Span {
	out := &tracepb.Span{TraceId: s.Trace[:], SpanId: s.ID[:], Name: s.Name, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: nano(s.Start), EndTimeUnixNano: nano(s.End), Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}}
	if s.Parent != [8]byte{} {
		out.ParentSpanId = s.Parent[:]
	}
	if s.Failed {
		out.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: s.Reason}
	}
	for k, v := range s.Attributes {
		switch v := v.(type) {
		case string:
			out.Attributes = append(out.Attributes, text(k, v))
		case int64:
			out.Attributes = append(out.Attributes, &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}})
		}
	}
	for _, m := range s.Marks {
		e := &tracepb.Span_Event{TimeUnixNano: nano(m.Time), Name: m.Name}
		if m.Text != "" {
			e.Attributes = []*commonpb.KeyValue{text("sluice.text", m.Text)}
		}
		out.Events = append(out.Events, e)
	}
	return out
}

// nano is a time as the protocol wants it; what is before 1970 is none.
func nano(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }

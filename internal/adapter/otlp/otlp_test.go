package otlp_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"sluice/internal/adapter/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a collector.
type receiver struct {
	*httptest.Server
	status int
	mu     sync.Mutex
	spans  []*tracepb.Span
	names  map[string]string // of the resource
	header http.Header
	got    chan int // spans of each request
}

func receive(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK, got: make(chan int, 100), names: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(req.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	b, err := io.ReadAll(body)
	var in collector.ExportTraceServiceRequest
	if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(b, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.header = req.Header
	n := 0
	if r.status == http.StatusOK {
		for _, rs := range in.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				r.names[a.Key] = a.Value.GetStringValue()
			}
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
				n += len(ss.Spans)
			}
		}
	}
	w.WriteHeader(r.status)
	r.got <- n
}

type counts struct {
	mu   sync.Mutex
	n    map[string]int
	news chan string // results
	told []string
}

func (c *counts) config(endpoint string) otlp.Config {
	c.n, c.news = map[string]int{}, make(chan string, 100)
	return otlp.Config{Endpoint: endpoint, Version: "1.2", Linger: time.Millisecond,
		Counted: func(result string, n int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n[result] += n
			c.news <- result
		},
		Trouble: func(text string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told = append(c.told, text)
		}}
}

// start runs a sender; end stops it, and returns when it has.
func start(t *testing.T, cfg otlp.Config) (s *otlp.Sender, end func()) {
	t.Helper()
	s, err := otlp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSpansArrive(t *testing.T) {
	r, c := receive(t), &counts{}
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1")
	s, end := start(t, c.config(r.URL))
	begin := time.Unix(1000, 5)
	s.Send([]otlp.Span{{Trace: [16]byte{1}, ID: [8]byte{2}, Name: "job", Start: begin, End: begin.Add(time.Second),
		Attributes: map[string]any{"a": "b", "n": int64(7)}, Marks: []otlp.Mark{{Time: begin, Name: "job.halted", Text: "budget"}}}})
	if n := <-r.got; n != 1 {
		t.Fatalf("%d spans", n)
	}
	<-c.news // or else it is sent once more at the end: it may not have arrived
	s.Send([]otlp.Span{{Trace: [16]byte{1}, ID: [8]byte{3}, Parent: [8]byte{2}, Name: "attempt", Failed: true, Reason: "failed"}})
	end() // sends what is left
	if len(r.spans) != 2 || r.names["service.name"] != "sluice" || r.names["service.version"] != "1.2" || r.header.Get("X-Key") != "k1" {
		t.Fatalf("%v %v %v", r.spans, r.names, r.header)
	}
	a, b := r.spans[0], r.spans[1]
	if a.StartTimeUnixNano != 1000_000_000_005 || a.EndTimeUnixNano != 1001_000_000_005 || len(a.ParentSpanId) != 0 || len(a.Attributes) != 2 ||
		a.Status.Code != tracepb.Status_STATUS_CODE_OK || len(a.Events) != 1 || a.Events[0].Attributes[0].Value.GetStringValue() != "budget" {
		t.Errorf("%v", a)
	}
	if b.Status.Code != tracepb.Status_STATUS_CODE_ERROR || b.Status.Message != "failed" || b.ParentSpanId[0] != 2 || b.TraceId[0] != 1 {
		t.Errorf("%v", b)
	}
	if c.n["sent"] != 2 || len(c.told) > 0 {
		t.Errorf("%v %q", c.n, c.told)
	}
}

// TestNobodyWaits: without a collector spans are given up, trouble is told once, and who sends goes on.
func TestNobodyWaits(t *testing.T) {
	r, c := receive(t), &counts{}
	r.status = http.StatusBadRequest
	s, end := start(t, c.config(r.URL))
	for range 3 {
		s.Send([]otlp.Span{{Name: "job"}})
		<-r.got
	}
	end()
	if c.n["failed"] != 3 || c.n["sent"] != 0 || len(c.told) != 1 {
		t.Errorf("%v %q", c.n, c.told)
	}
}

func TestTooManyAreDropped(t *testing.T) {
	c := &counts{}
	s, err := otlp.New(c.config("http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	s.Send(make([]otlp.Span, 20500)) // nobody runs it
	if c.n["dropped"] != 500 {
		t.Errorf("%v", c.n)
	}
}

func TestBadEndpoints(t *testing.T) {
	for _, bad := range []string{"localhost:4318", "ftp://x", "http://", "http://u:CANARY@x"} {
		if _, err := otlp.New(otlp.Config{Endpoint: bad}); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

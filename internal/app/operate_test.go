package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/systemd"
	"sluice/internal/app"
)

// sink keeps all that is written or sent to it.
type sink struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{} // one for each request
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// ServeHTTP takes whatever is posted, headers and all.
func (s *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	b, _ := io.ReadAll(body)
	if strings.HasSuffix(r.URL.Path, "/v1/traces") {
		var in collector.ExportTraceServiceRequest
		if proto.Unmarshal(b, &in) == nil {
			b = []byte(in.String())
		}
	}
	fmt.Fprintf(s, "%v\n%s\n", r.Header, b)
	s.news <- struct{}{}
}

func receive(t *testing.T) (*sink, string) {
	s := &sink{news: make(chan struct{}, 1000)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// until waits until a sink has something.
func (s *sink) until(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.news:
		case <-late:
			t.Fatalf("there is no %q in\n%s", text, s)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// call sends a request, and returns status, headers and body in one text.
func call(t *testing.T, method, url, body string, header ...string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %v\n%s", resp.StatusCode, resp.Header, b)
}

// TestWhatAServerTells: metrics, traces, lines of the log and webhooks tell of a job, and nothing anywhere has a secret that
// somebody sent, in whatever place, or what a command printed.
func TestWhatAServerTells(t *testing.T) {
	traces, tracesURL := receive(t)
	hook, hookURL := receive(t)
	log := &sink{}
	metrics := freeAddress(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), set: func(a *app.Server) {
		a.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		a.OTLPEndpoint, a.MetricsListen, a.WebhookAllow, a.WebhookHTTP = tracesURL, metrics, []string{"127.0.0.1"}, true
	}}
	s.start()
	s.apply(localFleet)
	w, err := s.client.SetWebhook(t.Context(), "chat", api.SetWebhook{URL: hookURL + "/in", Events: []string{"job.finished", "task.*"}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo OUT$((40+2))PUT"})
	if err != nil {
		t.Fatal(err)
	}
	s.end(j.ID)
	hook.until(t, "job.finished")
	traces.until(t, `name:"job"`)

	problems := canaries(t, s)
	prom := call(t, "GET", "http://"+metrics+"/metrics", "")
	for _, line := range []string{`sluice_jobs{namespace="default",state="succeeded"} 1`, `sluice_jobs_submitted_total{namespace="default"} 1`,
		`sluice_attempts_finished_total{namespace="default",outcome="succeeded"} 4`, "sluice_job_first_start_seconds_count 1",
		`sluice_webhook_waiting_seconds{webhook="chat"} 0`, `sluice_api_requests_total{method="POST",route="/api/v1/jobs",status="200"} 1`} {
		if !strings.Contains(prom, line+"\n") {
			t.Errorf("there is no %s in\n%s", line, prom)
		}
	}
	if own := call(t, "GET", "http://"+s.address+"/metrics", "", "Authorization", "Bearer "+s.token); !strings.HasPrefix(own, "200") ||
		!strings.Contains(own, "sluice_build_info") {
		t.Errorf("%s", own)
	}
	if refused := call(t, "GET", "http://"+s.address+"/metrics", ""); !strings.HasPrefix(refused, "401") {
		t.Errorf("%s", refused)
	}
	if events, err := s.client.Events(t.Context(), string(j.ID), 0); err != nil {
		t.Error(err)
	} else if b, _ := json.Marshal(events); bytes.Contains(b, []byte("OUT42PUT")) {
		t.Errorf("output in events: %s", b)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(traces.String(), `name:"attempt"`); n < 4 || !strings.Contains(traces.String(), `name:"step command"`) {
		t.Errorf("%d attempts in\n%s", n, traces)
	}
	told := false
	for line := range strings.SplitSeq(strings.TrimSpace(log.String()), "\n") {
		var l struct{ Msg, Job, Outcome string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		told = told || l.Msg == "job.finished" && l.Job == string(j.ID) && l.Outcome == "succeeded"
	}
	if !told || !strings.Contains(log.String(), `"msg":"request","method":"POST","route":"/api/v1/jobs","status":200`) ||
		!strings.Contains(log.String(), `"principal":"admin"`) || !strings.Contains(log.String(), `"attempt":"`+string(j.ID)+`-0-1"`) {
		t.Errorf("the log does not tell of the job and the requests:\n%s", log)
	}
	for where, text := range map[string]string{"the log": log.String(), "metrics": prom, "traces": traces.String(), "webhooks": hook.String(),
		"problems": problems, "files": filesIn(t, s.data)} {
		for _, secret := range []string{"CANARY", s.token, w.Secret} {
			if strings.Contains(text, secret) {
				t.Errorf("%s have %s in them:\n%s", where, secret, text)
			}
		}
		if where != "files" && strings.Contains(text, "OUT42PUT") {
			t.Errorf("%s have output in them:\n%s", where, text)
		}
	}
}

// canaries puts a secret wherever somebody could put one by mistake, and returns what the server answered.
func canaries(t *testing.T, s *served) string {
	t.Helper()
	base, good := "http://"+s.address, "Bearer "+s.token
	var out strings.Builder
	for _, c := range []struct {
		method, path, body string
		header             []string
	}{
		{"GET", "/api/v1/jobs", "", []string{"Authorization", "Bearer CANARY-bad-token"}},
		{"GET", "/api/v1/jobs", "", []string{"Authorization", "Basic CANARY"}},
		{"GET", "/api/v1/jobs", "", []string{"Authorization", good, "X-Password", "CANARY", "Cookie", "session=CANARY"}},
		{"GET", "/api/v1/jobs?token=CANARY", "", []string{"Authorization", good}},
		{"GET", "/api/v1/jobs?token=CANARY", "", nil},
		{"POST", "/api/v1/jobs", `{"targets":"$web","command":"true","password":"CANARY"}`, []string{"Authorization", good}},
		{"POST", "/api/v1/jobs", `{"targets":"$web","command":"true","options":{"timeout":"5m","sudo_password":{"x":"CANARY"}}}`, []string{"Authorization", good}},
		{"POST", "/api/v1/jobs", `{"password":"CANARY`, []string{"Authorization", good}},
		{"POST", "/api/v1/jobs", `CANARY`, []string{"Authorization", good, "Content-Type", "text/plain"}},
		{"POST", "/api/v1/jobs", `{"targets":"$web","command":"true"}`, []string{"Authorization", good, "Traceparent", "CANARY", "Idempotency-Key", strings.Repeat("CANARY", 50)}},
		{"PUT", "/api/v1/webhooks/x", `{"url":"https://user:CANARY@example.com/","events":["*"]}`, []string{"Authorization", good}},
		{"PUT", "/api/v1/webhooks/x", `{"url":"https://example.com/#CANARY","events":["*"]}`, []string{"Authorization", good}},
		{"GET", "/CANARY", "", []string{"Authorization", good}},
		{"CANARY", "/api/v1/jobs", "", []string{"Authorization", good}},
	} {
		header := append([]string{"Content-Type", "application/json"}, c.header...)
		out.WriteString(call(t, c.method, base+c.path, c.body, header...))
	}
	return out.String()
}

// filesIn is the content of all files of the server but those that are there for secrets and outputs.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".secret") || strings.Contains(path, "/outputs/") {
			return err
		}
		b, err := os.ReadFile(path)
		out.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestGracefulStop: a server that is told to stop says so, ends streams so that they come again, answers what it was asked,
// and tells the service manager.
func TestGracefulStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	hears := func() string {
		b := make([]byte, 100)
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), set: func(a *app.Server) {
		a.StopDelay = 300 * time.Millisecond
		a.Manager = systemd.Find(func(name string) string {
			if name == "NOTIFY_SOCKET" {
				return path
			}
			return ""
		}, 1)
	}}
	s.start()
	if got := hears(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	s.apply(localFleet)
	j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 100)
	began := make(chan struct{}, 1000)
	streaming := make(chan error, 1)
	go func() {
		_, err := s.client.Follow(t.Context(), string(j.ID), 0, func(sluice.Event) { began <- struct{}{} }, func(err error) { lost <- err })
		streaming <- err
	}()
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	if got := hears(); got != "STOPPING=1" {
		t.Errorf("%q", got)
	}
	// Within the delay: not ready, no new streams, but answers.
	if got := call(t, "GET", "http://"+s.address+"/readyz", ""); !strings.HasPrefix(got, "503") {
		t.Errorf("%s", got)
	}
	if got := call(t, "GET", "http://"+s.address+"/api/v1/jobs/"+string(j.ID), "", "Authorization", "Bearer "+s.token); !strings.HasPrefix(got, "200") {
		t.Errorf("%s", got)
	}
	if got := call(t, "GET", "http://"+s.address+"/api/v1/jobs/"+string(j.ID)+"/events", "", "Authorization", "Bearer "+s.token,
		"Accept", "text/event-stream"); !strings.HasPrefix(got, "503") || !strings.Contains(got, "come again") {
		t.Errorf("%s", got)
	}
	if err := <-lost; sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("the stream ends with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	// Who followed goes on with the next server: the job runs on. Its address is another one here, so it is told to end.
	s.start()
	if _, err := s.client.Cancel(t.Context(), j.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	s.end(j.ID)
}

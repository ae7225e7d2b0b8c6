package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// ask sends a request straight to the API.
func ask(t *testing.T, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://sluice.example.com"+target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	for path, says := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		for _, host := range []string{"sluice.example.com", "192.0.2.7:7657"} {
			got := ask(t, w.api, "GET", path, "Host", host)
			if got.Code != http.StatusOK || got.Body.String() != says || got.Header().Get("Cache-Control") != "no-store" ||
				got.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%s at %s: %d %q %v", path, host, got.Code, got.Body, got.Header())
			}
		}
	}
	var told []string
	sick := httpapi.New(httpapi.Config{Ready: func(context.Context) error { return errors.New("/var/lib/sluice: no room") },
		Trouble: func(text string) { told = append(told, text) }})
	got := ask(t, sick, "GET", "/readyz")
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Cache-Control") != "no-store" ||
		got.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(got.Body.String(), "/var") {
		t.Errorf("not ready: %d %s %v", got.Code, got.Body, got.Header())
	}
	if len(told) != 1 || !strings.Contains(told[0], "no room") {
		t.Errorf("told %q", told)
	}
}

// TestWrongPathsAndMethods: whoever asks for what is not there gets a problem, and what the path takes instead.
func TestWrongPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/v1/nothing", http.StatusNotFound, ""},
		{"GET", "/api/v2/jobs", http.StatusNotFound, ""},
		{"GET", "/", http.StatusNotFound, ""},
		{"POST", "/healthz", http.StatusMethodNotAllowed, "GET, HEAD"},
		{"DELETE", "/api/v1/jobs", http.StatusMethodNotAllowed, "GET, HEAD, POST"},
		{"PUT", "/api/v1/jobs/0123456789ab/halt", http.StatusMethodNotAllowed, "POST"},
		{"BREW", "/api/v1/jobs", http.StatusMethodNotAllowed, "GET, HEAD, POST"},
	} {
		for _, accept := range []string{"", "*/*", "text/html", "application/xml;q=0.9", "image/png"} {
			got := ask(t, w.api, c.method, c.path, "Accept", accept)
			var p api.Problem
			if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil || got.Code != c.status || p.Status != c.status || p.Detail == "" ||
				got.Header().Get("Content-Type") != "application/problem+json" || got.Header().Get("Allow") != c.allow {
				t.Errorf("%s %s, %q: %d %v %s", c.method, c.path, accept, got.Code, got.Header(), got.Body)
			}
		}
	}
}

// TestAcceptOfAnything: what is not understood in Accept gets JSON, as curl and browsers need it.
func TestAcceptOfAnything(t *testing.T) {
	w := newWorld(t)
	token := "Bearer " + w.token("ann", sluice.Grant{Role: access.Viewer})
	for _, accept := range []string{"", "*/*", "text/html", "image/png", "application/json", ";;;", "application/json;q=0"} {
		got := ask(t, w.api, "GET", "/api/v1/jobs", "Authorization", token, "Accept", accept)
		if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%q: %d %v", accept, got.Code, got.Header())
		}
	}
}

// TestHeadOfAStream: HEAD gets the header and nothing else, and does not wait for a job to end.
func TestHeadOfAStream(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, w.server.URL+"/api/v1/jobs/"+string(job)+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token("ann", sluice.Grant{Role: access.Viewer}))
	r.Header.Set("Accept", "text/event-stream")
	resp, err := w.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) > 0 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%q %v, error %v", b, resp.Header, err)
	}
}

// watcher remembers what it is told.
type watcher struct {
	mu   sync.Mutex
	list []httpapi.Request
	open int
}

func (w *watcher) Answered(r httpapi.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, r)
}

func (w *watcher) Streaming(by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open += by
}

func (w *watcher) last() httpapi.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.list[len(w.list)-1]
	r.Duration = 0
	return r
}

// TestWatchSeesPatternsOnly: nothing that a client can choose freely is handed to whoever counts requests.
func TestWatchSeesPatternsOnly(t *testing.T) {
	watch := &watcher{}
	w := newWorldWith(t, func(c *httpapi.Config) { c.Watch = watch })
	job := w.submit("web1")
	token := "Bearer " + w.token("ann", sluice.Grant{Role: access.Viewer})
	for _, c := range []struct {
		method, path, token string
		want                httpapi.Request
	}{
		{"GET", "/api/v1/jobs/" + string(job), token, httpapi.Request{Method: "GET", Route: "/api/v1/jobs/{id}", Status: 200, Principal: "ann"}},
		{"GET", "/api/v1/jobs/" + string(job), "Bearer x", httpapi.Request{Method: "GET", Route: "/api/v1/jobs/{id}", Status: 401}},
		{"GET", "/api/v1/jobs/zzzz", token, httpapi.Request{Method: "GET", Route: "/api/v1/jobs/{id}", Status: 404, Principal: "ann"}},
		{"GET", "/secret-path", token, httpapi.Request{Method: "GET", Route: httpapi.NoRoute, Status: 404}},
		{"CANARY", "/api/v1/jobs", token, httpapi.Request{Method: "other", Route: httpapi.NoRoute, Status: 405}},
		{"GET", "/healthz", "", httpapi.Request{Method: "GET", Route: "/healthz", Status: 200}},
		{"GET", "/api/v1/jobs/" + string(job) + "/events", token, httpapi.Request{Method: "GET", Route: "/api/v1/jobs/{id}/events", Status: 200, Principal: "ann"}},
	} {
		ask(t, w.api, c.method, c.path, "Authorization", c.token)
		if got := watch.last(); got != c.want {
			t.Errorf("%s %s: %+v, want %+v", c.method, c.path, got, c.want)
		}
	}
	if _, err := w.service.Halt(t.Context(), job, "enough"); err != nil {
		t.Fatal(err)
	}
	ask(t, w.api, "GET", "/api/v1/jobs/"+string(job)+"/events", "Authorization", token, "Accept", "text/event-stream")
	if got := watch.last(); !got.Stream || watch.open != 0 {
		t.Errorf("a stream: %+v, %d open", got, watch.open)
	}
}

package cluster

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhileLasts: who does not own the log any more, as far as the time says, answers nothing that may be old, but that something was done.
func TestWhileLasts(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		before, during     bool // whether the term goes on
		status             int
		answered           bool
		sent               int
	}{
		{"goes on", http.MethodGet, "/api/v1/jobs", true, true, 200, true, 200},
		{"over before", http.MethodGet, "/api/v1/jobs", false, false, 200, false, 0},
		{"over meanwhile", http.MethodGet, "/api/v1/jobs", true, false, 200, false, 0},
		{"a failure that may be old", http.MethodGet, "/api/v1/jobs/1", true, false, 404, false, 0},
		{"done", http.MethodPost, "/api/v1/jobs", true, false, 201, true, 201},
		{"a long question", http.MethodPost, "/api/v1/rehearse", true, true, 200, true, 200},
		{"a long question, over meanwhile", http.MethodPost, "/api/v1/plan", true, false, 200, true, 503},
		{"a refusal that may be old", http.MethodPost, "/api/v1/jobs", true, false, 409, true, 503},
		{"about this server", http.MethodGet, "/healthz", false, false, 200, true, 200},
	} {
		lasts := c.before
		answer := whileLasts(func() bool { return lasts }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			lasts = c.during
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("X-Made", "here")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "old")
		}))
		w := httptest.NewRecorder()
		got := answer(w, httptest.NewRequest(c.method, c.path, nil))
		sent := w.Code
		if !got {
			sent = 0
		}
		if got != c.answered || sent != c.sent {
			t.Errorf("%s: answered %t with %d, want %t with %d", c.name, got, sent, c.answered, c.sent)
		}
		if old := strings.Contains(w.Body.String(), "old") && w.Header().Get("X-Made") == "here"; old != (c.sent == c.status) {
			t.Errorf("%s: %q, %v", c.name, w.Body, w.Header())
		}
	}
}

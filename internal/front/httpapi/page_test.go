package httpapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestPage: the page is ours alone: nothing of it comes from elsewhere, no script stands in it, nothing is kept, and nobody
// can put it into a frame.
func TestPage(t *testing.T) {
	w := newWorld(t)
	kinds := map[string]string{"": "text/html; charset=utf-8", "page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
	for name, kind := range kinds {
		got := ask(t, w.api, http.MethodGet, "/api/v1/"+name)
		h := got.Header()
		policy := h.Get("Content-Security-Policy")
		if got.Code != http.StatusOK || h.Get("Content-Type") != kind || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" || len(got.Body.String()) < 500 {
			t.Errorf("%q: %d %v", name, got.Code, h)
		}
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
			"form-action 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%q: the policy %q has no %s", name, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%q: the policy is %q", name, policy)
		}
		for what, bad := range map[string]string{
			"another server":           `(?i)https?://|//[a-z0-9-]+\.[a-z]|wss?:`,
			"a place to keep things":   `localStorage|sessionStorage|indexedDB|document\.cookie|caches\.`,
			"text that becomes markup": `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc`,
			"a way around fetch":       `XMLHttpRequest|sendBeacon|WebSocket|EventSource|importScripts|\bimport\b`,
			"style or script within":   `(?i)<style|<script[^>]*>[^<]|\son[a-z]+\s*=\s*["']|style=|javascript:|@import|url\(`,
		} {
			if m := regexp.MustCompile(bad).FindString(got.Body.String()); m != "" {
				t.Errorf("%q has %s in it: %q", name, what, m)
			}
		}
	}
	html := ask(t, w.api, http.MethodGet, "/api/v1/").Body.String()
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if m[1] == "data:," { // no icon
			continue
		}
		if got := ask(t, w.api, http.MethodGet, "/api/v1/"+m[1]); got.Code != http.StatusOK {
			t.Errorf("%s: %d", m[1], got.Code)
		}
	}
	js := ask(t, w.api, http.MethodGet, "/api/v1/page.js").Body.String()
	// Whatever it asks for is a path: of the description, or made of a path in it, which begins with a slash.
	if got := regexp.MustCompile(`fetch\(([^,]+),`).FindAllStringSubmatch(js, -1); len(got) != 2 || got[0][1] != "url" || got[1][1] != `"openapi.json"` {
		t.Errorf("it fetches %q", got)
	}
	for _, r := range w.api.Routes() {
		if !regexp.MustCompile(`^/[a-z]`).MatchString(r.Path) {
			t.Errorf("the path %q could be another server's", r.Path)
		}
	}
	if got := ask(t, w.api, http.MethodPost, "/api/v1/"); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.Code)
	}
	if got := ask(t, w.api, http.MethodGet, "/api/v1/page.js", "Host", "evil.example.com"); got.Code != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", got.Code)
	}
}

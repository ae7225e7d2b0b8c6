package webui_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/front/webui"
	"sluice/internal/lab/browser"
)

// TestFrame: every path is a page, whose links fit it at any depth; files are kept for ever and packed; none is left without
// the policy.
func TestFrame(t *testing.T) {
	server := httptest.NewServer(webui.New("1.2.3"))
	defer server.Close()
	ask := func(path string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		r, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if p := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: policy %q", path, p)
		}
		return r, string(b)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]+)"`)
	for path, up := range map[string]string{"/ui/": "", "/ui/jobs/x": "../", "/ui/hosts/default/a%2Fb": "../../"} {
		r, text := ask(path)
		if r.StatusCode != http.StatusOK || !strings.Contains(text, `content="1.2.3"`) {
			t.Errorf("%s: %d %s", path, r.StatusCode, text)
		}
		if strings.Contains(text, "<script>") || strings.Contains(text, "style=") {
			t.Errorf("%s: there is something inline", path)
		}
		for _, l := range links.FindAllStringSubmatch(text, -1) {
			rest, is := strings.CutPrefix(l[1], up+"a/")
			if !is || strings.HasPrefix(l[1], "/") {
				t.Errorf("%s: the link %s does not fit", path, l[1])
				continue
			}
			f, _ := ask("/ui/a/" + rest)
			if f.StatusCode != http.StatusOK || !strings.Contains(f.Header.Get("Cache-Control"), "immutable") || f.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: %d %v", l[1], f.StatusCode, f.Header)
			}
		}
	}
	if r, _ := ask("/ui/a/000000000000/app.js"); r.StatusCode != http.StatusNotFound || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a file of another version: %d %v", r.StatusCode, r.Header)
	}
}

// TestOverview: a job is seen on the first page, and its link leads to it, behind a prefix too.
func TestOverview(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	id := s.run("all", "sim 10ms 0")
	for _, prefix := range []string{"", "/tools/sluice"} {
		b := browser.New(t)
		d := s.door(prefix, s.token)
		b.Open(d.URL)
		b.Sees("sim 10ms 0")
		b.Sees("succeeded")
		b.Accessible()
		b.Keep("overview")
		b.Click("link", "sim 10ms 0")
		b.Until(`location.pathname === "` + prefix + `/ui/jobs/` + string(id) + `"`)
		b.Has("heading", "sim 10ms 0")
		n := d.count("GET " + prefix + "/ui/a/")
		b.Open(d.URL)
		b.Sees("sim 10ms 0")
		if again := d.count("GET " + prefix + "/ui/a/"); again != n {
			t.Errorf("%d of %d files were fetched again", again-n, n)
		}
	}
}

// TestLostConnection: it is said, and mends itself.
func TestLostConnection(t *testing.T) {
	s := newStage(t, "tag:\n  web: [web1, web2]\n")
	b, d := s.visit("")
	s.run("all", "sim 10ms 0")
	b.Sees("sim 10ms 0")
	d.Shut(true)
	b.Sees("No connection")
	d.Shut(false)
	s.run("all", "sim 11ms 0")
	b.SeesNot("No connection")
	b.Sees("sim 11ms 0")
}

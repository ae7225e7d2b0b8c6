package build_test

import (
	"maps"
	"strings"
	"testing"

	"sluice/internal/core/build"
)

func TestWhatForgesAreTold(t *testing.T) {
	news := build.News{App: "shop", Target: "next", Version: "1.2", Commit: "abc", Branch: "feature/x", State: build.Failure, Description: "test failed:\nit ended", Link: "https://ci/1"}
	for form, want := range map[string]struct {
		header map[string]string
		body   string
	}{
		"github": {map[string]string{"Content-Type": "application/json", "Accept": "application/vnd.github+json", "Authorization": "Bearer t0k"},
			`{"state":"failure","target_url":"https://ci/1","description":"test failed: it ended","context":"sluice/shop"}`},
		"gitlab": {map[string]string{"Content-Type": "application/json", "PRIVATE-TOKEN": "t0k"},
			`{"state":"failed","target_url":"https://ci/1","description":"test failed: it ended","name":"sluice/shop","ref":"feature/x"}`},
		"json": {map[string]string{"Content-Type": "application/json", "Authorization": "Bearer t0k"},
			`{"v":1,"app":"shop","target":"next","version":"1.2","commit":"abc","branch":"feature/x","state":"failure","description":"test failed: it ended","context":"sluice/shop","link":"https://ci/1"}`},
	} {
		s := build.Status{URL: "https://forge/{app}/{branch}/{commit}/{target}/{version}", Form: form, Context: "sluice/shop"}
		r, err := s.Tell(news, "t0k")
		if err != nil || r.URL != "https://forge/shop/feature%2Fx/abc/next/1.2" || string(r.Body) != want.body || !maps.Equal(r.Header, want.header) {
			t.Errorf("%s: %v, %+v, %s", form, err, r, r.Body)
		}
		if r, err := s.Tell(news, ""); err != nil || len(r.Header) != len(want.header)-1 {
			t.Errorf("%s without a token: %v, %v", form, err, r.Header)
		}
	}
	long := news
	long.Description = strings.Repeat("ä", 200)
	if r, err := (build.Status{Form: "github"}).Tell(long, ""); err != nil || !strings.Contains(string(r.Body), strings.Repeat("ä", 137)+`..."`) {
		t.Errorf("%v, %s", err, r.Body)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"https://api.github.com/repos/o/r/statuses/{commit}": "",
		"http://forge.internal/{commit}":                     "a token is only sent over https",
		"http://127.0.0.1:8080/{commit}":                     "",
		"https://forge/{comit}":                              "unknown {comit} in the url",
		"https://u:p@forge/{commit}":                         "the url has a password in it",
		"ftp://forge/":                                       "one of https",
		"forge/x":                                            "one of https",
	} {
		got := build.Status{URL: url, TokenEnv: "T"}.CheckURL()
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", url, got)
		}
	}
	if got := (build.Status{URL: "http://forge.internal/x"}).CheckURL(); got != "" {
		t.Error(got)
	}
}

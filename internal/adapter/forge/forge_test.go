package forge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sluice/internal/adapter/forge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPost(t *testing.T) {
	status, asked := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.Path != "/statuses/abc" || string(body) != `{"a":1}` || r.Header.Get("Authorization") != "Bearer t0k" {
			t.Errorf("%s %s %v: %s, %v", r.Method, r.URL, r.Header, body, err)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer s.Close()
	for _, c := range []struct {
		status int
		again  bool
		want   string
	}{{200, false, ""}, {201, false, ""}, {302, false, "redirects are not followed"}, {401, false, "look at the url and the token"}, {404, false, "look at the url"},
		{422, false, "status 422"}, {429, true, "status 429"}, {500, true, "status 500"}, {503, true, "status 503"}} {
		status = c.status
		again, err := forge.Post(t.Context(), s.URL+"/statuses/abc", map[string]string{"Authorization": "Bearer t0k"}, []byte(`{"a":1}`))
		if again != c.again || (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d: %v, %v", c.status, again, err)
		}
	}
	if asked != 9 {
		t.Errorf("asked %d times", asked)
	}
	s.Close()
	again, err := forge.Post(t.Context(), s.URL+"/s3cret", map[string]string{"Authorization": "Bearer t0k"}, nil)
	if !again || err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "t0k") {
		t.Errorf("%v, %v", again, err)
	}
}

package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/core/balance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func here(t *testing.T, env ...string) sluice.Link {
	t.Helper()
	tr := localexec.New(localexec.Config{Env: append(os.Environ(), env...)})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// server answers well from the third request on.
func server(t *testing.T) *httptest.Server {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
		}
		if n.Add(1) < 3 && r.URL.Path == "/starts" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("version 7"))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestLooks(t *testing.T) {
	s := server(t)
	address := strings.TrimPrefix(s.URL, "http://")
	gone := httptest.NewServer(nil)
	gone.Close()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\nfor u; do :; done\n[ $u = app.service ] && echo ActiveState=active || echo ActiveState=failed\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := here(t, "PATH="+bin+":/usr/bin:/bin")
	lost := here(t)
	_ = lost.Close()
	for _, c := range []struct {
		name string
		link sluice.Link
		look Look
		want balance.Finding
	}{
		{"http", l, HTTP(s.URL, balance.Answer{Body: regexp.MustCompile("version 7")}), balance.Well},
		{"another version", l, HTTP(s.URL, balance.Answer{Body: regexp.MustCompile("version 8")}), balance.Ill},
		{"nobody there", l, HTTP(gone.URL, balance.Answer{}), balance.Ill},
		{"it hangs", l, HTTP(s.URL+"/hangs", balance.Answer{}), balance.Ill},
		{"no link", lost, HTTP(s.URL, balance.Answer{}), balance.Unseen},
		{"tcp", l, TCP("tcp", address), balance.Well},
		{"no tcp", l, TCP("tcp", strings.TrimPrefix(gone.URL, "http://")), balance.Ill},
		{"tcp without a link", lost, TCP("tcp", address), balance.Unseen},
		{"exec", l, Exec("test", "-d", "/"), balance.Well},
		{"exec fails", l, Exec("false"), balance.Ill},
		{"exec hangs", l, Exec("sleep", "1000"), balance.Ill},
		{"exec without a link", lost, Exec("true"), balance.Unseen},
		{"systemd", l, Systemd("app.service"), balance.Well},
		{"systemd failed", l, Systemd("other.service"), balance.Ill},
		{"no systemd", here(t, "PATH=/nowhere"), Systemd("app.service"), balance.Unseen},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if strings.Contains(c.name, "hangs") {
			ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		}
		if got, text := c.look(ctx, c.link); got != c.want || text == "" {
			t.Errorf("%s: %s, %s", c.name, got, text)
		}
		cancel()
	}
}

func TestWatch(t *testing.T) {
	s := server(t)
	l := here(t)
	p := Plan{Looks: []Look{HTTP(s.URL+"/starts", balance.Answer{})}, Every: time.Millisecond,
		Rule: balance.Rule{Passes: 3, For: 5 * time.Millisecond, Deadline: time.Minute}}
	var said []string
	v, err := Watch(t.Context(), l, p, func(v balance.Verdict) { said = append(said, v.Last) })
	if err != nil || v.State != balance.Healthy || v.InRow < 3 || v.Well < 5*time.Millisecond || !strings.Contains(strings.Join(said, "\n"), "503") {
		t.Errorf("%s, %v, %q", v.Text(), err, said)
	}
	p.Rule.Deadline = 50 * time.Millisecond
	p.Looks = append(p.Looks, Exec("false"))
	if v, err := Watch(t.Context(), l, p, nil); err != nil || v.State != balance.Unhealthy {
		t.Errorf("%s, %v", v.Text(), err)
	}
	_ = l.Close()
	if v, err := Watch(t.Context(), l, p, nil); err != nil || v.State != balance.Unknown {
		t.Errorf("%s, %v", v.Text(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Rule.Deadline = time.Hour
	if _, err := Watch(ctx, l, p, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

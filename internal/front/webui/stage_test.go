package webui_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/app"
	"sluice/internal/core/fleet"
	"sluice/internal/lab/browser"
	"sluice/internal/lab/simhosts"
)

func TestMain(m *testing.M) { os.Exit(browser.Main(m)) }

// stage is a real server whose hosts are simulated: any name is one, and a command such as "sim 50ms 3" takes that long and
// ends with that status.
type stage struct {
	t    testing.TB
	data string
	over simhosts.Transport

	address string // of the server
	token   string // of the first administrator
	client  *client.Client
	stop    func()
	set     []func(*app.Server) // change how the server is set up
}

// newStage starts a server with a fleet, as its file says.
func newStage(t testing.TB, fleetText string, set ...func(*app.Server)) *stage {
	t.Helper()
	s := &stage{t: t, data: filepath.Join(t.TempDir(), "data"), set: set}
	socket := filepath.Join(t.TempDir(), "hosts")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var hosts sync.WaitGroup
	hosts.Go(func() { _ = simhosts.New(nil).Serve(ctx, l) })
	t.Cleanup(func() { cancel(); hosts.Wait() })
	s.over = simhosts.Transport{Network: "unix", Address: socket}
	s.start("127.0.0.1:0")
	if fleetText != "" {
		s.apply("default", fleetText)
	}
	return s
}

// start starts the server, again where it was stopped: it has the same address then if that is said.
func (s *stage) start(listen string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	server := &app.Server{Data: s.data, Listen: listen, Home: s.t.TempDir(), Env: func(string) string { return "" },
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Clock: app.Now, LocalTargets: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Over:       s.over,
		FirstToken: func(secret string) error { s.token = secret; return nil },
		Started:    func(address string) { ready <- address }}
	for _, set := range s.set {
		set(server)
	}
	go func() { ended <- server.Run(ctx) }()
	select {
	case s.address = <-ready:
	case err := <-ended:
		cancel()
		s.t.Fatalf("the server ended: %v", err)
	}
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				s.t.Errorf("the server: %v", err)
			}
		})
	}
	s.t.Cleanup(s.stop)
	s.client = s.as(s.token)
}

// as is the API for whoever has a token.
func (s *stage) as(token string) *client.Client {
	s.t.Helper()
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New("http://"+s.address, token, &http.Client{Transport: transport})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// apply makes a text the fleet of a namespace.
func (s *stage) apply(ns sluice.Namespace, text string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	b, err := fleet.Record(fleetfiles.New(s.t.Context())).Bundle(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.ApplyFleet(s.t.Context(), ns, b, "", -1); err != nil {
		s.t.Fatal(err)
	}
}

// run submits a command.
func (s *stage) run(targets, command string) sluice.JobID {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Namespace: "default", Targets: targets, Command: command})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.ID
}

// door is a way to the server that a test may watch and shut.
type door struct {
	URL  string // of the UI, ending in /
	shut atomic.Bool
	mu   sync.Mutex
	asks []string // method and path of each request

	conns sync.Map // net.Conn of those who came in
}

// count is how many requests began so.
func (d *door) count(beginning string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.asks {
		if strings.HasPrefix(a, beginning) {
			n++
		}
	}
	return n
}

// door opens a way to the server under a prefix such as "" or "/tools/sluice". It adds the token to what is asked, so that a
// page's own sign-in is not needed.
func (s *stage) door(prefix, token string) *door {
	s.t.Helper()
	d := &door{}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.address})
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, prefix)
			r.Out.URL.RawPath = strings.TrimPrefix(r.In.URL.RawPath, prefix)
			r.Out.Host = r.In.Host
			if token != "" {
				r.Out.Header.Set("Authorization", "Bearer "+token)
			}
		}}
	l, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), //nolint:gosec // a test's own
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				d.conns.Delete(c)
			} else {
				d.conns.Store(c, nil)
			}
			if d.shut.Load() {
				_ = c.Close()
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.mu.Lock()
			d.asks = append(d.asks, r.Method+" "+r.URL.Path)
			d.mu.Unlock()
			proxy.ServeHTTP(w, r)
		})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	s.t.Cleanup(func() { _ = server.Close(); <-ended })
	d.URL = "http://" + l.Addr().String() + prefix + "/ui/"
	return d
}

// Shut cuts everything that goes through, and lets nothing in until it is opened.
func (d *door) Shut(is bool) {
	d.shut.Store(is)
	if is {
		d.conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	}
}

// visit opens a page as the first administrator.
func (s *stage) visit(path string) (*browser.Tab, *door) {
	s.t.Helper()
	d := s.door("", s.token)
	b := browser.New(s.t)
	b.Open(d.URL + path)
	return b, d
}

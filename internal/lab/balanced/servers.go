package balanced

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is a web server behind a balancer. It answers with its name: "/" at once, "/slow" after a while, "/held" when
// Release is called.
type Server struct {
	Name    string
	Address string

	InFlight atomic.Int64
	Answered atomic.Int64

	server   *http.Server
	listener net.Listener
	release  chan struct{}
	once     sync.Once
}

// SlowFor is how long "/slow" takes.
const SlowFor = 300 * time.Millisecond

// StartServers starts n, called s1, s2 ...
func StartServers(t testing.TB, n int) []*Server {
	t.Helper()
	out := make([]*Server, n)
	for i := range out {
		s := &Server{Name: fmt.Sprintf("s%d", i+1), release: make(chan struct{})}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Address = l.Addr().String()
		s.Serve(l)
		t.Cleanup(func() { s.Release(); s.Stop() })
		out[i] = s
	}
	return out
}

// Serve answers on a listener.
func (s *Server) Serve(l net.Listener) {
	s.listener = l
	s.server = &http.Server{Handler: s}
	go func() { _ = s.server.Serve(l) }()
}

// Restart stops the server with all that it has in flight, and starts it again at its address: what a deploy does to it.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
}

// Stop ends it at once.
func (s *Server) Stop() { _ = s.server.Close() }

// Release answers what is held.
func (s *Server) Release() { s.once.Do(func() { close(s.release) }) }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.InFlight.Add(1)
	defer s.InFlight.Add(-1)
	switch r.URL.Path {
	case "/slow":
		timer := time.NewTimer(SlowFor)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	case "/held":
		select {
		case <-s.release:
		case <-r.Context().Done():
		}
	}
	s.Answered.Add(1)
	_, _ = io.WriteString(w, s.Name)
}

// Load is clients that ask again and again.
type Load struct {
	Asked  atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	failed []error
	by     map[string]int
}

// StartLoad starts clients: most keep their connection and ask for "/", a few ask for what is slow.
func StartLoad(t testing.TB, front string) *Load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l := &Load{cancel: cancel, by: map[string]int{}}
	const quick, slow = 6, 6
	for i := range quick + slow {
		path := "/"
		if i >= quick {
			path = "/slow"
		}
		l.wg.Go(func() {
			tr := &http.Transport{MaxIdleConnsPerHost: 1}
			defer tr.CloseIdleConnections()
			for ctx.Err() == nil {
				l.once(ctx, tr, "http://"+front+path)
			}
		})
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

func (l *Load) once(ctx context.Context, tr *http.Transport, url string) {
	// What was begun is finished: only a failure of the other side counts.
	name, err := ask(context.WithoutCancel(ctx), tr, url)
	l.Asked.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err)
		return
	}
	l.by[name]++
}

func ask(ctx context.Context, tr *http.Transport, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.100s", resp.StatusCode, b)
	}
	return string(b), err
}

// Ask asks once, over a connection of its own.
func Ask(ctx context.Context, url string) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	return ask(ctx, tr, url)
}

// Stop ends the load, and returns what failed and how often each server answered.
func (l *Load) Stop() (failed []error, by map[string]int) {
	l.cancel()
	l.wg.Wait()
	return l.failed, l.by
}

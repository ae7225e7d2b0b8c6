package drain_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/haproxy"
	"sluice/internal/adapter/localexec"
	"sluice/internal/adapter/nginx"
	"sluice/internal/lab/balanced"
	"sluice/internal/run/drain"
	"sluice/internal/run/onhost"
)

func viaSocket(path string) haproxy.Dial {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

func local(t *testing.T) sluice.Run {
	t.Helper()
	tr := localexec.New(localexec.Config{Env: os.Environ()})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	return onhost.Program(l)
}

// eachInTurn takes every server out under load, stops it with all that it has, starts it again, and returns it: nobody may
// notice. Between drained and returned it answers nothing.
func eachInTurn(t *testing.T, b sluice.Balancer, front string, servers []*balanced.Server, name func(*balanced.Server) string) {
	load := balanced.StartLoad(t, front)
	var d drain.Desk
	times := drain.Times{Room: time.Minute, Back: time.Minute}
	for _, s := range servers {
		seats := []drain.Seat{{Balancer: b, Name: "lb", Pool: "app", Server: name(s), Least: sluice.Count(2), Limit: time.Minute}}
		busy(t, s)
		out, err := d.Drain(t.Context(), seats, sluice.ServerDraining, times, func(n drain.Note) { t.Log(n.Text) })
		if err != nil || out[0].Cut != 0 {
			t.Fatalf("%+v, %v", out, err)
		}
		if n := s.InFlight.Load(); n != 0 {
			t.Errorf("%s was called drained, and has %d in flight", s.Name, n)
		}
		answered := s.Answered.Load()
		s.Restart(t)
		if now := s.Answered.Load(); now != answered {
			t.Errorf("%s was out, and answered %d times", s.Name, now-answered)
		}
		if _, err := d.Return(t.Context(), seats, times, nil); err != nil {
			t.Fatal(err)
		}
		busy(t, s)
	}
	failed, by := load.Stop()
	if len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(failed), load.Asked.Load(), failed[0])
	}
	t.Logf("%d requests, by server: %v", load.Asked.Load(), by)
}

// busy waits until a server has requests in flight.
func busy(t *testing.T, s *balanced.Server) {
	t.Helper()
	for s.InFlight.Load() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("it never got a request")
		}
	}
}

func TestNobodyNoticesHAProxy(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	h := balanced.StartHAProxy(t, servers)
	eachInTurn(t, haproxy.New(viaSocket(h.Socket)), h.Front, servers, func(s *balanced.Server) string { return s.Name })
}

func TestNobodyNoticesNginx(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	n := balanced.StartNginx(t, servers)
	b := nginx.New(nginx.Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check(), Reload: n.Reload()})
	eachInTurn(t, b, n.Front, servers, func(s *balanced.Server) string { return s.Address })
}

// HAProxy is restarted while a server drains, and forgets: it is taken out again. While it is gone, nothing is allowed.
func TestHAProxyRestarted(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	h := balanced.StartHAProxy(t, servers)
	b := haproxy.New(viaSocket(h.Socket))
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = balanced.Ask(t.Context(), "http://"+h.Front+"/held") }) // it is cut with HAProxy
	held := func() *balanced.Server {
		for t.Context().Err() == nil {
			for _, s := range servers {
				if s.InFlight.Load() > 0 {
					return s
				}
			}
		}
		return servers[0]
	}()
	seats := []drain.Seat{{Balancer: b, Name: "lb", Pool: "app", Server: held.Name, Least: sluice.Count(1), Limit: time.Minute}}
	var d drain.Desk
	var slipped []string
	began := make(chan struct{})
	var once sync.Once
	var err error
	var out []drain.Result
	wg.Go(func() {
		seats[0].Balancer = told{b, func() { once.Do(func() { close(began) }) }}
		out, err = d.Drain(t.Context(), seats, sluice.ServerDraining, drain.Times{Room: time.Minute}, func(n drain.Note) { slipped = append(slipped, n.Text) })
	})
	<-began
	h.Stop()
	h.Start(t)
	wg.Wait()
	if err != nil {
		t.Fatalf("%v; %q", err, slipped)
	}
	p, err := b.Pool(t.Context(), "app")
	if s, _ := p.Server(held.Name); err != nil || s.State != sluice.ServerDraining {
		t.Errorf("%+v, %v; %+v, %q", s, err, out, slipped)
	}
	h.Stop()
	other := []drain.Seat{{Balancer: b, Name: "lb", Pool: "app", Server: "s2", Least: sluice.Count(1), Limit: time.Second}}
	if _, err := d.Drain(t.Context(), other, sluice.ServerDraining, drain.Times{}, nil); err == nil {
		t.Error("nobody could read the pool, and it was allowed")
	}
}

// told tells when a server was taken out.
type told struct {
	sluice.Balancer
	set func()
}

func (b told) Set(ctx context.Context, pool, server string, s sluice.ServerState) error {
	err := b.Balancer.Set(ctx, pool, server, s)
	b.set()
	return err
}

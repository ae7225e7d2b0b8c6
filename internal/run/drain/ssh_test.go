package drain_test

import (
	"context"
	"net"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/haproxy"
	"sluice/internal/adapter/nginx"
	"sluice/internal/adapter/sshexec"
	"sluice/internal/lab/balanced"
	"sluice/internal/lab/testfleet"
	"sluice/internal/run/onhost"
)

// Balancers on another host: the socket and the file are there, and a real ssh is the way.
func TestThroughSSH(t *testing.T) {
	f := testfleet.StartPlain(t, 1)
	tr, err := sshexec.New(sshexec.Config{Home: f.Home, Env: func(name string) string {
		if name == "HOME" {
			return f.Home
		}
		return ""
	}, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), sluice.Host(f.Hosts[0].Name), sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	servers := balanced.StartServers(t, 3)
	t.Run("haproxy", func(t *testing.T) {
		h := balanced.StartHAProxy(t, servers)
		b := haproxy.New(func(ctx context.Context) (net.Conn, error) { return l.Dial(ctx, "unix", h.Socket) })
		eachInTurn(t, b, h.Front, servers, func(s *balanced.Server) string { return s.Name })
		h.Stop()
		if p, err := b.Pool(t.Context(), "app"); err == nil {
			t.Errorf("HAProxy is gone, but: %+v", p)
		}
	})
	t.Run("nginx", func(t *testing.T) {
		n := balanced.StartNginx(t, servers)
		b := nginx.New(nginx.Config{Run: onhost.Program(l), File: n.File, PID: n.PID, Check: n.Check(), Reload: n.Reload()})
		eachInTurn(t, b, n.Front, servers, func(s *balanced.Server) string { return s.Address })
	})
}

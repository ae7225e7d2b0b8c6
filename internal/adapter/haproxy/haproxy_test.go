package haproxy

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/lab/balanced"
	"sluice/internal/lab/conform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func socket(path string) Dial {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// up waits until HAProxy's checks have found all servers.
func up(t *testing.T, b *Balancer) {
	t.Helper()
	for {
		p, err := b.Pool(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range p.Servers {
			if s.State == sluice.ServerUp && s.InFlight == 0 {
				n++
			}
		}
		if n == len(p.Servers) {
			return
		}
	}
}

func TestConforms(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	h := balanced.StartHAProxy(t, servers)
	for name, b := range map[string]*Balancer{
		"worker": New(socket(h.Socket)), "master": New(socket(h.Master)),
	} {
		t.Run(name, func(t *testing.T) {
			up(t, b)
			p, err := b.Pool(t.Context(), "app")
			if err != nil || p.Servers[2].Address != servers[2].Address || p.Servers[2].Weight != 1 {
				t.Errorf("%+v, %v", p, err)
			}
			conform.Balancer(t, b, "app")
		})
	}
}

// Two processes that share the work: what holds must hold in both, and what is in flight in both counts.
func TestSeveralProcesses(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	one, two := balanced.StartHAProxy(t, servers), balanced.StartHAProxy(t, servers)
	both := New(socket(one.Socket), socket(two.Socket))
	up(t, both)
	conform.Balancer(t, both, "app")
	if err := New(socket(one.Socket)).Set(t.Context(), "app", "s1", sluice.ServerDraining); err != nil {
		t.Fatal(err)
	}
	state(t, both, "s1", sluice.ServerUnknown)
	held := hold(t, servers[1], one, two)
	p, err := both.Pool(t.Context(), "app")
	if s, _ := p.Server("s2"); err != nil || s.InFlight != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	servers[1].Release()
	held()
	two.Stop()
	if p, err := both.Pool(t.Context(), "app"); err == nil {
		t.Errorf("one process is gone, but: %+v", p)
	}
	if err := both.Set(t.Context(), "app", "s1", sluice.ServerUp); err == nil {
		t.Error("one process is gone, and was told")
	}
}

// hold has a server have one request in flight from each balancer.
func hold(t *testing.T, s *balanced.Server, from ...*balanced.HAProxy) (wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	for i, h := range from {
		b := New(socket(h.Socket))
		for _, other := range []string{"s1", "s2", "s3"} {
			if other != s.Name {
				if err := b.Set(t.Context(), "app", other, sluice.ServerMaintenance); err != nil {
					t.Fatal(err)
				}
			}
		}
		wg.Go(func() {
			if name, err := balanced.Ask(t.Context(), "http://"+h.Front+"/held"); err != nil || name != s.Name {
				t.Errorf("got %q, %v", name, err)
			}
		})
		for s.InFlight.Load() != int64(i+1) && t.Context().Err() == nil {
		}
	}
	return wg.Wait
}

func state(t *testing.T, b *Balancer, server string, want sluice.ServerState) {
	t.Helper()
	p, err := b.Pool(t.Context(), "app")
	if s, _ := p.Server(server); err != nil || s.State != want {
		t.Errorf("%s is %s, not %s: %v", server, s.State, want, err)
	}
}

// A reload forgets, and leaves an old worker that has requests in flight. The master's socket shows both.
func TestReload(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	h := balanced.StartHAProxy(t, servers)
	b := New(socket(h.Master))
	up(t, b)
	held := hold(t, servers[0], h)
	if err := b.Set(t.Context(), "app", "s1", sluice.ServerDraining); err != nil {
		t.Fatal(err)
	}
	h.Reload(t)
	for { // the master executes itself anew, and says nothing for a moment
		if _, err := b.Pool(t.Context(), "app"); err == nil || t.Context().Err() != nil {
			break
		}
	}
	state(t, b, "s1", sluice.ServerUp) // forgotten
	if err := b.Set(t.Context(), "app", "s1", sluice.ServerDraining); err != nil {
		t.Fatal(err)
	}
	p, err := b.Pool(t.Context(), "app")
	if s, _ := p.Server("s1"); err != nil || s.State != sluice.ServerDraining || s.InFlight != 1 {
		t.Errorf("what the old worker has does not count: %+v, %v", p, err)
	}
	servers[0].Release()
	held()
	for {
		p, err := b.Pool(t.Context(), "app")
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
		if s, _ := p.Server("s1"); err == nil && s.InFlight == 0 { // a worker that ends just now is an error, and none a moment later
			break
		}
	}
}

// The old worker may still hand requests to a server that it was not told to leave alone.
func TestOldWorkersCount(t *testing.T) {
	m := merger{pool: "app"}
	one := func(s sluice.ServerState, n int) []sluice.BalancedServer {
		return []sluice.BalancedServer{{Name: "s1", State: s, InFlight: n, Weight: 1}}
	}
	for _, c := range []struct {
		now, old, want sluice.ServerState
		has, shown     int // in flight in the old one, and in all
	}{
		{sluice.ServerUp, sluice.ServerDraining, sluice.ServerUp, 2, 3}, {sluice.ServerDraining, sluice.ServerUp, sluice.ServerDraining, 0, 1},
		{sluice.ServerUp, sluice.ServerDown, sluice.ServerUp, 2, 3}, {sluice.ServerMaintenance, sluice.ServerDraining, sluice.ServerMaintenance, 2, 2},
		{sluice.ServerMaintenance, sluice.ServerDown, sluice.ServerDraining, 0, 1}, {sluice.ServerMaintenance, sluice.ServerDraining, sluice.ServerMaintenance, 0, 0},
	} {
		m = merger{pool: "app"}
		mine := c.shown - c.has
		if c.now.Out() {
			mine = 0
		}
		if err := m.add(one(c.now, mine), false); err != nil {
			t.Fatal(err)
		}
		if err := m.add(one(c.old, c.has), true); err != nil {
			t.Fatal(err)
		}
		if p, err := m.done(); err != nil || p.Servers[0].State != c.want || p.Servers[0].InFlight != c.shown {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
}

// says is a HAProxy that says what a test wants.
func says(t *testing.T, answer func(command string) string) *Balancer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1000)
			n, _ := c.Read(b)
			_, _ = io.WriteString(c, answer(strings.TrimSpace(string(b[:n]))))
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return New(socket(path))
}

const (
	states = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port\n" +
		"3 app 1 s1 127.0.0.1 2 0 1 80\n3 app 2 s2 ::1 2 0 1 80\n\n"
	stats = "# pxname,svname,qcur,scur,bck,last_chk\napp,s1,1,2,0,\"a, b\"\napp,s2,0,0,1,\n\n"
)

// Answers that are cut off, are errors, or do not fit together are never a pool.
func TestAnswersThatAreNone(t *testing.T) {
	good := map[string]string{"show proc": "Unknown command\n\n", "show servers state app": states, "show stat app 4 -1": stats}
	change := func(command, answer string) func(string) string {
		return func(c string) string {
			if c == command {
				return answer
			}
			return good[c]
		}
	}
	p, err := says(t, change("", "")).Pool(t.Context(), "app")
	if err != nil || len(p.Servers) != 2 || p.Servers[0].InFlight != 3 || p.Servers[1].Address != "[::1]:80" || !p.Servers[1].Backup {
		t.Errorf("%+v, %v", p, err)
	}
	for name, answer := range map[string]func(string) string{
		"states cut at a line":   change("show servers state app", strings.TrimSuffix(states, "3 app 2 s2 ::1 2 0 1 80\n\n")),
		"states cut in a line":   change("show servers state app", states[:len(states)-6]),
		"no states":              change("show servers state app", ""),
		"empty states":           change("show servers state app", "\n"),
		"another form":           change("show servers state app", "2"+states[1:]),
		"a column is missing":    change("show servers state app", strings.Replace(states, "srv_admin_state", "x", 1)),
		"a number is none":       change("show servers state app", strings.Replace(states, "127.0.0.1 2 0", "127.0.0.1 ? 0", 1)),
		"permission":             change("show servers state app", "Permission denied\n\n"),
		"stats cut at a line":    change("show stat app 4 -1", strings.TrimSuffix(stats, "app,s2,0,0,1,\n\n")),
		"stats without a server": change("show stat app 4 -1", strings.Replace(stats, "app,s2,0,0,1,\n", "", 1)),
		"no figure":              change("show stat app 4 -1", strings.Replace(stats, "app,s1,1,2", "app,s1,1,", 1)),
		"no stats":               change("show stat app 4 -1", "\n"),
		"a master alone":         change("show proc", "#<PID> <type>\n1 master\n# workers\n# programs\n\n"),
		"proc cut off":           change("show proc", "#<PID> <type>\n1 master\n# workers\n2 worker\n"),
	} {
		if p, err := says(t, answer).Pool(t.Context(), "app"); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for _, answer := range []string{"", "Permission denied\n\n", "Something new\n\n", "No such server.\n\n"} {
		if err := says(t, change("set server app/s1 state drain", answer)).Set(t.Context(), "app", "s1", sluice.ServerDraining); err == nil {
			t.Errorf("%q is no error", answer)
		}
	}
}

package nginx

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/lab/balanced"
	"sluice/internal/lab/conform"
	"sluice/internal/run/onhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func balancer(t *testing.T, n *balanced.Nginx) *Balancer {
	return New(Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check(), Reload: n.Reload()})
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConforms(t *testing.T) {
	n := balanced.StartNginx(t, balanced.StartServers(t, 3))
	before := text(t, n.File)
	conform.Balancer(t, balancer(t, n), "app")
	if after := text(t, n.File); after != before {
		t.Errorf("the file was changed for good:\n%s", after)
	}
}

// What somebody else broke is found before anything is changed, and what would break it is not left.
func TestBrokenConfiguration(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	n := balanced.StartNginx(t, servers)
	b := balancer(t, n)
	before := text(t, n.File)
	conf := text(t, n.Conf)
	if err := os.WriteFile(n.Conf, []byte(conf+"\nnonsense;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := b.Set(t.Context(), "app", servers[0].Address, sluice.ServerDraining)
	if sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), "before anything was changed") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
	if text(t, n.File) != before {
		t.Error("the file was changed")
	}
	if err := os.WriteFile(n.Conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, failing := range []*Balancer{
		New(Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check() + " && ! grep -q ' down;' " + n.File, Reload: n.Reload()}),
		New(Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check(), Reload: "echo it does not >&2; false"}),
		New(Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check(), Reload: "true", Within: 200_000_000}),
	} {
		if err := failing.Set(t.Context(), "app", servers[0].Address, sluice.ServerDraining); err == nil {
			t.Error("it worked")
		}
		if text(t, n.File) != before {
			t.Error("the file was not put back")
		}
		p, err := b.Pool(t.Context(), "app")
		if s, _ := p.Server(servers[0].Address); err != nil || s.State != sluice.ServerUp {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// A change that was cut off between the file and the reload is not taken for one that was made; the next one mends it.
func TestChangeCutOff(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	n := balanced.StartNginx(t, servers)
	b := balancer(t, n)
	cut := New(Config{Run: local(t), File: n.File, PID: n.PID, Check: n.Check(), Reload: "kill -9 $PPID"})
	if err := cut.Set(t.Context(), "app", servers[0].Address, sluice.ServerDraining); err == nil {
		t.Fatal("nobody noticed")
	}
	p, err := b.Pool(t.Context(), "app")
	if s, _ := p.Server(servers[0].Address); err != nil || s.State != sluice.ServerUnknown {
		t.Errorf("nginx still hands it requests, but it is %s: %v", s.State, err)
	}
	if s, _ := p.Server(servers[1].Address); s.State != sluice.ServerUp {
		t.Errorf("another one is %s", s.State)
	}
	if err := b.Set(t.Context(), "app", servers[0].Address, sluice.ServerDraining); err != nil {
		t.Fatal(err)
	}
	if p, err = b.Pool(t.Context(), "app"); err != nil || !p.Servers[0].State.Out() {
		t.Errorf("%+v, %v", p, err)
	}
}

// A worker from before the reload may hand on what it was sent earlier: as long as it is there, nothing is drained.
func TestOldWorkers(t *testing.T) {
	servers := balanced.StartServers(t, 3)
	n := balanced.StartNginx(t, servers)
	b := balancer(t, n)
	done := make(chan error, 1)
	go func() { _, err := balanced.Ask(t.Context(), "http://"+n.Front+"/held"); done <- err }()
	var by *balanced.Server
	for by == nil && t.Context().Err() == nil {
		for _, s := range servers {
			if s.InFlight.Load() > 0 {
				by = s
			}
		}
	}
	if err := b.Set(t.Context(), "app", by.Address, sluice.ServerDraining); err != nil {
		t.Fatal(err)
	}
	p, err := b.Pool(t.Context(), "app")
	if s, _ := p.Server(by.Address); err != nil || s.State != sluice.ServerDraining || s.InFlight < 1 {
		t.Errorf("%+v, %v", s, err)
	}
	by.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for {
		p, err := b.Pool(t.Context(), "app")
		if s, _ := p.Server(by.Address); err != nil || s.InFlight == 0 {
			break
		}
	}
}

func TestMark(t *testing.T) {
	const file = `# upstream app { server x; }
map $a ${b} { default "}"; }
upstream other { server 10.0.0.1:80; }
upstream app {
    zone app 64k;
	server 10.0.0.1:80   weight=3 ; # the first; down?
    server "10.0.0.2:80" max_fails=1
        down
        backup;
    server 10.0.0.3:80 down;
}
server { listen 80; }
`
	for _, c := range []struct {
		server, from, to string
		down             bool
	}{
		{"10.0.0.1:80", "weight=3 ;", "weight=3 down ;", true},
		{"10.0.0.1:80", "weight=3 ;", "weight=3 ;", false},
		{"10.0.0.2:80", "max_fails=1\n        down\n", "max_fails=1\n        \n", false},
		{"10.0.0.3:80", "10.0.0.3:80 down;", "10.0.0.3:80;", false},
		{"10.0.0.3:80", "10.0.0.3:80 down;", "10.0.0.3:80 down;", true},
	} {
		if got, err := mark(file, "app", c.server, c.down); err != nil || got != strings.Replace(file, c.from, c.to, 1) {
			t.Errorf("%s down=%v: %v\n%s", c.server, c.down, err, got)
		}
	}
	for _, bad := range []string{"upstream app { server a;", "upstream app { server 'a; }", "}", "upstream app { server a }"} {
		if _, err := upstream(bad, "app"); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add("upstream app { server a down; server b; }")
	f.Add("upstream app { server \"a\" weight=2; } # x")
	f.Fuzz(func(t *testing.T, text string) {
		down, err := mark(text, "app", "a", true)
		if err != nil {
			return
		}
		lines, err := upstream(down, "app")
		if err != nil {
			t.Fatalf("%q became %q: %v", text, down, err)
		}
		for _, l := range lines {
			if _, is := l.param("down"); l.name == "a" && !is {
				t.Fatalf("%q became %q", text, down)
			}
		}
		if again, err := mark(down, "app", "a", true); err != nil || again != down {
			t.Fatalf("%q became %q, and then %q: %v", text, down, again, err)
		}
	})
}

func TestKernelForms(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:8080": "0000000000000000FFFF00000100007F:1F90 0100007F:1F90", "[::1]:80": "00000000000000000000000001000000:0050", "web:80": ""} {
		if got := strings.Join(kernelForms(address), " "); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

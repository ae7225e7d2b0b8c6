// Package balanced starts real load balancers on loopback, HAProxy and nginx, with web servers behind them and a load before
// them that notices every request that fails. It knows nothing of what is tested with it.
package balanced

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// find is the path of a program, or the end of the test: skipped, unless it must run.
func find(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if p := filepath.Join(dir, name); exec.Command("test", "-x", p).Run() == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" || os.Getenv("SLUICE_TEST_MUST_RUN") == "1" {
		t.Fatalf("there is no %s; .ci/install-test-deps installs it", name)
	}
	t.Skipf("skipped: there is no %s here", name)
	return ""
}

// program is a running program.
type program struct {
	cmd *exec.Cmd
	out *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t testing.TB, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), out: &lines{}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the program and what it started.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
}

// until waits for a condition, as long as the test may take.
func until(t testing.TB, what string, p *program, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; !holds(); n++ {
		select {
		case <-t.Context().Done():
			t.Fatal(what + ": the test ended")
		case <-tick.C:
		}
		if n == 6000 {
			t.Fatalf("%s does not come about:\n%s", what, p.out)
		}
	}
}

func accepts(network, address string) func() bool {
	return func() bool {
		c, err := net.Dial(network, address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
}

// answers: a master that has just started workers executes itself anew, and cuts who has connected until then, or never
// answers. Who is answered is past that.
func answers(socket string) func() bool {
	return func() bool {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(time.Second)) // then it is asked again
		if _, err := c.Write([]byte("show proc\n")); err != nil {
			return false
		}
		n, _ := c.Read(make([]byte, 1))
		return n > 0
	}
}

// FreePort is a port of loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// HAProxy is one HAProxy in master-worker mode, with a backend "app" of servers s1, s2 ...
type HAProxy struct {
	Front  string // address of the frontend
	Socket string // path of the socket of the worker
	Master string // path of the socket of the master
	Dir    string

	program *program
	path    string
}

// StartHAProxy starts one.
func StartHAProxy(t testing.TB, servers []*Server) *HAProxy {
	t.Helper()
	h := &HAProxy{path: find(t, "haproxy"), Dir: shortDir(t), Front: fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	h.Socket, h.Master = filepath.Join(h.Dir, "worker"), filepath.Join(h.Dir, "master")
	var b strings.Builder
	fmt.Fprintf(&b, `global
  stats socket %s level admin expose-fd listeners
  server-state-file %s/none
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  timeout queue 1m
  option redispatch
frontend front
  bind %s
  default_backend app
backend app
  balance roundrobin
`, h.Socket, h.Dir, h.Front)
	for _, s := range servers {
		fmt.Fprintf(&b, "  server %s %s check inter 200ms fall 2 rise 1\n", s.Name, s.Address)
	}
	write(t, filepath.Join(h.Dir, "haproxy.cfg"), b.String())
	h.Start(t)
	return h
}

// Start starts it again, with all that it was told forgotten.
func (h *HAProxy) Start(t testing.TB) {
	t.Helper()
	h.program = start(t, h.path, "-W", "-S", h.Master, "-f", filepath.Join(h.Dir, "haproxy.cfg"))
	until(t, "HAProxy's frontend", h.program, accepts("tcp", h.Front))
	until(t, "HAProxy's socket", h.program, accepts("unix", h.Socket))
	until(t, "HAProxy's master", h.program, answers(h.Master))
}

// Stop ends it at once.
func (h *HAProxy) Stop() { h.program.kill() }

// Reload has it read its configuration anew. The worker that there was ends when it has nothing to do any more.
func (h *HAProxy) Reload(t testing.TB) {
	t.Helper()
	before := strings.Count(h.program.out.String(), "New worker")
	if err := h.program.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	until(t, "the reload of HAProxy", h.program, func() bool {
		return strings.Count(h.program.out.String(), "New worker") > before && strings.HasSuffix(strings.TrimSpace(upTo(h.program.out.String(), "Loading success.")), "Loading success.")
	})
	until(t, "HAProxy's frontend", h.program, accepts("tcp", h.Front))
	until(t, "HAProxy's socket", h.program, accepts("unix", h.Socket))
	until(t, "HAProxy's master", h.program, answers(h.Master))
}

func upTo(text, end string) string {
	i := strings.LastIndex(text, end)
	if i < 0 {
		return ""
	}
	return text[:i+len(end)]
}

// shortDir is a directory whose name leaves room for that of a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Nginx is one nginx, with an upstream "app" in a file of its own. Its servers are called by their addresses.
type Nginx struct {
	Front string
	File  string // with the upstream
	Conf  string // that includes it
	PID   string
	Dir   string
	Path  string

	program *program
}

// Check and Reload are the commands for it.
func (n *Nginx) Check() string  { return n.Path + " -t -q -c " + n.Conf }
func (n *Nginx) Reload() string { return n.Path + " -s reload -c " + n.Conf }

// StartNginx starts one.
func StartNginx(t testing.TB, servers []*Server) *Nginx {
	t.Helper()
	n := &Nginx{Path: find(t, "nginx"), Dir: shortDir(t), Front: fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	if err := os.Chmod(n.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.File, n.Conf, n.PID = filepath.Join(n.Dir, "app.conf"), filepath.Join(n.Dir, "nginx.conf"), filepath.Join(n.Dir, "pid")
	var b strings.Builder
	b.WriteString("# who answers for the app\nupstream app {\n    keepalive 16;\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "    server %s max_fails=0; # %s\n", s.Address, s.Name)
	}
	b.WriteString("}\n")
	write(t, n.File, b.String())
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // the workers write below the directory of the test
	}
	write(t, n.Conf, fmt.Sprintf(`%sdaemon off;
worker_processes 2;
pid %s;
error_log %s/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path %[3]s/body; proxy_temp_path %[3]s/proxy; fastcgi_temp_path %[3]s/fastcgi;
    uwsgi_temp_path %[3]s/uwsgi; scgi_temp_path %[3]s/scgi;
    include %[3]s/app*.conf;
    server {
        listen %[4]s;
        location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 1m; }
    }
}
`, user, n.PID, n.Dir, n.Front))
	n.program = start(t, n.Path, "-c", n.Conf)
	until(t, "nginx", n.program, accepts("tcp", n.Front))
	until(t, "nginx's number", n.program, func() bool { b, err := os.ReadFile(n.PID); return err == nil && len(b) > 0 })
	return n
}

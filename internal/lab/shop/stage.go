package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/lab/testfleet"
)

// Stage is a shop on real hosts, behind a real balancer on another one, a server with two workers, and a person at a command line.
type Stage struct {
	Fleet *testfleet.Fleet
	Web   []*testfleet.Host
	LB    *testfleet.Host

	t       testing.TB
	dir     string // of the shop, and of all that is written
	program string
	workers map[string]*exec.Cmd
}

// patience bounds every wait; it is reached only when something is wrong.
const patience = 2 * time.Minute

// Balancer is one of those that a shop can stand behind: how it is set up, and how app.yaml speaks of it.
type Balancer struct {
	Name, Path string
	line       string                    // of app.yaml
	config     func(web []string) string // of the file Path
	start      string                    // shell text
}

// HAProxy hides nothing: it tries no request a second time, and its own checks see only whether somebody listens.
var HAProxy = Balancer{"haproxy", "/etc/haproxy/haproxy.cfg", "{haproxy: /run/haproxy/admin.sock, on: lb1, pool: shop, least: 50%}",
	func(web []string) string {
		text := `global
  stats socket /run/haproxy/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  retries 0
frontend www
  bind :80
  default_backend shop
backend shop
  balance roundrobin
`
		for _, w := range web {
			text += "  server " + w + " " + w + ":8080 check inter 500ms\n"
		}
		return text
	}, "service haproxy start"}

// Nginx hides nothing either.
var Nginx = Balancer{"nginx", "/etc/nginx/nginx.conf", `{nginx: /etc/nginx/nginx.conf, on: lb1, pool: shop, server: "{host}:8080", least: 50%}`,
	func(web []string) string {
		text := `worker_processes 2;
pid /run/nginx.pid;
error_log /var/log/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000;
    upstream shop {
        keepalive 32;
`
		for _, w := range web {
			text += "        server " + w + ":8080 max_fails=0;\n"
		}
		return text + `    }
    server {
        listen 80;
        location / {
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
        }
    }
}
`
	}, "mkdir -p /var/lib/nginx && nginx"}

// Open starts all of it, with nothing deployed yet. share is how much of the shop may be out of service.
func Open(t testing.TB, b Balancer, hosts int, share string) *Stage {
	t.Helper()
	for _, need := range []string{b.Name, "supervisord", "python3"} {
		installed(t, need)
	}
	names := make([]string, hosts)
	for i := range names {
		names[i] = fmt.Sprintf("web%d", i+1)
	}
	s := &Stage{t: t, dir: t.TempDir(), workers: map[string]*exec.Cmd{}}
	s.Fleet = testfleet.Start(t, testfleet.Config{Hosts: hosts + 1, Names: append([]string{"lb1"}, names...),
		Host: testfleet.HostConfig{Disk: 32 << 20, Files: map[string]string{"/var/log/supervisor/.keep": "", b.Path: b.config(names)}}})
	s.LB, s.Web = s.Fleet.Hosts[0], s.Fleet.Hosts[1:]
	s.program = filepath.Join(s.dir, "bin", "sluice")
	s.must(exec.Command("go", "build", "-o", s.program, "sluice/cmd/sluice"))
	s.must(exec.Command("cp", "-r", "../../../examples/shop", s.path("shop")))
	s.write("shop/app.yaml", strings.ReplaceAll(s.read("shop/app.yaml"), HAProxy.line, b.line))
	s.write("fleet.yaml", fmt.Sprintf("ssh: {user: root}\ntag:\n  app.shop: [\"web[1-%d]\"]\n  lb: [lb1]\nconstraint:\n  $app.shop: %s\n", hosts, share))
	s.house(b)
	s.serve()
	return s
}

func installed(t testing.TB, name string) {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if exec.Command("test", "-x", filepath.Join(dir, name)).Run() == nil {
			return
		}
	}
	if os.Getenv("CI") == "true" || os.Getenv("SLUICE_TEST_MUST_RUN") == "1" {
		t.Fatalf("there is no %s; .ci/install-test-deps installs it", name)
	}
	t.Skipf("skipped: there is no %s here", name)
}

// house has supervisord on every host, which knows the shop, and the balancer before them.
func (s *Stage) house(b Balancer) {
	s.t.Helper()
	conf := s.read("shop/host/shop.conf")
	var wg sync.WaitGroup
	errs := make([]error, len(s.Web))
	for i, h := range s.Web {
		wg.Go(func() {
			if errs[i] = h.WriteFile("/etc/supervisor/conf.d/shop.conf", []byte(conf), 0o644); errs[i] == nil {
				_, errs[i] = h.Exec(s.t.Context(), "service supervisor start >/dev/null 2>&1 </dev/null")
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := s.LB.Exec(s.t.Context(), "("+b.start+") >/dev/null 2>&1 </dev/null"); err != nil {
		s.t.Fatal(err)
	}
}

// serve starts the server and the workers w1 and w2.
func (s *Stage) serve() {
	s.t.Helper()
	s.start("server", "server", "--no-worker", "--data", s.path("server"), "--admin-token-file", s.path("token"))
	s.until("the server is there", func() bool { _, err := os.Stat(s.path("token")); return err == nil })
	s.until("the server answers", func() bool { _, err := s.try("workers"); return err == nil })
	s.Sluice(0, "fleet", "apply", "-f", s.path("fleet.yaml"))
	for _, w := range []string{"w1", "w2"} {
		s.write("enrol-"+w, s.Sluice(0, "workers", "invite", w))
		s.Work(w, "--server", "127.0.0.1:7658", "--enrol-file", s.path("enrol-"+w))
	}
}

// Work starts a worker.
func (s *Stage) Work(name string, args ...string) {
	s.t.Helper()
	s.workers[name] = s.start(name, append([]string{"worker", "--data", s.path(name)}, args...)...)
	s.until(name+" is connected", func() bool { return strings.Contains(s.read(name+".log"), "the worker "+name+" is connected") })
}

// Running is how many attempts a worker has.
func (s *Stage) Running(worker string) int {
	s.t.Helper()
	dec := json.NewDecoder(strings.NewReader(s.Sluice(0, "workers", "-o", "json")))
	for {
		var w struct {
			Worker  string
			Running int
		}
		if err := dec.Decode(&w); err != nil {
			s.t.Fatalf("there is no worker %s: %v", worker, err)
		}
		if w.Worker == worker {
			return w.Running
		}
	}
}

// KillWorker ends a worker in the middle of whatever it does.
func (s *Stage) KillWorker(name string) {
	s.t.Helper()
	if err := s.workers[name].Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.workers[name].Wait()
}

// start starts a part of the program that goes on, and ends it with the test.
func (s *Stage) start(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		_ = log.Close()
		if s.t.Failed() {
			s.t.Logf("%s said at last:\n%s", name, end(s.read(name+".log")))
		}
	})
	return cmd
}

func end(text string) string { return text[max(0, len(text)-4000):] }

func (s *Stage) command(args ...string) *exec.Cmd {
	cmd := s.Fleet.Command(context.WithoutCancel(s.t.Context()), s.program, args...)
	cmd.Dir = s.path("shop")
	cmd.Env = append(cmd.Env, "SLUICE_ARTIFACTS="+s.path("artifacts"), "SLUICE_CONFIG="+s.path("shop/config"))
	return cmd
}

// try runs the program as a person who works with the server does.
func (s *Stage) try(args ...string) (string, error) {
	cmd := s.command(append(args, "--server", "http://127.0.0.1:7657", "--token-file", s.path("token"))...)
	var hints bytes.Buffer
	cmd.Stderr = &hints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, end(hints.String()))
	}
	return string(out), err
}

// Sluice runs the program, which must end with a status, and returns what it printed.
func (s *Stage) Sluice(status int, args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	got, ended := 0, (*exec.ExitError)(nil)
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	}
	if got != status {
		s.t.Fatalf("sluice %s ended with %d (%v), not with %d:\n%s", strings.Join(args, " "), got, err, status, end(out))
	}
	return out
}

// Push makes an artifact of a version. change is a file of the shop that is another one in it, "" for none.
func (s *Stage) Push(version, change, text string) {
	s.t.Helper()
	if change != "" {
		was := s.read("shop/" + change)
		s.write("shop/"+change, text)
		defer s.write("shop/"+change, was)
	}
	s.must(exec.Command(s.path("shop/package"), version))
	// The repository is a directory: a server has no part in it.
	cmd := s.command("artifact", "push", "shop", "dist/shop.tar.gz", version)
	s.must(cmd)
}

// Deploy deploys a version everywhere, and returns the job.
func (s *Stage) Deploy(status int, version string, args ...string) string {
	s.t.Helper()
	s.Sluice(status, append([]string{"deploy", "shop@" + version, "--env", "production", "-t", "$app.shop", "--yes", "-q"}, args...)...)
	return s.Newest()
}

// Newest is the job that was submitted last.
func (s *Stage) Newest() string {
	s.t.Helper()
	line, _, _ := strings.Cut(s.Sluice(0, "jobs", "-n", "1", "-o", "json"), "\n")
	var job struct{ Job string }
	if err := json.Unmarshal([]byte(line), &job); err != nil || job.Job == "" {
		s.t.Fatalf("no job in %q: %v", line, err)
	}
	return job.Job
}

// Activation is how long the hosts of a deploy took, as their steps say, from the swing until they were well: the least, the
// median and the most.
func (s *Stage) Activation(job string) [3]time.Duration {
	s.t.Helper()
	took := map[string]time.Duration{}
	dec := json.NewDecoder(strings.NewReader(s.Sluice(0, "watch", job, "-o", "json")))
	for {
		var e struct {
			Type, Host, Step string
			DurationMS       int64 `json:"duration_ms"`
		}
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatal(err)
		}
		name, _, _ := strings.Cut(e.Step, "/")
		if e.Type == "task.step" && slices.Contains([]string{"swing", "restart", "reload", "deployed", "healthy"}, name) {
			took[e.Host] += time.Duration(e.DurationMS) * time.Millisecond
		}
	}
	if len(took) != len(s.Web) {
		s.t.Fatalf("%d hosts of %d say how long they took", len(took), len(s.Web))
	}
	all := slices.Sorted(maps.Values(took))
	return [3]time.Duration{all[0], all[len(all)/2], all[len(all)-1]}
}

// Live is on how many hosts each version is live, as the hosts themselves have it.
func (s *Stage) Live() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	for _, h := range s.Web {
		text, err := h.Exec(s.t.Context(), "cat /srv/shop/live/VERSION")
		if err != nil {
			s.t.Fatal(err)
		}
		out[strings.TrimSpace(text)]++
	}
	return out
}

// Load begins to ask the balancer.
func (s *Stage) Load(rate int) *Load {
	l := StartLoad(context.WithoutCancel(s.t.Context()), LoadConfig{Dial: s.Fleet.Dial, URL: "http://" + s.LB.IP, Rate: rate, Clients: 16, Slow: 2 * len(s.Web)})
	s.t.Cleanup(func() { l.Stop() })
	return l
}

func (s *Stage) until(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !so(); {
		select {
		case <-s.t.Context().Done():
			s.t.Fatal(what + ": the test is over")
		case <-tick.C:
		}
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (s *Stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Stage) must(cmd *exec.Cmd) {
	s.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

func (s *Stage) read(name string) string {
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Error(err)
	}
	return string(text)
}

func (s *Stage) write(name, text string) {
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Error(err)
	}
}

package release_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sluice/internal/lab/shop"
)

// twin is a server that ends at once when it is told to, whatever it is asked meanwhile.
const twin = `import http.server, sys, time
version = open('version').read()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/slow': time.sleep(SLOW)
        body = ('shop, version %s, on here\n' % version).encode()
        self.send_response(200)
        self.send_header('X-Version', version)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
`

// pair is a real supervisord with two instances, and a real nginx before them.
type pair struct {
	m         *machine
	dir, conf string // conf is supervisord's
	ports     [2]int
	ctl       string
	slow      string // seconds that slow requests take
}

func newPair(t *testing.T, m *machine, slow string) *pair {
	t.Helper()
	nginx, supervisord, python := installed(t, "nginx"), installed(t, "supervisord"), installed(t, "python3")
	p := &pair{m: m, dir: short(t), ports: [2]int{port(t), port(t)}, ctl: installed(t, "supervisorctl"), slow: slow}
	p.conf = p.dir + "/supervisord.conf"
	text := fmt.Sprintf("[unix_http_server]\nfile=%s/s\n[supervisord]\npidfile=%[1]s/pid\nlogfile=%[1]s/log\nchildlogdir=%[1]s\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"+
		"[supervisorctl]\nserverurl=unix://%[1]s/s\n", p.dir)
	for i, name := range []string{"a", "b"} {
		text += fmt.Sprintf("[program:shop-%s]\ndirectory=%s/pair/%[1]s\ncommand=%[3]s twin.py %[4]d\nstartretries=1\nautorestart=true\n", name, p.dir, python, p.ports[i])
	}
	write(t, p.conf, text)
	write(t, p.dir+"/pair/upstream", fmt.Sprintf("server 127.0.0.1:%d;\n", p.ports[0]))
	conf := p.dir + "/nginx.conf"
	write(t, conf, fmt.Sprintf("user root;\nworker_processes 2;\npid %s/nginx.pid;\nerror_log %s/nginx.log;\nevents {}\nhttp {\n    access_log off;\n    keepalive_requests 100000;\n"+
		"    client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;\n"+
		"    upstream shop { include %[1]s/pair/upstream; keepalive 16; }\n"+
		"    server { listen unix:%[1]s/shop; location / { proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_next_upstream off; } }\n}\n", p.dir, p.dir))
	if err := os.Remove(p.dir + "/pair/upstream"); err != nil {
		t.Fatal(err)
	}
	run(t, supervisord, "-c", p.conf)
	t.Cleanup(func() {
		run(t, p.ctl, "-c", p.conf, "shutdown")
		eventually(t, "supervisord has ended", func() bool { _, err := os.Stat(p.dir + "/pid"); return err != nil })
	})
	m.env = map[string]string{"PAIR_BY": "supervisor", "PAIR_DIR": p.dir + "/pair", "PAIR_PORTS": fmt.Sprintf("%d %d", p.ports[0], p.ports[1]),
		"PAIR_NGINX": conf, "PAIR_PID": p.dir + "/nginx.pid", "PAIR_SUPERVISOR": p.conf, "PAIR_START": "60"}
	// nginx starts as it does on a host that was set up before the first version came: the version's file of the site is tested after the hook's.
	nothing := m.tree(p.app("0", "*deploy/hooks/prepare.d/50-pair"))
	m.want(0, m.wish("0", nothing))
	run(t, nginx, "-c", conf)
	t.Cleanup(func() {
		run(t, nginx, "-s", "quit", "-c", conf)
		eventually(t, "nginx has ended", func() bool { _, err := os.Stat(p.dir + "/nginx.pid"); return err != nil })
	})
	return p
}

func (p *pair) app(version string, hook ...string) map[string]string {
	files := map[string]string{"version": version, "twin.py": strings.Replace(twin, "SLOW", p.slow, 1)}
	if len(hook) == 0 {
		hook = []string{"*deploy/hooks/deployed.d/50-pair"}
	}
	for _, h := range hook {
		files[h] = p.m.contrib("pair")
	}
	return files
}

// serves is the version that is served, "" for none.
func (p *pair) serves() string {
	out, _ := exec.Command("curl", "-sf", "-m", "20", "--unix-socket", p.dir+"/shop", "http://shop/").Output()
	_, version, _ := strings.Cut(string(out), "version ")
	version, _, _ = strings.Cut(version, ",")
	return version
}

// settled says that one instance serves the version, and the other one has ended and would not come again.
func (p *pair) settled(t *testing.T, version string) {
	t.Helper()
	if got := p.serves(); got != version {
		t.Errorf("version %q is served, not %s\n%s", got, version, p.m.out)
	}
	said, _ := exec.Command(p.ctl, "-c", p.conf, "status").Output() // its status is not 0, as not all run
	if n := strings.Count(string(said), "RUNNING"); n != 1 {
		t.Errorf("%d instances run:\n%s", n, said)
	}
	links := 0
	for _, name := range []string{"a", "b"} {
		if b, err := os.ReadFile(p.dir + "/pair/" + name + "/version"); err == nil {
			links++
			if string(b) != version {
				t.Errorf("%s is of version %s", name, b)
			}
		}
	}
	if _, err := os.Stat(p.dir + "/pair/settle"); links != 1 || err == nil {
		t.Errorf("%d links, settle: %v", links, err)
	}
}

func (p *pair) load(t *testing.T) *shop.Load {
	l := shop.StartLoad(context.WithoutCancel(t.Context()), shop.LoadConfig{URL: "http://shop", Rate: 50, Clients: 8, Slow: 2,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", p.dir+"/shop")
		}})
	t.Cleanup(func() { l.Stop() })
	return l
}

// answered says that all were, by versions that were well.
func (p *pair) answered(t *testing.T, load *shop.Load) {
	t.Helper()
	c := load.Stop()
	t.Log(c)
	if c.Failures() > 0 || c.By["1"] == 0 || c.By["2"] == 0 || c.By["3"] == 0 || len(c.By) != 3 || c.Slow == 0 {
		t.Error("this is not as it should be")
	}
}

// Two deploys, a rollback and versions that do not answer, under load: no request fails, and no answer is of a version that never was well.
func TestPair(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		t.Parallel()            // it waits more than it does
		p := newPair(t, m, "5") // longer than it takes to stop an instance
		m.want(0, m.wish("1", m.tree(p.app("1"))))
		p.settled(t, "1")
		load := p.load(t)
		two := m.tree(p.app("2"))
		m.want(0, m.wish("2", two))
		p.settled(t, "2")
		m.want(0, m.wish("3", m.tree(p.app("3"))))
		p.settled(t, "3")
		m.want(0, m.back("2", two.Digest()))
		p.settled(t, "2")
		if m.shell[0] != "dash" {
			p.answered(t, load)
			return
		}
		// What is there already is left as it is.
		was := run(t, "cat", p.dir+"/pair/upstream", p.dir+"/nginx.pid")
		m.want(0, m.wish("2", two))
		if is := run(t, "cat", p.dir+"/pair/upstream", p.dir+"/nginx.pid"); is != was {
			t.Errorf("from %s to %s", was, is)
		}
		p.settled(t, "2")

		m.env["PAIR_START"] = "1"
		bad := p.app("4")
		bad["twin.py"] = strings.Replace(bad["twin.py"], "send_response(200)", "send_response(503)", 1)
		m.want(1, m.wish("4", m.tree(bad)))
		if !strings.Contains(m.out, "or does not answer well on port ") {
			t.Error(m.out)
		}
		p.settled(t, "2")
		bad["version"], bad["twin.py"] = "5", "import sys; sys.exit(1)\n"
		m.want(1, m.wish("5", m.tree(bad)))
		p.settled(t, "2")
		// Somebody else's answers are not the version's.
		idle := p.ports[0]
		if strings.Contains(was, fmt.Sprint(":", idle, ";")) {
			idle = p.ports[1]
		}
		other := exec.Command("python3", "-m", "http.server", "--bind", "127.0.0.1", fmt.Sprint(idle))
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
		eventually(t, "the other one answers", func() bool {
			return exec.Command("curl", "-sf", "-o", "/dev/null", fmt.Sprintf("http://127.0.0.1:%d/", idle)).Run() == nil
		})
		m.want(1, m.wish("6", m.tree(p.app("6"))))
		if !strings.Contains(m.out, fmt.Sprint("somebody else has port ", idle)) {
			t.Error(m.out)
		}
		p.settled(t, "2")
		m.want(0, m.back("2", two.Digest()))

		p.answered(t, load)
	})
}

// Whatever the hook is about to do, or has done, when it is killed: all requests are answered, and the next run makes it good.
func TestPairKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it takes a minute")
	}
	t.Parallel()
	m := newMachine(t, "dash")
	p := newPair(t, m, ".2")
	m.want(0, m.wish("1", m.tree(p.app("1"))))
	load := p.load(t)
	// The attempt is killed, all of it, when it is about to do the n-th thing that changes something.
	for _, name := range []string{"nginx", "supervisorctl", "ln", "mv", "rm"} {
		m.program(name, fmt.Sprintf(`case "$SLUICE_PHASE $*" in
*" status "* | *" -t "*) ;;
"deployed "*%s*)
	n=$(($(cat %[1]s/calls) + 1))
	echo $n >%[1]s/calls
	[ $n != "$(cat %[1]s/kill_at)" ] || kill -9 0
	;;
esac
exec %[2]s "$@"
`, p.dir, installed(t, name)))
	}
	for n := 1; ; n++ {
		write(t, p.dir+"/calls", "0")
		write(t, p.dir+"/kill_at", fmt.Sprint(n))
		v := fmt.Sprint(n + 1)
		tree := m.tree(p.app(v))
		status, err := m.run(m.wish(v, tree))
		if err != nil || status > 0 {
			t.Fatalf("status %d, %v: %s", status, err, m.out)
		}
		if status == 0 {
			p.settled(t, v)
			c := load.Stop()
			t.Logf("killed %d times; %v", n-1, c)
			if n < 10 || c.Failures() > 0 {
				t.Error("this is not as it should be")
			}
			return
		}
		if p.serves() == "" {
			t.Errorf("nothing is served after it was killed at %d", n)
		}
		write(t, p.dir+"/kill_at", "never")
		m.want(0, m.wish(v, tree))
		p.settled(t, v)
	}
}

// By systemd it is the same; a stand-in has supervisord do what it is told.
func TestPairSystemd(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "dash")
	p := newPair(t, m, ".2")
	m.env["PAIR_BY"] = "systemd"
	m.program("systemctl", fmt.Sprintf(`echo "$*" >>%s/told
case $* in
"is-active --quiet -- "*) %s -c %s status "$4" | grep -q RUNNING ;;
"start -- "*) %[2]s -c %[3]s start "$3" ;;
"stop -- "*) %[2]s -c %[3]s stop "$3" ;;
*) exit 64 ;;
esac
`, p.dir, p.ctl, p.conf))
	for _, v := range []string{"1", "2"} {
		m.want(0, m.wish(v, m.tree(p.app(v))))
		p.settled(t, v)
	}
	if told, err := os.ReadFile(p.dir + "/told"); err != nil || !strings.Contains(string(told), "stop -- shop-b\n") {
		t.Errorf("%s, %v", told, err)
	}
}

package release_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// contrib is a hook that is ready-made, for the shell of the machine.
func (m *machine) contrib(name string) string {
	m.t.Helper()
	text, err := os.ReadFile("../../../contrib/hooks/" + name)
	if err != nil {
		m.t.Fatal(err)
	}
	path, err := exec.LookPath(m.shell[0])
	if err != nil {
		m.t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(string(text), "#!/bin/sh\n")
	if !ok {
		m.t.Fatalf("%s is no script of sh", name)
	}
	return "#!" + strings.Join(append([]string{path}, m.shell[1:]...), " ") + "\n" + rest
}

// installed is where a program of Debian is, wherever it keeps those of administrators.
func installed(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	if os.Getenv("CI") == "true" || os.Getenv("SLUICE_TEST_MUST_RUN") == "1" {
		t.Fatalf("there is no %s; .ci/install-test-deps installs it", name)
	}
	t.Skipf("skipped: there is no %s here", name)
	return ""
}

// short is a directory of which the path fits into that of a socket.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never: " + what)
		}
	}
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// Old pages find their assets, for as long as they may.
func TestKeepAssets(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		app := func(assets ...string) map[string]string {
			files := map[string]string{"*deploy/hooks/prepare.d/50-keep-assets": m.contrib("keep-assets")}
			for _, a := range assets {
				files["static/"+a] = a
			}
			return files
		}
		m.want(0, m.wish("1", m.tree(app("all", "js/a 1.js", "old.css"))))
		long := time.Now().AddDate(0, 0, -40)
		if err := os.Chtimes(m.file("versions/1/static/old.css"), long, long); err != nil {
			t.Fatal(err)
		}
		m.want(0, m.wish("2", m.tree(app("all", "a-2.js"))))
		m.want(0, m.wish("3", m.tree(app("all", "a-3.js"))))
		for name, want := range map[string]bool{"all": true, "js/a 1.js": true, "a-2.js": true, "a-3.js": true, "old.css": false} {
			if b, err := os.ReadFile(m.file("live/static", name)); (err == nil) != want || want && string(b) != name {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	})
}

// A real nginx serves what the live version says, and one that it cannot read never becomes live.
func TestNginxSite(t *testing.T) {
	nginx := installed(t, "nginx")
	eachShell(t, func(t *testing.T, m *machine) {
		dir := short(t)
		conf := dir + "/nginx.conf"
		write(t, conf, fmt.Sprintf("pid %s/pid;\nerror_log %s/log;\nevents {}\nhttp {\n    access_log off;\n    client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;\n"+
			"    include sites-enabled/*;\n}\n", dir, dir))
		write(t, dir+"/sites-enabled/other", fmt.Sprintf("server { listen unix:%s/other; return 200 other; }\n", dir))
		run(t, nginx, "-c", conf)
		t.Cleanup(func() { run(t, nginx, "-s", "quit", "-c", conf) })
		m.env = map[string]string{"NGINX_DIR": dir}
		app := func(site string) map[string]string {
			return map[string]string{"deploy/nginx.conf": site, "*deploy/hooks/prepare.d/60-nginx-site": m.contrib("nginx-site"), "deploy/hooks/deployed.d/60-nginx-site->../prepare.d/60-nginx-site": ""}
		}
		serves := func(text string) {
			t.Helper()
			eventually(t, "nginx serves "+text, func() bool {
				out, _ := exec.Command("curl", "-s", "--unix-socket", dir+"/shop", "http://shop/").Output()
				return string(out) == text
			})
		}
		site := func(text string) string {
			return fmt.Sprintf("server { listen unix:%s/shop; return 200 %s; }\n", dir, text)
		}
		one := m.tree(app(site("one")))
		m.want(0, m.wish("1", one))
		serves("one")
		m.want(0, m.wish("2", m.tree(app(site("two")))))
		serves("two")
		m.want(1, m.wish("3", m.tree(app("server { listne 80; }\n"))))
		if !strings.Contains(m.out, `unknown directive "listne"`) || !strings.HasPrefix(m.steps[len(m.steps)-1], "prepare/60-nginx-site") {
			t.Errorf("%s\n%v", m.out, m.steps)
		}
		serves("two")
		m.want(0, m.back("1", one.Digest()))
		serves("one")
		if left, _ := filepath.Glob(dir + "/.sluice*"); len(left) > 0 {
			t.Error("left over:", left)
		}
		// What is in the way is somebody's, and a nginx.conf that includes no sites would serve none.
		m.env["NGINX_NAME"] = "other"
		m.want(1, m.wish("4", m.tree(app(site("four")))))
		if !strings.Contains(m.out, "sites-enabled/other is in the way") {
			t.Error(m.out)
		}
		delete(m.env, "NGINX_NAME")
		m.env["NGINX_ENABLED"] = "elsewhere"
		write(t, dir+"/elsewhere/x", "")
		m.want(1, m.wish("5", m.tree(app(site("five")))))
		if !strings.Contains(m.out, "includes nothing from elsewhere") {
			t.Error(m.out)
		}
	})
}

// A real supervisord runs what the live version describes.
func TestSupervisor(t *testing.T) {
	supervisord, ctl := installed(t, "supervisord"), installed(t, "supervisorctl")
	eachShell(t, func(t *testing.T, m *machine) {
		dir := short(t)
		conf := dir + "/supervisord.conf"
		write(t, conf, fmt.Sprintf("[unix_http_server]\nfile=%s/s\n[supervisord]\npidfile=%[1]s/pid\nlogfile=%[1]s/log\nchildlogdir=%[1]s\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"+
			"[supervisorctl]\nserverurl=unix://%[1]s/s\n[include]\nfiles=%[1]s/conf.d/*.conf\n", dir))
		write(t, dir+"/conf.d/README", "")
		run(t, supervisord, "-c", conf)
		t.Cleanup(func() { run(t, ctl, "-c", conf, "shutdown") })
		m.env = map[string]string{"SUPERVISOR_DIR": dir}
		starts := func() int {
			b, _ := os.ReadFile(dir + "/starts")
			return strings.Count(string(b), "\n")
		}
		app := func(version, command string) map[string]string {
			return map[string]string{"version": version, "*deploy/hooks/deployed.d/50-supervisor": m.contrib("supervisor"),
				"deploy/supervisor.conf": fmt.Sprintf("[program:shop]\ncommand=/bin/sh -c 'echo >>%s/starts; %s'\nstartsecs=0\nautorestart=false\n", dir, command)}
		}
		m.want(0, m.wish("1", m.tree(app("1", "exec sleep 1000"))))
		eventually(t, "it has started", func() bool { return starts() == 1 })
		m.want(0, m.wish("2", m.tree(app("2", "exec sleep 1000"))))
		eventually(t, "it was restarted", func() bool { return starts() == 2 })
		m.want(0, m.wish("3", m.tree(app("3", "exec sleep 2000"))))
		eventually(t, "it was started in another way", func() bool { return starts() == 3 })
		if out := run(t, ctl, "-c", conf, "status"); !strings.Contains(out, "RUNNING") {
			t.Error(out)
		}
		bad := app("4", "exec sleep 3000")
		bad["deploy/supervisor.conf"] = "[program:shop]\nautostart=maybe\n"
		m.want(1, m.wish("4", m.tree(bad)))
		if !strings.Contains(m.out, "supervisor: ") || !strings.Contains(m.out, "not a valid boolean value") {
			t.Error(m.out)
		}
		half := app("half", "")
		half["deploy/supervisor.conf"] = "[group:shop]\nprograms=a,b\n[program:a]\ncommand=/bin/sleep 1000\nstartsecs=0\n[program:b]\ncommand=/bin/false\nstartsecs=0\nautorestart=false\n"
		m.want(1, m.wish("half", m.tree(half)))
		if !strings.Contains(m.out, "not all of shop runs") {
			t.Error(m.out)
		}
		gone := app("5", "exec sleep 4000")
		gone["deploy/supervisor.conf"] = "[program:shop]\ncommand=/nonexistent/program\n"
		m.want(1, m.wish("5", m.tree(gone)))
		if !strings.Contains(m.out, "nothing of shop runs") {
			t.Error(m.out)
		}
	})
}

// The unit stands where systemd has its units, and systemd is told in the right order.
func TestSystemdUnit(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		dir := short(t)
		m.env = map[string]string{"SYSTEMD_DIR": dir}
		write(t, filepath.Join(m.path, "systemctl"), fmt.Sprintf("#!/bin/sh\necho \"$*: $(cat %s/shop.service)\" >>%[1]s/told\n", dir))
		if err := os.Chmod(filepath.Join(m.path, "systemctl"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, unit := range []string{"one", "two", "two"} {
			_ = os.Remove(dir + "/told")
			m.want(0, m.wish(fmt.Sprint(m.tries), m.tree(map[string]string{"deploy/shop.service": unit, "*deploy/hooks/deployed.d/50-systemd-unit": m.contrib("systemd-unit")})))
			told, _ := os.ReadFile(dir + "/told")
			if want := fmt.Sprintf("daemon-reload: %s\nenable -- shop.service: %[1]s\nrestart -- shop.service: %[1]s\n", unit); string(told) != want {
				t.Errorf("systemd was told %q, want %q", told, want)
			}
		}
		if st, err := os.Stat(dir + "/shop.service"); err != nil || st.Mode() != 0o644 {
			t.Error(st, err)
		}
		m.want(1, m.wish("none", m.tree(map[string]string{"*deploy/hooks/deployed.d/50-systemd-unit": m.contrib("systemd-unit")})))
		if !strings.Contains(m.out, "the version has no deploy/shop.service") {
			t.Error(m.out)
		}
	})
}

// A real Django migrates once, and nowhere else than in once.d.
func TestDjango(t *testing.T) {
	installed(t, "django-admin")
	m := newMachine(t, "dash")
	db := short(t) + "/db"
	app := func(version string) map[string]string {
		return map[string]string{
			"manage.py":                                       "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
			"settings.py":                                     fmt.Sprintf("from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['django.contrib.staticfiles', 'till']\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': %q}}\nSTATIC_URL = '/static/'\nSTATIC_ROOT = BASE_DIR / 'collected'\n", db),
			"till/__init__.py":                                "",
			"till/static/till/a b.js":                         version,
			"till/migrations/__init__.py":                     "",
			"till/migrations/0001_first.py":                   "from django.db import migrations, models\nclass Migration(migrations.Migration):\n    initial = True\n    operations = [migrations.CreateModel('Sale', [('id', models.AutoField(primary_key=True)), ('what', models.TextField())])]\n",
			"*deploy/hooks/once.d/10-django-migrate":          m.contrib("django-migrate"),
			"*deploy/hooks/prepare.d/10-django-collectstatic": m.contrib("django-collectstatic"),
		}
	}
	m.env = map[string]string{"PYTHON": "/usr/bin/python3"}
	w := m.wish("1", m.tree(app("1")))
	w.Once = true
	m.want(0, w)
	if !strings.Contains(m.out, "Applying till.0001_first... OK") {
		t.Error(m.out)
	}
	if b, err := os.ReadFile(m.file("live/collected/till/a b.js")); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	w = m.wish("1", w.Tree)
	w.Once = true
	m.want(0, w)
	if strings.Contains(m.out, "Applying") || strings.Contains(m.out, "No migrations") || !strings.Contains(m.out, "10-django-migrate has run for this release already") {
		t.Error(m.out)
	}
	wrong := app("2")
	wrong["*deploy/hooks/deployed.d/x"] = m.contrib("django-migrate")
	m.want(1, m.wish("2", m.tree(wrong)))
	if !strings.Contains(m.out, "in deployed.d every host would migrate") {
		t.Error(m.out)
	}
}

// What is worth it has a copy beside it that says the same, for everybody who may read the first.
func TestStaticGzip(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		long := strings.Repeat("hello, ", 1000)
		m.want(0, m.wish("1", m.tree(map[string]string{"static/a b.html": long, "static/short.html": "x", "static/c.png": long, "static/d.css": long, "static/d.css.gz": "mine",
			"*deploy/hooks/prepare.d/50-static-gzip": m.contrib("static-gzip")})))
		f, err := os.Open(m.file("live/static/a b.html.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || string(b) != long {
			t.Errorf("%.20q, %v", b, err)
		}
		if st, err := f.Stat(); err != nil || st.Mode() != 0o640 {
			t.Error(st.Mode(), err)
		}
		if b, err := os.ReadFile(m.file("live/static/d.css.gz")); err != nil || string(b) != "mine" {
			t.Errorf("a file of the version was changed: %q, %v", b, err)
		}
		for _, name := range []string{"short.html.gz", "c.png.gz", "a b.html.gz.new"} {
			if _, err := os.Lstat(m.file("live/static", name)); err == nil {
				t.Errorf("there is %s", name)
			}
		}
	})
}

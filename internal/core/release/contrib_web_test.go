package release_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// port is one of loopback that nobody has.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// program puts a program before others of its name.
func (m *machine) program(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.path, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// A real nginx lets those in whom the configuration of the live version names, by their passwords and by what became of passwords. Nobody
// else on the host sees one.
func TestHtpasswd(t *testing.T) {
	nginx := installed(t, "nginx")
	eachShell(t, func(t *testing.T, m *machine) {
		dir := short(t)
		for _, name := range []string{"jq", "openssl", "chgrp"} {
			m.program(name, fmt.Sprintf("{ echo %s \"$@\"; env; } >>%s/seen\nexec %s \"$@\"\n", name, dir, installed(t, name)))
		}
		if err := os.Symlink(m.file("live"), dir+"/live"); err != nil {
			t.Fatal(err)
		}
		conf := dir + "/nginx.conf"
		write(t, conf, fmt.Sprintf("user root;\npid %s/pid;\nerror_log %s/log;\nevents {}\nhttp {\n    access_log off;\n    client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;\n"+
			"    server { listen unix:%[1]s/shop; root %[1]s/live; location / { auth_basic shop; auth_basic_user_file %[1]s/live/deploy/htpasswd; } }\n}\n", dir, dir))
		run(t, nginx, "-c", conf)
		t.Cleanup(func() { run(t, nginx, "-s", "quit", "-c", conf) })
		status := func(user string) string {
			out, _ := exec.Command("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", dir+"/shop", "-u", user, "http://shop/index.html").Output()
			return string(out)
		}
		lets := func(in bool, user string) {
			t.Helper()
			if got, want := status(user), map[bool]string{true: "200", false: "401"}[in]; got != want {
				t.Errorf("%s: %s, want %s", user, got, want)
			}
		}
		app := func(config string) map[string]string {
			return map[string]string{"index.html": "hello\n", "deploy/configuration.json": config, "*deploy/hooks/prepare.d/50-htpasswd": m.contrib("htpasswd")}
		}
		ready := strings.TrimSpace(run(t, "openssl", "passwd", "-6", "-salt", "salt", "ready"))
		odd := `-n 'x' "y" \ $(id) %s ü`
		one := m.tree(app(fmt.Sprintf(`{"shop": {"htpasswd": {"ann": "secret-1", "!bob": %q, "eve": {"hash": %q}}}}`, odd, ready)))
		m.want(0, m.wish("1", one))
		lets(true, "ann:secret-1")
		lets(true, "!bob:"+odd)
		lets(true, "eve:ready")
		lets(false, "ann:secret-2")
		lets(false, "eve:"+ready)
		said := m.out
		m.want(0, m.wish("2", m.tree(app(`{"shop": {"htpasswd": {"ann": "secret-2"}}}`))))
		lets(true, "ann:secret-2")
		lets(false, "ann:secret-1")
		lets(false, "eve:ready")
		m.want(0, m.back("1", one.Digest()))
		lets(true, "ann:secret-1")

		st, err := os.Stat(dir + "/live/deploy/htpasswd")
		if err != nil || st.Mode() != 0o640 {
			t.Error(st, err)
		}
		seen, err := os.ReadFile(dir + "/seen")
		if err != nil || !strings.Contains(string(seen), "openssl passwd") {
			t.Errorf("%v: %s", err, seen)
		}
		for _, where := range []string{string(seen), said, m.out} {
			if strings.Contains(where, "secret-") || strings.Contains(where, odd) {
				t.Errorf("a password is in %s", where)
			}
		}

		// Who may read it can be said, and an attempt that was made before is no hindrance.
		m.env = map[string]string{"HTPASSWD_GROUP": "4242", "HTPASSWD_USERS": "doors.back", "HTPASSWD_FILE": "doors/back", "HTPASSWD_KIND": "apr1"}
		back := m.tree(app(`{"doors": {"back": {"ann": "secret-3"}}}`))
		for range 2 {
			m.want(0, m.wish("3", back))
			b, err := os.ReadFile(dir + "/live/doors/back")
			if err != nil || !strings.HasPrefix(string(b), "ann:$apr1$") {
				t.Errorf("%q, %v", b, err)
			}
			if out := run(t, "stat", "-c", "%a %g", dir+"/live/doors/back"); out != "640 4242\n" {
				t.Error(out)
			}
		}
		m.env = nil

		for config, want := range map[string]string{
			`{"shop": {"htpasswd": {}}}`:                                    "the configuration has no users at shop.htpasswd",
			`{"shop": "secret-4"}`:                                          "the configuration has no users at shop.htpasswd",
			`{"shop": {"htpasswd": {"ann": "secret-4`:                       "deploy/configuration.json cannot be read",
			`{"shop": {"htpasswd": {"ann": "secret-4\n"}}}`:                 "the password of ann is empty, longer than 256 bytes, or has a control character in it",
			`{"shop": {"htpasswd": {"a:b": "secret-4"}}}`:                   `the name "a:b" is empty, or has a colon or a control character in it`,
			`{"shop": {"htpasswd": {"ann": ["secret-4"]}}}`:                 "ann has neither a password nor a hash",
			`{"shop": {"htpasswd": {"ann": "x", "b": {"hash": "secret"}}}}`: "b has neither a password nor a hash",
		} {
			m.want(1, m.wish(fmt.Sprint("bad", m.tries), m.tree(app(config))))
			if !strings.Contains(m.out, "htpasswd: "+want) || strings.Contains(m.out, "secret") {
				t.Errorf("%s: %s", config, m.out)
			}
		}
	})
}

// A real Apache serves what the live version says, and one that it cannot read never becomes live.
func TestApacheSite(t *testing.T) {
	ctl := installed(t, "apache2ctl")
	eachShell(t, func(t *testing.T, m *machine) {
		dir, port := short(t), port(t)
		write(t, dir+"/envvars", fmt.Sprintf("export APACHE_RUN_USER=nobody APACHE_RUN_DIR=%s/run APACHE_LOCK_DIR=%[1]s/lock\n", dir))
		write(t, dir+"/apache2.conf", fmt.Sprintf("ServerName shop\nServerRoot %s\nPidFile %[1]s/pid\nErrorLog %[1]s/log\nDefaultRuntimeDir %[1]s\nUser nobody\nGroup nogroup\nListen 127.0.0.1:%d\n"+
			"LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\nLoadModule alias_module /usr/lib/apache2/modules/mod_alias.so\nLoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n"+
			"IncludeOptional sites-enabled/*.conf\n", dir, port))
		site := func(name, text string) string {
			return fmt.Sprintf("<VirtualHost *>\nServerName %s\nRedirect /x http://%[1]s/%s\n</VirtualHost>\n", name, text)
		}
		write(t, dir+"/sites-enabled/other.conf", site("other", "other"))
		control := func(args ...string) error {
			cmd := exec.Command(ctl, args...)
			cmd.Env = append(os.Environ(), "APACHE_CONFDIR="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = errors.New(string(out))
			}
			return err
		}
		// start is for systemd, where there is one.
		if err := control("-k", "start"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := control("-k", "stop"); err != nil {
				t.Error(err)
			}
			eventually(t, "Apache has ended", func() bool { _, err := os.Stat(dir + "/pid"); return err != nil })
		})
		m.env = map[string]string{"APACHE_DIR": dir}
		app := func(site string) map[string]string {
			return map[string]string{"deploy/apache.conf": site, "*deploy/hooks/prepare.d/60-apache-site": m.contrib("apache-site"), "deploy/hooks/deployed.d/60-apache-site->../prepare.d/60-apache-site": ""}
		}
		answers := func(site, text string) {
			t.Helper()
			eventually(t, "Apache serves "+text, func() bool {
				out, _ := exec.Command("curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{redirect_url}", "-H", "Host: "+site, fmt.Sprintf("http://127.0.0.1:%d/x", port)).Output()
				return string(out) == "http://"+site+"/"+text
			})
		}
		serves := func(text string) { t.Helper(); answers("shop", text) }
		answers("other", "other") // only then does it hear that it shall read anew
		one := m.tree(app(site("shop", "one")))
		m.want(0, m.wish("1", one))
		serves("one")
		m.want(0, m.wish("2", m.tree(app(site("shop", "two")))))
		serves("two")
		m.want(1, m.wish("3", m.tree(app("Lsiten 80\n"))))
		if !strings.Contains(m.out, "Invalid command 'Lsiten'") || !strings.HasPrefix(m.steps[len(m.steps)-1], "prepare/60-apache-site") {
			t.Errorf("%s\n%v", m.out, m.steps)
		}
		serves("two")
		m.want(0, m.back("1", one.Digest()))
		serves("one")
		if left, _ := filepath.Glob(dir + "/.sluice*"); len(left) > 0 {
			t.Error("left over:", left)
		}
		// What is in the way is somebody's, and an apache2.conf that includes no sites would serve none.
		m.env["APACHE_NAME"] = "other"
		m.want(1, m.wish("4", m.tree(app(site("shop", "four")))))
		if !strings.Contains(m.out, "sites-enabled/other.conf is in the way") {
			t.Error(m.out)
		}
		delete(m.env, "APACHE_NAME")
		m.env["APACHE_ENABLED"] = "elsewhere"
		write(t, dir+"/elsewhere/x.conf", "")
		m.want(1, m.wish("5", m.tree(app(site("shop", "five")))))
		if !strings.Contains(m.out, "includes nothing from elsewhere") {
			t.Error(m.out)
		}
	})
}

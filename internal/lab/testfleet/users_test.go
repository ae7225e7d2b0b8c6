package testfleet_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice/internal/lab/testfleet"
)

// remote runs a command on a new connection of the user, with input, and returns its output and status.
func remote(t *testing.T, h *testfleet.Host, user, command, input string, tty bool) (out string, status int) {
	t.Helper()
	c, err := h.Connect(t.Context(), user)
	must(t, err)
	defer c.Close()
	s, err := c.NewSession()
	must(t, err)
	if tty {
		must(t, s.RequestPty("dumb", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}))
	}
	s.Stdin = strings.NewReader(input)
	text, err := s.CombinedOutput(command)
	var failed *ssh.ExitError
	if errors.As(err, &failed) {
		return string(text), failed.ExitStatus()
	}
	must(t, err)
	return string(text), 0
}

func TestShells(t *testing.T) {
	var have []string
	for _, s := range testfleet.Shells() {
		if _, err := exec.LookPath(s); err == nil {
			have = append(have, s)
		}
	}
	f := testfleet.Start(t, testfleet.Config{Hosts: len(have), Names: have, Each: func(i int, h *testfleet.HostConfig) {
		h.Shell, h.Sh = have[i], have[i]
	}})
	// The path of the shell's own program; with something after it, as the last command may take the shell's place.
	const who = `readlink /proc/$$/exe; sh -c 'readlink /proc/$$/exe; :'`
	for _, h := range f.Hosts {
		path, err := exec.LookPath(h.Name)
		must(t, err)
		path = strings.TrimSpace(run(t, h, "readlink -f "+path))
		for _, user := range []string{"root", testfleet.Deploy} {
			if out, _ := remote(t, h, user, who, "", false); out != path+"\n"+path+"\n" {
				t.Errorf("%s of %s runs %q, want %s twice", h.Name, user, out, path)
			}
		}
	}
}

func TestUnknownShellIsAnError(t *testing.T) {
	f, err := testfleet.New(t.Context(), testfleet.Config{Hosts: 1, Host: testfleet.HostConfig{Shell: "fish"}})
	if err == nil {
		_ = f.Close()
		t.Fatal("a host with an unknown shell was started")
	}
	if errors.Is(err, testfleet.ErrUnavailable) {
		t.Skipf("skipped: %v", err)
	}
	if !strings.Contains(err.Error(), `"fish"`) || !strings.Contains(err.Error(), "busybox") {
		t.Errorf("the error does not say what is wrong and what is possible: %v", err)
	}
}

func TestSudo(t *testing.T) {
	modes := []testfleet.Sudo{testfleet.SudoNever, testfleet.SudoNoPassword, testfleet.SudoPassword, testfleet.SudoTTY}
	f := testfleet.Start(t, testfleet.Config{Hosts: len(modes), Each: func(i int, h *testfleet.HostConfig) { h.Sudo = modes[i] }})
	for _, tt := range []struct {
		mode     int
		password string
		tty, ok  bool
	}{
		{0, testfleet.Password, false, false},
		{1, "", false, true},
		{2, testfleet.Password, false, true},
		{2, "wrong", false, false},
		{2, "", false, false},
		{3, testfleet.Password, false, false},
		{3, testfleet.Password, true, true},
	} {
		out, status := remote(t, f.Hosts[tt.mode], testfleet.Deploy, "sudo -k -S -p ask id -un", tt.password+"\n", tt.tty)
		if ok := status == 0 && strings.Contains(out, "root"); ok != tt.ok {
			t.Errorf("sudo %q with the password %q, terminal %v: status %d, %q", modes[tt.mode], tt.password, tt.tty, status, out)
		}
	}
}

func TestPasswordLogin(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	login := func(user, password string) error {
		conn, err := f.Dial(t.Context(), "tcp", h.Addr())
		must(t, err)
		defer conn.Close()
		c, _, _, err := ssh.NewClientConn(conn, h.Addr(), &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.FixedHostKey(h.Key()),
		})
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	must(t, login(testfleet.Deploy, testfleet.Password))
	must(t, login("root", testfleet.Password))
	if login(testfleet.Deploy, "wrong") == nil || login("nobody", testfleet.Password) == nil {
		t.Error("a wrong password, or a user without one, was let in")
	}
	must(t, h.SetPassword(t.Context(), testfleet.Deploy, "other: one"))
	must(t, login(testfleet.Deploy, "other: one"))
	if login(testfleet.Deploy, testfleet.Password) == nil {
		t.Error("the old password was let in")
	}
	run(t, h, "usermod -L "+testfleet.Deploy+"; chage -E 0 "+testfleet.Deploy)
	if c, err := h.Connect(t.Context(), testfleet.Deploy); err == nil {
		_ = c.Close()
		t.Error("a locked account was let in")
	}
}

func TestUnfriendlyHost(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1, User: testfleet.Deploy, Host: testfleet.HostConfig{
		Banner: "Keep out!\n", Noise: "it's $HOME", ReadOnlyHome: true, SSHD: []string{"MaxSessions 1"},
	}})
	h := f.Hosts[0]
	cmd := f.SSH(t.Context(), h.Name, "touch ~/x || echo failed", "-o", "LogLevel=INFO")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, cmd.Run())
	if got := out.String(); !strings.HasPrefix(got, "it's $HOME\n") || !strings.HasSuffix(got, "\nfailed\n") {
		t.Errorf("standard output %q: want noise first, then a failure", got)
	}
	for _, want := range []string{"Keep out!", "it's $HOME", "Read-only file system"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("standard error %q lacks %q", &errs, want)
		}
	}
	c, err := h.Connect(t.Context(), testfleet.Deploy)
	must(t, err)
	defer c.Close()
	first, err := c.NewSession()
	must(t, err)
	defer first.Close()
	if _, err := c.NewSession(); err == nil {
		t.Error("a second session was opened where one is allowed")
	}
}

func TestChangedHostKey(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	must(t, h.ChangeKey(t.Context()))
	out, err := f.SSH(t.Context(), h.Name, "true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Host key verification failed") {
		t.Errorf("ssh to a host with another key: %v, %q", err, out)
	}
	if !strings.Contains(h.Log(), "Server listening on ") {
		t.Errorf("the host's log lacks its server: %q", h.Log())
	}
}

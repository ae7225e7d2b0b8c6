package testfleet_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/lab/testfleet"
)

func TestMain(m *testing.M) {
	if beKilled() {
		return
	}
	goleak.VerifyTestMain(m)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, h *testfleet.Host, text string) string {
	t.Helper()
	out, err := h.Exec(t.Context(), text)
	must(t, err)
	return out
}

func TestTwentyHosts(t *testing.T) {
	begin := time.Now()
	f := testfleet.Start(t, testfleet.Config{Hosts: 20})
	t.Logf("twenty hosts in %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		wg.Go(func() {
			out, err := f.SSH(t.Context(), h.Name, "hostname; echo "+h.Name+" >/mine; ls -A /tmp; ls /home").CombinedOutput()
			if want := h.Name + "\ndeploy\n"; err != nil || string(out) != want {
				t.Errorf("%s: %v, output %q, want %q", h.Name, err, out, want)
			}
		})
	}
	wg.Wait()
	t.Logf("a command by ssh on each in %v", time.Since(begin).Round(time.Millisecond))
	for _, h := range f.Hosts {
		if got, err := h.ReadFile("/mine"); string(got) != h.Name+"\n" {
			t.Errorf("%s: its file says %q, %v", h.Name, got, err)
		}
		processes, err := h.Processes()
		must(t, err)
		for _, p := range processes {
			if args := strings.Join(p.Args, " "); p.PID == 1 && !strings.Contains(args, h.Name) {
				t.Errorf("%s: process 1 is %q", h.Name, args)
			}
		}
		if len(processes) < 2 || len(processes) > 5 {
			t.Errorf("%s: it sees %v; want its first process and its sshd", h.Name, processes)
		}
	}
	if _, err := os.Stat("/mine"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file written on the hosts is on this machine: %v", err)
	}
}

// epoch is how the next boot of a host is told from this one: the start time of process 1.
func epoch(t *testing.T, h *testfleet.Host) string {
	t.Helper()
	stat := run(t, h, "cat /proc/1/stat")
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[19]
}

func TestPowerCut(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 2, Each: func(i int, h *testfleet.HostConfig) { h.NewBootID = i == 1 }})
	const bootID = "cat /proc/sys/kernel/random/boot_id"
	for i, h := range f.Hosts {
		run(t, h, "echo kept >/var/kept; echo gone >/run/gone; (trap '' TERM HUP; sleep 1000; sleep 1001) >/dev/null 2>&1 &")
		before, id := epoch(t, h), run(t, h, bootID)
		if err := h.Boot(t.Context()); err == nil {
			t.Errorf("%s: a running host could be booted", h.Name)
		}
		must(t, h.Kill(t.Context()))
		if err := h.Kill(t.Context()); !errors.Is(err, testfleet.ErrDown) {
			t.Errorf("%s: killed twice: %v", h.Name, err)
		}
		if _, err := h.Exec(t.Context(), "true"); !errors.Is(err, testfleet.ErrDown) {
			t.Errorf("%s: a command without power: %v", h.Name, err)
		}
		if _, err := h.ReadFile("/var/kept"); !errors.Is(err, testfleet.ErrDown) {
			t.Errorf("%s: a file without power: %v", h.Name, err)
		}
		expectSilence(t, f, h)

		must(t, h.Boot(t.Context()))
		if after := epoch(t, h); after == before {
			t.Errorf("%s: process 1 started at %s before and after", h.Name, before)
		}
		if got, changed := run(t, h, bootID), i == 1; (got != id) != changed {
			t.Errorf("%s: boot id %q, then %q", h.Name, id, got)
		}
		if got := run(t, h, "cat /var/kept; ls /run/gone 2>&1 || :; ps ax"); !strings.HasPrefix(got, "kept\n") || !strings.Contains(got, "No such file") || strings.Contains(got, "sleep 1000") {
			t.Errorf("%s: after the boot: %s", h.Name, got)
		}
		if out, err := f.SSH(t.Context(), h.Name, "echo back").CombinedOutput(); string(out) != "back\n" {
			t.Errorf("%s: after the boot: %q, %v", h.Name, out, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 2, Host: testfleet.HostConfig{Disk: 8 << 20}})
	full, other := f.Hosts[0], f.Hosts[1]
	const write = "dd if=/dev/zero of=/var/file bs=64k count=16 2>&1"
	run(t, full, write+"; rm /var/file")
	must(t, full.FillDisk(128<<10))
	if out, err := full.Exec(t.Context(), write); err == nil || !strings.Contains(out, "No space left on device") {
		t.Errorf("a megabyte on a disk with 128 KiB left: %v, %q", err, out)
	}
	run(t, full, "rm /var/file; head -c 65536 /dev/zero >/var/file")
	must(t, full.FillDisk(0))
	if out, err := full.Exec(t.Context(), "echo x >/var/new 2>&1"); err == nil {
		t.Errorf("a byte on a full disk: %q", out)
	}
	run(t, other, write)
	must(t, full.FreeDisk())
	run(t, full, write)
	run(t, full, "df -k / | awk 'END { exit !($2 == 8192) }'")
}

// Files are found as the host finds them: an absolute link points into the host.
func TestFilesOfHosts(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1, Host: testfleet.HostConfig{Files: map[string]string{
		"/opt/app/config": "a", "/home/deploy/own": "b",
	}}})
	h := f.Hosts[0]
	run(t, h, "mkdir /srv/real; ln -s /srv/real /link")
	must(t, h.WriteFile("/link/file", []byte("text"), 0o751))
	if got := run(t, h, "cat /srv/real/file; stat -c ' %a %u' /srv/real/file; cat /opt/app/config; stat -c ' %U' /home/deploy/own"); got != "text 751 0\na deploy\n" {
		t.Errorf("on the host: %q", got)
	}
	if got, err := h.ReadFile("/srv/../link/file"); string(got) != "text" {
		t.Errorf("read back: %q, %v", got, err)
	}
	if _, err := h.ReadFile("/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	out, err := h.Exec(t.Context(), "echo said; echo why >&2; exit 3")
	var status *exec.ExitError
	if out != "said\n" || !errors.As(err, &status) || status.ExitCode() != 3 || !strings.Contains(err.Error(), "why") {
		t.Errorf("a failing command: %q, %v", out, err)
	}
}

// A program gets the fleet's home and not the machine's, is hit by a signal to its process, and what it left behind
// ends with the fleet.
func TestCommand(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "/nowhere")
	f, err := testfleet.New(t.Context(), testfleet.Config{Hosts: 1})
	if errors.Is(err, testfleet.ErrUnavailable) {
		testfleet.Start(t, testfleet.Config{Hosts: 1}) // to skip for the same reason
	}
	must(t, err)
	cmd := f.Command(t.Context(), "sh", "-c", `setsid sleep 1000 >/dev/null 2>&1 & echo "$!|$$|$SSH_AUTH_SOCK|$HOME"; exec sleep 1000`)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	words := strings.Split(strings.TrimSpace(line), "|")
	if len(words) != 4 || words[2] != "" || words[3] != f.Home {
		t.Fatalf("the program says %q, want two process ids, no agent, the home %s", line, f.Home)
	}
	if pid := words[1]; pid != itoa(cmd.Process.Pid) {
		t.Errorf("the program is process %s, we have %d", pid, cmd.Process.Pid)
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	var status *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &status) || !status.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("the program ended with %v, want a signal", err)
	}
	must(t, f.Close())
	must(t, f.Close())
	if alive(words[0]) {
		t.Errorf("process %s was left behind", words[0])
	}
	if _, err := os.Stat(f.Home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the home was left behind: %v", err)
	}
}

// A listener where the client is can be reached from the hosts, and the hosts reach each other by name.
func TestNetwork(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 2, Names: []string{"web", "db"}})
	l, err := f.Listen(t.Context(), "tcp", f.IP+":0")
	must(t, err)
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	said := make(chan string, 1)
	go func() {
		defer close(said)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		said <- line
	}()
	run(t, f.Host("web"), "bash -c 'echo hello >/dev/tcp/"+f.IP+"/"+port+"'")
	if got := <-said; got != "hello\n" {
		t.Errorf("a host said %q", got)
	}
	if got := run(t, f.Host("web"), "bash -c 'head -c 7 </dev/tcp/db/22'"); got != "SSH-2.0" {
		t.Errorf("from web to db: %q", got)
	}
	if _, err := f.Dial(t.Context(), "tcp", "db:23"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port nobody listens at: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []testfleet.Config{
		{}, {Hosts: -1}, {Hosts: 1 << 20}, {Hosts: 1, Names: []string{"-x"}}, {Hosts: 1, Names: []string{"a b"}},
		{Hosts: 2, Names: []string{"host2"}}, {Hosts: 1, Names: []string{strings.Repeat("x", 64)}},
	} {
		f, err := testfleet.New(context.Background(), c)
		if err == nil {
			_ = f.Close()
		}
		if err == nil || errors.Is(err, testfleet.ErrUnavailable) {
			t.Errorf("New(%+v): %v", c, err)
		}
	}
}

package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/testfleet"
)

const wrong = "wrong donkey"

// watchFor looks for a secret in the arguments and environments of all processes of the hosts, until the story ends.
func (w *world) watchFor(secret string) (looks func() int) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.ctx)
	var watching sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for _, h := range w.f.Hosts {
		watching.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				processes, err := h.Processes()
				if err != nil {
					w.t.Error(err)
					return
				}
				for _, p := range processes {
					for _, file := range []string{"cmdline", "environ"} {
						b, _ := h.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, file)) // it may have ended
						if bytes.Contains(b, []byte(secret)) {
							w.t.Errorf("%s: the %s of process %d has the password", h, file, p.PID)
						}
					}
				}
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	w.t.Cleanup(func() {
		stop()
		watching.Wait()
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestSudo(t *testing.T) {
	kinds := []testfleet.Sudo{testfleet.SudoNoPassword, testfleet.SudoPassword, testfleet.SudoTTY}
	w := newWorld(t, testfleet.Config{Hosts: 3, User: testfleet.Deploy, Each: func(i int, h *testfleet.HostConfig) { h.Sudo = kinds[i] }})
	looks := w.watchFor(testfleet.Password)
	for _, user := range []string{"root", "daemon"} {
		r := w.startWith(testfleet.Password, "run", "-w", "host[1-3]", "--sudo="+user, "--sudo-password-fd", "3", "--",
			"umask 0; "+count+"; id -un; id -un >&2; until [ -e /tmp/seen."+user+" ]; do sleep 0.05; done; seq 1 5000")
		before := looks()
		for _, h := range w.f.Hosts {
			w.until("the command runs on "+h.Name, func() bool { return w.lines(h, counts) == map[string]int{"root": 1, "daemon": 2}[user] })
		}
		w.until("everybody was looked at", func() bool { return looks() > before+10 })
		for _, h := range w.f.Hosts {
			w.must(h.WriteFile("/tmp/seen."+user, nil, 0o644))
		}
		r.exits(0)
		for _, h := range w.f.Hosts {
			got := w.outcome(r.job(), h, sluice.Succeeded)
			same(t, fmt.Sprintf("%s: output as %s", h, user), w.output(r.job(), got.Attempt), user+"\n"+seq(5000))
		}
	}
	w.ran(2, 2, 2)
}

// A wrong password is refused twice, and never offered to another host.
func TestWrongSudoPassword(t *testing.T) {
	w := newWorld(t, testfleet.Config{Hosts: 5, User: testfleet.Deploy, Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	r := w.startWith(wrong, "run", "-w", "host[1-5]", "--sudo", "--sudo-password-fd", "3", "--", count)
	if halted := event[sluice.JobHalted](r, nil); halted.Rule != sluice.RuleAuth {
		t.Errorf("halted by %+v", halted)
	}
	r.exits(3)
	refused := 0
	for _, b := range all[sluice.TaskFinished](r) {
		if b.Refused {
			refused++
		}
		if !b.NotStarted || b.Outcome != sluice.Failed {
			t.Errorf("%s: %+v, want that it did not start", b.Host, b)
		}
	}
	if refused != 2 {
		t.Errorf("the password was refused %d times, want 2", refused)
	}
	w.ran(make([]int, 5)...)

	// With the right one the rest goes on, and what failed can be tried again.
	w.startWith(testfleet.Password, "retry", string(r.job()), "--sudo-password-fd", "3").exits(0)
	w.ran(slices.Repeat([]int{1}, 5)...)
}

func passwordOnly(n int) testfleet.Config {
	return testfleet.Config{Hosts: n, User: testfleet.Deploy, Host: testfleet.HostConfig{SSHD: []string{"PubkeyAuthentication no"}}}
}

// said counts lines of the hosts' sshd.
func (w *world) said(text string) (n int) {
	for _, h := range w.f.Hosts {
		n += strings.Count(h.Log(), text)
	}
	return n
}

func TestLoginPassword(t *testing.T) {
	w := newWorld(t, passwordOnly(4))
	looks := w.watchFor(testfleet.Password)
	r := w.startWith(testfleet.Password, "run", "-w", "host[1-4]", "--password-fd", "3", "--", count+"; "+hold)
	for _, h := range w.f.Hosts {
		w.running(h, 1)
	}
	before := looks()
	w.until("everybody was looked at", func() bool { return looks() > before+10 })
	w.letGo(w.f.Hosts...)
	r.exits(0)
	w.ran(1, 1, 1, 1)
	if n := w.said("Accepted password for deploy"); n != 4 {
		t.Errorf("%d logins by password, want 4", n)
	}
	if n := w.said("Failed password"); n != 0 {
		t.Errorf("%d refused logins", n)
	}
}

func TestWrongLoginPassword(t *testing.T) {
	slow(t)
	w := newWorld(t, passwordOnly(5))
	r := w.startWith(wrong, "run", "-w", "host[1-5]", "--password-fd", "3", "--", count)
	if halted := event[sluice.JobHalted](r, nil); halted.Rule != sluice.RuleAuth {
		t.Errorf("halted by %+v", halted)
	}
	r.exits(3)
	w.until("sshd has written down the refusals", func() bool { return w.said("Failed password for deploy") >= 2 })
	if n := w.said("Failed password"); n != 2 {
		t.Errorf("the password was tried %d times, want 2", n)
	}
	w.ran(make([]int, 5)...)
	w.startWith(testfleet.Password, "retry", string(r.job()), "--password-fd", "3").exits(0)
	w.ran(slices.Repeat([]int{1}, 5)...)
	if n := w.said("Failed password"); n != 2 {
		t.Errorf("the wrong password was tried %d times in the end", n)
	}
}

// A host whose key is not the known one gets no password and no command; the others go on.
func TestHostKeys(t *testing.T) {
	slow(t)
	w := newWorld(t, passwordOnly(3))
	w.must(w.host(2).ChangeKey(w.ctx))
	w.forget("host3")
	r := w.startWith(testfleet.Password, "run", "-w", "host[1-3]", "--password-fd", "3", "--", count)
	r.exits(1)
	w.outcome(r.job(), w.host(1), sluice.Succeeded)
	for n, word := range map[int]string{2: "changed", 3: "sluice host enrol"} {
		if got := w.outcome(r.job(), w.host(n), sluice.Unreachable); !got.NotStarted || !strings.Contains(strings.ToLower(got.Reason), word) {
			t.Errorf("%s: %+v, want a reason with %q", w.host(n), got, word)
		}
	}
	w.ran(1, 0, 0)
	for _, n := range []int{2, 3} {
		if log := w.host(n).Log(); strings.Contains(log, "password for deploy") {
			t.Errorf("%s was sent a password: %s", w.host(n), log)
		}
	}

	key := lastOf[struct{ Host, State, Fingerprint string }](t, w.ok("-o", "json", "host", "enrol", "--yes", "host3"))
	if key.Host != "host3" || key.State != "new" || !strings.HasPrefix(key.Fingerprint, "SHA256:") {
		t.Errorf("enrolling shows %+v", key)
	}
	if _, errs, code := w.say("host", "enrol", "--yes", "host2"); code == 0 || !strings.Contains(errs, "host2") {
		t.Errorf("a changed key is enrolled: %d %q", code, errs)
	}
	again := w.startWith(testfleet.Password, "retry", string(r.job()), "--password-fd", "3")
	again.exits(1)
	w.ran(1, 0, 1)
}

// forget removes a host from the file of known hosts.
func (w *world) forget(host string) {
	w.t.Helper()
	text, err := os.ReadFile(w.f.KnownHosts)
	w.must(err)
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(","+name+",", ","+host+",") {
			kept.WriteString(line)
		}
	}
	w.must(os.WriteFile(w.f.KnownHosts, []byte(kept.String()), 0o600))
}

// Hosts behind a jump host are reached through it, and are what they are.
func TestJumpHost(t *testing.T) {
	w := newWorld(t, hosts(3))
	fleet := w.fleet("ssh: {jump: [host1]}\nhost: {host1: {jump: []}}\ntag: {app: [\"host[1-3]\"]}\n")
	r := w.start("run", "-f", fleet, "-t", "all", "--", count+"; hostname; seq 1 20000")
	r.exits(0)
	for _, h := range w.f.Hosts {
		got := w.outcome(r.job(), h, sluice.Succeeded)
		same(t, "the output of "+h.Name, w.output(r.job(), got.Attempt), h.Name+"\n"+seq(20000))
	}
	w.ran(1, 1, 1)
	for _, h := range w.f.Hosts[1:] {
		if log := h.Log(); strings.Contains(log, "from "+w.f.IP+" ") || !strings.Contains(log, "from "+w.host(1).IP+" ") {
			t.Errorf("%s was not reached through %s: %s", h, w.host(1).IP, log)
		}
	}
	w.must(w.host(1).StopSSHD(w.ctx))
	r = w.start("run", "-f", fleet, "-t", "host2", "--", count)
	r.exits(1)
	if got := w.outcome(r.job(), w.host(2), sluice.Unreachable); !strings.Contains(got.Reason, "jump host") {
		t.Errorf("without the jump host: %+v", got)
	}
	w.ran(1, 1, 1)
}

// local is a file of the person's home.
func (w *world) local(name string) string { return filepath.Join(w.f.Home, name) }

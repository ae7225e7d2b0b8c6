package app_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/lab/testfleet"
)

// cuts are the ways in which a link is lost: with and without the card's knowledge, and in one direction only.
var cuts = []struct {
	name string
	cut  func(*world, *testfleet.Host)
}{
	{"unplugged", func(w *world, h *testfleet.Host) { w.must(h.Unplug(w.ctx)) }},
	{"deaf", func(w *world, h *testfleet.Host) { w.must(h.Silence(w.ctx, testfleet.FromHost)) }},
	{"silent", func(w *world, h *testfleet.Host) { w.must(h.Silence(w.ctx, testfleet.BothWays)) }},
}

// quick has lost links noticed after a few seconds.
func (w *world) quick() {
	w.t.Helper()
	text, err := os.ReadFile(w.f.SSHConfig)
	w.must(err)
	text = append(text, "  ServerAliveInterval 1\n  ServerAliveCountMax 2\n  ConnectTimeout 3\n"...)
	w.must(os.WriteFile(w.f.SSHConfig, text, 0o600))
}

// Whoever asks first gets the truth: resume, or status with --refresh.
func TestLongCutIsUnknownUntilTheHostIsAsked(t *testing.T) {
	slow(t)
	const command = count + "; seq 1 1000; " + hold + "; seq 1 50000"
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, hosts(2))
			w.quick()
			fleet := w.limited(1)
			h := w.host(1)
			first := w.start("run", "-f", fleet, "-t", "host1", "--reconnect", "3s", "--", command)
			w.running(h, 1)
			event(first, func(o sluice.TaskOutput) bool { return strings.HasSuffix(o.Data, "1000\n") })
			c.cut(w, h)
			unknown := first.finished("host1", sluice.Unknown)
			if unknown.ExitCode != nil || unknown.NotStarted || len(unknown.Truncated) > 0 {
				t.Errorf("of an unknown end it says %+v", unknown)
			}
			first.exits(1)
			w.ran(1, 0)

			// Its place is taken, whoever asks for it.
			second := w.start("run", "-f", fleet, "-t", "host2", "--", command)
			halted := event[sluice.JobHalted](second, nil)
			if halted.Rule != sluice.RuleConstraint || halted.Constraint != "$app" || !slices.Equal(halted.Holders, []sluice.Host{"host1"}) {
				t.Errorf("the second job is halted by %+v, want $app and host1", halted)
			}
			second.exits(3)
			why := lastOf[struct {
				Rule    string
				Holders []struct{ Host, Job, Why string }
			}](t, w.ok("-o", "json", "why", string(second.job())))
			if why.Rule != "constraint" || len(why.Holders) != 1 || why.Holders[0].Host != "host1" || why.Holders[0].Job != string(first.job()) {
				t.Errorf("the reason given is %+v", why)
			}
			if _, _, code := w.say("retry", string(first.job())); code != 2 {
				t.Errorf("an unknown host is tried again: exit status %d", code)
			}

			// The command ends while nobody can see it.
			w.letGo(h)
			w.until("the command ends", func() bool { return w.marked(h) == 0 })
			w.must(h.RestoreLink(w.ctx))
			job := string(first.job())
			if c.name == "silent" {
				w.ok("status", "--refresh", job)
			} else {
				r := w.start("resume", job)
				r.exits(0)
				r.finished("host1", sluice.Succeeded)
			}
			truth := w.outcome(first.job(), h, sluice.Succeeded)
			same(t, "the output", w.output(first.job(), truth.Attempt), seq(1000)+seq(50000))
			if state := w.stateOf(job); state != "succeeded" {
				t.Errorf("the job is %s", state)
			}
			w.ran(1, 0)

			// And its place is free.
			w.letGo(w.host(2))
			w.start("resume", string(second.job())).exits(0)
			w.ran(1, 1)
		})
	}
}

// marked counts the processes of attempts on a host.
func (w *world) marked(h *testfleet.Host) int {
	w.t.Helper()
	out, err := h.Exec(w.ctx, "grep -lF SLUICE_MARK= /proc/[0-9]*/environ 2>/dev/null | wc -l")
	w.must(err)
	var n int
	_, err = fmt.Sscan(out, &n)
	w.must(err)
	return n
}

// A cut within the time for reconnecting is nobody's business.
func TestShortCutIsNotNoticed(t *testing.T) {
	slow(t)
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, hosts(2))
			w.quick()
			h := w.host(1)
			r := w.start("run", "-w", "host[1-2]", "--reconnect", "3m", "--", count+"; seq 1 1000; "+hold+"; seq 1 50000; exit 3")
			w.running(h, 1)
			w.running(w.host(2), 1)
			event(r, func(o sluice.TaskOutput) bool { return o.Host == "host1" })
			c.cut(w, h)
			w.until("the lost link is noticed", func() bool { return !w.connected(r, h) })
			w.must(h.RestoreLink(w.ctx))
			w.letGo(w.f.Hosts...)
			r.exits(1)
			for _, h := range w.f.Hosts {
				got := w.outcome(r.job(), h, sluice.Failed)
				if got.ExitCode == nil || *got.ExitCode != 3 {
					t.Errorf("%s ended with %+v, want 3", h, got)
				}
				same(t, "the output of "+h.Name, w.output(r.job(), got.Attempt), seq(1000)+seq(50000))
			}
			if n := len(all[sluice.TaskFinished](r)); n != 2 {
				t.Errorf("%d outcomes of 2 hosts", n)
			}
			w.ran(1, 1)
		})
	}
}

// connected reports whether the program has an established connection to the host.
func (w *world) connected(r *run, h *testfleet.Host) bool {
	w.t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", r.cmd.Process.Pid))
	w.must(err)
	ip := net.ParseIP(h.IP).To4()
	slices.Reverse(ip)
	remote := strings.ToUpper(hex.EncodeToString(ip)) + ":0016"
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == remote && f[3] == "01" {
			return true
		}
	}
	return false
}

// A host that does not come back keeps its place until somebody decides; then it can be tried again.
func TestHostThatNeverComesBack(t *testing.T) {
	slow(t)
	w := newWorld(t, hosts(2))
	w.quick()
	fleet := w.limited(1)
	h := w.host(1)
	r := w.start("run", "-f", fleet, "-t", "all", "--reconnect", "2s", "--", count+"; case $SLUICE_ATTEMPT in *-0-1) "+hold+" ;; esac")
	w.running(h, 1)
	w.must(h.Kill(w.ctx))
	r.finished("host1", sluice.Unknown)
	halted := event[sluice.JobHalted](r, nil)
	if halted.Rule != sluice.RuleConstraint || !slices.Equal(halted.Holders, []sluice.Host{"host1"}) {
		t.Errorf("halted by %+v, want the constraint and host1", halted)
	}
	r.exits(3)

	// Asking again changes nothing: it is still not known.
	job := string(r.job())
	w.start("resume", job).exits(3)
	w.outcome(r.job(), h, sluice.Unknown)
	if _, errs, code := w.say("retry", job, "host1"); code != 2 || !strings.Contains(errs, "host release") {
		t.Errorf("retry of an unknown host: exit status %d, %q; want 2, and the way out named", code, errs)
	}

	w.ok("host", "release", "-f", fleet, "host1", "--reason", "burnt down")
	w.start("resume", job).wait()
	w.must(h.Boot(w.ctx))
	again := w.start("retry", job, "host1")
	again.exits(0)
	w.outcome(r.job(), h, sluice.Succeeded)
	w.outcome(r.job(), w.host(2), sluice.Succeeded)
	w.ran(2, 1) // the second time was somebody's decision
	w.gone["host1"] = true
}

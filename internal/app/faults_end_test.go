package app_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/testfleet"
)

// escape starts processes that try to get away: in sessions of their own, orphaned, without the attempt's
// environment. All of them sleep for a time that nothing else sleeps for.
const (
	sleepers = "sleep 4242"
	escape   = `setsid sh -c 'setsid sleep 4242 & trap "" TERM; echo >>/tmp/escaped; sleep 4242' &
( ( env -i setsid sh -c 'echo >>/tmp/escaped; exec sleep 4242' & ) & )
nohup sleep 4242 >/dev/null 2>&1 &
` + count + `
sleep 4242`
)

// alive lists the sleepers on a host.
func (w *world) alive(h *testfleet.Host) (pids []int) {
	w.t.Helper()
	processes, err := h.Processes()
	w.must(err)
	for _, p := range processes {
		if strings.Join(p.Args, " ") == sleepers {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// escaped returns when all sleepers of the command sleep.
func (w *world) escaped(h *testfleet.Host) {
	w.t.Helper()
	w.running(h, 1)
	w.until("all processes of the command have started", func() bool { return w.lines(h, "/tmp/escaped") == 2 && len(w.alive(h)) == 5 })
}

// dead sees that no sleeper is left.
func (w *world) dead(h *testfleet.Host) {
	w.t.Helper()
	if left := w.alive(h); len(left) > 0 {
		w.t.Errorf("processes %v live on %s", left, h)
	}
}

func TestCancelKillsWhatTriesToEscape(t *testing.T) {
	for _, by := range []string{"command", "interrupts"} {
		for _, user := range []string{"root", testfleet.Deploy} {
			t.Run(by+" as "+user, func(t *testing.T) {
				w := newWorld(t, hosts(3))
				r := w.start("run", "-w", "host[1-3]", "--max-parallel", "2", "--user", user, "--", escape)
				for n := range 2 {
					w.escaped(w.host(n + 1))
				}
				if by == "command" {
					w.start("cancel", string(r.job()), "--reason", "enough").exits(4)
				} else {
					w.must(r.cmd.Process.Signal(os.Interrupt))
					event[sluice.JobHalting](r, nil)
					w.must(r.cmd.Process.Signal(os.Interrupt))
				}
				event[sluice.JobCancelling](r, nil)
				r.exits(4)
				for n := range 2 {
					w.dead(w.host(n + 1))
					if got := w.outcome(r.job(), w.host(n+1), sluice.Cancelled); got.NotStarted || len(got.Leftovers) > 0 {
						t.Errorf("%s: %+v", w.host(n+1), got)
					}
				}
				w.ran(1, 1, 0)
			})
		}
	}
}

func TestInterruptLetsRunningOnesEnd(t *testing.T) {
	w := newWorld(t, hosts(3))
	r := w.start("run", "-w", "host[1-3]", "--max-parallel", "1", "--", count+"; "+hold)
	w.running(w.host(1), 1)
	w.must(r.cmd.Process.Signal(os.Interrupt))
	event[sluice.JobHalting](r, nil)
	w.letGo(w.f.Hosts...)
	if halted := event[sluice.JobHalted](r, nil); halted.Rule != sluice.RuleOperator {
		t.Errorf("halted by %+v", halted)
	}
	r.exits(3)
	w.outcome(r.job(), w.host(1), sluice.Succeeded)
	w.ran(1, 0, 0)
	w.start("resume", string(r.job())).exits(0)
	w.ran(1, 1, 1)
}

// After a power cut the host says that its command was interrupted, and it is not run again by itself. A changed
// boot id shows it, and where that stays the same, as in containers, the age of process 1.
func TestPowerCut(t *testing.T) {
	w := newWorld(t, testfleet.Config{Hosts: 2, Each: func(i int, h *testfleet.HostConfig) { h.NewBootID = i == 0 }})
	w.quick()
	r := w.start("run", "-w", "host[1-2]", "--reconnect", "3m", "--", count+"; "+hold)
	for _, h := range w.f.Hosts {
		w.running(h, 1)
	}
	for _, h := range w.f.Hosts {
		w.must(h.Kill(w.ctx))
		w.must(h.Boot(w.ctx))
	}
	r.exits(1)
	for _, h := range w.f.Hosts {
		got := w.outcome(r.job(), h, sluice.Failed)
		if got.ExitCode != nil || !strings.Contains(got.Reason, "interrupted") {
			t.Errorf("%s: %+v, want that it was interrupted", h, got)
		}
	}
	w.ran(1, 1)
	w.letGo(w.f.Hosts...)
	w.start("retry", string(r.job())).exits(0)
	w.ran(2, 2)
}

// The host's time limit kills the whole tree, also while nobody can reach the host.
func TestTimeLimit(t *testing.T) {
	for _, linked := range []bool{true, false} {
		t.Run(map[bool]string{true: "linked", false: "cut off"}[linked], func(t *testing.T) {
			w := newWorld(t, hosts(1))
			w.quick()
			h := w.host(1)
			r := w.start("run", "-w", "host1", "--timeout", "8s", "--reconnect", "3m", "--", "seq 1 10; "+escape)
			w.escaped(h)
			if !linked {
				w.must(h.Unplug(w.ctx))
				w.until("the tree is killed", func() bool { return len(w.alive(h)) == 0 })
				w.must(h.RestoreLink(w.ctx))
			}
			r.exits(1)
			w.dead(h)
			got := w.outcome(r.job(), h, sluice.TimedOut)
			if got.DurationMS < (7 * time.Second).Milliseconds() {
				t.Errorf("it was ended after %d ms", got.DurationMS)
			}
			same(t, "the output", w.output(r.job(), got.Attempt), seq(10))
			w.ran(1)
		})
	}
}

func TestJobTimeLimit(t *testing.T) {
	w := newWorld(t, hosts(3))
	r := w.start("run", "-w", "host[1-3]", "--max-parallel", "1", "--job-timeout", "8s", "--", escape)
	w.escaped(w.host(1))
	if halted := event[sluice.JobHalted](r, nil); halted.Rule != sluice.RuleJobTimeout {
		t.Errorf("halted by %+v", halted)
	}
	r.exits(3)
	w.dead(w.host(1))
	w.outcome(r.job(), w.host(1), sluice.TimedOut)
	w.ran(1, 0, 0)
}

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
	slow(t)
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

// The host keeps the time limit and kills the whole tree, also while nobody can reach it, or nobody is there any more.
func TestTimeLimit(t *testing.T) {
	slow(t)
	for _, while := range []string{"linked", "cut off", "left alone"} {
		t.Run(while, func(t *testing.T) {
			w := newWorld(t, hosts(1))
			w.quick()
			h := w.host(1)
			r := w.start("run", "-w", "host1", "--timeout", "8s", "--reconnect", "3m", "--", "seq 1 10; "+escape)
			w.escaped(h)
			killed := func() { w.until("the tree is killed", func() bool { return len(w.alive(h)) == 0 }) }
			switch while {
			case "linked":
				r.exits(1)
			case "cut off":
				w.must(h.Unplug(w.ctx))
				killed()
				w.must(h.RestoreLink(w.ctx))
				r.exits(1)
			case "left alone":
				r.killed()
				killed()
				w.start("resume", string(r.job())).exits(1)
			}
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

// A cancel that cannot reach a host is not carried out there, and nobody says that it was. Whoever resumes the job
// finds what still runs, and can cancel again.
func TestCancelWhileCutOff(t *testing.T) {
	slow(t)
	w := newWorld(t, hosts(2))
	w.quick()
	h := w.host(1)
	const command = "until [ -e /tmp/cut ]; do sleep 0.05; done; echo still here"
	r := w.start("run", "-w", "host[1-2]", "--reconnect", "3s", "--", "( "+command+" ) &\n"+escape)
	w.escaped(h)
	w.escaped(w.host(2))
	w.must(h.Unplug(w.ctx))
	w.start("cancel", string(r.job())).exits(4)
	r.exits(4)
	w.outcome(r.job(), w.host(2), sluice.Cancelled)
	w.dead(w.host(2))
	if got := w.outcome(r.job(), h, sluice.Unknown); !strings.Contains(got.Reason, "cancelled, but") {
		t.Errorf("%s: %+v, want that the cancel did not get there", h, got)
	}
	// What was sent is still on its way, in the kernel; without its session on the host it never arrives.
	w.must(h.WriteFile("/tmp/cut", nil, 0o644))
	_, err := h.Exec(w.ctx, "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline) in 'sshd: root'* | 'sshd-session: root'*) kill -9 ${p#/proc/} ;; esac; done 2>/dev/null; :")
	w.must(err)
	w.must(h.RestoreLink(w.ctx))

	again := w.start("resume", string(r.job()))
	event(again, func(o sluice.TaskOutput) bool { return o.Host == "host1" && o.Data == "still here\n" })
	if n := len(w.alive(h)); n != 5 {
		t.Errorf("%d of 5 processes live on %s", n, h)
	}
	w.start("cancel", string(r.job())).exits(4)
	again.exits(4)
	w.outcome(r.job(), h, sluice.Cancelled)
	w.dead(h)
	w.ran(1, 1)
}

func TestJobTimeLimit(t *testing.T) {
	slow(t)
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

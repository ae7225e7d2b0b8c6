package work_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// escapes are ways to get away from a kill; each leaves processes that sleep for a number of seconds that no
// other test uses.
var escapes = map[string]string{
	"child":         `sleep N & sleep N`,
	"ignores TERM":  `trap '' TERM HUP INT; sleep N & while :; do sleep N; done`,
	"double fork":   `(sleep N & ) & sleep N`,
	"setsid":        `setsid sleep N & sleep N`,
	"own setsid":    `setsid sh -c '(setsid sleep N &) & sleep N' & wait`,
	"no variables":  `env -i sleep N & sleep N`,
	"closed output": `env -i sleep N >/dev/null 2>&1 </dev/null & sleep N`,
	"kills itself":  `sleep N & kill 0; sleep N`,
}

func sleepers(seconds string) []string { return running("sleep\x00" + seconds) }

func wantNoSleepers(t *testing.T, seconds string) {
	t.Helper()
	left := sleepers(seconds)
	for _, p := range left {
		n, _ := strconv.Atoi(p)
		status, _ := os.ReadFile("/proc/" + p + "/status")
		if strings.Contains(string(status), "State:\tZ") {
			continue
		}
		t.Errorf("process %s still sleeps", p)
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}

func TestTimeLimitKillsTheTree(t *testing.T) {
	n := 7001
	for _, user := range []string{"root", "nobody"} {
		for name, command := range escapes {
			for _, shell := range []string{"dash", "bash", "mksh"} {
				n++
				seconds := strconv.Itoa(n)
				t.Run(user+"/"+name+"/"+shell, func(t *testing.T) {
					if name == "kills itself" && shell != "dash" {
						t.Skip("one shell is enough")
					}
					t.Parallel()
					h := newHost(t, shell)
					if user == "nobody" {
						h.asNobody()
					}
					b := newBench(t, h)
					b.job.Options.Timeout = 500 * time.Millisecond
					b.job.Action.Shell = "echo begin; " + strings.ReplaceAll(command, "N", seconds)
					r := b.run()
					if name == "kills itself" {
						// It ends by itself, but for the child in the background.
						if r.Outcome != sluice.Failed && r.Outcome != sluice.TimedOut {
							t.Errorf("%+v", r)
						}
					} else {
						want(t, r, sluice.TimedOut, -1, "killed at its time limit")
					}
					wantNoSleepers(t, seconds)
					if b.stdout() != "begin\n" {
						t.Errorf("stdout %q", b.stdout())
					}
					b.wantClean()
				})
			}
		}
	}
}

func TestCancel(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = "echo begin; exec sleep 7301"
		kill, end := context.WithCancelCause(context.Background())
		var once sync.Once
		r, err := b.do(context.Background(), work.Assignment{Kill: kill, Output: func(string, int64, []byte) { once.Do(func() { end(nil) }) }})
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Cancelled, -1, "killed by a cancel")
		if r.NotStarted {
			t.Error("it is said not to have started")
		}
		b.wantClean()
	})
}

func TestJobTimeLimit(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Action.Shell = "echo begin; exec sleep 7302"
	kill, end := context.WithCancelCause(context.Background())
	r, err := b.do(context.Background(), work.Assignment{Kill: kill, Output: func(string, int64, []byte) { end(work.ErrTimeLimit) }})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.TimedOut, -1, "job's time limit")
}

func TestCancelBeforeTheStart(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.count(1, "true")
	kill, end := context.WithCancelCause(context.Background())
	end(nil)
	b.host.onStart = func(c string) (string, error) { return "sleep 0.2; " + c, nil }
	r, err := b.do(context.Background(), work.Assignment{Kill: kill})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "before it started")
	if !r.NotStarted || exists(filepath.Join(b.host.home, "runs")) {
		t.Errorf("%+v; or it ran", r)
	}
	eventually(t, "the place goes", func() bool { return !exists(b.host.place) })
}

func TestCancelOverALostLink(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.Reconnect = 300 * time.Millisecond
	b.job.Action.Shell = "echo begin; exec sleep 7303"
	kill, end := context.WithCancelCause(context.Background())
	var once sync.Once
	down := &sluice.ConnectError{Failure: sluice.NoRoute, Err: os.ErrDeadlineExceeded}
	var wg sync.WaitGroup
	a := work.Assignment{Kill: kill, Output: func(string, int64, []byte) {
		once.Do(func() {
			wg.Go(func() { b.host.setDown(down); b.host.cut(); end(nil) })
		})
	}}
	r, err := b.do(context.Background(), a)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Unknown, -1, "cancelled, but the host could not be reached")
	// The same wish, with the host back, is carried out.
	b.host.setDown(nil)
	kill, end = context.WithCancelCause(context.Background())
	end(nil)
	r, err = b.do(context.Background(), work.Assignment{Mode: work.Settle, Kill: kill})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "killed by a cancel")
	wantNoSleepers(t, "7303")
	b.wantClean()
}

// The time limit is kept on the host, without a link and without a controller.
func TestTimeLimitWithoutALink(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.Timeout = time.Second
	b.job.Action.Shell = "echo begin; exec sleep 7304"
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := b.do(ctx, work.Assignment{Output: func(string, int64, []byte) { b.host.cut(); cancel() }}); err == nil {
		t.Fatal("no error")
	}
	eventually(t, "the command is killed", func() bool { return len(sleepers("7304")) == 0 })
	r, err := b.do(context.Background(), work.Assignment{Mode: work.Settle})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.TimedOut, -1, "killed at its time limit")
	b.wantClean()
}

// A daemon that keeps the output open is no reason to wait for ever, nor to be killed.
func TestADaemonKeepsTheOutput(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = `(trap '' PIPE; while [ ! -e "$HOME/stop" ]; do sleep 0.1; echo daemon; done; echo ended >"$HOME/ended") & echo started`
		r := b.run()
		want(t, r, sluice.Succeeded, 0, "")
		if !strings.HasPrefix(b.stdout(), "started\n") {
			t.Errorf("stdout %q", b.stdout())
		}
		if err := os.WriteFile(filepath.Join(b.host.home, "stop"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the daemon ends by itself", func() bool { return exists(filepath.Join(b.host.home, "ended")) })
	})
}

// A supervisor that is killed leaves no truth behind, or that of its runner; it is never a success.
func TestTheSupervisorIsKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = `echo begin; ps -o ppid= -p $PPID >"$HOME/super"; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; exit 4`
		var wg sync.WaitGroup
		wg.Go(func() {
			eventually(t, "the command runs", func() bool {
				text, _ := os.ReadFile(filepath.Join(b.host.home, "super"))
				pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
				return err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil
			})
		})
		r := b.run()
		wg.Wait()
		want(t, r, sluice.Unknown, -1, "still run")
		if len(r.Leftovers) == 0 {
			t.Error("no leftovers are named")
		}
		_ = os.WriteFile(filepath.Join(b.host.home, "go"), nil, 0o644)
		eventually(t, "the runner ends", func() bool { return exists(filepath.Join(b.host.place, string(b.id()), "rc")) })
		r, err := b.do(context.Background(), work.Assignment{Mode: work.Settle})
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Failed, 4, "the command ended with 4")
		b.wantClean()
	})
}

func TestTheHostRestarted(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	dir := filepath.Join(b.host.place, string(b.id()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(b.host.place, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"live", "ctl", "o", "e"} {
		if err := syscall.Mkfifo(filepath.Join(dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for f, text := range map[string]string{"gate": "started another-life.17\n", "out": "half\n", "err": "", "steps": "", "result": strings.Repeat(".", 255) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.do(context.Background(), work.Assignment{Resumed: true})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Failed, -1, "interrupted: the host restarted while it ran")
	if r.NotStarted || b.stdout() != "half\n" {
		t.Errorf("%+v, stdout %q", r, b.stdout())
	}
	b.wantClean()
}

func TestPlainEnds(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.ReadOnly = true
	b.job.Action.Shell = "echo begin; exec sleep 7401"
	b.job.Options.Timeout = 300 * time.Millisecond
	want(t, b.run(), sluice.TimedOut, -1, "ended at its time limit")
	b.job.ID, b.job.Options.Timeout = newJobID(), 0
	kill, end := context.WithCancelCause(context.Background())
	r, err := b.do(context.Background(), work.Assignment{Kill: kill, Output: func(string, int64, []byte) { end(nil) }})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "ended by a cancel")
	for _, p := range sleepers("7401") {
		n, _ := strconv.Atoi(p)
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}

// A plain attempt whose link is lost runs again: it changes nothing.
func TestPlainOverALostLink(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.ReadOnly = true
	b.job.Action.Shell = `echo begin; if [ -e "$HOME/second" ]; then echo end; exit 0; fi; touch "$HOME/second"; sleep 1`
	var once sync.Once
	r, err := b.do(context.Background(), work.Assignment{Output: func(string, int64, []byte) {
		once.Do(func() {
			eventually(t, "the first run", func() bool { return exists(filepath.Join(b.host.home, "second")) })
			b.host.cut()
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Succeeded, 0, "")
	if b.stdout() != "begin\nend\n" {
		t.Errorf("stdout %q", b.stdout())
	}
}

// A runner that is killed by its own command: nobody waits for ever, and nobody guesses.
func TestTheRunnerIsKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = `echo begin; kill -9 $PPID; echo end`
		want(t, b.run(), sluice.Unknown, -1, "no record of the end")
		if b.stdout() != "begin\nend\n" {
			t.Errorf("stdout %q", b.stdout())
		}
	})
}

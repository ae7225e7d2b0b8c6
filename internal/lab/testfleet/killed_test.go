package testfleet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/lab/testfleet"
)

// victim is set for the program that is to be killed: this test binary once more.
const victim = "SLUICE_TESTFLEET_VICTIM"

// beKilled starts fleets with something running in them, says what there is, and waits for its end; if it is the
// victim.
func beKilled() bool {
	kind := os.Getenv(victim)
	if kind == "" {
		return false
	}
	ctx := context.Background()
	var f *testfleet.Fleet
	var err error
	switch kind {
	case "isolated":
		f, err = testfleet.New(ctx, testfleet.Config{Hosts: 2})
	case "plain":
		f, err = testfleet.NewPlain(ctx, testfleet.PlainConfig{Hosts: 2})
	case "in process":
		f, err = testfleet.NewPlain(ctx, testfleet.PlainConfig{Hosts: 2, InProcess: true})
	}
	if err != nil {
		fmt.Println("error:", err)
		return true
	}
	const leave = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"
	if out, err := f.SSH(ctx, "host2", leave).Output(); err != nil {
		fmt.Println("error:", err)
	} else if f.Plain() {
		fmt.Print("process: ", string(out))
	}
	if out, err := f.Command(ctx, "sh", "-c", leave).Output(); err != nil {
		fmt.Println("error:", err)
	} else {
		fmt.Print("process: ", string(out))
	}
	// The children of ours hold the fleet: the control process, which ends last, and what starts the hosts.
	// Each was started by some thread, and stands in the list of that thread only.
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	if err != nil || len(threads) == 0 {
		fmt.Println("error: no threads:", err)
	}
	for _, list := range threads {
		children, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a thread may end
			fmt.Println("error:", err)
		}
		for _, pid := range strings.Fields(string(children)) {
			fmt.Println("process:", pid)
		}
	}
	fmt.Println("home:", f.Home)
	fmt.Println("ready")
	select {}
}

// Nothing is left of a fleet whose owner was killed without a chance to clean up.
func TestKilledOwnerLeavesNothing(t *testing.T) {
	for _, kind := range []string{"isolated", "plain", "in process"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "isolated" {
				testfleet.Start(t, testfleet.Config{Hosts: 1}) // skips where it is not possible
			} else if kind == "plain" {
				testfleet.StartPlain(t, 1)
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), victim+"="+kind)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			var pids []int
			home, ready := "", false
			for s := bufio.NewScanner(out); !ready && s.Scan(); {
				word, rest, _ := strings.Cut(s.Text(), ": ")
				switch word {
				case "process":
					pid, err := strconv.Atoi(rest)
					must(t, err)
					pids = append(pids, pid)
				case "home":
					home = rest
				case "ready":
					ready = true
				default:
					t.Errorf("the victim says %q", s.Text())
				}
			}
			waits := make([]func() error, len(pids))
			for i, pid := range pids {
				waits[i] = endOf(t, pid)
			}
			must(t, cmd.Process.Kill())
			_ = cmd.Wait() // killed
			if !ready || len(pids) < 2 {
				t.Fatalf("the victim was not ready, processes %v", pids)
			}
			for i, wait := range waits {
				if err := wait(); err != nil {
					t.Errorf("process %d was left behind: %v", pids[i], err)
				}
			}
			// Who tidies up ends after the others, and may not be one of those we know.
			look, patience := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
			defer look.Stop()
			for {
				if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
					return
				}
				select {
				case <-look.C:
				case <-patience:
					t.Fatal("the home was left behind")
				}
			}
		})
	}
}

// endOf returns a wait for the end of a process that is not our child.
func endOf(t *testing.T, pid int) func() error {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() error {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return err
			case n == 0:
				return errors.New("it still runs after 20 seconds")
			default:
				return nil
			}
		}
	}
}

// alive reports whether there is such a process, apart from one that has ended and waits for its parent.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

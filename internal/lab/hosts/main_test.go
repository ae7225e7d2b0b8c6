package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/lab/testfleet"
)

// asked is set for the program itself, in a process of its own.
const asked = "SLUICE_TEST_HOSTS"

func TestMain(m *testing.M) {
	if os.Getenv(asked) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Who interrupts while the hosts are made gets the shell back, and nothing is left of them.
func TestInterrupted(t *testing.T) {
	testfleet.Start(t, testfleet.Config{Hosts: 1}) // skips where it is not possible
	for _, at := range []string{"testfleet-*", "testfleet-*/home/.ssh/config"} {
		tmp := t.TempDir()
		var said bytes.Buffer
		cmd := exec.Command("/proc/self/exe", "web1", "web2", "web3", "--", "true")
		cmd.Env = append(os.Environ(), asked+"=1", "TMPDIR="+tmp)
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // its status is looked at below
		}()
		interrupted := false
		look, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
		defer look.Stop()
		for going := true; going; {
			select {
			case <-look.C:
				found, err := filepath.Glob(filepath.Join(tmp, at))
				if err != nil {
					t.Fatal(err)
				}
				if len(found) > 0 && !interrupted {
					interrupted = true
					if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
						t.Error(err)
					}
				}
			case <-ended:
				going = false
			case <-late:
				_ = cmd.Process.Signal(syscall.SIGQUIT) // it says what it waits for
				<-ended
				t.Fatalf("%s: it does not end: %s", at, said.String())
			}
		}
		if !interrupted || cmd.ProcessState.ExitCode() != 1 || said.String() != "hosts: interrupted\n" {
			t.Errorf("%s: interrupted %v, %v: %q", at, interrupted, cmd.ProcessState, said.String())
		}
		left, err := filepath.Glob(filepath.Join(tmp, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind is %s, %v", at, strings.Join(left, ", "), err)
		}
	}
}

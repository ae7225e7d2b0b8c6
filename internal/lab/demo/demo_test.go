package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build makes the demonstration's program, and a directory for all that it leaves.
func build(t *testing.T) (program, tmp string) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: the demonstration takes a while")
	}
	program, tmp = filepath.Join(t.TempDir(), "demo"), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program, tmp
}

func command(ctx context.Context, program, tmp string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt can go to all of it, as from a terminal
	return cmd, &out
}

// nothingLeft sees that the directory for temporary files is empty, and that no process has it in its environment.
func nothingLeft(t *testing.T, tmp string) {
	t.Helper()
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if env, err := os.ReadFile(p); err == nil && bytes.Contains(env, []byte(tmp)) {
			t.Errorf("a process is left over: %s", p)
		}
	}
}

func TestTheStoryIsTrue(t *testing.T) {
	program, tmp := build(t)
	cmd, out := command(t.Context(), program, tmp, "-fast")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"39 ok, 1 failed", "no space left on device", "40 ok", "37 not started",
		"in the way: web01, failed", "No host is out of service."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("it steers a terminal where there is none")
	}
	if t.Failed() {
		t.Log(out)
	}
	nothingLeft(t, tmp)
}

func TestAnInterruptEndsIt(t *testing.T) {
	program, tmp := build(t)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		all    bool // the whole process group gets it
	}{{"as from a terminal", syscall.SIGINT, true}, {"by its process id", syscall.SIGTERM, false}} {
		t.Run(c.name, func(t *testing.T) {
			cmd, out := command(t.Context(), program, tmp)
			said := &await{text: "opened", seen: make(chan struct{})}
			cmd.Stdout, cmd.Stderr = said, said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-said.seen:
			case err := <-ended:
				t.Fatalf("it ended before the rollout: %v\n%s", err, said.all.String())
			}
			pid := cmd.Process.Pid
			if c.all {
				pid = -pid
			}
			if err := syscall.Kill(pid, c.signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(time.Minute):
				_ = cmd.Process.Kill()
				<-ended
				t.Fatal("it does not end")
			}
			if got := cmd.ProcessState.ExitCode(); got != 130 {
				t.Errorf("ended with %d, want 130\n%s%s", got, out, said.all.String())
			}
			nothingLeft(t, tmp)
		})
	}
}

func TestTheRecordingIsAPicture(t *testing.T) {
	program, tmp := build(t)
	file := filepath.Join(t.TempDir(), "rollout.svg")
	cmd, out := command(t.Context(), program, tmp, "-fast", "-record", file)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	svg, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg ", "upgrade.sh 2.4.1", "$canary", "@keyframes f5", "no space left on device"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("the picture has no %q", want)
		}
	}
	if most := 400 << 10; len(svg) > most {
		t.Errorf("the picture has %d bytes, more than %d", len(svg), most)
	}
	nothingLeft(t, tmp)
}

// await closes seen when a text was written. It belongs to the command until that ends.
type await struct {
	text string
	seen chan struct{}
	all  bytes.Buffer
	done bool
}

func (a *await) Write(p []byte) (int, error) {
	a.all.Write(p)
	if !a.done && strings.Contains(a.all.String(), a.text) {
		a.done = true
		close(a.seen)
	}
	return len(p), nil
}

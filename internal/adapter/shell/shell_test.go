package shell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sluice/internal/adapter/shell"
)

// asked runs a line in a process of its own, which tests kill.
const asked = "SLUICE_TEST_SHELL_LINE"

func TestMain(m *testing.M) {
	if line := os.Getenv(asked); line != "" {
		_ = shell.Run(context.Background(), shell.Line{Text: line, Env: os.Environ()})
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestHowLinesEnd(t *testing.T) {
	for line, want := range map[string]struct{ out, how string }{
		"echo a; echo b >&2; echo $X": {"a\nb\nx\n", ""},
		"echo a; exit 3":              {"a\n", "ended with status 3"},
		"kill -SEGV $$":               {"", "was ended by a signal (segmentation fault)"},
		"cat":                         {"", ""}, // there is nothing to read
		"no-such-program 2>/dev/null": {"", "ended with status 127"},
		"pwd":                         {"/\n", ""},
	} {
		var out bytes.Buffer
		err := shell.Run(t.Context(), shell.Line{Text: line, Dir: "/", Env: []string{"X=x", "PATH=" + os.Getenv("PATH")}, Output: &out})
		var ended *shell.Ended
		how := ""
		if errors.As(err, &ended) {
			how = ended.How
		}
		if out.String() != want.out || how != want.how || (err != nil) != (how != "") {
			t.Errorf("%s: %q, %v", line, out.String(), err)
		}
	}
	if err := shell.Run(t.Context(), shell.Line{Text: "true", Dir: "/nowhere"}); err == nil {
		t.Error("it ran nowhere")
	}
}

// family is a line of which a child, and a child of that, are not impressed by being asked to end. It writes their ids.
func family(file string) string {
	return fmt.Sprintf(`trap '' TERM; (trap '' TERM; sh -c 'trap "" TERM; echo $$ >>%[1]s; sleep 1000' & echo $$ >>%[1]s; wait) & sleep 1000 & echo $! >>%[1]s; setsid sh -c 'echo $$ >>%[1]s; exec sleep 1000' & wait`, file)
}

// members are the processes that a family has written down, when all of them have.
func members(t *testing.T, file string) (pids []int) {
	t.Helper()
	await(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Count(string(text), "\n") == 4
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// number is the one that a file has in it.
func number(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("it does not come")
		}
	}
}

// gone waits until none of the processes is alive; one that nobody has waited for yet is dead, too.
func gone(t *testing.T, pids []int) {
	t.Helper()
	await(t, func() bool {
		for _, pid := range pids {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err == nil && !strings.Contains(string(text), ") Z ") {
				return false
			}
		}
		return true
	})
}

func TestCalledOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- shell.Run(ctx, shell.Line{Text: family(file), Env: os.Environ(), Output: &bytes.Buffer{}, Grace: time.Millisecond})
	}()
	pids := members(t, file)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	gone(t, pids)
}

func TestTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	err := shell.Run(t.Context(), shell.Line{Text: family(file), Env: os.Environ(), Timeout: 2 * time.Second, Grace: time.Millisecond})
	var ended *shell.Ended
	if !errors.As(err, &ended) || ended.How != "took more than 2s" {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(file); err == nil { // a slow machine may not have come so far
		var pids []int
		for _, f := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(f)
			pids = append(pids, pid)
		}
		gone(t, pids)
	}
}

// Nothing of the environment of this process is to be found in what leads the group of a line.
func TestNothingIsHandedOn(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	var out bytes.Buffer
	err := shell.Run(t.Context(), shell.Line{Text: `set -- $(cat /proc/$$/stat); tr '\0' '\n' </proc/$5/environ`, Env: []string{"PATH=" + os.Getenv("PATH")}, Output: &out})
	if err != nil || !strings.Contains(out.String(), "PATH=") || strings.Contains(out.String(), "hunter2") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// What a line leaves behind ends with it.
func TestLeftBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	if err := shell.Run(t.Context(), shell.Line{Text: "sleep 1000 >/dev/null 2>&1 & echo $! >" + file, Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	gone(t, []int{number(t, file)})
}

// A daemon that a line leaves stays if the line ended well. One that failed had no time to end what it had started.
func TestLeftTheGroup(t *testing.T) {
	for line, stays := range map[string]bool{"true": true, "exit 3": false, "kill -KILL $$": false} {
		file := filepath.Join(t.TempDir(), "pid")
		text := fmt.Sprintf("setsid sh -c 'echo $$ >%[1]s.new; mv %[1]s.new %[1]s; exec sleep 1000' >/dev/null 2>&1 & until [ -e %[1]s ]; do sleep 0.01; done; ", file) + line
		err := shell.Run(t.Context(), shell.Line{Text: text, Env: os.Environ()})
		if (err == nil) != stays {
			t.Errorf("%s: %v", line, err)
		}
		pid := number(t, file)
		if stays {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		gone(t, []int{pid})
	}
}

// Who is killed takes the line along.
func TestKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asked+"="+family(file))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := members(t, file)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pids)
}

// terminal is a pseudo terminal: the end of who looks at it, and that of processes on it.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// A line that wants to ask somebody is told at once that there is nobody, though this process has a terminal: it is in the background
// there, and reading would stop it for ever.
func TestNoTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "end")
	_, slave := terminal(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asked+`=(read x </dev/tty) 2>/dev/null; echo "$? $(cat)$0" >`+file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatal("it waits for somebody at the terminal")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "2 /bin/sh\n" {
		t.Errorf("%q, %v", text, err)
	}
}

package flockdrivers

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/lab/conform"

	"go.uber.org/goleak"
)

const job sluice.JobID = "aaaa00000000"

const (
	dirEnv  = "SLUICE_TEST_CLAIM_DIR"
	loopEnv = "SLUICE_TEST_CLAIM_LOOP"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		os.Exit(otherProcess(dir, os.Getenv(loopEnv) != ""))
	}
	goleak.VerifyTestMain(m)
}

// otherProcess claims the job and holds it until its standard input ends, or claims and releases it many times,
// with a file that only one may have.
func otherProcess(dir string, loop bool) int {
	d, err := New(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if !loop {
		if _, err := d.Claim(job); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("claimed")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		return 0
	}
	for wins := 0; wins < 100; {
		release, err := d.Claim(job)
		if sluice.CodeOf(err) == sluice.Conflict {
			continue
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		wins++
		alone := filepath.Join(dir, "alone")
		f, err := os.OpenFile(alone, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			fmt.Println("two processes have the job:", err)
			return 1
		}
		_ = f.Close()
		_ = os.Remove(alone)
		release()
	}
	return 0
}

func newDrivers(t *testing.T, dir string) *Drivers {
	t.Helper()
	d, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func other(t *testing.T, dir, loop string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), dirEnv+"="+dir, loopEnv+"="+loop)
	return cmd
}

func TestConformance(t *testing.T) {
	conform.Drivers(t, func(t *testing.T) sluice.Drivers { return newDrivers(t, t.TempDir()) })
	conform.SharedDrivers(t, func(t *testing.T) (a, b sluice.Drivers) {
		dir := t.TempDir()
		return newDrivers(t, dir), newDrivers(t, dir)
	})
}

func TestKilledHolder(t *testing.T) {
	dir := t.TempDir()
	d := newDrivers(t, dir)
	cmd := other(t, dir, "")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "claimed\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	if !d.Driven(job) {
		t.Error("the claim of another process is not seen")
	}
	want := fmt.Sprintf("pid %d", cmd.Process.Pid)
	if _, err := d.Claim(job); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want code %s and %q", err, sluice.Conflict, want)
	}
	newDrivers(t, dir) // sweeps, but not what is held
	if !d.Driven(job) {
		t.Error("a sweep took the claim away")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if d.Driven(job) {
		t.Error("the claim outlives its process")
	}
	if files := locks(t, dir); len(files) != 1 {
		t.Errorf("%v: the killed process should have left its file", files)
	}
	newDrivers(t, dir)
	if files := locks(t, dir); len(files) != 0 {
		t.Errorf("%v is left after a sweep", files)
	}
	release, err := d.Claim(job)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if files := locks(t, dir); len(files) != 0 {
		t.Errorf("%v is left after a release", files)
	}
}

// TestSweepLooksAgain has a job claimed between a sweep's first look and its removal.
func TestSweepLooksAgain(t *testing.T) {
	d := newDrivers(t, t.TempDir())
	release, err := d.Claim(job)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := d.removeIfFree(job); err != nil || !d.Driven(job) {
		t.Errorf("a sweep removed what is held, error %v", err)
	}
}

func TestProcessesInTurn(t *testing.T) {
	dir := t.TempDir()
	var cmds []*exec.Cmd
	for range 3 {
		cmd := other(t, dir, "loop")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for range 50 {
		newDrivers(t, dir) // sweeps meanwhile
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func locks(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

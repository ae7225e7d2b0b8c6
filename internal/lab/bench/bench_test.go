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

// build makes the benchmark's program, and a directory for all that it leaves.
func build(t *testing.T) (program, tmp string) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: even the quick benchmark takes a while")
	}
	program, tmp = filepath.Join(t.TempDir(), "bench"), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := exec.Command("unshare", "-n", "true").Run(); err != nil && exec.Command("unshare", "-Un", "true").Run() != nil {
		t.Skipf("skipped: a network of its own cannot be had here: %v", err)
	}
	if _, err := exec.LookPath("/usr/sbin/sshd"); err != nil {
		t.Skip("skipped: sshd is not installed: run .ci/install-test-deps")
	}
	return program, tmp
}

func command(ctx context.Context, program, tmp string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

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

func TestTheQuickBenchmarkMakesAPage(t *testing.T) {
	program, tmp := build(t)
	page := filepath.Join(t.TempDir(), "page.md")
	cmd, out := command(t.Context(), program, tmp, "-quick", "-skip", "ansible", "-write", page)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{"# Benchmarks", "| processor |", "| 5 hosts |", "## Targets", "## Five steps", "## Round trips", "rehearse, 100 hosts"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	// What is ours has figures in every row; a peer may be missing.
	for line := range strings.Lines(text) {
		ours := strings.HasPrefix(line, "| sluice") || strings.HasPrefix(line, "| bare Go") || strings.HasPrefix(line, "| plan")
		if ours && strings.Contains(line, "not measured") {
			t.Errorf("no figures: %s", line)
		}
	}
	if strings.Contains(text, tmp) {
		t.Error("the page has a path of this machine in it")
	}
	if t.Failed() {
		t.Logf("%s\n%s", out, text)
	}
	nothingLeft(t, tmp)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	program, tmp := build(t)
	cmd, _ := command(t.Context(), program, tmp, "-quick", "-skip", "ansible")
	said := &await{text: "round 1", seen: make(chan struct{})}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-said.seen:
	case err := <-ended:
		t.Fatalf("it ended before it began: %v\n%s", err, said.all.String())
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an interrupted benchmark says that all is well")
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatal("it does not end")
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

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target target
		met    bool
		limit  string
	}{
		{target{most: 2.5, got: 2.5, format: "%.1f ms"}, true, "≤ 2.5 ms"},
		{target{most: 2.5, got: 2.9, format: "%.1f ms"}, false, "≤ 2.5 ms"},
		{target{least: 600, got: 599, format: "%.0f"}, false, "≥ 600"},
		{target{least: 600, got: 601, format: "%.0f"}, true, "≥ 600"},
	} {
		if got := c.target.met(); got != c.met || c.target.limit() != c.limit {
			t.Errorf("%+v: met %v, limit %q; want %v, %q", c.target, got, c.target.limit(), c.met, c.limit)
		}
	}
}

func TestMedian(t *testing.T) {
	itself := func(s int64) int64 { return s }
	for _, c := range []struct {
		samples []int64
		want    int64
	}{{nil, 0}, {[]int64{7}, 7}, {[]int64{9, 1, 5}, 5}, {[]int64{3, 1, 2, 100, 0}, 2}} {
		if got := median(c.samples, itself); got != c.want {
			t.Errorf("median of %v is %d, want %d", c.samples, got, c.want)
		}
	}
}

// A program that leaves a process behind is counted with it, and the process ends with it.
func TestTheReaperCountsAndEndsWhatIsLeftBehind(t *testing.T) {
	program, tmp := build(t)
	l := &lab{self: program, dir: tmp, env: []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}}
	// The one in front only waits for the one that is left behind.
	leave := func(work string) usage {
		t.Helper()
		fifo := filepath.Join(tmp, "fifo")
		u, err := l.run(t.Context(), of("sh", "-c", "mkfifo "+fifo+"; setsid sh -c '"+work+" : >"+fifo+"; exec sleep 1000' & read x <"+fifo+"; rm "+fifo))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	idle, u := leave(""), leave("i=0; while [ $i -lt 400000 ]; do i=$((i + 1)); done;")
	if u.CPU < 3*idle.CPU {
		t.Errorf("the work of what was left behind is not counted: %v, and %v without it", u.CPU, idle.CPU)
	}
	if u.Memory == 0 || u.Wall == 0 {
		t.Errorf("no figures: %+v", u)
	}
	if _, err := l.run(t.Context(), of("sh", "-c", "echo why >&2; exit 7")); err == nil || !strings.Contains(err.Error(), "ended with 7: why") {
		t.Errorf("a failure is told as %v", err)
	}
	nothingLeft(t, tmp)
}

func of(argv ...string) program { return program{name: argv[0], argv: argv} }

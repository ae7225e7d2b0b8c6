package fleetfiles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/core/fleet"
)

var _ fleet.Source = (*fleetfiles.Files)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes files below a new directory; those that begin with "#!" can be run.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadFile(t *testing.T) {
	dir := write(t, map[string]string{"a": "12345"})
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f := fleetfiles.New(t.Context())
	if b, err := f.ReadFile(filepath.Join(dir, "a"), 5); err != nil || string(b) != "12345" {
		t.Errorf("got %q, %v", b, err)
	}
	for path, want := range map[string]string{"a": "more than the 4 bytes", "": "a directory", "pipe": "a pipe"} {
		if b, err := f.ReadFile(filepath.Join(dir, path), 4); err == nil || !strings.Contains(err.Error(), want) || b != nil {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	_, err := f.ReadFile(filepath.Join(dir, "b"), 4)
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestGlobAndExecutable(t *testing.T) {
	dir := write(t, map[string]string{"b.yaml": "", "a.yaml": "", "c.yaml/d": "", "run": "#!/bin/sh\n"})
	f := fleetfiles.New(t.Context())
	got, err := f.Glob(filepath.Join(dir, "*.yaml"))
	if want := []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := f.Glob("["); err == nil {
		t.Error("a broken pattern is no error")
	}
	for name, want := range map[string]bool{"run": true, "a.yaml": false, "c.yaml": false} {
		if got, err := f.Executable(filepath.Join(dir, name)); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := f.Executable(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestRun(t *testing.T) {
	t.Setenv("SLUICE_TEST_TOKEN", "secret")
	t.Setenv("LC_ALL", "C")
	dir := write(t, map[string]string{
		"args":  "#!/bin/sh\nprintf '%s|' \"$@\"\n",
		"env":   "#!/bin/sh\nenv; pwd; read x && echo input; exit 0\n",
		"fail":  "#!/bin/sh\necho no\nprintf 'not\\033[31m good\\nat all\\n' >&2\nexit 3\n",
		"chat":  "#!/bin/sh\ni=0; while [ $i -lt 500 ]; do echo 'line after line after line' >&2; i=$((i+1)); done; echo last >&2; exit 1\n",
		"plain": "text",
	})
	f := fleetfiles.New(t.Context())
	run := func(limit int64, command ...string) string {
		out, err := f.Run(dir, command, time.Minute, limit)
		if err != nil {
			return "error: " + err.Error()
		}
		return string(out)
	}
	if got, want := run(100, "./args", "a b", "$(x)", "*"), "a b|$(x)|*|"; got != want {
		t.Errorf("arguments: got %q, want %q", got, want)
	}
	env := run(10000, "./env")
	if strings.Contains(env, "secret") || strings.Contains(env, "input") || !strings.Contains(env, "LC_ALL=C\n") || !strings.Contains(env, "PATH=") || !strings.HasSuffix(env, filepath.Base(dir)+"\n") {
		t.Errorf("environment: %s", env)
	}
	if got, want := run(100, "./fail"), "error: ./fail: exit status 3: not?[31m good at all"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := run(100, "./chat"); !strings.HasSuffix(got, " last") || len(got) > 3000 {
		t.Errorf("%d bytes of errors are told: %s", len(got), got)
	}
	for command, want := range map[string]string{
		"./nothing": "error: ./nothing: no such file", "./plain": "error: ./plain: permission denied", "surely-not-there": "executable file not found", "": "no program",
	} {
		if got := run(100, command); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
	if got, want := run(9, "./args", "12345678"), "12345678|"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := run(8, "./args", "12345678"); !strings.Contains(got, "printed more than 8 bytes") {
		t.Errorf("got %q", got)
	}
}

// gone waits until no process of the group is left but for the dead that nobody has waited for.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "Z") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestTimeLimitEndsTheWholeGroup(t *testing.T) {
	dir := write(t, map[string]string{"slow": "#!/bin/sh\nsleep 1000 &\necho $! >child\necho thinking >&2\nwait\n"})
	_, err := fleetfiles.New(t.Context()).Run(dir, []string{"./slow"}, 2*time.Second, 100)
	if err == nil || !strings.Contains(err.Error(), "it took more than 2s") {
		t.Errorf("got %v", err)
	}
	gone(t, filepath.Join(dir, "child"))
}

func TestEndlessOutput(t *testing.T) {
	dir := write(t, map[string]string{"yes": "#!/bin/sh\necho $$ >child\nexec yes\n"})
	_, err := fleetfiles.New(t.Context()).Run(dir, []string{"./yes"}, time.Minute, 1<<20)
	if err == nil || !strings.Contains(err.Error(), "printed more than") {
		t.Errorf("got %v", err)
	}
	gone(t, filepath.Join(dir, "child"))
}

func TestContextEndsPrograms(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fleetfiles.New(ctx).Run(t.TempDir(), []string{"true"}, time.Minute, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsLeftBehindIsEnded(t *testing.T) {
	dir := write(t, map[string]string{"fork": "#!/bin/sh\nsleep 1000 >/dev/null 2>&1 &\necho $! >child\necho '[]'\n"})
	if out, err := fleetfiles.New(t.Context()).Run(dir, []string{"./fork"}, time.Minute, 100); err != nil || string(out) != "[]\n" {
		t.Errorf("got %q, %v", out, err)
	}
	gone(t, filepath.Join(dir, "child"))
}

func TestOutputThatStaysOpenIsAnError(t *testing.T) {
	dir := write(t, map[string]string{"fork": "#!/bin/sh\nsleep 1000 &\necho $! >child\necho '[]'\n"})
	if out, err := fleetfiles.New(t.Context()).Run(dir, []string{"./fork"}, time.Minute, 100); err == nil || !strings.Contains(err.Error(), "keeps its output open") {
		t.Errorf("got %q, %v", out, err)
	}
	gone(t, filepath.Join(dir, "child"))
}

// TestLoad loads a fleet of real files and programs.
func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"fleet.yaml":      "include: [colo/*.yaml]\ninventory: [hosts.ini, ./dynamic]\nresolver: {ec2: {command: [./ec2]}}\ntag: {cloud: $resolver.ec2 web}\n",
		"colo/north.yaml": "tag: {colo: {north: [n1]}}\n",
		"hosts.ini":       "[web]\nweb[1:2] ansible_port=2222\n",
		"dynamic":         "#!/bin/sh\n[ \"$1\" = --list ] && echo '{\"db\": [\"db1\"]}'\n",
		"ec2":             "#!/bin/sh\necho \"[\\\"$1-1\\\"]\"\n",
	})
	l, err := fleet.Load(fleetfiles.New(t.Context()), filepath.Join(dir, "fleet.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fleet.Fold(l.Fleet().Hosts), "n1,web[1-2],db1,web-1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if hosts, err := l.Resolve("$resolver.ec2 new, $web"); err != nil || fleet.Fold(hosts) != "web[1-2],new-1" {
		t.Errorf("got %v, %v", hosts, err)
	}
	if _, err := l.Resolve("$resolver.ec2 ';id'"); err == nil || !strings.Contains(err.Error(), "cannot be the name of a host") {
		t.Errorf("got %v", err)
	}
}

package testfleet_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/lab/testfleet"
)

// eachPlain runs the test on both kinds of plain fleet.
func eachPlain(t *testing.T, n int, test func(t *testing.T, f *testfleet.Fleet)) {
	t.Run("OpenSSH", func(t *testing.T) { test(t, testfleet.StartPlain(t, n)) })
	t.Run("in process", func(t *testing.T) {
		f, err := testfleet.NewPlain(t.Context(), testfleet.PlainConfig{Hosts: n, InProcess: true})
		must(t, err)
		t.Cleanup(func() { must(t, f.Close()) })
		test(t, f)
	})
}

func TestPlain(t *testing.T) {
	eachPlain(t, 3, func(t *testing.T, f *testfleet.Fleet) {
		if !f.Plain() {
			t.Error("it says that it is isolated")
		}
		for _, h := range f.Hosts {
			must(t, h.WriteFile("note", []byte("of "+h.Name), 0o600))
			cmd := f.SSH(t.Context(), h.Name, `cat "$HOME/note"; echo error >&2; exit 7`)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			var status *exec.ExitError
			if !errors.As(err, &status) || status.ExitCode() != 7 || out.String() != "of "+h.Name || !strings.HasSuffix(errs.String(), "error\n") {
				t.Errorf("%s: %v, %q, %q\n%s", h.Name, err, &out, &errs, h.Log())
			}
			if got, err := h.Exec(t.Context(), "cat note"); got != "of "+h.Name {
				t.Errorf("%s: %q, %v", h.Name, got, err)
			}
		}
	})
}

// What was started and detached is seen while it runs, and ends with the fleet.
func TestPlainLeavesNothing(t *testing.T) {
	for _, inProcess := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "fleet")
		f, err := testfleet.NewPlain(t.Context(), testfleet.PlainConfig{Hosts: 2, InProcess: inProcess, Dir: dir})
		if errors.Is(err, testfleet.ErrUnavailable) {
			t.Skipf("skipped: %v", err)
		}
		must(t, err)
		out, err := f.SSH(t.Context(), "host2", "(trap '' TERM HUP; sleep 1000; sleep 1001) </dev/null >/dev/null 2>&1 & echo $!").Output()
		must(t, err)
		pid := strings.TrimSpace(string(out))
		seen := func(h *testfleet.Host) (seen bool) {
			processes, err := h.Processes()
			must(t, err)
			for _, p := range processes {
				seen = seen || itoa(p.PID) == pid
			}
			return seen
		}
		if seen(f.Hosts[0]) || !seen(f.Hosts[1]) {
			t.Errorf("in process %v: process %s of host2: seen by host1 %v, by host2 %v", inProcess, pid, seen(f.Hosts[0]), seen(f.Hosts[1]))
		}
		must(t, f.Close())
		if alive(pid) {
			t.Errorf("in process %v: process %s was left behind", inProcess, pid)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("in process %v: the directory was left behind: %v", inProcess, err)
		}
	}
}

func TestPlainCannotIsolate(t *testing.T) {
	eachPlain(t, 1, func(t *testing.T, f *testfleet.Fleet) {
		h, ctx := f.Hosts[0], t.Context()
		for name, err := range map[string]error{
			"Kill": h.Kill(ctx), "Boot": h.Boot(ctx), "Unplug": h.Unplug(ctx), "Silence": h.Silence(ctx, testfleet.BothWays),
			"RestoreLink": h.RestoreLink(ctx), "FillDisk": h.FillDisk(0), "FreeDisk": h.FreeDisk(), "StopSSHD": h.StopSSHD(ctx),
			"StartSSHD": h.StartSSHD(ctx), "ReloadSSHD": h.ReloadSSHD(ctx), "ChangeKey": h.ChangeKey(ctx), "SetPassword": h.SetPassword(ctx, "x", "y"),
		} {
			if !errors.Is(err, testfleet.ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), h.Name) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A test written for isolated hosts must not write into the machine that it runs on.
func TestPlainWritesOnlyInHomes(t *testing.T) {
	eachPlain(t, 1, func(t *testing.T, f *testfleet.Fleet) {
		h, outside := f.Hosts[0], filepath.Join(t.TempDir(), "outside")
		must(t, h.WriteFile("inside", []byte("x"), 0o640))
		must(t, os.WriteFile(outside, []byte("kept"), 0o600))
		run(t, h, "ln -s '"+outside+"' link")
		home := strings.TrimSpace(run(t, h, "pwd"))
		for _, path := range []string{outside, "link", "../outside", home + "/../outside", home + "x/outside"} {
			if err := h.WriteFile(path, []byte("overwritten"), 0o600); err == nil {
				t.Errorf("%s was written", path)
			}
		}
		if got, err := os.ReadFile(outside); string(got) != "kept" {
			t.Errorf("the file outside holds %q, %v", got, err)
		}
		if got, err := h.ReadFile(home + "/inside"); string(got) != "x" {
			t.Errorf("the file inside holds %q, %v", got, err)
		}
	})
}

// The plain fleet is for people who are not root, so it is tried as one.
func TestPlainWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: the other tests show it, we are not root")
	}
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	h := f.Hosts[0]
	must(t, h.WriteFile("/opt/testfleet.test", self, 0o755))
	out, err := h.Exec(t.Context(), "runuser -u "+testfleet.Deploy+
		" -- env HOME=/home/deploy TMPDIR=/tmp /opt/testfleet.test -test.v -test.run '^(TestPlain|TestPlainLeavesNothing|TestPlainCannotIsolate|TestTwentyHosts)$' 2>&1")
	if err != nil || !strings.Contains(out, "--- PASS: TestPlain ") || !strings.Contains(out, "--- PASS: TestPlainLeavesNothing ") ||
		!strings.Contains(out, "--- PASS: TestPlain/OpenSSH") || !strings.Contains(out, "skipped: no test fleet: not possible here: needs root") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

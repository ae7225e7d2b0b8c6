package work_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/target"
	"sluice/internal/run/work"
)

func TestOutputIsBounded(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Options.OutputLimit = 100 << 10
		b.job.Action.Shell = `head -c 30000000 /dev/zero | tr '\0' x; echo small >&2; exit 2`
		r := b.run()
		want(t, r, sluice.Failed, 2, "")
		if b.stdout() != strings.Repeat("x", 100<<10) || b.stderr() != "small\n" {
			t.Errorf("stdout has %d bytes, stderr %q", len(b.stdout()), b.stderr())
		}
		if !reflect.DeepEqual(r.Truncated, []string{"stdout"}) {
			t.Errorf("truncated: %v", r.Truncated)
		}
		b.wantClean()
	})
}

func TestTheStoreIsFull(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.outputs.fail = os.ErrPermission
	b.job.Action.Shell = "echo x; exit 3"
	r := b.run()
	want(t, r, sluice.Failed, 3, "ended with 3")
	if len(r.Truncated) == 0 {
		t.Error("the lost output is not told")
	}
}

// TestOthersKeepOutputToo: where it cannot be told for a while how much was printed, since others do not answer, that is waited for. Other
// errors, and a wait that is over, are told.
func TestOthersKeepOutputToo(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.outputs.unknown, b.outputs.asks = sluice.Errorf(sluice.Contact, "1 of the 2 other servers must say how much they have"), 3
	b.job.Action.Shell = "echo x; exit 3"
	r := b.run()
	want(t, r, sluice.Failed, 3, "ended with 3")
	if b.stdout() != "x\n" || b.outputs.asks != 0 {
		t.Errorf("%q, asked %d times too few", b.stdout(), b.outputs.asks)
	}
	for _, why := range []error{b.outputs.unknown, os.ErrPermission} {
		b := newBench(t, newHost(t, "dash"))
		b.outputs.unknown, b.outputs.asks = why, -1
		if why == os.ErrPermission {
			b.outputs.asks = 1
		} else {
			b.job.Options.Reconnect = 300 * time.Millisecond
		}
		if _, err := b.do(t.Context(), work.Assignment{}); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	b.outputs.asks = -1
	if _, err := b.do(gone, work.Assignment{Attempt: sluice.NewAttemptID(b.job.ID, 0, 2)}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// tiny mounts a small file system for the place.
func tiny(t *testing.T, h *host, options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: not root")
	}
	dir := filepath.Join(filepath.Dir(h.home), "tiny")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("skipped: no tmpfs can be mounted: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	h.place = filepath.Join(dir, "place")
}

func TestDiskFull(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		tiny(t, b.host, "size=64k")
		b.job.Target.Dir = b.host.place
		b.job.Action.Shell = `head -c 1000000 /dev/zero; echo done >&2; exit 4`
		r := b.run()
		want(t, r, sluice.Failed, 4, "ended with 4")
		if len(r.Truncated) == 0 || r.Truncated[0] != "stdout" {
			t.Errorf("truncated: %v", r.Truncated)
		}
		b.wantClean()
	})
}

func TestDiskFullBeforeTheStart(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		tiny(t, b.host, "size=16k")
		b.job.Target.Dir = b.host.place
		filler := filepath.Join(filepath.Dir(b.host.place), "filler")
		if err := exec.Command("sh", "-c", "cat /dev/zero >"+filler+" || true").Run(); err != nil {
			t.Fatal(err)
		}
		b.count(1, "true")
		r := b.run()
		want(t, r, sluice.Failed, -1, "on the host")
		if !r.NotStarted || exists(filepath.Join(b.host.home, "runs")) || !strings.Contains(r.Reason, "space") {
			t.Errorf("%+v", r)
		}
	})
}

func TestAPlaceThatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		make         func(t *testing.T, place string) error
	}{
		{"symlink", "symbolic link", func(t *testing.T, p string) error { return os.Symlink(t.TempDir(), p) }},
		{"open", "mode 0700", func(_ *testing.T, p string) error { return os.Mkdir(p, 0o755) }},
		{"a file", "File exists", func(_ *testing.T, p string) error { return os.WriteFile(p, nil, 0o600) }},
		{"foreign", "another user", func(t *testing.T, p string) error {
			if os.Getuid() != 0 {
				t.Skip("skipped: not root")
			}
			if err := os.Mkdir(p, 0o777); err != nil {
				return err
			}
			return os.Chown(p, 65534, 65534)
		}},
		{"no parent", "No such file", func(_ *testing.T, p string) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, newHost(t, "dash"))
			if err := c.make(t, b.host.place); err != nil {
				t.Fatal(err)
			}
			if c.name == "no parent" {
				b.job.Target.Dir += "/no/such"
			}
			b.count(1, "true")
			r := b.run()
			want(t, r, sluice.Failed, -1, "")
			if !r.NotStarted || exists(filepath.Join(b.host.home, "runs")) || !strings.Contains(strings.ToLower(r.Reason), strings.ToLower(c.reason)) {
				t.Errorf("%+v, want %q", r, c.reason)
			}
		})
	}
}

// rc files print, also late, and read; what they print is not the command's.
func TestNoisyLogin(t *testing.T) {
	for _, noise := range []string{
		"echo noise; echo noise >&2; ",
		"(sleep 0.15; echo late; sleep 0.1; echo later) & ",
		"(cat /dev/zero | head -c 200000 | tr '\\0' n) ; ",
	} {
		eachShell(t, func(t *testing.T, b *bench) {
			b.host.onStart = func(c string) (string, error) { return noise + c, nil }
			b.job.Action.Shell = "echo one; sleep 0.4; echo two"
			want(t, b.run(), sluice.Succeeded, 0, "")
			if b.stdout() != "one\ntwo\n" || b.stderr() != "" {
				t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
			}
			b.wantClean()
		})
	}
}

func TestALoginShellThatDoesNotRunCommands(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		b := newBench(t, newHost(t, "dash"))
		b.job.Options.ReadOnly = readOnly
		b.host.onStart = func(string) (string, error) { return "echo This account is not available.; exit 1", nil }
		r := b.run()
		want(t, r, sluice.Failed, -1, "This account is not available")
		if !r.NotStarted {
			t.Errorf("%+v", r)
		}
	}
}

// A text that is cut anywhere runs nothing.
func TestACutTextRunsNothing(t *testing.T) {
	for i, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, shell)
			text := target.Render(target.Call{
				Attempt: "0123456789ab-0-1", Nonce: "n", Place: h.place, Limit: 1 << 20,
				Main: target.Words("sh", "-c", "echo ran >>"+target.Quote(filepath.Join(h.home, "runs")), "sh"),
			})
			step := 1
			if i > 0 {
				step = 211
			}
			if testing.Short() {
				step = 397
			}
			for n := len(text) - 2; n >= 0; n -= step {
				cmd := exec.Command(h.login)
				cmd.Stdin = strings.NewReader(text[:n] + "\ngo\ngo\n")
				out, _ := cmd.Output()
				if exists(filepath.Join(h.home, "runs")) || exists(h.place) {
					t.Fatalf("cut at %d of %d bytes something was done: %s", n, len(text), out)
				}
			}
			cmd := exec.Command(h.login)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_, _ = in.Write([]byte(text))
			eventually(t, "the attempt is ready", func() bool { return exists(filepath.Join(h.place, "0123456789ab-0-1", "steps")) })
			_, _ = in.Write([]byte("go\n"))
			eventually(t, "the whole text runs", func() bool { return exists(filepath.Join(h.home, "runs")) })
			_, _ = in.Write([]byte("ack\n"))
			_ = cmd.Wait()
		})
	}
}

func TestPlain(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.host.hook("pre.d/no", "#!/bin/sh\nexit 1\n", 0o755)
		b.job.Options.ReadOnly = true
		for _, env := range []map[string]string{nil, {"X": "$(id) 'q'"}} {
			b.job.ID = newJobID()
			b.job.Options.Env = env
			b.job.Action.Shell = `echo "$SLUICE_HOST $X"; cat; echo err >&2; exit 5`
			var steps []sluice.TaskStep
			r, err := b.do(context.Background(), work.Assignment{Step: func(s sluice.TaskStep) { steps = append(steps, s) }})
			if err != nil {
				t.Fatal(err)
			}
			want(t, r, sluice.Failed, 5, "the command ended with 5")
			if b.stdout() != "web1 "+env["X"]+"\n" || b.stderr() != "err\n" {
				t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
			}
			if len(steps) != 1 || steps[0].Step != "command" || steps[0].ExitCode != 5 {
				t.Errorf("steps %+v", steps)
			}
		}
		b.job.ID = newJobID()
		b.job.Action.Shell = "echo 'a!\\'\necho b"
		b.job.Options.Env = nil
		want(t, b.run(), sluice.Succeeded, 0, "")
		if b.stdout() != "a!\\\nb\n" {
			t.Errorf("stdout %q", b.stdout())
		}
		b.wantClean()
	})
}

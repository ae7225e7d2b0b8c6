package work_test

import (
	"os"
	"strings"
	"testing"

	"sluice"
)

func eachShell(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			test(t, newBench(t, newHost(t, shell)))
		})
	}
}

func want(t *testing.T, r sluice.TaskFinished, outcome sluice.Outcome, code int, reason string) {
	t.Helper()
	got := -1
	if r.ExitCode != nil {
		got = *r.ExitCode
	}
	if r.Outcome != outcome || got != code || !strings.Contains(r.Reason, reason) {
		t.Errorf("got %s, exit code %d, %q; want %s, %d, %q", r.Outcome, got, r.Reason, outcome, code, reason)
	}
}

func TestCommand(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = `echo out; echo err >&2; pwd; printf 'no newline'; exit 3`
		r := b.run()
		want(t, r, sluice.Failed, 3, "the command ended with 3")
		if got, want := b.stdout(), "out\n"+b.host.home+"\nno newline"; got != want {
			t.Errorf("stdout %q, want %q", got, want)
		}
		if b.stderr() != "err\n" {
			t.Errorf("stderr %q", b.stderr())
		}
		b.wantClean()
	})
}

func TestTrueLeavesNothing(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		r := b.run()
		want(t, r, sluice.Succeeded, 0, "")
		if r.NotStarted || r.Host != "web1" || r.Attempt != b.id() {
			t.Errorf("%+v", r)
		}
		b.wantClean()
		if _, err := os.Stat("/sys/fs/cgroup/freezer/sluice-" + string(b.id())); err == nil {
			t.Error("the control group is still there")
		}
	})
}

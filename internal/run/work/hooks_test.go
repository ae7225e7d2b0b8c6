package work_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/run/work"
)

func TestHooks(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		say := "#!/bin/sh\necho ${0##*/} $SLUICE_PHASE $SLUICE_JOB $SLUICE_HOST $SLUICE_ATTEMPT \"$SLUICE_COMMAND\" $X\n"
		b.host.hook("pre.d/B", say, 0o755)
		b.host.hook("pre.d/a", say, 0o755)
		b.host.hook("pre.d/10-x.sh", say, 0o755)
		b.host.hook("pre.d/not-executable", say, 0o644)
		b.host.hook("pre.d/saved~", say, 0o755)
		b.host.hook("pre.d/.hidden", say, 0o755)
		b.host.hook("pre.d/two words", say, 0o755)
		if err := os.Mkdir(filepath.Join(b.host.home, "pre.d/dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		b.host.hook("post.d/z", say, 0o755)
		b.job.Command = "what 'people' see"
		b.job.Options.Env = map[string]string{"X": "$(echo injected) `id` \"'"}
		b.job.Action.Shell = "echo $SLUICE_PHASE $X"
		var steps []string
		r, err := b.do(context.Background(), work.Assignment{Step: func(s sluice.TaskStep) {
			steps = append(steps, fmt.Sprintf("%s=%d", s.Step, s.ExitCode))
		}})
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Succeeded, 0, "")
		rest := fmt.Sprintf(" %s web1 %s what 'people' see $(echo injected) `id` \"'\n", b.job.ID, b.id())
		wanted := "10-x.sh pre" + rest + "B pre" + rest + "a pre" + rest + "command $(echo injected) `id` \"'\n" + "z post" + rest
		if got := b.stdout(); got != wanted {
			t.Errorf("got\n%s\nwant\n%s", got, wanted)
		}
		if w := []string{"pre/10-x.sh=0", "pre/B=0", "pre/a=0", "command=0", "post/z=0"}; !reflect.DeepEqual(steps, w) {
			t.Errorf("steps %v, want %v", steps, w)
		}
		b.wantClean()
	})
}

func TestAFailureEndsTheRun(t *testing.T) {
	for _, c := range []struct {
		name, pre, command, post, reason string
		code                             int
		out                              string
	}{
		{"pre", "exit 3", "echo command", "echo post", "pre hook 10-drain ended with 3", 3, ""},
		{"command", "echo pre", "exit 4", "echo post", "the command ended with 4", 4, "pre\n"},
		{"post", "echo pre", "echo command", "exit 5", "post hook 20-fill ended with 5", 5, "pre\ncommand\n"},
		{"signal", "echo pre", "kill -9 $$", "echo post", "the command ended with 137 (signal KILL)", 137, "pre\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, b *bench) {
				b.host.hook("pre.d/10-drain", "#!/bin/sh\n"+c.pre+"\n", 0o755)
				b.host.hook("post.d/20-fill", "#!/bin/sh\n"+c.post+"\n", 0o755)
				b.job.Action.Shell = c.command
				want(t, b.run(), sluice.Failed, c.code, c.reason)
				if b.stdout() != c.out {
					t.Errorf("stdout %q, want %q", b.stdout(), c.out)
				}
				b.wantClean()
			})
		})
	}
}

func TestNoHooks(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.host.hook("pre.d/x", "#!/bin/sh\nexit 1\n", 0o755)
	b.job.Options.NoHooks = true
	want(t, b.run(), sluice.Succeeded, 0, "")
}

func TestHooksThatCannotBeReadVeto(t *testing.T) {
	b := newBench(t, newHost(t, "dash").asNobody())
	if os.Getuid() != 0 {
		t.Skip("skipped: not root")
	}
	b.job.Target.Dir = b.host.place
	b.host.hook("pre.d/x", "#!/bin/sh\nexit 1\n", 0o755)
	if err := os.Chmod(filepath.Join(b.host.home, "pre.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	want(t, b.run(), sluice.Failed, 1, "pre hook")
	if !strings.Contains(b.stderr(), "cannot be read") {
		t.Errorf("stderr %q", b.stderr())
	}
}

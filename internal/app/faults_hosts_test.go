package app_test

import (
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/lab/testfleet"
)

// Whatever shell, banner and start files a host has, the command gets what it was given, and the output is its own.
func TestShellsAndNoise(t *testing.T) {
	shells := testfleet.Shells()
	w := newWorld(t, testfleet.Config{Hosts: len(shells) + 1, Each: func(i int, h *testfleet.HostConfig) {
		shell := shells[i%len(shells)]
		h.Shell, h.Sh, h.Sudo = shell, shell, testfleet.SudoNoPassword
		h.Banner, h.Noise = "Beware of the dog.\n", "welcome `to` $(nowhere)"
		h.ReadOnlyHome = i == len(shells)
	}})
	all := "host[1-" + string(rune('0'+len(w.f.Hosts))) + "]"
	for _, as := range [][]string{{"--user", "root"}, {"--user", testfleet.Deploy}, {"--user", testfleet.Deploy, "--sudo"}} {
		t.Run(strings.Join(as, " "), func(t *testing.T) {
			args := append([]string{"run", "-w", all}, as...)
			r := w.start(append(args, "--env", "WORD=a  b'\"$(c)*", "--", "umask 0; "+count+`; printf '%s|%s\n' "$WORD" "$HOME"; id -un; seq 1 20000; echo late >&2; exit 3`)...)
			r.exits(1)
			user, home := as[1], "/home/"+testfleet.Deploy
			if as[1] == "root" || len(as) > 2 {
				user, home = "root", "/root"
			}
			for _, h := range w.f.Hosts {
				got := w.outcome(r.job(), h, sluice.Failed)
				if got.ExitCode == nil || *got.ExitCode != 3 {
					t.Errorf("%s: %+v, want 3", h, got)
				}
				same(t, "the output of "+h.Name, w.output(r.job(), got.Attempt), "a  b'\"$(c)*|"+home+"\n"+user+"\n"+seq(20000))
				if b, err := h.ReadFile(counts); err != nil || string(b) != string(got.Attempt)+"\n" {
					t.Errorf("%s: the attempts that ran are %q, %v", h, b, err)
				}
				_, err := h.Exec(w.ctx, "rm -f "+counts)
				w.must(err)
				w.ok("host", "release", h.Name, "--reason", "it was meant to fail")
			}
		})
	}
}

// On a full disk nothing starts, and it says so. With room again it can be tried again.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, hosts(2))
	h := w.host(1)
	w.must(h.WriteFile(counts, nil, 0o644))
	w.must(h.FillDisk(0))
	r := w.start("run", "-w", "host[1-2]", "--", count)
	r.exits(1)
	got := w.outcome(r.job(), h, sluice.Failed)
	if !got.NotStarted || !strings.Contains(got.Reason, "No space left") && !strings.Contains(got.Reason, "disk is full") {
		t.Errorf("on a full disk: %+v", got)
	}
	w.ran(0, 1)
	w.must(h.FreeDisk())
	w.start("retry", string(r.job())).exits(0)
	w.ran(1, 1)
}

// A disk that fills up while the command runs costs output, not the truth about its end.
func TestDiskFillsUp(t *testing.T) {
	w := newWorld(t, hosts(1))
	h := w.host(1)
	r := w.start("run", "-w", "host1", "--", count+"; seq 1 1000; until [ -e /run/go ]; do sleep 0.05; done; seq 1 200000; exit 3")
	w.running(h, 1)
	event[sluice.TaskOutput](r, nil)
	w.must(h.FillDisk(64 << 10))
	w.must(h.WriteFile("/run/go", nil, 0o644)) // another file system
	r.exits(1)
	got := w.outcome(r.job(), h, sluice.Failed)
	if got.ExitCode == nil || *got.ExitCode != 3 || !slices.Contains(got.Truncated, "stdout") {
		t.Errorf("%+v, want 3 with its output marked as cut", got)
	}
	if out := w.output(r.job(), got.Attempt); !strings.HasPrefix(seq(200000), strings.TrimPrefix(out, seq(1000))) || len(out) < len(seq(1000)) {
		t.Errorf("what is kept of the output is not its beginning: %d bytes", len(out))
	}
	w.ran(1)
}

// hook is a hook that notes what it sees.
const hook = "#!/bin/sh\necho \"$0 $SLUICE_PHASE $SLUICE_HOST $SLUICE_JOB $SLUICE_ATTEMPT $SLUICE_COMMAND\" >>/tmp/hooks\n"

func TestHooks(t *testing.T) {
	w := newWorld(t, hosts(3))
	for i, h := range w.f.Hosts {
		_, err := h.Exec(w.ctx, "mkdir -p /etc/sluice/pre.d /etc/sluice/post.d")
		w.must(err)
		for _, name := range []string{"pre.d/10-drain", "pre.d/20-backup", "post.d/10-check", "post.d/20-fill"} {
			w.must(h.WriteFile("/etc/sluice/"+name, []byte(hook), 0o755))
		}
		w.must(h.WriteFile("/etc/sluice/pre.d/15-not-executable", []byte(hook), 0o644))
		w.must(h.WriteFile("/etc/sluice/pre.d/30-old.bak~", []byte(hook), 0o755))
		switch i {
		case 1:
			w.must(h.WriteFile("/etc/sluice/pre.d/20-backup", []byte(hook+"exit 7\n"), 0o755))
		case 2:
			w.must(h.WriteFile("/etc/sluice/post.d/10-check", []byte(hook+"exit 8\n"), 0o755))
		}
	}
	r := w.start("run", "-w", "host[1-3]", "--", count)
	r.exits(1)
	w.ran(1, 0, 1)
	steps := map[sluice.Host]string{}
	for _, s := range all[sluice.TaskStep](r) {
		steps[s.Host] += s.Step + "=" + string(rune('0'+s.ExitCode)) + " "
	}
	for host, want := range map[sluice.Host]string{
		"host1": "pre/10-drain=0 pre/20-backup=0 command=0 post/10-check=0 post/20-fill=0 ",
		"host2": "pre/10-drain=0 pre/20-backup=7 ",
		"host3": "pre/10-drain=0 pre/20-backup=0 command=0 post/10-check=8 ",
	} {
		if steps[host] != want {
			t.Errorf("%s: steps %q, want %q", host, steps[host], want)
		}
	}
	saw, err := w.host(1).ReadFile("/tmp/hooks")
	w.must(err)
	var want strings.Builder
	got := w.outcome(r.job(), w.host(1), sluice.Succeeded)
	for _, name := range []string{"pre.d/10-drain pre", "pre.d/20-backup pre", "post.d/10-check post", "post.d/20-fill post"} {
		want.WriteString("/etc/sluice/" + name + " host1 " + string(r.job()) + " " + string(got.Attempt) + " " + count + "\n")
	}
	same(t, "what the hooks saw", string(saw), want.String())
	for n, word := range map[int]string{2: "pre hook 20-backup ended with 7", 3: "post hook 10-check ended with 8"} {
		if got := w.outcome(r.job(), w.host(n), sluice.Failed); got.Reason != word {
			t.Errorf("%s failed by %q, want %q", w.host(n), got.Reason, word)
		}
	}
	w.start("run", "-w", "host2", "--no-hooks", "--yes", "--", count).exits(0)
	w.ran(1, 1, 1)
}

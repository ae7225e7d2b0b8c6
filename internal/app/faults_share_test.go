package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"sluice"
	"sluice/internal/lab/testfleet"
)

// Two jobs that share hosts and a limit keep both: one at a time on a host, and no more hosts at once than may be.
func TestTwoRunsShareHostsAndALimit(t *testing.T) {
	w := newWorld(t, hosts(6))
	fleet := w.limited(2)
	const command = `mkdir /tmp/busy || echo >>/tmp/overlap; sleep 0.2; rmdir /tmp/busy; ` + count
	first := w.start("run", "-f", fleet, "-t", "host[1-5]", "--", command)
	second := w.start("run", "-f", fleet, "-t", "host[2-6]", "--", command)
	first.exits(0)
	second.exits(0)
	w.ran(1, 2, 2, 2, 2, 1)
	for _, h := range w.f.Hosts {
		if n := w.lines(h, "/tmp/overlap"); n > 0 {
			t.Errorf("two commands ran on %s at once, %d times", h, n)
		}
	}
	most, running := 0, map[sluice.AttemptID]bool{}
	for _, e := range w.journal() {
		switch b := e.Body.(type) {
		case sluice.TaskStarted:
			running[b.Attempt] = true
		case sluice.TaskFinished:
			delete(running, b.Attempt)
		}
		most = max(most, len(running))
	}
	if most != 2 {
		t.Errorf("%d hosts at once under a limit of 2", most)
	}
}

// reader notes every content of a file that anybody can see, until the story ends.
func (w *world) reader(h *testfleet.Host, path string) (seen func() []string) {
	w.t.Helper()
	var reading sync.WaitGroup
	reading.Go(func() {
		_, err := h.Exec(w.ctx, "echo >/tmp/reading; while [ ! -e /tmp/read ]; do sha256sum <"+path+" >>/tmp/seen || echo missing >>/tmp/seen; done")
		if err != nil {
			w.t.Error(err)
		}
	})
	w.until("the reader reads", func() bool { return w.lines(h, "/tmp/seen") > 0 })
	return sync.OnceValue(func() []string {
		w.must(h.WriteFile("/tmp/read", nil, 0o644))
		reading.Wait()
		b, err := h.ReadFile("/tmp/seen")
		w.must(err)
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	})
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// noise is content that no two hosts have by chance.
func noise(n int) []byte {
	b := make([]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b) // never fails
	return b
}

// Who reads a file while it is replaced sees the old one or the new one, whole.
func TestCopyIsWholeOrNotAtAll(t *testing.T) {
	slow(t)
	w := newWorld(t, hosts(3))
	fleet := w.limited(1)
	before, after := noise(1<<20), noise(20<<20)
	path := w.local("app.bin")
	w.must(os.WriteFile(path, after, 0o640))
	w.must(os.Chmod(path, 0o640))
	for _, h := range w.f.Hosts {
		_, err := h.Exec(w.ctx, "mkdir -p /srv/app")
		w.must(err)
		w.must(h.WriteFile("/srv/app/app.bin", before, 0o644))
	}
	seen := w.reader(w.host(1), "/srv/app/app.bin")
	full := w.host(3)
	w.must(full.FillDisk(8 << 20))
	r := w.start("copy", "-f", fleet, "-t", "all", path, "/srv/app/app.bin")
	r.exits(1)
	for _, line := range seen() {
		if sum, _, _ := strings.Cut(line, " "); sum != digest(before) && sum != digest(after) {
			t.Errorf("a reader saw %q, neither the old nor the new file", line)
			break
		}
	}
	check := func(h *testfleet.Host, want []byte, mode string) {
		t.Helper()
		got, err := h.ReadFile("/srv/app/app.bin")
		w.must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %s, want %d bytes", h, len(got), digest(got), len(want))
		}
		if out, err := h.Exec(w.ctx, "stat -c %a /srv/app/app.bin; ls -A /srv/app"); err != nil || out != mode+"\napp.bin\n" {
			t.Errorf("%s: mode and names are %q, %v", h, out, err)
		}
	}
	check(w.host(1), after, "640")
	check(w.host(2), after, "640")
	w.outcome(r.job(), full, sluice.Failed)
	check(full, before, "644") // the old one stays
	w.must(full.FreeDisk())
	w.start("retry", string(r.job())).exits(0)
	check(full, after, "640")
}

func TestCopyTree(t *testing.T) {
	w := newWorld(t, hosts(2))
	tree := w.local("site")
	w.must(os.MkdirAll(tree+"/a/empty", 0o750))
	w.must(os.WriteFile(tree+"/a/run me.sh", []byte("#!/bin/sh\n"), 0o755))
	w.must(os.WriteFile(tree+"/b", noise(300<<10), 0o600))
	w.must(os.Symlink("a/run me.sh", tree+"/link"))
	r := w.start("copy", "-w", "host[1-2]", tree+"/", "/srv/site")
	r.exits(0)
	for _, h := range w.f.Hosts {
		out, err := h.Exec(w.ctx, "cd /srv/site && find . -mindepth 1 -printf '%y %m %P %l\\n' | sort")
		w.must(err)
		same(t, "the tree on "+h.Name, out, "d 750 a \nd 750 a/empty \nf 600 b \nf 755 a/run me.sh \nl 777 link a/run me.sh\n")
		b, err := h.ReadFile("/srv/site/b")
		w.must(err)
		if digest(b) != digest(noise(300<<10)) {
			t.Errorf("%s: the file is another", h)
		}
	}
}

// A flood of output is cut at the limit and said to be cut; the program's memory stays small.
func TestFloods(t *testing.T) {
	slow(t)
	const limit = sluice.DefaultOutputLimit
	w := newWorld(t, hosts(3))
	floods := map[string]string{
		"host1": "seq 1 37000000",                             // 300 MB of lines
		"host2": "head -c 300000000 /dev/zero | tr '\\0' x",   // one line without end
		"host3": "head -c 3000000 /dev/urandom | tee /tmp/it", // binary, all of it
	}
	var script strings.Builder
	for host, flood := range floods {
		fmt.Fprintf(&script, "[ $SLUICE_HOST != %s ] || { %s; }\n", host, flood)
	}
	r := w.start("run", "-w", "host[1-3]", "--", script.String()+count+"\n"+hold)
	for n, size := range []int64{limit, limit, 3000000} {
		h := w.host(n + 1)
		w.running(h, 1)
		r.find("the last of the output of "+h.Name, func(e sluice.Event) bool {
			o, ok := e.Body.(sluice.TaskOutput)
			end := o.Offset + int64(len(o.Data))
			if o.Encoding != "" {
				end = o.Offset + int64(len(o.Data))/4*3 - int64(strings.Count(o.Data, "="))
			}
			return ok && string(o.Host) == h.Name && end == size
		})
	}
	if peak := w.peak(r); peak > 150<<20 {
		t.Errorf("the program took %d MiB", peak>>20)
	}
	w.letGo(w.f.Hosts...)
	r.exits(0)
	w.ran(1, 1, 1)
	for n, want := range []bool{true, true, false} {
		got := w.outcome(r.job(), w.host(n+1), sluice.Succeeded)
		if cut := len(got.Truncated) > 0; cut != want {
			t.Errorf("%s: marked as cut: %v", w.host(n+1), got.Truncated)
		}
		out := w.output(r.job(), got.Attempt)
		switch n {
		case 0:
			same(t, "the lines", out, seq(2_300_000)[:limit])
		case 1:
			same(t, "the line", out, strings.Repeat("x", limit))
		case 2:
			sent, err := w.host(3).ReadFile("/tmp/it")
			w.must(err)
			same(t, "the bytes", out, string(sent))
			same(t, "the bytes in the log", w.ok("log", string(r.job()), "host3"), string(sent))
		}
	}
}

// peak is the most memory that the program has had.
func (w *world) peak(r *run) int64 {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	w.must(err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscan(rest, &kib)
	w.must(err)
	return kib << 10
}

// With no room for the journal nothing new starts; what ran is kept, and written when there is room.
func TestControllerDiskFull(t *testing.T) {
	w := newWorld(t, hosts(2))
	state, copied := w.local("small"), w.local(".local/state")
	w.must(os.Mkdir(state, 0o700))
	script := `mount -t tmpfs -o size=8m,mode=700 tmpfs "$XDG_STATE_HOME" && "$0" "$@"; code=$?; cp -a "$XDG_STATE_HOME/sluice" "$COPY"; exit $code`
	args := []string{"-o", "json", "run", "-w", "host[1-2]", "--max-parallel", "1", "--", count + "; " + hold + "; seq 1 1000"}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	cmd := w.f.Command(ctx, "unshare", append([]string{"--mount", "--", "sh", "-c", script, w.program}, args...)...)
	cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+state, "COPY="+copied)
	r := w.follow(cmd, args)
	w.running(w.host(1), 1)

	filler := fmt.Sprintf("/proc/%d/root%s/filler", cmd.Process.Pid, state)
	f, err := os.Create(filler)
	w.must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	w.must(f.Close())
	w.letGo(w.f.Hosts...)
	w.until("the program says that it cannot write", func() bool { return bytes.Contains(r.stderr.Bytes(), []byte("journal")) })
	if n := len(all[sluice.TaskFinished](r)); n != 0 {
		t.Errorf("%d outcomes are told that cannot be in the journal", n)
	}
	w.ran(1, 0)
	w.must(os.Remove(filler))
	r.exits(0)
	w.ran(1, 1)
	for _, h := range w.f.Hosts {
		got := w.outcome(r.job(), h, sluice.Succeeded)
		if len(got.Truncated) == 0 {
			same(t, "the output of "+h.Name, w.output(r.job(), got.Attempt), seq(1000))
		} else if h == w.host(2) {
			t.Errorf("%s: the output is cut, though there was room", h)
		}
	}
}

package configfiles

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/core/config"
)

var (
	_ config.Tree = (*Dir)(nil)
	_ config.Tree = (*Past)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes files below a directory; those that begin with "#!" can be run.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
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
}

func open(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"in/b.yaml": "b", "in/a": "#!/bin/sh\n", "in/sub/c.yaml": "c", "out.yaml": "secret"})
	for link, to := range map[string]string{"link.yaml": "b.yaml", "away.yaml": "../out.yaml", "dir": "sub"} {
		if err := os.Symlink(to, filepath.Join(dir, "in", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "in", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, filepath.Join(dir, "in"))
	got, err := d.List(".")
	if want := []string{"a", "away.yaml", "b.yaml", "link.yaml", "pipe"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := d.List("sub"); err != nil || !slices.Equal(got, []string{"c.yaml"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := d.List("nothing"); err != nil || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]string{"b.yaml": "b", "link.yaml": "b", "sub/c.yaml": "c"} {
		if b, err := d.ReadFile(name, 1); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]string{"away.yaml": "escapes", "../out.yaml": "escapes", "pipe": "no file", "sub": "no file", "a": "more than 1 bytes"} {
		if b, err := d.ReadFile(name, 1); err == nil || !strings.Contains(err.Error(), want) || b != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := d.ReadFile("nothing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for name, want := range map[string]bool{"a": true, "b.yaml": false, "sub": false} {
		if got, err := d.Executable(name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestRun(t *testing.T) {
	t.Setenv("SLUICE_TEST_TOKEN", "secret")
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"in/cat":   "#!/bin/sh\ncat; echo \"$SLUICE_APP\"; pwd; env\n",
		"in/deaf":  "#!/bin/sh\nexec 0<&-; echo '{}'\n",
		"in/fail":  "#!/bin/sh\nprintf 'not\\033[31m good\\nat all\\n' >&2\nexit 3\n",
		"in/much":  "#!/bin/sh\nwhile :; do echo more and more; done\n",
		"in/plain": "text",
		"out":      "#!/bin/sh\necho out\n",
	})
	if err := os.Symlink("../out", filepath.Join(dir, "in", "away")); err != nil {
		t.Fatal(err)
	}
	d := open(t, filepath.Join(dir, "in"))
	out, err := d.Run("cat", []string{"SLUICE_APP=shop"}, []byte("given "), 10000)
	if err != nil || !strings.HasPrefix(string(out), "given shop\n"+filepath.Join(dir, "in")+"\n") || strings.Contains(string(out), "secret") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := d.Run("deaf", nil, []byte(strings.Repeat("x", 1<<20)), 100); err != nil || string(out) != "{}\n" {
		t.Errorf("%s %v", out, err)
	}
	for name, want := range map[string]string{
		"fail": "exit status 3: not?[31m good at all", "much": "it printed more than 1000 bytes", "plain": "no program", "away": "escapes", "nothing": "no such file",
	} {
		if out, err := d.Run(name, nil, nil, 1000); err == nil || !strings.Contains(err.Error(), want) || out != nil {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// A program that takes too long is ended with all that it has started.
func TestProgramsEnd(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"slow": "#!/bin/sh\nsleep 600 & echo $! >pid; echo begun >&2; wait\n"})
	_, err := program{timeout: 200 * time.Millisecond, limit: 10, dir: dir, words: []string{filepath.Join(dir, "slow")}}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it took more than 200ms") {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil { // else it was ended before
		gone(t, strings.TrimSpace(string(b)))
	}
	write(t, dir, map[string]string{"leaves": "#!/bin/sh\nsleep 600 >/dev/null 2>&1 & echo $! >pid\n"})
	if _, err := (program{timeout: time.Minute, limit: 10, dir: dir, words: []string{filepath.Join(dir, "leaves")}}).run(t.Context()); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, strings.TrimSpace(string(b)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (program{timeout: time.Minute, limit: 10, dir: dir, words: []string{filepath.Join(dir, "slow")}}).run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// gone waits until a process is no more, or a dead one that nobody has waited for.
func gone(t *testing.T, pid string) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "Z") {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("process %s goes on", pid)
		case <-tick.C:
		}
	}
}

// repository is a git repository with some history.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r repository) git(words ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", words...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v: %s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit keeps the files as they are, at a time.
func (r repository) commit(at string, files map[string]string) string {
	r.t.Helper()
	write(r.t, r.dir, files)
	r.git("add", "-A")
	r.t.Setenv("GIT_COMMITTER_DATE", at)
	r.t.Setenv("GIT_AUTHOR_DATE", at)
	r.git("commit", "-q", "--no-verify", "-m", "x")
	return r.git("rev-parse", "HEAD")
}

func at(t *testing.T, dir string, when At) *Past {
	t.Helper()
	p, err := OpenAt(t.Context(), dir, when)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestPast(t *testing.T) {
	r := newRepository(t)
	first := r.commit("2026-01-01T12:00:00Z", map[string]string{
		"config/a.yaml": "a: 1\n", "config/hostname/w.yaml": "w: 1\n", "config/run": "#!/bin/sh\ncat helper; cat\n", "config/helper": "helped\n", "top.yaml": "top: 1\n", "configs/no.yaml": "x",
	})
	if err := os.Symlink("../top.yaml", filepath.Join(r.dir, "config", "away.yaml")); err != nil {
		t.Fatal(err)
	}
	second := r.commit("2026-02-01T12:00:00Z", map[string]string{"config/a.yaml": "a: 2\n", "config/b ö\"\t.yaml": "b: 1\n"})
	r.git("tag", "v2")
	write(t, r.dir, map[string]string{"config/a.yaml": "a: 3\n"})
	dir := filepath.Join(r.dir, "config")

	for when, want := range map[At]string{
		{Revision: "main"}: second, {Revision: "v2"}: second, {Revision: "main~1"}: first, {Revision: first[:10]}: first, {Revision: first}: first,
		{Time: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)}: first, {Time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}: second,
	} {
		if got := at(t, dir, when).Commit(); got != want {
			t.Errorf("%v is %s, not %s", when, got, want)
		}
	}
	p := at(t, dir, At{Revision: "v2"})
	if got, err := p.List("."); err != nil || !slices.Equal(got, []string{"a.yaml", "away.yaml", "b ö\"\t.yaml", "helper", "run"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := p.List("hostname"); err != nil || !slices.Equal(got, []string{"w.yaml"}) {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]string{"a.yaml": "a: 2\n", "hostname/w.yaml": "w: 1\n", "b ö\"\t.yaml": "b: 1\n"} {
		if b, err := p.ReadFile(name, 100); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := p.ReadFile("away.yaml", 100); err == nil || !strings.Contains(err.Error(), "a link") {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := p.ReadFile("a.yaml", 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := p.ReadFile("top.yaml", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if got, want := p.Shown("a.yaml"), dir+"/a.yaml@"+second[:12]; got != want {
		t.Errorf("got %s", got)
	}
	out, err := p.Run("run", nil, []byte("given"), 100)
	if err != nil || string(out) != "helped\ngiven" {
		t.Errorf("%q, %v", out, err)
	}
	unpacked := p.out.path
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(unpacked); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left: %v", unpacked, err)
	}
	p.out = nil

	whole := at(t, r.dir, At{Revision: "main"})
	if b, err := whole.ReadFile("config/a.yaml", 100); err != nil || string(b) != "a: 2\n" {
		t.Errorf("%q, %v", b, err)
	}
	if got, err := at(t, dir, At{Revision: "main~1"}).List("hostname"); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

// What is no revision is refused before git sees it, and what is none of this repository says so.
func TestPastRefused(t *testing.T) {
	r := newRepository(t)
	r.commit("2026-01-01T12:00:00Z", map[string]string{"a.yaml": "a: 1\n"})
	for revision, want := range map[string]string{
		"--help": "cannot be a revision", "-x": "cannot be a revision", "main..v1": "cannot be a revision", "a b": "cannot be a revision", "$(x)": "cannot be a revision",
		":/x": "cannot be a revision", "main:a.yaml": "cannot be a revision", "@{1}": "cannot be a revision", "nothing": "there is no commit nothing",
		"0123456789abcdef0123456789abcdef01234567": "there is no commit",
	} {
		if _, err := OpenAt(t.Context(), r.dir, At{Revision: revision}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", revision, err)
		}
	}
	if _, err := OpenAt(t.Context(), r.dir, At{Time: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil || !strings.Contains(err.Error(), "no commit before 2025-01-01T00:00:00Z") {
		t.Errorf("%v", err)
	}
	if _, err := OpenAt(t.Context(), t.TempDir(), At{Revision: "main"}); err == nil || !strings.Contains(err.Error(), "in no git repository") {
		t.Errorf("%v", err)
	}
	if _, err := OpenAt(t.Context(), filepath.Join(r.dir, "nothing"), At{Revision: "main"}); err == nil || !strings.Contains(err.Error(), "there is no directory") {
		t.Errorf("%v", err)
	}
}

// A repository cannot have programs run, nor other objects taken for those that are asked for.
func TestHostileRepository(t *testing.T) {
	r := newRepository(t)
	first := r.commit("2026-01-01T12:00:00Z", map[string]string{"a.yaml": "a: 1\n", "evil.sh": "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n"})
	evil := filepath.Join(r.dir, "evil.sh")
	for _, key := range []string{"core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "filter.x.smudge", "uploadpack.packObjectsHook", "alias.ls-tree", "alias.cat-file"} {
		r.git("config", key, evil)
	}
	r.git("config", "core.hooksPath", r.dir)
	write(t, r.dir, map[string]string{".gitattributes": "* filter=x\n"})
	other := r.commit("2026-02-01T12:00:00Z", map[string]string{"a.yaml": "a: other\n"})
	r.git("replace", first, other)
	_ = os.Remove(filepath.Join(r.dir, "ran"))
	p := at(t, r.dir, At{Revision: first})
	if b, err := p.ReadFile("a.yaml", 100); err != nil || string(b) != "a: 1\n" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "ran")); err == nil {
		t.Error("a program of the repository ran")
	}
	if os.Getuid() == 0 { // its owner could have changed it meanwhile
		const nobody = 65534
		for _, name := range []string{r.dir, filepath.Join(r.dir, ".git")} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := OpenAt(t.Context(), r.dir, At{Revision: first}); err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
			t.Errorf("a repository of somebody else: %v", err)
		}
	}
}

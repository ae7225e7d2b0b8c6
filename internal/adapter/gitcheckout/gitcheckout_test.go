package gitcheckout_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/gitcheckout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type repository struct {
	*testing.T
	dir string
}

// git runs git as nobody in particular.
func (r repository) git(words ...string) string {
	r.Helper()
	cmd := exec.Command("git", words...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05+01:00",
		"GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=b@example.com", "GIT_COMMITTER_DATE=2026-01-03T00:00:00Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("git %q: %v\n%s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repository) write(name, text string) {
	r.Helper()
	p := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
}

func (r repository) look(dir string) gitcheckout.State {
	r.Helper()
	s, err := gitcheckout.Look(r.Context(), filepath.Join(r.dir, dir))
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func TestLook(t *testing.T) {
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "feature/x")
	if _, err := gitcheckout.Look(t.Context(), r.dir); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), "there is no commit") {
		t.Errorf("%v", err)
	}
	r.write("a", "1")
	r.write("sub/b", "1")
	r.write(".gitignore", "out\n")
	r.git("add", ".")
	r.git("commit", "-q", "-m", "the first\n\nand more")
	s := r.look("")
	if s.Commit != r.git("rev-parse", "HEAD") || s.Branch != "feature/x" || s.Author != "Ann" || s.Subject != "the first" || s.Prefix != "" || len(s.Changed)+len(s.Added)+len(s.Tags) != 0 ||
		!s.Authored.Equal(time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)) || !s.Committed.Equal(time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", s)
	}
	r.git("tag", "v1")
	r.git("tag", "-a", "-m", "x", "v2")
	r.git("checkout", "-q", "--detach")
	r.write("out/ignored", "1")
	r.write("new dir/\"ö\"", "1")
	r.write("a", "2")
	r.git("rm", "-q", "--cached", "sub/b")
	s = r.look("sub")
	if s.Branch != "" || !slices.Equal(s.Tags, []string{"v1", "v2"}) || s.Prefix != "sub/" || !slices.Equal(s.Changed, []string{"a", "sub/b"}) && !slices.Equal(s.Changed, []string{"sub/b", "a"}) ||
		!slices.Equal(s.Added, []string{"new dir/\"ö\"", "sub/b"}) {
		t.Errorf("%+v", s)
	}
	r.git("reset", "-q", "--hard")
	if got, err := gitcheckout.Tracked(t.Context(), r.dir, "sub"); err != nil || !slices.Equal(got, []string{"sub/b"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := gitcheckout.Tracked(t.Context(), r.dir, "out"); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// Variables that a hook of git has do not lead elsewhere.
func TestNotElsewhere(t *testing.T) {
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.write("a", "1")
	r.git("add", ".")
	r.git("commit", "-q", "-m", "x")
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("GIT_INDEX_FILE", "/nowhere")
	if s := r.look(""); s.Branch != "main" {
		t.Errorf("%+v", s)
	}
}

func TestNoCheckout(t *testing.T) {
	for dir, want := range map[string]string{t.TempDir(): "is in no git checkout", "/nowhere/at/all": "there is no directory"} {
		if _, err := gitcheckout.Look(t.Context(), dir); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

package configfiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Limits of what git is asked.
const (
	gitLimit  = 30 * time.Second
	gitAnswer = 64 << 20
)

// safely is how git runs in a repository: nothing of the machine's or the person's settings, no hooks, no other program that
// the repository's own settings name, nothing fetched, no objects put in the place of others.
var safely = []string{
	"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
	"GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_PAGER=cat", "LC_ALL=C",
	"GIT_CONFIG_COUNT=4", "GIT_CONFIG_KEY_0=core.hooksPath", "GIT_CONFIG_VALUE_0=/dev/null", "GIT_CONFIG_KEY_1=core.fsmonitor", "GIT_CONFIG_VALUE_1=false",
	"GIT_CONFIG_KEY_2=protocol.allow", "GIT_CONFIG_VALUE_2=never", "GIT_CONFIG_KEY_3=log.showSignature", "GIT_CONFIG_VALUE_3=false",
}

// revision is what people may call a commit: the names of branches and tags, ids, and their ancestors.
var revision = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}([~^][0-9]{0,5}){0,5}$`)

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// At says which state of a directory is meant: a commit by what people call it, or the one that was the newest at a time.
type At struct {
	Revision string
	Time     time.Time
}

// Past is a directory as it was at a commit. It is to be closed.
type Past struct {
	ctx    context.Context // ends git and programs; see Dir
	dir    string          // as it was named
	commit string          // in full
	below  string          // where the directory is in the repository
	files  map[string]entry
	out    *Dir // where the files are written when a program among them is to be run
}

type entry struct{ mode, object string }

// OpenAt reads what was in a directory of a git repository at some time. Nothing is checked out.
func OpenAt(ctx context.Context, dir string, at At) (*Past, error) {
	p := &Past{ctx: ctx, dir: dir}
	below, err := p.git("rev-parse", "--show-prefix")
	if err != nil {
		return nil, err
	}
	p.below = strings.TrimSuffix(below, "\n")
	if p.commit, err = p.resolve(at); err != nil {
		return nil, err
	}
	return p, p.readTree()
}

func (p *Past) git(words ...string) (string, error) { return p.gitWith(nil, words...) }

func (p *Past) gitWith(stdin []byte, words ...string) (string, error) {
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return "", sluice.Errorf(sluice.NotFound, "there is no directory %s", p.dir)
	}
	b, err := program{timeout: gitLimit, limit: gitAnswer, dir: p.dir, words: append([]string{"git", "--no-pager", "--literal-pathspecs"}, words...), variables: safely, stdin: stdin}.run(p.ctx)
	switch {
	case err == nil:
		return string(b), nil
	case strings.Contains(err.Error(), "dubious ownership"):
		return "", sluice.Errorf(sluice.Denied, "the git repository of %s belongs to somebody else, who could have git run their programs", p.dir).
			WithHint("run this as its owner, or clone it")
	case strings.Contains(err.Error(), "not a git repository"):
		return "", sluice.Errorf(sluice.Usage, "%s is in no git repository, so nobody knows what it was", p.dir)
	}
	return "", fmt.Errorf("git %s in %s: %w", words[0], p.dir, err)
}

// resolve finds the full id of the commit.
func (p *Past) resolve(at At) (string, error) {
	var out string
	var err error
	if at.Revision != "" {
		if !revision.MatchString(at.Revision) || strings.Contains(at.Revision, "..") {
			return "", sluice.Errorf(sluice.Usage, "%.80q cannot be a revision", at.Revision).WithHint("name a branch, a tag, or the id of a commit")
		}
		if out, err = p.git("rev-parse", "--verify", "--quiet", "--end-of-options", at.Revision+"^{commit}"); err != nil {
			if sluice.CodeOf(err) != "" {
				return "", err
			}
			return "", sluice.Errorf(sluice.NotFound, "there is no commit %s in the repository of %s", at.Revision, p.dir)
		}
	} else {
		if out, err = p.git("rev-list", "--max-count=1", "--first-parent", "--before="+strconv.FormatInt(at.Time.Unix(), 10), "--end-of-options", "HEAD", "--"); err != nil {
			return "", err
		}
		if out == "" {
			return "", sluice.Errorf(sluice.NotFound, "the repository of %s has no commit before %s", p.dir, at.Time.UTC().Format(time.RFC3339))
		}
	}
	out = strings.TrimSpace(out)
	if !commitID.MatchString(out) {
		return "", fmt.Errorf("git says that %q is the id of a commit", out)
	}
	return out, nil
}

func (p *Past) readTree() error {
	out, err := p.git("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", p.commit, "--", "./"+p.below)
	if err != nil {
		return err
	}
	p.files = map[string]entry{}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		head, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(head)
		if len(fields) != 3 || fields[1] != "blob" || !commitID.MatchString(fields[2]) {
			continue // the commits of submodules
		}
		if name, within := strings.CutPrefix(name, p.below); within && fs.ValidPath(name) {
			p.files[name] = entry{fields[0], fields[2]}
		}
	}
	return nil
}

// Commit is the full id of the commit.
func (p *Past) Commit() string { return p.commit }

// Shown is the path of a file, with the commit.
func (p *Past) Shown(name string) string {
	return path.Join(filepath.ToSlash(p.dir), name) + "@" + p.commit[:12]
}

// List names the files of a directory.
func (p *Past) List(dir string) ([]string, error) {
	var out []string
	for name := range p.files {
		if path.Dir(name) == path.Clean(dir) {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out, nil
}

// Modes of files in git.
const (
	modeFile    = "100644"
	modeProgram = "100755"
)

// ReadFile returns the content of a file. A link is none: what it led to then is not looked for.
func (p *Past) ReadFile(name string, limit int64) ([]byte, error) {
	e, ok := p.files[name]
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case e.mode != modeFile && e.mode != modeProgram:
		return nil, errors.New("it is no file, but a link")
	}
	out, err := p.gitWith([]byte(e.object+"\n"), "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	head, body, _ := strings.Cut(out, "\n")
	fields := strings.Fields(head)
	if len(fields) != 3 || fields[0] != e.object || fields[1] != "blob" || fields[2] != strconv.Itoa(len(body)-1) {
		return nil, fmt.Errorf("git has not this file any more: %.80q", head)
	}
	if int64(len(body)-1) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return []byte(body[:len(body)-1]), nil
}

// Executable reports whether the file was a program.
func (p *Past) Executable(name string) (bool, error) { return p.files[name].mode == modeProgram, nil }

// Run runs a program as it was, among the files that were beside it.
func (p *Past) Run(name string, variables []string, stdin []byte, limit int64) ([]byte, error) {
	if p.out == nil {
		if err := p.unpack(); err != nil {
			return nil, err
		}
	}
	return p.out.Run(name, variables, stdin, limit)
}

// unpack writes the files to a new directory of their own.
func (p *Past) unpack() (err error) {
	tmp, err := os.MkdirTemp("", "sluice-config-")
	if err != nil {
		return err
	}
	if p.out, err = Open(p.ctx, tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	for name, e := range p.files {
		if e.mode != modeFile && e.mode != modeProgram {
			continue
		}
		b, err := p.ReadFile(name, gitAnswer)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		mode := fs.FileMode(0o600)
		if e.mode == modeProgram {
			mode = 0o700
		}
		if err := p.out.root.MkdirAll(filepath.Dir(filepath.FromSlash(name)), 0o700); err != nil {
			return err
		}
		if err := p.write(name, b, mode); err != nil {
			return err
		}
	}
	return nil
}

func (p *Past) write(name string, b []byte, mode fs.FileMode) error {
	f, err := p.out.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(b).WriteTo(f)
	return errors.Join(err, f.Close())
}

// Close takes away what was written.
func (p *Past) Close() error {
	if p.out == nil {
		return nil
	}
	return errors.Join(p.out.Close(), os.RemoveAll(p.out.path))
}

// Package gitcheckout asks git what a checkout is at: its commit, its branch, and what in it is not as the commit has it.
// Nothing is changed in it, and nothing is fetched.
//
// The person's own settings count: what is built is theirs, and its scripts run as them in any case. It knows nothing of
// builds.
package gitcheckout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice"
)

// limit is how long one question may take, in the largest checkout.
const limit = 5 * time.Minute

// State is what a checkout is at.
type State struct {
	Commit              string
	Branch              string // "" where none is checked out
	Tags                []string
	Author, Subject     string
	Authored, Committed time.Time
	// Changed are paths that differ from the commit, Added those that git does not know and is not told to ignore.
	// They begin at the top of the repository; Prefix is where the directory is in it, "" or with a slash at its end.
	Changed, Added []string
	Prefix         string
}

// Look says what the checkout around a directory is at.
func Look(ctx context.Context, dir string) (s State, err error) {
	head, err := ask(ctx, dir, "log", "-1", "--no-show-signature", "--format=%H%n%at%n%ct%n%an%n%s")
	if err != nil {
		return s, err
	}
	lines := strings.SplitN(strings.TrimSuffix(head, "\n"), "\n", 5)
	if len(lines) < 5 {
		return s, fmt.Errorf("git says of the commit in %s: %.200q", dir, head)
	}
	s.Commit, s.Author, s.Subject = lines[0], lines[3], lines[4]
	for i, t := range []*time.Time{&s.Authored, &s.Committed} {
		seconds, err := strconv.ParseInt(lines[1+i], 10, 64)
		if err != nil {
			return s, fmt.Errorf("git says of the time of the commit in %s: %.200q", dir, lines[1+i])
		}
		*t = time.Unix(seconds, 0).UTC()
	}
	branch, err := ask(ctx, dir, "symbolic-ref", "--quiet", "--short", "HEAD")
	if status(err) != 1 && err != nil { // 1: a commit is checked out, and no branch
		return s, err
	}
	s.Branch = strings.TrimSpace(branch)
	tags, err := ask(ctx, dir, "tag", "--points-at", "HEAD")
	if err != nil {
		return s, err
	}
	s.Tags = strings.Fields(tags)
	prefix, err := ask(ctx, dir, "rev-parse", "--show-prefix")
	if err != nil {
		return s, err
	}
	s.Prefix = strings.TrimSuffix(prefix, "\n")
	s.Changed, s.Added, err = differ(ctx, dir)
	return s, err
}

// differ lists what is not as the commit has it.
func differ(ctx context.Context, dir string) (changed, added []string, err error) {
	out, err := ask(ctx, dir, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		switch {
		case len(line) < 4:
		case strings.HasPrefix(line, "?? "):
			added = append(added, line[3:])
		default:
			changed = append(changed, line[3:])
		}
	}
	return changed, added, nil
}

// Tracked lists the files of the commit at or below a path of the directory.
func Tracked(ctx context.Context, dir, path string) ([]string, error) {
	out, err := ask(ctx, dir, "ls-files", "-z", "--", path)
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == 0 }), nil
}

// elsewhere are variables that would have git look at another checkout than the one that is meant, as those of its hooks do.
var elsewhere = []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"}

func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(elsewhere, name)
	})
	return append(env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_PAGER=cat")
}

// ask runs git.
func ask(ctx context.Context, dir string, words ...string) (string, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", sluice.Errorf(sluice.Usage, "there is no directory %s", dir)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("git took more than %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"--no-pager", "--literal-pathspecs", "-c", "protocol.allow=never", "-c", "core.fsmonitor=false"}, words...)...)
	var out, said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment(), &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	text := strings.TrimSpace(said.String())
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", sluice.Errorf(sluice.Usage, "there is no git on this machine, and it is asked what is built")
	case strings.Contains(text, "not a git repository"):
		return "", sluice.Errorf(sluice.Usage, "%s is in no git checkout, so it is not known of which commit a build would be", dir)
	case strings.Contains(text, "does not have any commits"):
		return "", sluice.Errorf(sluice.Usage, "there is no commit in the checkout of %s yet", dir)
	case strings.Contains(text, "dubious ownership"):
		return "", sluice.Errorf(sluice.Denied, "the checkout of %s belongs to somebody else", dir).
			WithHint("run this as its owner, or trust it: git config --global --add safe.directory DIRECTORY")
	}
	return "", fmt.Errorf("git %s in %s: %w: %.500s", words[0], dir, err, text)
}

// status is the exit status of a program that ran; -1 for another error.
func status(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

package onhost_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/run/onhost"
)

// sudo is one that asks for a password, or does not, as the directory beside it says.
const sudo = `#!/bin/sh
dir=${0%/*}
quiet= prompt= forget=
while :; do
	case $1 in
	-n) quiet=1; shift ;;
	-k) forget=1; shift ;;
	-S) shift ;;
	-p) prompt=$2; shift 2 ;;
	-u) user=$2; shift 2 ;;
	--) shift; break ;;
	esac
done
[ "$user" = lb ] || { echo "sudo: unknown user $user" >&2; exit 1; }
if [ -e "$dir/asks" ]; then
	[ -n "$quiet" ] || [ ! -e "$dir/warns" ] || { echo 'with great power' >&2; sleep 0.3; }
	[ -z "$quiet" ] || { [ "$LC_ALL" = C ] && echo 'sudo: a password is required' || echo 'sudo: Passwort notwendig'; exit 1; } >&2
	[ ! -e "$dir/breaks" ] || { echo 'sudo: no room' >&2; exit 1; }
	for try in 1 2 3; do
		[ ! -e "$dir/calms" ] || break
		[ ! -e "$dir/remembers" ] || [ -n "$forget" ] || break
		printf %s "$prompt" >&2
		IFS= read -r word || exit 1
		echo "$word" >>"$dir/words"
		[ ! -e "$dir/hangs" ] || { : >"$dir/started"; exec sleep 1000; }
		[ ! -e "$dir/thinks" ] || { echo 'with great power' >&2; sleep 0.3; }
		[ "$word" != 'se cret$' ] || break
		[ "$try" -lt 3 ] || { echo 'sudo: 3 incorrect password attempts' >&2; exit 1; }
	done
	[ ! -e "$dir/denies" ] || { echo "lb is not in the sudoers file." >&2; exit 1; }
	[ ! -e "$dir/forbids" ] || { printf 'with great power\nsorry, lb is not allowed to do that\n' >&2; exit 1; }
fi
export PROMPT="$prompt" MARK="$4"
exec "$@"
`

type desk struct {
	word     string
	verdicts []bool
}

func (d *desk) secret(context.Context) (sluice.Secret, func(bool), error) {
	if d.word == "" {
		return sluice.Secret{}, nil, sluice.ErrNoSecret
	}
	return sluice.NewSecret([]byte(d.word)), func(ok bool) { d.verdicts = append(d.verdicts, ok) }, nil
}

func withSudo(t *testing.T, path string) sluice.Link {
	t.Helper()
	tr := localexec.New(localexec.Config{Env: append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSudo: the program gets what it is to read and nothing else, whether sudo asks or not; the password goes to sudo's own prompt,
// and every word of it is judged.
func TestSudo(t *testing.T) {
	for name, c := range map[string]struct {
		files    string // beside sudo
		user     string
		word     string
		says     string // an error
		verdicts int    // 1: accepted, -1: refused, 0: none was asked for
		words    string // that sudo was told
	}{
		"it does not ask":           {user: "lb", word: "se cret$"},
		"it asks":                   {files: "asks", user: "lb", word: "se cret$", verdicts: 1, words: "se cret$\n"},
		"the word is wrong":         {files: "asks", user: "lb", word: "wrong", says: "sudo to lb refused the password", verdicts: -1, words: "wrong\n"},
		"there is none":             {files: "asks", user: "lb", says: "asks for a password, and none was given"},
		"it asked, and then not":    {files: "asks calms", user: "lb", word: "se cret$", verdicts: 1},
		"it only warns":             {files: "asks calms warns", user: "lb", word: "se cret$", verdicts: 1},
		"it says something":         {files: "asks thinks", user: "lb", word: "se cret$", verdicts: 1, words: "se cret$\n"},
		"it knows somebody":         {files: "asks remembers", user: "lb", word: "wrong", says: "sudo to lb refused the password", verdicts: -1, words: "wrong\n"},
		"it breaks":                 {files: "asks breaks", user: "lb", word: "se cret$", says: "sudo to lb is refused: sudo: no room", verdicts: 1},
		"it knows nobody":           {files: "asks denies", user: "lb", word: "se cret$", says: "sudo to lb is refused: lb is not in the sudoers file.", verdicts: 1, words: "se cret$\n"},
		"it has it forbidden":       {files: "asks forbids", user: "lb", word: "se cret$", says: "sudo to lb is refused: sorry, lb is not allowed", verdicts: 1, words: "se cret$\n"},
		"it lets nobody be another": {user: "root", word: "se cret$", says: "sudo to root is refused: sudo: unknown user root"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sudoHere(t, strings.Fields(c.files)...)
			d := &desk{word: c.word}
			run := onhost.Sudo(withSudo(t, dir), c.user, d.secret)
			ran, err := run(t.Context(), []string{"sh", "-c", `cat; printf '%s' "$1" >&2; exit 3`, "sh", "it's"}, []byte("in\x00put\n"))
			switch {
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%+v, %v; it shall say %q", ran, err, c.says)
			case c.says == "" && (err != nil || string(ran.Stdout) != "in\x00put\n" || strings.TrimPrefix(string(ran.Stderr), "with great power\n") != "it's" || ran.Status.Code != 3):
				t.Errorf("%q, %q, %+v, %v", ran.Stdout, ran.Stderr, ran.Status, err)
			}
			if want := map[int][]bool{1: {true}, -1: {false}}[c.verdicts]; len(d.verdicts) != len(want) || len(want) > 0 && d.verdicts[0] != want[0] {
				t.Errorf("the verdicts are %v", d.verdicts)
			}
			if words, _ := os.ReadFile(filepath.Join(dir, "words")); string(words) != c.words {
				t.Errorf("sudo was told %q", words)
			}
		})
	}
}

// sudoHere is a directory with sudo and files beside it.
func sudoHere(t *testing.T, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte(sudo), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSudoEndsWithTheContext: also while a program runs behind a sudo that asked, and while sudo thinks about a password, on which that
// is no verdict.
func TestSudoEndsWithTheContext(t *testing.T) {
	for _, files := range [][]string{{"asks"}, {"asks", "hangs"}} {
		dir := sudoHere(t, files...)
		d := &desk{word: "se cret$"}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("it takes too long")
		started := filepath.Join(dir, "started")
		go func() {
			for t.Context().Err() == nil {
				if _, err := os.Stat(started); err == nil {
					cancel(why)
					return
				}
			}
		}()
		if _, err := onhost.Sudo(withSudo(t, dir), "lb", d.secret)(ctx, []string{"sh", "-c", "touch " + started + "; sleep 1000"}, nil); !errors.Is(err, why) {
			t.Errorf("%v: got %v", files, err)
		}
		if len(d.verdicts) != 1 || !d.verdicts[0] {
			t.Errorf("%v: the verdicts are %v", files, d.verdicts)
		}
	}
}

// TestSudoWithoutDesk: where nobody can be asked for a password.
func TestSudoWithoutDesk(t *testing.T) {
	_, err := onhost.Sudo(withSudo(t, sudoHere(t, "asks")), "lb", nil)(t.Context(), []string{"true"}, nil)
	if err == nil || sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "sudo to lb is refused: sudo: a password is required") {
		t.Errorf("got %v", err)
	}
}

// TestSudoIsOver: a program that has begun may print what it likes, also what sudo asks with and what says that it has begun.
func TestSudoIsOver(t *testing.T) {
	dir := sudoHere(t, "asks")
	d := &desk{word: "se cret$"}
	ran, err := onhost.Sudo(withSudo(t, dir), "lb", d.secret)(t.Context(),
		[]string{"sh", "-c", `echo "$MARK" >"$0/mark"; echo "$MARK"; cat; printf %s "$PROMPT" "$PROMPT" >&2; sleep 0.2; echo end`, dir}, []byte("input"))
	mark, unread := os.ReadFile(filepath.Join(dir, "mark"))
	if err != nil || unread != nil || string(ran.Stdout) != string(mark)+"inputend\n" || strings.Count(string(ran.Stderr), ":") != 2 || len(d.verdicts) != 1 {
		t.Errorf("%q, %q, %v, %v, the verdicts are %v", ran.Stdout, ran.Stderr, err, unread, d.verdicts)
	}
}

// TestSudoSaysALot: so much is kept, and no more.
func TestSudoSaysALot(t *testing.T) {
	d := &desk{word: "se cret$"}
	ran, err := onhost.Sudo(withSudo(t, sudoHere(t, "asks")), "lb", d.secret)(t.Context(), []string{"head", "-c", strconv.Itoa(17 << 20), "/dev/zero"}, nil)
	if err != nil || len(ran.Stdout) < 15<<20 || len(ran.Stdout) > 16<<20 {
		t.Errorf("%d bytes, %v", len(ran.Stdout), err)
	}
}

// TestSudoIsJudgedAtOnce: others wait for the verdict on a password, and not for the end of a program.
func TestSudoIsJudgedAtOnce(t *testing.T) {
	dir := sudoHere(t, "asks")
	judged := filepath.Join(dir, "judged")
	secret := func(context.Context) (sluice.Secret, func(bool), error) {
		return sluice.NewSecret([]byte("se cret$")), func(bool) {
			if err := os.WriteFile(judged, nil, 0o600); err != nil {
				t.Error(err)
			}
		}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ran, err := onhost.Sudo(withSudo(t, dir), "lb", secret)(ctx, []string{"sh", "-c", "until [ -e " + judged + " ]; do sleep 0.01; done"}, nil)
	if err != nil || ran.Status.Code != 0 {
		t.Errorf("%+v, %v", ran, err)
	}
}

// TestRealSudo: the real one, that does not ask root.
func TestRealSudo(t *testing.T) {
	if _, err := exec.LookPath("sudo"); err != nil || os.Getuid() != 0 {
		t.Skip("skipped: no sudo, or not root")
	}
	run := onhost.Sudo(withSudo(t, t.TempDir()), "nobody", nil)
	if ran, err := run(t.Context(), []string{"sh", "-c", "id -un; cat"}, []byte("input")); err != nil || string(ran.Stdout) != "nobody\ninput" {
		t.Errorf("%q, %q, %v", ran.Stdout, ran.Stderr, err)
	}
}

package onhost_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
quiet= prompt=
while :; do
	case $1 in
	-n) quiet=1; shift ;;
	-k | -S) shift ;;
	-p) prompt=$2; shift 2 ;;
	-u) user=$2; shift 2 ;;
	--) shift; break ;;
	esac
done
[ "$user" = lb ] || { echo "sudo: unknown user $user" >&2; exit 1; }
if [ -e "$dir/asks" ]; then
	[ -n "$quiet" ] || [ ! -e "$dir/warns" ] || { echo 'with great power' >&2; sleep 0.3; }
	[ -z "$quiet" ] || { echo 'sudo: a password is required' >&2; exit 1; }
	for try in 1 2 3; do
		[ ! -e "$dir/calms" ] || break
		printf %s "$prompt" >&2
		IFS= read -r word || exit 1
		echo "$word" >>"$dir/words"
		[ "$word" != 'se cret$' ] || break
		[ "$try" -lt 3 ] || { echo 'sudo: 3 incorrect password attempts' >&2; exit 1; }
	done
fi
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
		"it lets nobody be another": {user: "root", word: "se cret$", says: "sudo to root is refused: sudo: unknown user root"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte(sudo), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range strings.Fields(c.files) {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
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

// TestSudoEndsWithTheContext: also while a program runs behind a sudo that asked.
func TestSudoEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"sudo": sudo, "asks": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
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
		t.Errorf("got %v", err)
	}
	if len(d.verdicts) != 1 || !d.verdicts[0] {
		t.Errorf("the verdicts are %v", d.verdicts)
	}
}

// TestSudoIsJudgedAtOnce: others wait for the verdict on a password, and not for the end of a program.
func TestSudoIsJudgedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"sudo": sudo, "asks": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
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

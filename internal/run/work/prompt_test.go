package work_test

import (
	"context"
	"encoding/base64"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

func TestPrompt(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		creds := &credentials{password: canary}
		b.creds = creds
		b.restart()
		b.job.Options.Prompts = []string{`Vault password for \w+: ?`, `Again: `}
		b.job.Action.Shell = `echo "Vault password for x: is asked for below"; printf 'Vault password for app: '; IFS= read -r x; printf 'Again: ' >&2; IFS= read -r y; [ "$x" = "$y" ]; echo; echo "$? $x."; [ "$x" = '` + strings.ReplaceAll(canary, "'", `'\''`) + `' ]`
		b.job.Options.Timeout = 20 * time.Second
		want(t, b.run(), sluice.Succeeded, 0, "")
		masked := strings.Repeat("*", len(canary))
		if !strings.HasSuffix(b.stdout(), "\n0 "+masked+".\n") {
			t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
		}
		if creds.given != 2 || len(creds.verdicts) != 2 {
			t.Errorf("given %d times, verdicts %v", creds.given, creds.verdicts)
		}
		b.wantClean()
	})
}

// A prompt that comes again was answered wrongly: no second answer, and the verdict says so.
func TestAPromptTwice(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	creds := &credentials{password: canary}
	b.creds = creds
	b.restart()
	b.job.Options.Prompts = []string{`Password: `}
	b.job.Options.Timeout = 2 * time.Second
	b.job.Action.Shell = `while :; do printf '\nPassword: '; read x; done`
	want(t, b.run(), sluice.TimedOut, -1, "")
	if creds.given != 1 || len(creds.verdicts) != 1 || creds.verdicts[0] {
		t.Errorf("given %d times, verdicts %v; want 1 and refused", creds.given, creds.verdicts)
	}
}

func TestWithoutPromptsStdinIsEmpty(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.creds = &credentials{password: canary}
	b.restart()
	b.job.Action.Shell = `printf 'Password: '; read x; echo "[$x]"`
	want(t, b.run(), sluice.Succeeded, 0, "")
	if b.stdout() != "Password: []\n" {
		t.Errorf("stdout %q", b.stdout())
	}
}

// The password is nowhere on the host while it is used, but where the command itself puts it: no file, no
// argument, no variable; and never in the output or a reason.
func TestTheSecretIsNowhere(t *testing.T) {
	h := newHost(t, "dash")
	withSudo(t, h, "tester ALL=(ALL) ALL")
	b := newBench(t, h)
	b.creds = &credentials{password: canary}
	b.restart()
	b.job.Options.Sudo = "root"
	b.job.Options.Prompts = []string{"Key: "}
	b.job.Options.Timeout = 30 * time.Second
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + canary))
	b.job.Action.Shell = `printf 'Key: '; IFS= read -r x; touch "$HOME/asked"; while [ ! -e "$HOME/go" ]; do sleep 0.05; done
printf '%s' "$x" | cut -c1-5 | tr -d '\n'; sleep 0.3; printf '%s' "$x" | cut -c6-; echo ` + encoded + `; echo '` + url.QueryEscape(canary) + `' >&2; exit 1`
	var mu sync.Mutex
	var seen []string
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = os.WriteFile(filepath.Join(h.home, "go"), nil, 0o644) }()
		eventually(t, "the command has the password", func() bool { return exists(filepath.Join(h.home, "asked")) })
		for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
			files, _ := filepath.Glob(pattern)
			for _, f := range files {
				if text, _ := os.ReadFile(f); strings.Contains(string(text), canary) {
					t.Errorf("the password is in %s", f)
				}
			}
		}
		_ = filepath.WalkDir(filepath.Dir(h.home), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if text, _ := os.ReadFile(p); strings.Contains(string(text), canary) {
					t.Errorf("the password is in %s", p)
				}
			}
			return nil
		})
	})
	r, err := b.do(context.Background(), work.Assignment{Output: func(_ string, _ int64, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(data))
	}})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Failed, 1, "")
	all := strings.Join(seen, "") + b.stdout() + b.stderr() + r.Reason
	for _, form := range []string{canary, encoded[8 : len(encoded)-4], url.QueryEscape(canary)} {
		if strings.Contains(all, form) {
			t.Errorf("%q is in the output:\n%s", form, all)
		}
	}
	if !strings.Contains(b.stdout(), strings.Repeat("*", len(canary))) {
		t.Errorf("stdout %q", b.stdout())
	}
}

package work_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// credentials give out one password, and remember the verdicts.
type credentials struct {
	mu       sync.Mutex
	password string // "" for none
	err      error
	given    int
	verdicts []bool
}

func (c *credentials) give() (sluice.Secret, func(bool), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return sluice.Secret{}, nil, c.err
	}
	if c.password == "" {
		return sluice.Secret{}, nil, sluice.ErrNoSecret
	}
	c.given++
	return sluice.NewSecret([]byte(c.password)), func(ok bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.verdicts = append(c.verdicts, ok)
	}, nil
}

func (c *credentials) Login(context.Context, sluice.Host) (sluice.Secret, func(bool), error) {
	return sluice.Secret{}, nil, sluice.ErrNoSecret
}
func (c *credentials) Sudo(context.Context, sluice.Host) (sluice.Secret, func(bool), error) {
	return c.give()
}
func (c *credentials) Passphrase() (sluice.Secret, error) {
	return sluice.Secret{}, sluice.ErrNoSecret
}
func (c *credentials) PrivateKey() (sluice.Secret, error) {
	return sluice.Secret{}, sluice.ErrNoSecret
}
func (c *credentials) Values() []sluice.Secret {
	if c.password == "" {
		return nil
	}
	return []sluice.Secret{sluice.NewSecret([]byte(c.password))}
}

const canary = "Xq7 pa'ss$(id)wörd"

// withSudo makes the login user one who needs the real sudo: in a mount namespace of its own for each
// session, where the tables of users and rights are the test's.
func withSudo(t *testing.T, h *host, sudoers string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: not root")
	}
	for _, tool := range []string{"sudo", "unshare", "setpriv", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: no %s here", tool)
		}
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: no mount namespaces: %s", out)
	}
	etc := filepath.Join(filepath.Dir(h.home), "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	hash := exec.Command("openssl", "passwd", "-6", "-stdin")
	hash.Stdin = strings.NewReader(canary + "\n")
	crypt, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd":  fmt.Sprintf("root:x:0:0:root:%s:/bin/sh\ntester:x:7000:7000::%s:/bin/sh\napp:x:7001:7001::%s:/bin/sh\n", h.home, h.home, h.home),
		"shadow":  fmt.Sprintf("root:*:19000:0:99999:7:::\ntester:%s:19000:0:99999:7:::\napp:*:19000:0:99999:7:::\n", strings.TrimSpace(string(crypt))),
		"group":   "root:x:0:\ntester:x:7000:\napp:x:7001:\n",
		"sudoers": "Defaults secure_path=" + h.path + ":/usr/sbin:/usr/bin:/sbin:/bin\n" + sudoers + "\n",
	} {
		mode := os.FileMode(0o644)
		if name == "shadow" || name == "sudoers" {
			mode = 0o440
		}
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for d := filepath.Dir(h.home); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(h.home, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(etc, "login")
	h.onStart = func(command string) (string, error) {
		err := os.WriteFile(file, []byte(command), 0o644)
		return fmt.Sprintf(`exec unshare -m sh -c 'for f in passwd shadow group sudoers; do mount --bind %s/$f /etc/$f || exit 99; done; exec setpriv --reuid 7000 --regid 7000 --clear-groups sh -c "$(cat %s)"'`, etc, file), err
	}
}

func TestSudo(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for _, c := range []struct {
				name, sudoers, user, password string
				verdicts                      []bool
				id                            string
			}{
				{"password", "tester ALL=(ALL) ALL", "root", canary, []bool{true}, "0"},
				{"no password needed", "tester ALL=(ALL) NOPASSWD: ALL", "root", canary, nil, "0"},
				{"none given, none needed", "tester ALL=(ALL) NOPASSWD: ALL", "root", "", nil, "0"},
				{"another user", "tester ALL=(ALL) ALL", "app", canary, []bool{true}, "7001"},
				{"lecture", "Defaults lecture=always\ntester ALL=(ALL) ALL", "root", canary, []bool{true}, "0"},
				{"own terminal", "Defaults use_pty\ntester ALL=(ALL) ALL", "root", canary, []bool{true}, "0"},
			} {
				for _, readOnly := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%v", c.name, readOnly), func(t *testing.T) {
						h := newHost(t, shell)
						withSudo(t, h, c.sudoers)
						b := newBench(t, h)
						creds := &credentials{password: c.password}
						b.creds = creds
						b.restart()
						b.job.Options.Sudo, b.job.Options.ReadOnly = c.user, readOnly
						b.job.Target.Dir = filepath.Join(h.home, "place-"+c.user)
						b.job.Action.Shell = `id -u; cat; echo err >&2; exit 3`
						want(t, b.run(), sluice.Failed, 3, "ended with 3")
						if b.stdout() != c.id+"\n" || b.stderr() != "err\n" {
							t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
						}
						if fmt.Sprint(creds.verdicts) != fmt.Sprint(c.verdicts) {
							t.Errorf("verdicts %v, want %v", creds.verdicts, c.verdicts)
						}
						if exists(b.job.Target.Dir) {
							t.Error("the place is still there")
						}
					})
				}
			}
		})
	}
}

func TestSudoRefuses(t *testing.T) {
	for _, c := range []struct {
		name, sudoers, password string
		err                     error
		reason                  string
		refused                 bool
		verdicts                []bool
	}{
		{"wrong password", "tester ALL=(ALL) ALL", "wrong", nil, "sudo refused the password", true, []bool{false}},
		{"one try", "Defaults passwd_tries=1\ntester ALL=(ALL) ALL", "wrong", nil, "sudo refused the password", true, []bool{false}},
		{"none given", "tester ALL=(ALL) ALL", "", nil, "none was given", false, nil},
		{"refused elsewhere", "tester ALL=(ALL) ALL", "", sluice.ErrSecretRefused, "refused twice", false, nil},
		{"no rights", "root ALL=(ALL) ALL", canary, nil, "sudo to root is refused", false, []bool{true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "dash")
			withSudo(t, h, c.sudoers)
			b := newBench(t, h)
			creds := &credentials{password: c.password, err: c.err}
			b.creds = creds
			b.restart()
			b.job.Options.Sudo = "root"
			b.count(1, "true")
			r := b.run()
			want(t, r, sluice.Failed, -1, c.reason)
			if !r.NotStarted || r.Refused != c.refused || exists(filepath.Join(h.home, "runs")) {
				t.Errorf("%+v", r)
			}
			if fmt.Sprint(creds.verdicts) != fmt.Sprint(c.verdicts) {
				t.Errorf("verdicts %v, want %v", creds.verdicts, c.verdicts)
			}
		})
	}
}

func TestSudoOverALostLinkAndAKill(t *testing.T) {
	h := newHost(t, "dash")
	withSudo(t, h, "tester ALL=(ALL) ALL")
	b := newBench(t, h)
	b.creds = &credentials{password: canary}
	b.restart()
	b.job.Options.Sudo = "root"
	b.job.Action.Shell = `echo first; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo second; exec setsid sleep 7501`
	kill, end := context.WithCancelCause(context.Background())
	n := 0
	r, err := b.do(context.Background(), work.Assignment{Kill: kill, Output: func(string, int64, []byte) {
		if n++; n == 1 {
			b.host.cut()
			_ = os.WriteFile(filepath.Join(h.home, "go"), nil, 0o644)
		} else {
			end(nil)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "killed by a cancel")
	if b.stdout() != "first\nsecond\n" {
		t.Errorf("stdout %q", b.stdout())
	}
	wantNoSleepers(t, "7501")
	b.wantClean()
}

// Programs that print what looks like a prompt get nothing.
func TestPromptsThatAreNone(t *testing.T) {
	h := newHost(t, "dash")
	creds := &credentials{password: canary}
	for name, fake := range map[string]string{
		"before sudo":          `echo '[sudo] password for test: ' >&2; printf 'sluice-0123:' >&2; read x; exit 1`,
		"the prompt in a line": `printf 'x%s' "$4"; printf 'x%s\n%s ' "$4" "$4" >&2; read x; exit 1`,
		"on stdout":            `printf %s "$4"; read x; exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			h.hook("../bin/sudo", "#!/bin/sh\n"+fake+"\n", 0o755)
			b := newBench(t, h)
			b.creds = creds
			b.worker = work.New(work.Config{Transport: func(sluice.SSH) sluice.Transport { return h }, Outputs: b.outputs, Credentials: creds, HelloTimeout: time.Second})
			b.job.Options.Sudo = "root"
			want(t, b.run(), sluice.Failed, -1, "")
			if creds.given != 0 {
				t.Error("the password was given out")
			}
		})
	}
}

// A command that shows the prompt again, behind the start, is ended.
func TestTheLure(t *testing.T) {
	for seconds, readOnly := range map[string]bool{"7502": false, "7503": true} {
		h := newHost(t, "dash")
		h.hook("../bin/sudo", `#!/bin/sh
printf %s "$5" >&2
read x
while [ "$1" != -- ]; do case $1 in -p) export P="$2" ;; esac; shift; done
shift
exec "$@"
`, 0o755)
		b := newBench(t, h)
		b.creds = &credentials{password: canary}
		b.restart()
		b.job.Options.Sudo, b.job.Options.ReadOnly = "root", readOnly
		b.job.Action.Shell = `echo "ps: sudo -p $P"; sleep 0.3; printf '\n%s' "$P" >&2; sleep ` + seconds
		r := b.run()
		if r.Outcome != sluice.Failed || !strings.Contains(r.Reason, "prompt") {
			t.Errorf("%+v", r)
		}
		if !readOnly {
			wantNoSleepers(t, seconds)
			continue
		}
		// A plain attempt ends without a kill.
		eventually(t, "the command is at its end", func() bool { return len(sleepers(seconds)) > 0 })
		for _, p := range sleepers(seconds) {
			n, _ := strconv.Atoi(p)
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

package work_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/target"
	"sluice/internal/lab/fake"
	"sluice/internal/run/work"
)

func TestDeploy(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.service = &service{}
		d.restart()
		hook := "#!/bin/sh\necho \"$SLUICE_PHASE $SLUICE_APP $SLUICE_ENV $SLUICE_VERSION $SLUICE_JOB\"\nif read x; then echo \"read $x\"; fi\n"
		files := map[string]string{"a b/'c'": "1", "l->a b": "", "*deploy/hooks/prepare.d/1": hook, "*deploy/hooks/drain.d/1": hook, "*deploy/hooks/deployed.d/1": hook, "*deploy/hooks/undrain.d/1": hook}
		d.shelf.put(t, "1.0", files)
		d.host.hook("pre.d/a", "#!/bin/sh\necho pre\n", 0o755)
		d.host.hook("post.d/a", "#!/bin/sh\necho post\n", 0o755)
		d.deploy("1.0")
		var changed []sluice.BalancerChanged
		r := d.go1(work.Assignment{Balanced: func(b sluice.BalancerChanged) { changed = append(changed, b) }})
		want(t, r, sluice.Succeeded, 0, "")
		d.wantLive(r, "1.0", "")
		if len(changed) != 1 || changed[0].Host != "web1" || changed[0].Attempt == "" || changed[0].Error != "twolines" {
			t.Errorf("of the balancers is told %+v", changed)
		}
		if got := strings.Join(d.steps, " "); got != "pre/a unpack prepare/1 check drain drain/1 swing deployed/1 healthy undrain/1 return collect post/a" {
			t.Error(got)
		}
		if got := d.service.said(); got != "drain healthy return" {
			t.Error(got)
		}
		var out strings.Builder
		out.WriteString("pre\n")
		for _, phase := range []string{"prepare", "drain", "deployed", "undrain"} {
			if said, waits := map[string]string{"drain": "drain", "undrain": "healthy"}[phase]; waits {
				out.WriteString("sluice: " + said + " is done\n") // what the worker did first
			}
			out.WriteString(phase + " shop prod 1.0 " + string(d.job.ID) + "\n")
		}
		if d.stdout() != out.String()+"sluice: return is done\npost\n" {
			t.Errorf("stdout %q, stderr %q", d.stdout(), d.stderr())
		}
		d.wantClean()
		files["a b/'c'"] = "2"
		two := d.shelf.put(t, "1.1", files)
		d.deploy("1.1")
		r = d.go1(work.Assignment{})
		want(t, r, sluice.Succeeded, 0, "")
		d.wantLive(r, "1.1", "1.0")
		if r.Release.Live.Manifest != two.Digest() || r.Release.App != "shop" || r.Release.Env != "prod" {
			t.Errorf("%+v", r.Release)
		}
		if d.shelf.opened > int64(4*len(hook)+10) {
			t.Errorf("%d bytes were sent twice", d.shelf.opened)
		}
		one := d.shelf.versions["1.0"].Files
		d.rollback("1.0", one)
		r = d.go1(work.Assignment{})
		want(t, r, sluice.Succeeded, 0, "")
		d.wantLive(r, "1.0", "1.1")
		if got := strings.Join(d.steps, " "); got != "pre/a verify drain drain/1 swing deployed/1 healthy undrain/1 return collect post/a" {
			t.Error(got)
		}
		d.wantClean()
	})
}

// What runs once after all other hosts runs when the host serves again; if it fails the host goes on to serve, and only it runs again.
func TestDeployAfterAllOthers(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.service = &service{}
		d.restart()
		may := filepath.Join(t.TempDir(), "may")
		d.shelf.put(t, "1", map[string]string{"a": "1", "*deploy/hooks/after.d/x": "#!/bin/sh\ntest -e '" + may + "'\n"})
		d.deploy("1")
		r := d.go1(work.Assignment{}) // another host is the last
		want(t, r, sluice.Succeeded, 0, "")
		d.deploy("1")
		d.job.Action.Release.After = "web1"
		r = d.go1(work.Assignment{})
		want(t, r, sluice.Failed, 1, "the step after/x ended with 1")
		d.wantLive(r, "1", "1")
		if got, said := strings.Join(d.steps, " "), d.service.said(); got != "unpack drain swing healthy return after/x" || said != "drain healthy return drain healthy return" {
			t.Error(got, said)
		}
		if err := os.WriteFile(may, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d.deploy("1")
		d.job.Action.Release.After = "web1"
		want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
		d.wantClean()
	})
}

// What fails before the swing leaves what was live, and the host goes back to serve; what fails after it stays out.
func TestDeployFails(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.service = &service{fail: map[string]error{}}
		d.restart()
		d.shelf.put(t, "1", map[string]string{"a": "1"})
		d.deploy("1")
		want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
		for _, c := range []struct {
			hook, fail  string
			code        int
			live        string
			reason      string
			said, steps string
		}{
			{"prepare.d/1", "", 7, "1", "the step prepare/1 ended with 7", "", "unpack prepare/1"},
			{"", "drain", 1, "1", "the step drain ended with 1: pool shop would have 0 of 1", "drain return", "unpack drain return"},
			{"drain.d/1", "", 7, "1", "the step drain/1 ended with 7", "drain return", "unpack drain drain/1 return"},
			{"deployed.d/1", "", 7, "2", "the step deployed/1 ended with 7", "drain", "unpack drain swing deployed/1"},
			{"", "healthy", 1, "2", "the step healthy ended with 1: pool shop", "drain healthy", "unpack drain swing healthy"},
			{"", "return", 1, "2", "the step return ended with 1: pool", "drain healthy return", "unpack drain swing healthy return"},
		} {
			d.shelf.put(t, "1", map[string]string{"a": "1"})
			d.deploy("1")
			d.service.fail = map[string]error{}
			want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
			files := map[string]string{"a": "2" + c.hook}
			if c.hook != "" {
				files["*deploy/hooks/"+c.hook] = "#!/bin/sh\nexit 7\n"
			}
			version := "2-" + strings.NewReplacer("/", "", ".", "").Replace(c.hook+c.fail)
			d.shelf.put(t, version, files)
			d.deploy(version)
			d.service.asked, d.service.fail = nil, map[string]error{c.fail: errors.New("pool shop would have 0 of 1")}
			r := d.go1(work.Assignment{})
			want(t, r, sluice.Failed, c.code, c.reason)
			live := c.live
			if live == "2" {
				live = version
			}
			if r.Release == nil || r.Release.Live.Version != live || r.Release.Before.Version != "1" {
				t.Errorf("%s%s: %+v", c.hook, c.fail, r.Release)
			}
			if got := d.service.said(); got != c.said {
				t.Errorf("%s%s: the balancer was asked %q, want %q", c.hook, c.fail, got, c.said)
			}
			if got := strings.Join(d.steps, " "); got != c.steps {
				t.Errorf("%s%s: steps %q, want %q", c.hook, c.fail, got, c.steps)
			}
		}
	})
}

// What is sealed in a configuration is masked in what hooks print, on the way there and back, also as JSON has it and where a reason is cut;
// and where it cannot be known what that is, nothing is kept of what they print.
func TestDeployHidesSecrets(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.service = &service{fail: map[string]error{}}
		d.restart()
		secret := `a "quoted" canary`
		d.shelf.secrets = []string{secret, "1"}
		tells := "#!/bin/sh\ncat <<'E'\n1 " + secret + "!\n" + `{"key":"a \"quoted\" canary"}` + "\nE\n"
		one := d.shelf.put(t, "1", map[string]string{"*deploy/hooks/deployed.d/1": tells})
		hidden := func(what string) {
			t.Helper()
			if out := d.stdout() + d.stderr(); strings.Contains(out, "canary") || !strings.Contains(out, "1 "+strings.Repeat("*", len(secret))+"!\n") || !strings.Contains(out, `{"key":"`+strings.Repeat("*", len(secret)+2)+`"}`) {
				t.Errorf("%s: %q", what, out)
			}
		}
		d.deploy("1")
		want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
		hidden("a deploy")
		d.shelf.put(t, "2", nil)
		d.deploy("2")
		d.service.error, d.service.fail["healthy"] = secret, errors.New(strings.Repeat("x", 190)+secret)
		var told []string
		tell := work.Assignment{Balanced: func(b sluice.BalancerChanged) { told = append(told, b.Error) }}
		r := d.go1(tell)
		if r.Outcome != sluice.Failed || strings.Contains(r.Reason, `a "qu`) || !strings.Contains(r.Reason, "xxx***") {
			t.Errorf("%+v", r)
		}
		d.service.fail = nil
		d.rollback("1", one)
		want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
		hidden("a rollback")

		d.shelf.sealed = errors.New("it is sealed")
		d.shelf.put(t, "3", map[string]string{"*deploy/hooks/deployed.d/1": tells})
		d.deploy("3")
		r = d.go1(work.Assignment{})
		want(t, r, sluice.Succeeded, 0, "")
		if out := d.stdout() + d.stderr(); out != "" || len(r.Truncated) == 0 {
			t.Errorf("%q is kept of what cannot be masked; truncated %v", out, r.Truncated)
		}
		d.service.fail = map[string]error{"healthy": errors.New(secret)}
		d.shelf.put(t, "4", nil)
		d.deploy("4")
		if r = d.go1(tell); strings.Contains(r.Reason, "canary") || !strings.Contains(r.Reason, "is not shown") {
			t.Errorf("%+v", r)
		}
		if len(told) != 2 || told[0] != strings.Repeat("*", len(secret)) || !strings.Contains(told[1], "is not shown") {
			t.Errorf("of balancers is told %q", told)
		}

		// What the host itself says of a step that failed, and nobody else.
		d.service.fail = nil
		for _, c := range []struct {
			version, says string
			sealed        error
		}{{"5", "live leads to '" + strings.Repeat("*", len(secret)) + "'", nil}, {"6", "is not shown", errors.New("it is sealed")}} {
			d.shelf.sealed = c.sealed
			live := filepath.Join(d.root, "live")
			was, err := os.Readlink(live)
			if err != nil {
				t.Fatal(err)
			}
			d.host.hook("pre.d/a", "#!/bin/sh\nrm "+target.Quote(live)+"; ln -s "+target.Quote(secret, live)+"\n", 0o755)
			d.shelf.put(t, c.version, nil)
			d.deploy(c.version)
			if r = d.go1(work.Assignment{}); r.Outcome != sluice.Failed || strings.Contains(r.Reason, "canary") || !strings.Contains(r.Reason, c.says) {
				t.Errorf("%+v, want %q", r, c.says)
			}
			if err := errors.Join(os.Remove(live), os.Symlink(was, live)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// awayReleases are where secrets are asked for in vain.
type awayReleases struct{ work.Releases }

func (awayReleases) Secrets(ctx context.Context, _ *sluice.Job, _ sluice.Host) ([]sluice.Secret, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What is to be masked is not waited for longer than half a minute: the way back may depend on it. Then nothing is shown.
func TestSecretsAreNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		blind, err := work.New(work.Config{Releases: awayReleases{}, Outputs: fake.NewOutputs()}).LearnsSecrets(ctx,
			&sluice.Job{ID: newJobID(), Action: sluice.Action{Kind: sluice.RollBack, Release: &sluice.Release{App: "shop"}}})
		if took := time.Since(start); err != nil || !blind || took != 30*time.Second {
			t.Errorf("blind %v after %s: %v", blind, took, err)
		}
	})
}

// What the host cannot take is refused before anything is there.
func TestDeployIsRefused(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.shelf.put(t, "1", map[string]string{"a": "1"})
		if err := os.MkdirAll(filepath.Join(d.root, "live"), 0o755); err != nil {
			t.Fatal(err)
		}
		d.deploy("1")
		r := d.go1(work.Assignment{})
		want(t, r, sluice.Failed, -1, "live is no symbolic link")
		if !r.NotStarted || len(d.steps) > 0 {
			t.Errorf("%+v %v", r, d.steps)
		}
		d.wantClean()
		if entries, _ := os.ReadDir(d.root); len(entries) != 1 {
			t.Error(entries)
		}
		d.deploy("not there")
		want(t, d.go1(work.Assignment{}), sluice.Failed, -1, "no such version")
		d.deploy("1")
		d.job.Options.ReadOnly = true
		want(t, d.go1(work.Assignment{}), sluice.Failed, -1, "can neither be read-only")
		d.job.Options.ReadOnly = false
	})
}

// The link is lost at every step that waits, and the worker dies in one: another goes on. The balancer is asked again, and
// nothing runs twice on the host.
func TestDeployGoesOn(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.shelf.put(t, "1", map[string]string{"a": "1", "*deploy/hooks/deployed.d/1": "#!/bin/sh\necho ran >>\"$HOME/runs\"\n"})
		d.deploy("1")
		lost := map[string]int{}
		gone, away := context.WithCancel(context.Background())
		defer away()
		d.service = &service{hold: map[string]func(context.Context) error{}}
		for _, step := range []string{"drain", "healthy", "return"} {
			d.service.hold[step] = func(ctx context.Context) error {
				d.service.mu.Lock()
				lost[step]++
				n := lost[step]
				d.service.mu.Unlock()
				switch n {
				case 1:
					go d.host.cut()
				case 2:
					if step != "healthy" {
						return nil
					}
					away() // the worker is killed
				default:
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
		}
		d.restart()
		if r, err := d.do(gone, work.Assignment{}); !errors.Is(err, context.Canceled) {
			t.Fatalf("%+v, %v", r, err)
		}
		d.restart()
		for _, mode := range []work.Mode{work.Settle} {
			r := d.go1(work.Assignment{Mode: mode, Resumed: true})
			want(t, r, sluice.Succeeded, 0, "")
			d.wantLive(r, "1", "")
		}
		if got := d.service.said(); got != "drain drain healthy healthy healthy return return" {
			t.Error(got)
		}
		if b, _ := os.ReadFile(filepath.Join(d.host.home, "runs")); string(b) != "ran\n" {
			t.Errorf("the hook ran: %q", b)
		}
		d.wantClean()
	})
}

// Killed while it is out of its balancer, with the old version still live: it goes back.
func TestDeployIsKilled(t *testing.T) {
	eachDeployShell(t, func(t *testing.T, d *deployBench) {
		d.shelf.put(t, "1", map[string]string{"a": "1"})
		d.deploy("1")
		d.service = &service{}
		d.restart()
		want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
		for _, step := range []string{"drain", "healthy"} {
			kill, end := context.WithCancel(context.Background())
			d.shelf.put(t, "2"+step, map[string]string{"a": "2" + step})
			d.deploy("2" + step)
			d.service = &service{hold: map[string]func(context.Context) error{step: func(ctx context.Context) error {
				end()
				<-ctx.Done()
				return ctx.Err()
			}}}
			d.restart()
			r := d.go1(work.Assignment{Kill: kill})
			want(t, r, sluice.Cancelled, -1, "killed by a cancel")
			said, live := "drain return", "1"
			if step == "healthy" {
				said, live = "drain healthy", "2healthy"
			}
			if got := d.service.said(); got != said {
				t.Errorf("killed in %s: %s", step, got)
			}
			if r.Release == nil || r.Release.Live.Version != live || r.Release.Before.Version != "1" {
				t.Errorf("%+v", r.Release)
			}
			d.wantClean()
		}
	})
}

func TestDeploySendsWhatIsMissing(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	files := map[string]string{}
	big := func(n, v int) string { return strings.Repeat(hexSum(string(rune(n))+string(rune(v))), 320) } // 20 KB
	for i := range 300 {
		files["lib/file"+hexSum(string(rune(i)))] = big(i, 0)
	}
	d.shelf.put(t, "1", files)
	d.deploy("1")
	want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
	first := d.shelf.opened
	d.shelf.opened = 0
	for i := range 3 {
		files["lib/file"+hexSum(string(rune(i)))] = big(i, 1)
	}
	d.shelf.put(t, "2", files)
	d.deploy("2")
	want(t, d.go1(work.Assignment{}), sluice.Succeeded, 0, "")
	if d.shelf.opened*100 > first {
		t.Errorf("%d of %d bytes of content were sent again", d.shelf.opened, first)
	}
}

// A host whose records are odd starts nothing; and an attempt that runs there is joined all the same.
func TestOddRecords(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	d.shelf.put(t, "1", map[string]string{"a": "1"})
	d.deploy("1")
	d.service = &service{hold: map[string]func(context.Context) error{}}
	var once sync.Once
	d.service.hold["drain"] = func(ctx context.Context) error {
		broken := false
		once.Do(func() {
			broken = true
			for _, dir := range []string{"versions/evil", ".sluice/trees/evil"} {
				if err := os.Mkdir(filepath.Join(d.root, dir), 0o755); err != nil {
					t.Error(err)
				}
			}
			if err := os.WriteFile(filepath.Join(d.root, ".sluice/trees/evil/about"), []byte("$(id) x\n"), 0o644); err != nil {
				t.Error(err)
			}
			d.host.cut()
		})
		if broken {
			<-ctx.Done()
		}
		return ctx.Err()
	}
	d.restart()
	r := d.go1(work.Assignment{})
	want(t, r, sluice.Succeeded, 0, "")
	if r.Release != nil {
		t.Errorf("%+v", r.Release)
	}
	d.deploy("1")
	r = d.go1(work.Assignment{})
	want(t, r, sluice.Failed, -1, "what the host says of itself cannot be read")
	if !r.NotStarted {
		t.Errorf("%+v", r)
	}
}

func TestDeployWithoutRoot(t *testing.T) {
	for _, shell := range deployShells {
		d := newDeployBench(t, newHost(t, shell).asNobody())
		d.job.Target.Dir = d.host.place
		d.root = filepath.Join(d.host.home, "app")
		d.shelf.put(t, "1", map[string]string{"a": "1", "*deploy/hooks/prepare.d/x": "#!/bin/sh\nid -u\n"})
		d.deploy("1")
		r := d.go1(work.Assignment{})
		want(t, r, sluice.Succeeded, 0, "")
		d.wantLive(r, "1", "")
		if os.Getuid() == 0 && d.stdout() != "65534\n" {
			t.Errorf("%q", d.stdout())
		}
		d.deploy("1")
		d.job.Action.Release.Deploy.User = "root"
		if os.Getuid() == 0 {
			want(t, d.go1(work.Assignment{}), sluice.Failed, -1, "files cannot be given to root by a user who is not root")
		}
	}
}

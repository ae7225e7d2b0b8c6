package work_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/run/work"
)

// deployShells are what carries out the steps of a deploy; others run commands only.
var deployShells = []string{"dash", "busybox", "bash"}

// shelf has the files of releases, by version.
type shelf struct {
	mu       sync.Mutex
	versions map[string]work.Version
	content  map[string][]byte
	opened   int64 // bytes of content that were asked for
}

func newShelf() *shelf {
	return &shelf{versions: map[string]work.Version{}, content: map[string][]byte{}}
}

// put adds a version of files by name; a name with "*" before it is a program, one with "->" a link.
func (s *shelf) put(t testing.TB, version string, files map[string]string, links ...release.Link) manifest.Manifest {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []manifest.Entry
	for name, text := range files {
		if from, to, ok := strings.Cut(name, "->"); ok {
			entries = append(entries, manifest.Entry{Path: from, Kind: manifest.Link, To: to})
			continue
		}
		name, program := strings.CutPrefix(name, "*")
		e := manifest.Entry{Path: name, Kind: manifest.File, Mode: 0o644, Size: int64(len(text)), SHA256: hexSum(text)}
		if program {
			e.Mode = 0o755
		}
		s.content[e.SHA256] = []byte(text)
		entries = append(entries, e)
	}
	m, err := manifest.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	s.versions[version] = work.Version{Files: m, Links: links, Open: s.open}
	return m
}

func (s *shelf) open(_ context.Context, sha string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.content[sha]
	if !ok {
		return nil, fs.ErrNotExist
	}
	s.opened += int64(len(b))
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *shelf) Version(_ context.Context, job *sluice.Job, _ sluice.Host) (work.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.versions[job.Action.Release.Version]
	if !ok {
		return v, errors.New("no such version")
	}
	return v, nil
}

func hexSum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// service is a balancer that writes down what it is asked, in the words of the steps.
type service struct {
	mu    sync.Mutex
	asked []string
	fail  map[string]error
	hold  map[string]func(ctx context.Context) error
}

func (s *service) do(ctx context.Context, what string) error {
	s.mu.Lock()
	s.asked = append(s.asked, what)
	err, hold := s.fail[what], s.hold[what]
	s.mu.Unlock()
	if hold != nil {
		return hold(ctx)
	}
	return err
}

func (s *service) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, " ")
}

func (s *service) Drain(ctx context.Context) error   { return s.do(ctx, "drain") }
func (s *service) Healthy(ctx context.Context) error { return s.do(ctx, "healthy") }
func (s *service) Return(ctx context.Context) error  { return s.do(ctx, "return") }

// deployBench is a bench that deploys.
type deployBench struct {
	*bench
	root    string
	shelf   *shelf
	service *service // nil: there is none
	to      sluice.Transport
	steps   []string
	points  string
}

func newDeployBench(t testing.TB, h *host) *deployBench {
	d := &deployBench{bench: newBench(t, h), shelf: newShelf(), to: h}
	d.root = filepath.Join(h.home, `srv/an "app's" röot`)
	d.restart()
	return d
}

func (d *deployBench) restart() {
	c := work.Config{Transport: func(sluice.SSH) sluice.Transport { return d.to }, Outputs: d.outputs, Blobs: d.blobs, Releases: d.shelf, HelloTimeout: 20 * time.Second}
	if d.service != nil {
		s := d.service
		c.Service = func(context.Context, *sluice.Job, sluice.Host, sluice.Link) (work.Service, error) { return s, nil }
	}
	d.worker = work.New(c)
	d.worker.SetPoints(d.points)
}

// deploy makes the job one that deploys the version.
func (d *deployBench) deploy(version string) {
	d.job.ID = newJobID()
	d.job.Action = sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod", Version: version,
		Manifest: "sha256:" + hexSum(version), Deploy: sluice.Deploy{Root: d.root, Keep: 3}}}
}

func (d *deployBench) rollback(version string, m manifest.Manifest) {
	d.deploy("")
	d.job.Action.Kind = sluice.RollBack
	d.job.Action.Back = map[sluice.Host]sluice.Installed{"web1": {Version: version, Manifest: m.Digest()}}
}

func (d *deployBench) go1(a work.Assignment) sluice.TaskFinished {
	d.t.Helper()
	d.steps = nil
	a.Step = func(s sluice.TaskStep) { d.steps = append(d.steps, s.Step) }
	r, err := d.do(context.Background(), a)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// wantLive says that the host has these versions now and before, and says so.
func (d *deployBench) wantLive(r sluice.TaskFinished, live, before string) {
	d.t.Helper()
	if r.Release == nil || r.Release.Live.Version != live || r.Release.Before.Version != before {
		d.t.Fatalf("live is %+v, want %q and before %q: %+v\n%s%s", r.Release, live, before, r, d.stdout(), d.stderr())
	}
	to, _ := os.Readlink(filepath.Join(d.root, "live"))
	if want := "versions/" + live; live != "" && to != want && !strings.HasPrefix(to, want+"~") {
		d.t.Fatalf("live leads to %q, want %q", to, want)
	}
}

func eachDeployShell(t *testing.T, f func(t *testing.T, d *deployBench)) {
	for _, s := range deployShells {
		t.Run(s, func(t *testing.T) { f(t, newDeployBench(t, newHost(t, s))) })
	}
}

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
		r := d.go1(work.Assignment{})
		want(t, r, sluice.Succeeded, 0, "")
		d.wantLive(r, "1.0", "")
		if got := strings.Join(d.steps, " "); got != "pre/a unpack prepare/1 check drain drain/1 swing deployed/1 healthy undrain/1 return collect post/a" {
			t.Error(got)
		}
		if got := d.service.said(); got != "drain healthy return" {
			t.Error(got)
		}
		var out strings.Builder
		out.WriteString("pre\n")
		for _, phase := range []string{"prepare", "drain", "deployed", "undrain"} {
			out.WriteString(phase + " shop prod 1.0 " + string(d.job.ID) + "\n")
		}
		if d.stdout() != out.String()+"post\n" {
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

// A file that is damaged in the store of the worker never gets to a host.
func TestDamageOnTheWorker(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	d.shelf.put(t, "1", map[string]string{"a": "good", "b": "good, too"})
	d.shelf.content[hexSum("good")] = []byte("evil")
	d.deploy("1")
	r := d.go1(work.Assignment{})
	want(t, r, sluice.Failed, -1, `the content of "a": it is damaged`)
	if !r.NotStarted || exists(d.root) {
		t.Errorf("%+v", r)
	}
	d.wantClean()
}

// A byte that changes between worker and host is found before anything runs.
func TestDamageToTheParcel(t *testing.T) {
	d := newDeployBench(t, newHost(t, "dash"))
	d.shelf.put(t, "1", map[string]string{"a": strings.Repeat("good", 1000)})
	d.deploy("1")
	var mu sync.Mutex
	seen := false
	d.to = &flipping{Transport: d.host, flip: func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if i := bytes.Index(b, []byte("goodgoodgood")); i >= 0 && !seen {
			seen = true
			b[i] = 'f'
		}
	}}
	d.restart()
	r := d.go1(work.Assignment{})
	want(t, r, sluice.Failed, -1, "arrived damaged")
	if !r.NotStarted || !seen || exists(d.root) {
		t.Errorf("%+v", r)
	}
}

// flipping changes what is said to a host.
type flipping struct {
	sluice.Transport
	flip func([]byte)
}

type flippingLink struct {
	sluice.Link
	flip func([]byte)
}

type flippingSession struct {
	sluice.Session
	in *flippingWriter
}

type flippingWriter struct {
	io.WriteCloser
	flip func([]byte)
}

func (f *flipping) Connect(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error) {
	l, err := f.Transport.Connect(ctx, h, s)
	if err != nil {
		return nil, err
	}
	return &flippingLink{l, f.flip}, nil
}

func (l *flippingLink) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	s, err := l.Link.Start(ctx, command, tty)
	if err != nil {
		return nil, err
	}
	return &flippingSession{s, &flippingWriter{s.Stdin(), l.flip}}, nil
}

func (s *flippingSession) Stdin() io.WriteCloser { return s.in }

func (w *flippingWriter) Write(p []byte) (int, error) {
	b := slices.Clone(p)
	w.flip(b)
	return w.WriteCloser.Write(b)
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

package work_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	secrets  []string
	sealed   error // why the secrets cannot be known
}

func (s *shelf) Secrets(context.Context, *sluice.Job, sluice.Host) (out []sluice.Secret, err error) {
	for _, text := range s.secrets {
		out = append(out, sluice.NewSecret([]byte(text)))
	}
	return out, s.sealed
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
	error string // of what is done at a balancer; "": one of two lines
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

func (s *service) Drain(ctx context.Context, tell func(sluice.BalancerChanged)) (string, error) {
	tell(sluice.BalancerChanged{Balancer: "web", Pool: "shop", Server: "h", Wanted: sluice.ServerDraining, State: sluice.ServerDraining, Error: cmp.Or(s.error, "two\nlines")})
	return "drain is done", s.do(ctx, "drain")
}
func (s *service) Healthy(ctx context.Context) (string, error) {
	return "healthy is done", s.do(ctx, "healthy")
}
func (s *service) Return(ctx context.Context, tell func(sluice.BalancerChanged)) (string, error) {
	return "return is done", s.do(ctx, "return")
}

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

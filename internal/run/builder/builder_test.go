package builder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/dirartifacts"
	"sluice/internal/adapter/shell"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
	"sluice/internal/core/manifest"
	"sluice/internal/run/builder"
	"sluice/internal/run/depot"
	"sluice/internal/run/tarball"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a checkout, a repository, and what was said.
type world struct {
	*testing.T
	dir, store string
	b          *builder.Builder
	depot      *depot.Depot
	at         build.Checkout
	out        bytes.Buffer
	told       []string
	posted     []build.Request
	before     func(line string) // what happens when a line begins
}

const plain = "app: shop\nbuild: {build: 'mkdir -p out && echo made >out/made', test: test -s out/made}\n"

func newWorld(t *testing.T, app string, files map[string]string) *world {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	w := &world{T: t, dir: t.TempDir(), store: filepath.Join(t.TempDir(), "store")}
	w.write(map[string]string{"app.yaml": app})
	w.write(files)
	w.at = build.Checkout{Commit: strings.Repeat("ab12", 10), Branch: "main", Author: "Ann", Subject: "s", Authored: time.Unix(1e9, 0), Committed: time.Unix(1e9, 0)}
	store, err := dirartifacts.New(w.store)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { now = now.Add(time.Second); return now }
	w.depot = &depot.Depot{Store: store, Clock: clock, Limits: tarball.DefaultLimits()}
	w.b = &builder.Builder{
		Look:    func(context.Context, string) (build.Checkout, error) { return w.at, nil },
		Tracked: func(context.Context, string, string) ([]string, error) { return nil, nil },
		Run: func(ctx context.Context, l builder.Line) (string, error) {
			if w.before != nil {
				w.before(l.Text)
			}
			err := shell.Run(ctx, shell.Line{Text: l.Text, Dir: l.Dir, Env: l.Env, Output: l.Output, Timeout: l.Timeout, Grace: time.Millisecond})
			var ended *shell.Ended
			if errors.As(err, &ended) {
				return ended.How, nil
			}
			return "", err
		},
		Post: func(ctx context.Context, r build.Request) (bool, error) {
			w.posted = append(w.posted, r)
			return false, ctx.Err()
		},
		Clock: clock, Environ: []string{"PATH=" + os.Getenv("PATH"), "TOKEN=t0k3n"}, Platform: "linux-test",
		Pause: func(context.Context, time.Duration) {},
	}
	return w
}

// write makes files; those that begin with "#!" can be run.
func (w *world) write(files map[string]string) {
	w.Helper()
	for name, text := range files {
		p := filepath.Join(w.dir, name)
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), mode)); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) order() builder.Order {
	return builder.Order{Dir: w.dir, Depot: w.depot, By: "ann@laptop", Output: &w.out, Tell: func(text string) { w.told = append(w.told, text) }}
}

func (w *world) build(o builder.Order) build.Report {
	w.Helper()
	r, err := w.b.Build(w.Context(), o)
	if err != nil {
		w.Fatalf("%v\n%s", err, w.out.String())
	}
	return r
}

// tree is what is in a version, by path; "/" is a directory, and "> x" a link.
func (w *world) tree(r build.Report) map[string]string {
	w.Helper()
	m, err := w.depot.Manifest(w.Context(), r.Pushed.Record)
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range m {
		switch e.Kind {
		case manifest.Dir:
			out[e.Path] = "/"
		case manifest.Link:
			out[e.Path] = "> " + e.To
		default:
			text, err := w.depot.File(w.Context(), r.Pushed.Record, e.Path, 1<<20)
			if err != nil {
				w.Fatal(err)
			}
			out[e.Path] = fmt.Sprintf("%o %s", e.Mode, text)
		}
	}
	return out
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for p := range got {
		if got[p] != want[p] {
			t.Errorf("%s is %q, and should be %q", p, got[p], want[p])
		}
	}
	for p := range want {
		if _, ok := got[p]; !ok {
			t.Errorf("%s is not there", p)
		}
	}
}

func TestBuild(t *testing.T) {
	w := newWorld(t, plain, map[string]string{"run": "#!/bin/sh\n", "deploy/x": "x", ".git/config": "no", "sub/.git": "no"})
	if err := os.Symlink("../run", filepath.Join(w.dir, "deploy/link")); err != nil {
		t.Fatal(err)
	}
	r := w.build(w.order())
	same(t, w.tree(r), map[string]string{"app.yaml": "644 " + plain, "run": "755 #!/bin/sh\n", "deploy": "/", "deploy/x": "644 x", "deploy/link": "> ../run", "out": "/", "out/made": "644 made\n", "sub": "/"})
	meta := r.Pushed.Meta
	for k, want := range map[string]string{"commit": w.at.Commit, "branch": "main", "builder": "ann@laptop", "seconds.build": "1", "seconds.test": "1", "seconds.pack": "1"} {
		if meta[k] != want {
			t.Errorf("%s is %q, and not %q", k, meta[k], want)
		}
	}
	if r.Target != "master" || r.Version != "20010909-014640-ab12ab12ab12" || r.Digest != r.Pushed.Digest || r.Manifest != r.Pushed.Manifest {
		t.Errorf("%+v", r)
	}
	again := w.build(w.order())
	if !again.Pushed.Already {
		t.Error("the same again is another version")
	}
}

// The same files give the same archive: whatever their times, the mask of whoever made them, and where they are.
func TestReproducible(t *testing.T) {
	for _, file := range []string{"shop.tar.gz", "shop.tar.zst", "shop.tar"} {
		app := "app: shop\nbuild: {file: " + file + "}\n"
		files := map[string]string{"a/b": "1", "a/c": "#!2", "z": strings.Repeat("text ", 100_000)}
		w := newWorld(t, app, files)
		first := w.build(w.order())
		w = newWorld(t, app, nil)
		for _, name := range []string{"z", "a/c", "a/b"} {
			w.write(map[string]string{name: files[name]})
		}
		for name, mode := range map[string]fs.FileMode{"a/b": 0o600, "a/c": 0o700, "z": 0o664, "a": 0o700} {
			p := filepath.Join(w.dir, name)
			if err := errors.Join(os.Chmod(p, mode), os.Chtimes(p, time.Unix(1, 0), time.Unix(2, 0))); err != nil {
				t.Fatal(err)
			}
		}
		if second := w.build(w.order()); second.Digest != first.Digest || second.Manifest != first.Manifest {
			t.Errorf("%s: %s and %s", file, first.Digest, second.Digest)
		}
	}
}

func TestWhatIsPacked(t *testing.T) {
	files := map[string]string{"src/a.py": "a", "src/a.pyc": "x", "src/tests/t": "x", "other": "x", "dist/old": "old", "app/x": "x"}
	for app, want := range map[string]string{
		"{bundle: {include: [src], exclude: ['**/*.pyc', src/tests]}}":                                "app.yaml src src/a.py",
		"{bundle: {run: 'echo new >dist/new', dir: dist}}":                                            "app.yaml new old",
		"{bundle: {dir: dist, exclude: [old], run: 'mkdir dist/deploy && cp app.yaml dist/deploy/'}}": "deploy deploy/app.yaml",
	} {
		w := newWorld(t, "app: shop\nbuild: "+app+"\n", files)
		var got []string
		for p := range w.tree(w.build(w.order())) {
			got = append(got, p)
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("%s: %s, and not %s", app, got, want)
		}
	}
	for app, want := range map[string]string{
		"{bundle: {dir: nowhere}}":                                   "what goes into the archive, nowhere of the checkout",
		"{bundle: {include: [nothing]}}":                             "there is nothing to put into the archive",
		"{build: 'mkfifo pipe'}":                                     "pipe is neither a file, a directory nor a symbolic link",
		"{build: 'ln -s /etc/passwd evil'}":                          "leads out of the tree",
		"{bundle: {dir: link}, build: 'ln -s /etc link'}":            "what goes into the archive",
		"{bundle: {dir: link}, build: 'rm -rf link; ln -s .. link'}": "what goes into the archive",
	} {
		w := newWorld(t, "app: shop\nbuild: "+app+"\n", files)
		if _, err := w.b.Build(t.Context(), w.order()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", app, err)
		}
		w.nothing()
	}
}

// nothing says that there is no version, and nothing left of the build.
func (w *world) nothing() {
	w.Helper()
	if names, err := w.depot.Store.Names(context.Background(), sluice.ArtifactName{}); err != nil || len(names) > 0 {
		w.Errorf("there is %q, %v", names, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		w.Errorf("there is %v left, %v", left, err)
	}
}

func TestScriptsThatFail(t *testing.T) {
	for app, want := range map[string]build.Failed{
		"{build: 'for i in $(seq 20); do echo $i; done; exit 7'}":                    {Part: "build", How: "ended with status 7", Last: strings.Fields("9 10 11 12 13 14 15 16 17 18 19 20")},
		"{build: 'echo fine', test: 'kill -9 $$'}":                                   {Part: "test", How: "was ended by a signal (killed)"},
		"{bundle: {run: 'echo slow; sleep 1000'}, timeouts: {bundle: 300ms}}":        {Part: "bundle", How: "took more than 300ms"},
		"{bundles: [{name: v, keyed_by: app.yaml, make: 'echo no; false', dir: v}]}": {Part: "v", How: "ended with status 1", Last: []string{"no"}},
		"{bundles: [{name: v, keyed_by: app.yaml, make: 'true', dir: v}]}":           {Part: "v", How: "ended well, and there is no directory v"},
	} {
		w := newWorld(t, "app: shop\nbuild: "+app+"\n", nil)
		_, err := w.b.Build(t.Context(), w.order())
		var f *build.Failed
		if !errors.As(err, &f) || f.Part != want.Part || f.How != want.How || want.Last != nil && !slices.Equal(f.Last, want.Last) {
			t.Errorf("%s: %v", app, err)
		}
		w.nothing()
	}
}

func TestWhatScriptsGet(t *testing.T) {
	w := newWorld(t, "app: shop\nbuild: {build: 'env >$OUT', env: {OUT: seen, SOURCE_DATE_EPOCH: '7', EMPTY: ''}, status: {url: 'https://f/', token_env: TOKEN}}\n", nil)
	w.build(w.order())
	text, err := os.ReadFile(filepath.Join(w.dir, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SLUICE_APP=shop", "SLUICE_TARGET=master", "SLUICE_VERSION=20010909-014640-ab12ab12ab12", "SLUICE_COMMIT=" + w.at.Commit, "SLUICE_BRANCH=main", "SLUICE_PART=build", "SOURCE_DATE_EPOCH=7", "EMPTY="} {
		if !strings.Contains("\n"+string(text), "\n"+want+"\n") {
			t.Errorf("%s is not among %s", want, text)
		}
	}
	if strings.Contains(string(text), "t0k3n") {
		t.Error("the script has the token")
	}
}

func TestWhatIsRefusedBeforeAnythingRuns(t *testing.T) {
	for want, change := range map[string]func(w *world, o *builder.Order){
		"is not what commit":         func(w *world, _ *builder.Order) { w.at.Added = []string{"x"} },
		"no branch is checked out":   func(w *world, _ *builder.Order) { w.at.Branch = "" },
		"that of dependency bundles": func(w *world, _ *builder.Order) { w.at.Branch = "bundles" },
		"cannot name this target":    func(_ *world, o *builder.Order) { o.Target = "a/b" },
		"cannot name this version":   func(_ *world, o *builder.Order) { o.Version = "../x" },
		"is no version":              func(_ *world, o *builder.Order) { o.Version = "latest" },
		"is inside the checkout":     func(w *world, o *builder.Order) { o.To = filepath.Join(w.dir, "x.tar.gz") },
		"so the next archive": func(w *world, o *builder.Order) { // which is not seen in the name
			to := filepath.Join(w.TempDir(), "to")
			if err := os.Symlink(w.dir, to); err != nil {
				w.Fatal(err)
			}
			o.To = filepath.Join(to, "x.tar.gz")
		},
		"--to":            func(w *world, o *builder.Order) { o.To = filepath.Join(w.dir, "..", "nowhere", "x.tar.gz") },
		"temporary files": func(w *world, _ *builder.Order) { w.Setenv("TMPDIR", w.dir) },
		"there are keys, and no --sign": func(w *world, o *builder.Order) {
			o.Signed = true
			w.write(map[string]string{"app.yaml": venv, "lock": "one\n", "make.sh": makes})
		},
		"app.yaml:1:1: unknown key":     func(w *world, _ *builder.Order) { w.write(map[string]string{"app.yaml": "ap: x"}) },
		"has something else in it than": func(w *world, _ *builder.Order) { _ = os.MkdirAll(filepath.Join(w.store, "x/y"), 0o755) },
		"another build goes on": func(w *world, _ *builder.Order) {
			w.b.Look = func(ctx context.Context, _ string) (build.Checkout, error) {
				w.b.Look = func(context.Context, string) (build.Checkout, error) { return w.at, nil }
				_, err := w.b.Build(ctx, w.order())
				return w.at, err
			}
		},
	} {
		w := newWorld(t, "app: shop\nbuild: {build: 'echo ran'}\n", nil)
		o := w.order()
		change(w, &o)
		if _, err := w.b.Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if w.out.Len() > 0 {
			t.Errorf("%s: it ran", want)
		}
	}
}

func TestTheCheckoutChangesMeanwhile(t *testing.T) {
	for want, change := range map[string]func(w *world){
		"somebody checked out": func(w *world) { w.at.Commit = strings.Repeat("f", 40) },
		"were changed while":   func(w *world) { w.at.Changed = []string{"a"} },
	} {
		w := newWorld(t, "app: shop\nbuild: {build: 'true'}\n", nil)
		w.before = func(string) { change(w) }
		if _, err := w.b.Build(t.Context(), w.order()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		w.nothing()
	}
}

// A commit that comes out another way is not pushed over the first.
func TestAnotherResult(t *testing.T) {
	w := newWorld(t, plain, nil)
	w.build(w.order())
	w.write(map[string]string{"ignored": "x"})
	_, err := w.b.Build(t.Context(), w.order())
	if sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "was built before, with another result") {
		t.Errorf("%v", err)
	}
}

func TestNotPushed(t *testing.T) {
	w := newWorld(t, plain, nil)
	o := w.order()
	o.Depot, o.NoPush, o.NoTest, o.To = nil, true, true, filepath.Join(t.TempDir(), "x.tar.gz")
	r := w.build(o)
	if r.Pushed != nil || r.Meta["seconds.test"] != "" {
		t.Errorf("%+v", r)
	}
	w.nothing()
	p, err := w.depot.Push(t.Context(), sluice.ArtifactName{App: "shop", Target: "master", File: "x.tar.gz", Version: "1"}, o.To, artifact.PushOptions{})
	if err != nil || p.Digest != r.Digest || p.Manifest != r.Manifest || p.Bytes != r.Bytes {
		t.Errorf("%+v, %v", p, err)
	}
}

// Whenever it is called off, there is the whole version or none, and the next build makes it.
func TestInterruptedAtAnyMoment(t *testing.T) {
	w := newWorld(t, "app: shop\nbuild: {build: 'echo a', test: 'echo b', bundles: [{name: v, keyed_by: app.yaml, make: 'mkdir v; echo x >v/x', dir: v}]}\n", nil)
	for n, done := 1, false; !done; n++ {
		if n > 200 {
			t.Fatal("it does not come to its end")
		}
		store, err := dirartifacts.New(filepath.Join(t.TempDir(), "store"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.depot.Store = &interrupting{Artifacts: store, at: n, cancel: cancel}
		_, err = w.b.Build(ctx, w.order())
		cancel()
		done = err == nil
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("%d: %v", n, err)
		}
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("%d: there is %v left, %v", n, left, err)
		}
		w.depot.Store = store
		for _, file := range []sluice.ArtifactName{{App: "shop", Target: "master", File: "shop.tar.gz"}, {App: "shop", Target: "bundles", File: "v.tar.gz"}} {
			all, err := w.depot.Versions(t.Context(), file)
			if err != nil && sluice.CodeOf(err) != sluice.NotFound {
				t.Errorf("%d: %v", n, err)
			}
			for _, v := range all {
				if _, err := w.depot.Pull(t.Context(), v.ArtifactName, filepath.Join(t.TempDir(), "a"), true, nil); err != nil {
					t.Errorf("%d: %v", n, err)
				}
			}
		}
		if r := w.build(w.order()); r.Pushed == nil || !r.Pushed.Latest {
			t.Errorf("%d: %+v", n, r)
		}
	}
}

// interrupting is a repository; at the n-th thing that is asked of it somebody presses Ctrl-C.
type interrupting struct {
	sluice.Artifacts
	at, asked int
	cancel    func()
}

func (i *interrupting) asking() {
	if i.asked++; i.asked == i.at {
		i.cancel()
	}
}

func (i *interrupting) Read(ctx context.Context, n sluice.ArtifactName) ([]byte, error) {
	i.asking()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return i.Artifacts.Read(ctx, n)
}

func (i *interrupting) Send(ctx context.Context, c sluice.Content, from io.ReadSeeker, sent func(int64)) error {
	i.asking()
	return i.Artifacts.Send(ctx, c, from, sent)
}

func (i *interrupting) Write(ctx context.Context, n sluice.ArtifactName, text, was []byte) error {
	i.asking()
	if err := ctx.Err(); err != nil {
		return err
	}
	return i.Artifacts.Write(ctx, n, text, was)
}

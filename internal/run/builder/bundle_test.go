package builder_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
	"sluice/internal/run/builder"
)

const venv = `app: shop
build:
  test: test -x venv/bin/run && test -L venv/lib64 && echo spoilt >venv/lib/a && echo more >venv/more
  bundles: [{name: venv, keyed_by: [lock], make: ./make.sh, dir: venv}]
`

// makes makes a bundle.
const makes = "#!/bin/sh\nmkdir -p venv/bin venv/lib venv/empty && cp lock venv/lib/a && ln -s lib venv/lib64 && echo '#!' >venv/bin/run && chmod +x venv/bin/run\n"

func newVenv(t *testing.T) *world {
	t.Helper()
	return newWorld(t, venv, map[string]string{"lock": "one\n", "make.sh": makes})
}

// made is how often a bundle was made.
func (w *world) made() int {
	w.Helper()
	n := 0
	for _, text := range w.told {
		if text == "venv: ./make.sh" {
			n++
		}
	}
	return n
}

func TestBundles(t *testing.T) {
	w := newVenv(t)
	first := w.build(w.order())
	tree := w.tree(first)
	for p, want := range map[string]string{"venv": "/", "venv/bin": "/", "venv/bin/run": "755 #!\n", "venv/empty": "/", "venv/lib/a": "644 one\n", "venv/lib64": "> lib", "venv/more": ""} {
		if tree[p] != want {
			t.Errorf("%s is %q, and should be %q", p, tree[p], want)
		}
	}
	// The same again has it out of the repository, as it was, whatever the tests have made of it.
	second := w.build(w.order())
	if w.made() != 1 || !second.Pushed.Already || second.Took[0].Note != "from the repository" {
		t.Errorf("made %d times, %+v", w.made(), second)
	}
	found, err := w.depot.Versions(t.Context(), sluice.ArtifactName{App: "shop", Target: "bundles", File: "venv.tar.gz"})
	if err != nil || len(found) != 1 || first.Pushed.Meta["bundle.venv"] != found[0].Digest || !strings.HasPrefix(found[0].Version, "linux-test-") {
		t.Errorf("%+v, %v", found, err)
	}
	// Another commit with the same lock shares it.
	w.at.Commit = strings.Repeat("c", 40)
	w.write(map[string]string{"new": "1"})
	if w.build(w.order()); w.made() != 1 {
		t.Error("it was made for another commit")
	}
	for i, change := range []func(){
		func() { w.write(map[string]string{"lock": "two\n"}) },
		func() { w.write(map[string]string{"make.sh": makes + "#\n"}) },
		func() { w.b.Platform = "linux-other" },
	} {
		change()
		w.at.Commit = strings.Repeat(fmt.Sprint(i), 40)
		if w.build(w.order()); w.made() != i+2 {
			t.Errorf("change %d: made %d times", i, w.made())
		}
	}
}

// A bundle that nobody pushes is made and packed all the same, out of the repository where it is there.
func TestBundlesWithoutPush(t *testing.T) {
	w := newVenv(t)
	o := w.order()
	o.NoPush = true
	first := w.build(o)
	w.nothing()
	pushed := w.build(w.order())
	if w.made() != 2 || first.Digest != pushed.Digest {
		t.Errorf("made %d times, %s and %s", w.made(), first.Digest, pushed.Digest)
	}
	if third := w.build(o); w.made() != 2 || third.Digest != pushed.Digest {
		t.Errorf("made %d times", w.made())
	}
}

// Two that make it at once come to have one.
func TestAnotherIsFaster(t *testing.T) {
	w := newVenv(t)
	lost := &losing{Depot: w.depot}
	lost.first = func() {
		other := *w
		other.dir = t.TempDir()
		other.write(map[string]string{"app.yaml": venv, "lock": "one\n", "make.sh": makes + "date +%N >venv/when\n"})
		o := other.order()
		other.build(o)
	}
	o := w.order()
	w.write(map[string]string{"make.sh": makes + "date +%N >venv/when\n"})
	o.Depot = lost
	r := w.build(o)
	if r.Took[0].Note != "made, and another build was faster" || !r.Pushed.Already {
		t.Errorf("%+v", r)
	}
}

// losing is a repository into which somebody else pushes right before.
type losing struct {
	builder.Depot
	first func()
}

func (l *losing) Push(ctx context.Context, n sluice.ArtifactName, path string, o artifact.PushOptions) (artifact.Pushed, error) {
	if first := l.first; first != nil {
		l.first = nil
		first()
	}
	return l.Depot.Push(ctx, n, path, o)
}

// A script of several lines, or a long one, makes a bundle as well.
func TestLongScripts(t *testing.T) {
	w := newWorld(t, "app: shop\nbuild:\n  bundles:\n  - name: venv\n    keyed_by: [lock]\n    dir: venv\n    make: |\n      mkdir venv\n      echo "+strings.Repeat("\u00e9", 3000)+" >venv/a\n", map[string]string{"lock": "1"})
	w.build(w.order())
	found, err := w.depot.Versions(t.Context(), sluice.ArtifactName{App: "shop", Target: "bundles", File: "venv.tar.gz"})
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if text := found[0].Meta["make"]; !strings.HasPrefix(text, "mkdir venv echo \u00e9") || !strings.HasSuffix(text, "...") || len(text) > 210 {
		t.Errorf("%q", text)
	}
}

// What was there when this build came, and is gone when it looks, is not left out without a word.
func TestABundleThatGoes(t *testing.T) {
	w := newVenv(t)
	o := w.order()
	o.Depot = goes{w.depot}
	if _, err := w.b.Build(t.Context(), o); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "is gone now") {
		t.Errorf("%v", err)
	}
	w.nothing()
}

// goes is a repository in which somebody else has pushed a bundle, and collects it.
type goes struct{ builder.Depot }

func (g goes) Push(_ context.Context, n sluice.ArtifactName, _ string, _ artifact.PushOptions) (artifact.Pushed, error) {
	return artifact.Pushed{}, sluice.Errorf(sluice.Conflict, "%s is there", n)
}

func TestBundlesThatAreRefused(t *testing.T) {
	for want, change := range map[string]func(w *world){
		"has files of the commit in it, such as venv/x": func(w *world) {
			w.b.Tracked = func(context.Context, string, string) ([]string, error) { return []string{"venv/x"}, nil }
		},
		"cannot be put on hosts": func(w *world) {
			w.write(map[string]string{"make.sh": "#!/bin/sh\nmkdir venv; ln -s /usr/bin/python3 venv/python\n"})
		},
		"is keyed by": func(w *world) { _ = os.Remove(filepath.Join(w.dir, "lock")) },
	} {
		w := newVenv(t)
		change(w)
		if _, err := w.b.Build(t.Context(), w.order()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		w.nothing()
	}
}

// A directory that leads out of the checkout is not followed.
func TestNothingOutsideIsRemoved(t *testing.T) {
	outside := t.TempDir()
	precious := filepath.Join(outside, "venv", "precious")
	if err := errors.Join(os.MkdirAll(filepath.Dir(precious), 0o755), os.WriteFile(precious, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "app: shop\nbuild: {bundles: [{name: v, keyed_by: app.yaml, make: 'mkdir -p up/venv', dir: up/venv}]}\n", nil)
	if err := os.Symlink(outside, filepath.Join(w.dir, "up")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Build(t.Context(), w.order()); err == nil {
		t.Error("it was built")
	}
	if _, err := os.Stat(precious); errors.Is(err, fs.ErrNotExist) {
		t.Error("what is outside was removed")
	}
}

// What git says is new below a bundle's directory is ours.
func TestBundlesAreNoDirt(t *testing.T) {
	w := newVenv(t)
	w.at.Prefix, w.at.Added = "sub/", []string{"sub/venv/a", "sub/venv/b"}
	w.build(w.order())
	w.at.Added = []string{"venv/a"}
	if _, err := w.b.Build(t.Context(), w.order()); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("%v", err)
	}
}

func TestTheForgeIsTold(t *testing.T) {
	const status = ", status: {url: 'https://f/{commit}', form: github, token_env: TOKEN, link_env: LINK}}\n"
	w := newWorld(t, "app: shop\nbuild: {test: 'exit $WITH'"+status, nil)
	states := func() string {
		var out []string
		for _, r := range w.posted {
			if r.Header["Authorization"] != "Bearer t0k3n" || !strings.HasSuffix(r.URL, "/"+w.at.Commit) || !strings.Contains(string(r.Body), `"target_url":"https://ci/1"`) {
				t.Errorf("%+v", r)
			}
			for _, s := range []build.State{build.Pending, build.Success, build.Failure} {
				if strings.Contains(string(r.Body), `"state":"`+string(s)+`"`) {
					out = append(out, string(s))
				}
			}
		}
		w.posted = nil
		return strings.Join(out, " ")
	}
	w.b.Environ = append(w.b.Environ, "LINK=https://ci/1", "WITH=0")
	if w.build(w.order()); states() != "pending success" {
		t.Error("a success is not told")
	}
	w.b.Environ = append(w.b.Environ, "WITH=3")
	_, err := w.b.Build(t.Context(), w.order())
	if body := string(w.posted[1].Body); err == nil || !strings.Contains(body, "test failed: it ended with status 3") || states() != "pending failure" {
		t.Errorf("%v, %s", err, body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.before = func(string) { cancel() }
	w.told = nil
	_, err = w.b.Build(ctx, w.order())
	if strings.Contains(strings.Join(w.told, "\n"), "was not told") {
		t.Errorf("%q", w.told)
	}
	if body := string(w.posted[1].Body); !errors.Is(err, context.Canceled) || !strings.Contains(body, "interrupted") || states() != "pending failure" {
		t.Errorf("%v, %s", err, body)
	}
}

// Who calls a build off while the forge is told of its beginning does not wait for the forge; its end is told.
func TestCalledOffAtTheForge(t *testing.T) {
	w := newWorld(t, "app: shop\nbuild: {status: {url: 'https://f/', token_env: TOKEN}}\n", nil)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	last := ""
	w.b.Post = func(c context.Context, r build.Request) (bool, error) {
		last = string(r.Body)
		if asked++; asked > 1 {
			return false, c.Err()
		}
		cancel()
		<-c.Done()
		return true, context.Cause(c)
	}
	if _, err := w.b.Build(ctx, w.order()); !errors.Is(err, context.Canceled) || strings.Contains(strings.Join(w.told, "\n"), `"failure"`) || asked < 2 || !strings.Contains(last, "failure") {
		t.Errorf("%v, asked %d times, %q", err, asked, w.told)
	}
}

// A forge that cannot be told fails no build, and is not asked for ever.
func TestTheForgeIsAway(t *testing.T) {
	w := newWorld(t, "app: shop\nbuild: {status: {url: 'https://f/', token_env: TOKEN}}\n", nil)
	asked, again := 0, true
	w.b.Post = func(context.Context, build.Request) (bool, error) {
		asked++
		return again, errors.New("status 503")
	}
	if r := w.build(w.order()); r.Unsaid != "status 503" || asked != 6 || !strings.Contains(strings.Join(w.told, "\n"), `the forge was not told "success": status 503`) {
		t.Errorf("%+v, asked %d times, %q", r, asked, w.told)
	}
	if asked, again = 0, false; w.build(w.order()).Unsaid != "status 503" || asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	asked = 0
	w.at.Changed = []string{"a"}
	o := w.order()
	o.Dirty = true
	if r := w.build(o); !strings.Contains(r.Unsaid, "is not the commit") || asked != 0 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	w.at.Changed, w.b.Environ = nil, nil
	if r := w.build(w.order()); !strings.Contains(r.Unsaid, "TOKEN is not set") || asked != 0 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
}

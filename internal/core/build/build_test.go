package build_test

import (
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
)

var (
	id        = strings.Repeat("0123456789", 4)
	committed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("CET", 3600))
	now       = time.Date(2026, 6, 7, 8, 9, 10, 0, time.UTC)
)

func at(c build.Checkout) build.Checkout {
	c.Commit, c.Committed, c.Authored = id, committed, committed.Add(-time.Hour)
	return c
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		is   build.Checkout
		want string
	}{
		{build.Checkout{}, "20260102-020405-012345678901"},
		{build.Checkout{Tags: []string{"v1.2"}}, "v1.2"},
		{build.Checkout{Tags: []string{"v1.2", "stable"}}, "20260102-020405-012345678901"},
		{build.Checkout{Tags: []string{"release/1"}}, "20260102-020405-012345678901"},
		{build.Checkout{Tags: []string{"latest"}}, "20260102-020405-012345678901"},
		{build.Checkout{Tags: []string{"v1.2"}, Changed: []string{"a"}}, "v1.2+dirty.20260607-080910"},
		{build.Checkout{Added: []string{"a"}}, "20260102-020405-012345678901+dirty.20260607-080910"},
	} {
		got := build.Version(at(c.is), now)
		if got != c.want {
			t.Errorf("%+v: %s, and not %s", c.is, got, c.want)
		}
		if err := (sluice.ArtifactName{App: "a", Target: "b", File: "c", Version: got}).Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestTarget(t *testing.T) {
	for branch, want := range map[string]string{"main": "master", "master": "master", "trunk": "master", "next": "next", "feature/x/y": "feature-x-y"} {
		if got, err := build.Target(build.Checkout{Branch: branch}); err != nil || got != want {
			t.Errorf("%s: %s, %v", branch, got, err)
		}
	}
	if _, err := build.Target(build.Checkout{}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotTheCommit(t *testing.T) {
	clean := at(build.Checkout{})
	changed, added := at(build.Checkout{Changed: []string{"a"}}), at(build.Checkout{Added: []string{"b"}})
	other := clean
	other.Commit = strings.Repeat("9", 40)
	for _, c := range []struct {
		err  error
		want string
	}{
		{build.Clean(clean), ""},
		{build.Clean(changed), "is not what commit 012345678901 is: a"},
		{build.Clean(added), ": b"},
		{build.Clean(at(build.Checkout{Added: strings.Fields("a b c d e f g")})), "a, b, c, d, e and 2 more"},
		{build.Same(clean, clean, false), ""},
		{build.Same(clean, added, false), ""}, // what a build makes
		{build.Same(clean, changed, false), "files of the commit were changed while it was built: a"},
		{build.Same(clean, changed, true), ""},
		{build.Same(clean, other, true), "somebody checked out 999999999999"},
	} {
		if c.want == "" && c.err != nil || c.want != "" && (c.err == nil || !strings.Contains(c.err.Error(), c.want)) {
			t.Errorf("%v, and not %q", c.err, c.want)
		}
	}
	within := build.Checkout{Prefix: "sub/", Added: []string{"sub/venv/a", "venv/b", "sub/venv2", "sub/x/venv/c"}}
	if got := strings.Join(within.Without("venv").Added, " "); got != "venv/b sub/venv2 sub/x/venv/c" || len(within.Added) != 4 {
		t.Errorf("%s", got)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string
	}{
		{"app", "app app/a app/b/c", "application x/app ap"},
		{"*.py", "a.py a.py/x", "x/a.py a.pyc"},
		{"**/*.pyc", "a.pyc x/a.pyc x/y/a.pyc", "a.py"},
		{"app/**", "app app/a app/b/c", "apps x/app"},
		{"app/**/t", "app/t app/a/t app/a/b/t app/t/x", "app t app/a"},
		{"**", "a a/b", ""},
		{"a/*/c", "a/b/c a/b/c/d", "a/c a/b/b/c"},
		{"[ab]?", "a1 b2", "c1 a"},
		{`\[x\]`, "[x]", "x"},
	} {
		if err := build.CheckPattern(c.pattern); err != nil {
			t.Error(err)
		}
		for _, f := range strings.Fields(c.yes) {
			if !build.Matches(c.pattern, f) {
				t.Errorf("%s is not that of %s", c.pattern, f)
			}
		}
		for _, f := range strings.Fields(c.no) {
			if build.Matches(c.pattern, f) {
				t.Errorf("%s is that of %s", c.pattern, f)
			}
		}
	}
	for _, p := range []string{"", "/a", "a/", "a//b", "../x", "a/./b", "[", "a**", "**.py"} {
		if build.CheckPattern(p) == nil {
			t.Errorf("%q is a pattern", p)
		}
	}
	b := build.Bundle{Include: []string{"app", "*.yaml"}, Exclude: []string{"**/*.pyc", "app/tests"}}
	for f, want := range map[string]bool{"app": true, "app/a": true, "app/a.pyc": false, "app/tests/x": false, "app/tests": false, "app.yaml": true, "other": false, "app/.git/x": false, "app/.git": false, ".git/config": false, "app/.gitignore": true} {
		if b.Takes(f) != want {
			t.Errorf("%s: %v", f, !want)
		}
	}
}

// Whatever a bundle depends on makes another key, and nothing else does.
func TestKey(t *testing.T) {
	env, files := map[string]string{"A": "1", "B": "2"}, []build.File{{Path: "a", SHA256: "1"}, {Path: "b", SHA256: "2"}}
	d := build.Dependency{Name: "venv", Make: "make it", Dir: "venv", KeyedBy: []string{"a"}}
	key := build.Key(d, "linux", env, files)
	if again := build.Key(build.Dependency{Name: "other", Make: "make it", Dir: "venv", Timeout: 1}, "linux", map[string]string{"B": "2", "A": "1"}, []build.File{files[1], files[0]}); again != key {
		t.Errorf("%s and %s", key, again)
	}
	seen := map[string]string{key: "the first"}
	for what, other := range map[string]string{
		"make":     build.Key(build.Dependency{Make: "make it ", Dir: "venv"}, "linux", env, files),
		"dir":      build.Key(build.Dependency{Make: "make it", Dir: "v"}, "linux", env, files),
		"platform": build.Key(d, "linux2", env, files),
		"env":      build.Key(d, "linux", map[string]string{"A": "1", "B": "3"}, files),
		"content":  build.Key(d, "linux", env, []build.File{files[0], {Path: "b", SHA256: "3"}}),
		"path":     build.Key(d, "linux", env, []build.File{files[0], {Path: "c", SHA256: "2"}}),
		"less":     build.Key(d, "linux", env, files[:1]),
	} {
		if seen[other] != "" {
			t.Errorf("%s makes no difference to %s", what, seen[other])
		}
		seen[other] = what
	}
	n := d.At("shop", build.Platform("linux", "amd64", "NAME=x\nID=\"debian\"\nVERSION_ID='12'\n"), key)
	if err := n.Check(); err != nil || n.String() != "shop/bundles/venv.tar.gz/linux-amd64-debian-12-"+key {
		t.Errorf("%s, %v", n, err)
	}
	if got := build.Platform("linux", "arm64", ""); got != "linux-arm64" {
		t.Error(got)
	}
	for line, want := range map[string]string{"./scripts/venv.sh -x": "scripts/venv.sh", "scripts/venv.sh": "scripts/venv.sh", "npm ci": "", "/bin/true": "", "../x/y": "", "a/../b": "", "$HOME/x": "", "": "", `"./x y"`: "", "(cd x; y)": ""} {
		if got := build.Program(line); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// What is kept of a build is what a record takes, whatever the commit's author wrote.
func TestMeta(t *testing.T) {
	c := at(build.Checkout{Branch: "main", Author: "Ann\x1b[31m", Subject: strings.Repeat("ä\t", 3000), Added: []string{"x"}})
	m := build.Meta(c, "ann@laptop", now, []build.Took{{Part: "test", Seconds: 1.5}}, map[string]string{"venv": "sha256:x"}, "https://ci/1")
	for k, want := range map[string]string{"commit": id, "branch": "main", "builder": "ann@laptop", "built": "2026-06-07T08:09:10Z", "authored": "2026-01-02T01:04:05Z",
		"committed": "2026-01-02T02:04:05Z", "dirty": "true", "author": "Ann [31m", "seconds.test": "1.5", "bundle.venv": "sha256:x", "link": "https://ci/1"} {
		if m[k] != want {
			t.Errorf("%s: %q, and not %q", k, m[k], want)
		}
	}
	r := artifact.Record{ArtifactName: sluice.ArtifactName{App: "a", Target: "b", File: "c", Version: "d"}, Meta: m, By: "x"}
	r.Digest, r.Manifest = "sha256:"+strings.Repeat("0", 64), "sha256:"+strings.Repeat("0", 64)
	if _, err := r.Statement(); err != nil {
		t.Error(err)
	}
	if r.Commit() != id {
		t.Error(r.Commit())
	}
}

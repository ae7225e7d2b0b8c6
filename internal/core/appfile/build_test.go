package appfile_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/appfile"
	"sluice/internal/core/build"
)

func TestBuildDefaults(t *testing.T) {
	a, err := appfile.Parse("app.yaml", []byte("app: shop\nbuild: {status: {url: https://forge/x}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := build.Spec{File: "shop.tar.gz", Timeouts: build.Timeouts{Build: time.Hour, Test: time.Hour, Bundle: time.Hour},
		Status: &build.Status{URL: "https://forge/x", Form: "json", Context: "sluice/shop"}}
	if !reflect.DeepEqual(a.Build, want) {
		t.Errorf("%+v", a.Build)
	}
}

// TestTheBuildManual: the file that the manual shows is one, and every key of it counts.
func TestTheBuildManual(t *testing.T) {
	text, err := os.ReadFile("../../../docs/builds.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the manual has no example")
	}
	a, err := appfile.Parse("app.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := build.Spec{
		Build: "./scripts/build.sh", Test: "make test", File: "shop.tar.zst",
		Bundle:   build.Bundle{Run: "./scripts/dist.sh", Dir: "dist", Include: []string{"**"}, Exclude: []string{"**/*.pyc", "tests"}},
		Env:      map[string]string{"NODE_ENV": "production"},
		Timeouts: build.Timeouts{Build: 20 * time.Minute, Test: time.Hour, Bundle: 10 * time.Minute},
		Bundles: []build.Dependency{{Name: "venv", KeyedBy: []string{"requirements.txt"}, Make: "./scripts/venv.sh", Dir: "venv",
			Platform: "auto", Timeout: 30 * time.Minute}},
		Status: &build.Status{URL: "https://api.github.com/repos/example/shop/statuses/{commit}", Form: "github", TokenEnv: "GITHUB_TOKEN", Context: "build/shop", LinkEnv: "BUILD_URL"},
	}
	if !reflect.DeepEqual(a.Build, want) {
		t.Errorf("%+v\n%+v", a.Build, want)
	}
}

func TestBuildMistakesHavePlaces(t *testing.T) {
	const dep = "app: s\nbuild: {bundles: [{name: v, keyed_by: [r], make: m, dir: d}, "
	for text, want := range map[string]string{
		"app: s\nbuild: {biuld: x}":                                     `app.yaml:2:9: unknown key "biuld" in build`,
		"app: s\nbuild: {build: [a]}":                                   "build must be a text, not a list",
		"app: s\nbuild: {bundle: {script: x}}":                          `unknown key "script" in bundle`,
		"app: s\nbuild: {bundle: {dir: ../x}}":                          "app.yaml:2:23: dir must be a path inside the checkout",
		"app: s\nbuild: {bundle: {dir: /x}}":                            "dir must be a path inside the checkout",
		"app: s\nbuild: {bundle: {dir: .}}":                             "dir must be a path inside the checkout",
		"app: s\nbuild: {bundle: {dir: .git/x}}":                        "dir must be a path inside the checkout",
		"app: s\nbuild: {bundle: {include: [a, '../b']}}":               `app.yaml:2:31: "../b" is no pattern`,
		"app: s\nbuild: {bundle: {exclude: ['a**']}}":                   "** stands for directories",
		"app: s\nbuild: {file: shop.zip}":                               "file must end in one of .tar.gz",
		"app: s\nbuild: {file: .tar.gz}":                                "file must be letters",
		"app: s\nbuild: {env: {A-B: x}}":                                `app.yaml:2:15: "A-B" cannot be the name of a variable`,
		"app: s\nbuild: {env: {SLUICE_APP: x}}":                         "variables that begin with SLUICE_ are set by sluice",
		"app: s\nbuild: {env: {A: }}":                                   "the value of A must be a text, not nothing",
		"app: s\nbuild: {timeouts: {test: 0s}}":                         "test must be more than nothing",
		"app: s\nbuild: {timeouts: {push: 1s}}":                         `unknown key "push" in timeouts`,
		"app: s\nbuild: {bundles: [{name: v}]}":                         "a bundle is keyed by nothing",
		"app: s\nbuild: {bundles: [{name: test}]}":                      "a bundle cannot be called test",
		"app: s\nbuild: {bundles: [{keyed_by: /etc/passwd}]}":           "keyed_by must be a path inside the checkout",
		dep + "{name: v, keyed_by: r, make: m, dir: e}]}":               "two bundles are called v",
		dep + "{name: w, keyed_by: r, make: m, dir: d/e}]}":             "the bundles v and w are in each other's directory",
		dep + "{name: w, keyed_by: r, make: m}]}":                       "a bundle has no dir",
		"app: s\nbuild: {status: {form: github}}":                       "status has no url",
		"app: s\nbuild: {status: {url: 'http://forge/', token_env: T}}": "app.yaml:2:23: a token is only sent over https",
		"app: s\nbuild: {status: {url: 'https://f/', form: gitea}}":     "form must be one of github, gitlab, json",
		"app: s\nbuild: {status: {url: 'https://f/', token_env: a b}}":  "token_env must be the name of a variable",
	} {
		a, err := appfile.Parse("app.yaml", []byte(text))
		var all appfile.Errors
		if err == nil || !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; it shall say %q", text, a, err, want)
		}
	}
}

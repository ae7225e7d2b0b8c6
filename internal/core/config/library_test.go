package config_test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/config"
)

// shelf is a tree in memory. Files whose text begins with "#!" are programs: they are functions of programs.
type shelf struct {
	name     string
	files    map[string]string
	programs map[string]func(variables []string, stdin string) (string, error)
	read     map[string]int
}

func (s shelf) List(dir string) ([]string, error) {
	var out []string
	for name := range s.files {
		if path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s shelf) ReadFile(name string, limit int64) ([]byte, error) {
	text, ok := s.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if s.read != nil {
		s.read[name]++
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return []byte(text), nil
}

func (s shelf) Executable(name string) (bool, error) {
	return strings.HasPrefix(s.files[name], "#!"), nil
}

func (s shelf) Run(name string, variables []string, stdin []byte, _ int64) ([]byte, error) {
	out, err := s.programs[name](variables, string(stdin))
	return []byte(out), err
}

func (s shelf) Shown(name string) string { return path.Join(s.name, name) }

func library(t testing.TB, app shelf, local config.Tree, shared ...config.Tree) *config.Library {
	t.Helper()
	l, err := config.NewLibrary(shared)
	if err != nil {
		t.Fatal(err)
	}
	l.AddApp("shop", app, local)
	return l
}

// Every layer that there can be says its name: the list is the order.
func TestLibraryOrder(t *testing.T) {
	said := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, n := range names {
			out[n+".yaml"] = "order: [" + n + "]\n"
		}
		return out
	}
	shared := said("hostname", "hostname/web1", "hostname/web2", "hostname-local", "common", "common-prod", "common-prod-eu", "common-local", "common-overrides",
		"shop", "shop-prod", "shop-prod-eu", "shop-local", "shop-overrides", "common-other", "shop-other", "shop-default", "shop-prod-us")
	app := said("shop-default", "shop-prod", "shop-prod-eu", "shop-local", "shop", "shop-overrides", "common")
	for name := range app {
		app[name] = strings.Replace(app[name], "[", "[app/", 1)
	}
	second := shelf{name: "second", files: map[string]string{"common.json": `{"order": ["second/common"]}`}}
	local := shelf{name: "local", files: map[string]string{"shop-local.yaml": "order: [local/shop-local]\n", "common.yaml": "order: [local/common]\n"}}
	l := library(t, shelf{name: "app", files: app}, local, shelf{name: "config", files: shared}, second)
	for _, c := range []struct {
		f    config.For
		want string
	}{
		{config.For{App: "shop", Environment: "prod"}, `{"order":["hostname","common","second/common","common-prod","common-overrides",` +
			`"app/shop-default","app/shop-prod","shop","shop-prod","shop-overrides"]}`},
		{config.For{App: "shop", Environment: "prod", Cluster: "eu", Host: "web1", Local: true}, `{"order":["hostname","hostname/web1","hostname-local",` +
			`"local/common","common","second/common","common-prod","common-prod-eu","common-local","common-overrides",` +
			`"app/shop-default","app/shop-prod","app/shop-prod-eu","shop","shop-prod","shop-prod-eu","app/shop-local","local/shop-local","shop-local","shop-overrides"]}`},
	} {
		r, err := l.Render(c.f)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.Tree.JSON()); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.f, got, c.want)
		}
	}
}

var regexpLine = regexp.MustCompile(`db\.n: app/shop-default\.yaml:\d+:6=`)

// A program gets what there is so far and says what becomes of it. What it says is told like that of any layer.
func TestPrograms(t *testing.T) {
	secret := sealed(t, canary)
	given := ""
	programs := map[string]func([]string, string) (string, error){
		"shop-prod.py": func(v []string, stdin string) (string, error) {
			given = stdin + strings.Join(v, " ")
			return strings.NewReplacer(`"a":1`, `"a":2`, `"gone":true,`, "", `"grows":[1]`, `"grows":[1,2]`, `"other":[1]`, `"other":[3]`, `{"!missing":"x"}`, `"filled"`).Replace(stdin), nil
		},
	}
	app := shelf{name: "app", files: map[string]string{
		"shop-default.yaml": "a: 1\ngone: true\ngrows: [1]\nother: [1]\nm: !missing x\nkey: " + secret + "db: {n: null}\n", "shop-prod.py": "#!/usr/bin/env python3\n",
	}, programs: programs}
	l := library(t, app, nil, shelf{name: "config", files: map[string]string{"shop.yaml": "grows: [5]\n"}})
	r, err := l.Render(config.For{App: "shop", Environment: "prod", Cluster: "eu", Host: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(given, "SLUICE_APP=shop SLUICE_ENV=prod SLUICE_CLUSTER=eu SLUICE_HOST=web1") || strings.Contains(given, canary) {
		t.Errorf("it was given %s", given)
	}
	var told strings.Builder
	for _, e := range r.Explain(nil) {
		fmt.Fprintf(&told, "%s:", e.Path)
		for _, s := range e.Said {
			if s.Value.Kind == config.Sealed {
				fmt.Fprint(&told, " sealed")
				continue
			}
			fmt.Fprintf(&told, " %s=%s%v", s.At, s.Value.Shown(), s.Counts)
		}
		told.WriteString("\n")
	}
	want := `a: app/shop-default.yaml:1:1=1false app/shop-prod.py=2true
db.n: app/shop-default.yaml:24:6=nulltrue
gone: app/shop-default.yaml:2:1=truefalse app/shop-prod.py=!deletefalse
grows: app/shop-default.yaml:3:1=[1]true app/shop-prod.py=[2]true config/shop.yaml:1:1=[5]true
key: sealed
m: app/shop-default.yaml:5:1=!missing "x"false app/shop-prod.py="filled"true
other: app/shop-default.yaml:4:1=[1]false app/shop-prod.py=!replace [3]true
`
	if got := regexpLine.ReplaceAllString(told.String(), "db.n: L="); got != regexpLine.ReplaceAllString(want, "db.n: L=") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	for name, c := range map[string]struct {
		program func([]string, string) (string, error)
		want    string
	}{
		"fails":          {func([]string, string) (string, error) { return "", fmt.Errorf("exit status 3: no") }, "app/shop-prod.py: the program of this layer failed: exit status 3: no"},
		"prints no JSON": {func([]string, string) (string, error) { return "hello", nil }, "must print the whole configuration as JSON"},
		"prints nothing": {func([]string, string) (string, error) { return "", nil }, "nothing is there"},
		"another type":   {func(_ []string, s string) (string, error) { return strings.Replace(s, `"a":1`, `"a":"1"`, 1), nil }, "app/shop-prod.py: a is a text here, and a number at app/shop-default.yaml:1:1"},
		"a seal of its own": {func(_ []string, s string) (string, error) {
			return strings.Replace(s, `"a":1`, `"a":1,"b":{"!sealed":{"file":"sha256:1","path":["x"],"data":"ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]","type":"text"}}`, 1), nil
		}, "is sealed in a file of SOPS that is none of these layers"},
	} {
		programs["shop-prod.py"] = c.program
		_, err := library(t, app, nil, shelf{name: "config", files: map[string]string{"shop.yaml": "m: 1\n"}}).Render(config.For{App: "shop", Environment: "prod"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheck looks at everything at once; testdata/check.golden is what people read.
func TestCheck(t *testing.T) {
	config1 := shelf{name: "config", files: map[string]string{
		"configuration.yaml":  "environments: {prod: [eu, us], staging: }\napps: {shop: {dir: ../shop}, shop-prod: {environments: [staging]}, bare: {}}\n",
		"common.yaml":         "a: 1\nb: !missing\n",
		"common-prod.yaml":    "a: x\n",
		"common-staging.yaml": "b: 1\n",
		"comon-staging.yaml":  "b: 2\n",
		"common-prod-eu.yaml": "b: [\n",
		"common-prod-us.toml": "b = 1\n",
		"common-prod-us.json": "{}",
		"bare.py":             "print()\n",
		"README.md":           "what this is\n",
		"other.yaml":          "x: 1\n",
	}}
	l := library(t, shelf{name: "shop", files: map[string]string{"shop-default.yaml": "c: 1\n", "public.yaml": "keys: [nothing]\n"}}, nil, config1)
	var b strings.Builder
	checked := l.Check(l.Settings.Apps())
	fmt.Fprintf(&b, "%d places, %d layers, %d sealed\n", checked.Places, checked.Layers, checked.Sealed)
	b.WriteString(checked.Problems.Error() + "\n")
	golden(t, "check.golden", b.String())
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		"environments: {default: }":                                "an environment cannot be called default",
		"environments: {prod: [e/u]}":                              `"e/u" cannot be the name of a cluster`,
		"apps: {common: }":                                         "an application cannot be called common",
		"enviroments: {prod: }":                                    "did you mean environments?",
		"environments: {prod: }\napps: {a: {environments: [prd]}}": "did you mean prod?",
		"environments: {prod: }\napps: {a: {dri: x}}":              "did you mean dir?",
		"environments: [prod]":                                     "environments must be a mapping",
	} {
		_, err := config.NewLibrary([]config.Tree{shelf{name: "config", files: map[string]string{"configuration.yaml": text}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config/configuration.yaml") {
			t.Errorf("%s: %v", text, err)
		}
	}
	l, err := config.NewLibrary([]config.Tree{shelf{name: "config", files: map[string]string{
		"configuration.yaml": "environments: {production: [eu]}\napps: {shop: }\n", "common.yaml": "a: 1\n",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]config.For{
		"there is no application shpo":   {App: "shpo", Environment: "production"},
		"there is no environment prod ":  {App: "shop", Environment: "prod"},
		"there is no cluster of":         {App: "shop", Environment: "production", Cluster: "ue"},
		"cannot be the name of an appli": {App: "a/b", Environment: "production"},
	} {
		if _, err := l.Render(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", f, err)
		}
	}
	if _, err := l.Render(config.For{App: "shop", Environment: "production", Cluster: "eu"}); err != nil {
		t.Error(err)
	}
}

// many are 500 applications in four environments: shared layers, each application's own, a list, and a sealed value here and there.
func many(tb testing.TB, apps int) (open func() *config.Library, places []config.For) {
	shared := map[string]string{"common.yaml": block("common", 40), "hostname.yaml": "role: web\n"}
	envs := []string{"production", "staging", "qa", "local1"}
	for _, e := range envs {
		shared["common-"+e+".yaml"] = block("common", 20)
	}
	secret := sealed(tb, canary)
	trees := make([]shelf, apps)
	for i := range apps {
		app := fmt.Sprintf("app%03d", i)
		shared[app+".yaml"] = block(app, 10)
		trees[i] = shelf{name: app, files: map[string]string{app + "-default.yaml": block(app, 40) + "list: [a, b]\n"}}
		for _, e := range envs {
			shared[app+"-"+e+".yaml"] = block(app, 5) + "list: [" + e + "]\n"
			places = append(places, config.For{App: config.App(app), Environment: config.Environment(e)})
		}
		shared[app+"-production.yaml"] += "key: " + secret
	}
	return func() *config.Library {
		l, err := config.NewLibrary([]config.Tree{shelf{name: "config", files: shared}})
		if err != nil {
			tb.Fatal(err)
		}
		for i, t := range trees {
			l.AddApp(config.App(fmt.Sprintf("app%03d", i)), t, nil)
		}
		return l
	}, places
}

// block is a map of maps of five texts each.
func block(name string, keys int) string {
	var b strings.Builder
	b.WriteString(name + ":\n")
	for i := range keys {
		if i%5 == 0 {
			fmt.Fprintf(&b, "  section%d:\n    number: %d\n", i/5, i)
		}
		fmt.Fprintf(&b, "    key%d: value of %s\n", i, name)
	}
	return b.String()
}

// BenchmarkRender is everything that 500 applications in four environments take: reading all layers, merging, freezing.
func BenchmarkRender(b *testing.B) {
	open, places := many(b, 500)
	for b.Loop() {
		l := open()
		for _, f := range places {
			r, err := l.Render(f)
			if err != nil {
				b.Fatal(err)
			}
			r.Freeze()
		}
	}
}

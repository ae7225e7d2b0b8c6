package release_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
)

// templates is an artifact with these files.
func templates(t *testing.T, files map[string]string) (manifest.Manifest, func(manifest.Entry) ([]byte, error)) {
	t.Helper()
	var entries []manifest.Entry
	for name, text := range files {
		entries = append(entries, manifest.Entry{Path: name, Kind: manifest.File, Mode: 0o644, Size: int64(len(text)), SHA256: sum(text)})
	}
	m, err := manifest.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return m, func(e manifest.Entry) ([]byte, error) { return []byte(files[e.Path]), nil }
}

const armored = "-----BEGIN AGE ENCRYPTED FILE-----\n  YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBBQUFBCkFBQUEKLS0tIEFB\n  -----END AGE ENCRYPTED FILE-----\n"

// frozen is a configuration as a job has it.
func frozen(t *testing.T, text string) []byte {
	t.Helper()
	l, err := config.ReadLayer("common.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := config.Render(config.For{App: "shop", Environment: "prod"}, []*config.Layer{l})
	if err != nil {
		t.Fatal(err)
	}
	return r.Freeze().JSON
}

func TestTemplatesOfAnArtifact(t *testing.T) {
	files, _ := templates(t, map[string]string{"deploy/templates/b": "", "deploy/templates/etc/a.ini": "", "deploy/templatesx": "", "app.yaml": ""})
	said := sluice.Template{From: "deploy/templates/b", To: "conf/b", Mode: "0600"}
	got, err := release.Templates(files, []sluice.Template{said}, nil)
	if want := []sluice.Template{said, {From: "deploy/templates/etc/a.ini", To: "deploy/etc/a.ini"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	_, err = release.Templates(files, []sluice.Template{{From: "deploy/templates/bb", To: "x"}}, []sluice.Position{{File: "app.yaml", Line: 3, Column: 5}})
	if err == nil || !strings.Contains(err.Error(), "app.yaml:3:5: there is no template deploy/templates/bb in the artifact\n    did you mean deploy/templates/b?") {
		t.Error(err)
	}
	files = append(slices.Clone(files), manifest.Entry{Path: "deploy/templates/link", Kind: manifest.Link, To: "b"})
	if _, err = release.Templates(files, nil, nil); err == nil || !strings.Contains(err.Error(), "deploy/templates/link: it is a link") {
		t.Error(err)
	}
}

// TestTemplatesThatNoHostTakes: what a release says of templates is checked wherever it comes from.
func TestTemplatesThatNoHostTakes(t *testing.T) {
	one := sluice.Template{From: "deploy/templates/a", To: "a"}
	for why, change := range map[string]func(*sluice.Template){
		"is not in deploy/templates":                      func(t *sluice.Template) { t.From = "etc/a" },
		`"deploy/templates/../a" is not in`:               func(t *sluice.Template) { t.From = "deploy/templates/../a" },
		`cannot become "../a"`:                            func(t *sluice.Template) { t.To = "../a" },
		`cannot become "/a"`:                              func(t *sluice.Template) { t.To = "/a" },
		`cannot become ""`:                                func(t *sluice.Template) { t.To = "" },
		"cannot become b: deploy/templates/b does":        func(t *sluice.Template) { t.To = "b" },
		"deploy/configuration.json: the configuration do": func(t *sluice.Template) { t.To = release.ConfigPath },
		`"etc/x" is no clean absolute path`:               func(t *sluice.Template) { t.Outside = "etc/x" },
		"is in the root of the app":                       func(t *sluice.Template) { t.Outside = "/srv/shop/live/x" },
		"/etc/b cannot lead to both b and a":              func(t *sluice.Template) { t.Outside = "/etc/b" },
		`"4755" is no mode`:                               func(t *sluice.Template) { t.Mode = "4755" },
		`"rw" is no mode`:                                 func(t *sluice.Template) { t.Mode = "rw" },
		`"-r" and "" cannot own a file`:                   func(t *sluice.Template) { t.User = "-r" },
		`"" and "a b" cannot own a file`:                  func(t *sluice.Template) { t.Group = "a b" },
	} {
		bad := one
		change(&bad)
		r := &sluice.Release{App: "shop", Env: "prod", Version: "1", Deploy: sluice.Deploy{Root: "/srv/shop",
			Templates: []sluice.Template{{From: "deploy/templates/b", To: "b", Outside: "/etc/b"}, one}}}
		if err := release.Check(sluice.DeployTo, r); err != nil {
			t.Fatal(err)
		}
		r.Deploy.Templates[1] = bad
		if err := release.Check(sluice.DeployTo, r); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v; it shall say %q", err, why)
		}
	}
}

func TestRenderedForAHost(t *testing.T) {
	files, text := templates(t, map[string]string{"deploy/templates/open": "port {{.port}}", "deploy/templates/shut": "key {{.key}}", "deploy/templates/same": "port {{.port}}"})
	list := []sluice.Template{{From: "deploy/templates/open", To: "open", Outside: "/etc/open", Group: "adm"}, {From: "deploy/templates/same", To: "same", Mode: "0600"}, {From: "deploy/templates/shut", To: "shut"}}
	r, err := release.NewRenderer(files, list, text)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := config.FrozenOf(frozen(t, "port: 80\nkey: !sealed |\n  "+armored)).Closed()
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Render(closed)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range h.Files {
		if e.Kind == manifest.File && !strings.HasPrefix(e.Path, release.TemplateDir) {
			got[e.Path] = fmt.Sprintf("%04o %s:%s", e.Mode, e.User, e.Group)
		}
	}
	// What nothing is said of has the mode of its template, without the rights of others where something sealed is in it.
	if want := map[string]string{release.ConfigPath: "0440 :", "open": "0644 :adm", "same": "0600 :", "shut": "0640 :"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if want := []release.Link{{Path: "/etc/open", To: "open"}}; !reflect.DeepEqual(h.Links, want) {
		t.Errorf("%v", h.Links)
	}
	list[2].Mode = "0644"
	if _, err := r.Render(closed); err == nil || !strings.Contains(err.Error(), "deploy/templates/shut: something sealed is in it, and with the mode 0644 anybody on the host could have it\n    mode: \"0640\" in app.yaml") {
		t.Error(err)
	}
}

// TestMistakesOnHosts: each mistake is told once, with its place and its hosts.
func TestMistakesOnHosts(t *testing.T) {
	files, text := templates(t, map[string]string{"deploy/templates/a": "{{.port}}\n {{.name}}", "deploy/templates/b": "{{.db.host}}", "etc": "a file"})
	list, err := release.Templates(files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := release.NewRenderer(files, list, text)
	if err != nil {
		t.Fatal(err)
	}
	all := []sluice.Host{"web1", "web2", "web3", "db1"}
	good, noName := frozen(t, "port: 1\nname: x\ndb: {host: h}\n"), frozen(t, "port: 1\nnmae: x\ndb: {}\n")
	of := func(web2, db1 []byte) *release.Configs {
		c := release.CommonConfigs(all, map[sluice.Host][]byte{"web1": good, "web2": web2, "web3": good, "db1": db1})
		return &c
	}
	if err := r.Check(of(good, good), all); err != nil {
		t.Error(err)
	}
	err = r.Check(of(noName, frozen(t, "port: 2\nname: why\ndb: {}\n")), all)
	want := `deploy/templates/a:2:4: there is no key .name (on web2)
    did you mean .nmae?
deploy/templates/b:1:6: there is no key .db.host (on web2,db1)
    where it may be missing: {{default VALUE .db.host}}`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	// Without a configuration there are no keys at all.
	if err := r.Check(nil, all); err == nil || !strings.Contains(err.Error(), "deploy/templates/a:1:3: there is no key .port (on all 4 hosts)") {
		t.Error(err)
	}
	// What a template becomes must have room in the tree.
	list[0].To = "etc/a"
	if r, err = release.NewRenderer(files, list, text); err == nil {
		err = r.Check(of(good, good), all)
	}
	if err == nil || !strings.Contains(err.Error(), `"etc/a" is below "etc", which is no directory (on all 4 hosts)`) {
		t.Error(err)
	}
	// What does not parse is found in all templates, before any host is looked at.
	files, text = templates(t, map[string]string{"deploy/templates/a": "{{.port", "deploy/templates/b": "{{nothing}}"})
	if _, err := release.NewRenderer(files, list, text); err == nil || !strings.Contains(err.Error(), "deploy/templates/a:1:1: ") || !strings.Contains(err.Error(), "deploy/templates/b:1:3: ") {
		t.Error(err)
	}
}

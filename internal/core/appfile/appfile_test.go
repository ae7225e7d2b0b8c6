package appfile_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/appfile"
)

func TestDefaults(t *testing.T) {
	a, err := appfile.Parse("app.yaml", []byte("app: shop\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a.App != "shop" || a.Deploy.Root != "/srv/shop" || a.Deploy.Keep != appfile.DefaultKeep || a.Deploy.NoHooks || a.Deploy.Waits.Drain != 30*time.Second {
		t.Errorf("%+v", a)
	}
}

func TestAllThatCanBeSaid(t *testing.T) {
	a, err := appfile.Parse("app.yaml", []byte(`
app: shop
deploy:
  root: /srv/www/shop
  user: www-data
  group: www-data
  keep: 3
  hooks: false
  once: $migrates
  after: web3
  balancers:
    - {haproxy: "10.0.0.1:9999", pool: shop, least: 50%}
    - {nginx: /etc/nginx/shop.conf, on: lb1, pool: shop, server: "10.0.0.7:80"}
    - {use: web, pool: shop, server: "{host}.internal"}
  services:
    - nginx
    - {name: shop-worker, by: supervisor, reload: true}
  checks:
    - {http: "http://127.0.0.1:8080/health", status: 204, every: 2s, timeout: 1s, successes: 5}
    - {exec: "/usr/local/bin/ok --deep"}
  waits: {drain: 1m, healthy: 3m, steady: 10s}
  on_failure: rollback
  templates:
    - {from: deploy/templates/nginx.conf, to: deploy/site.conf, outside: /etc/nginx/sites-enabled/shop, mode: "0640", user: root, group: www-data}
    - from: deploy/templates/etc/app.ini
`))
	if err != nil {
		t.Fatal(err)
	}
	d := a.Deploy
	if a.App != "shop" || d.Root != "/srv/www/shop" || d.User != "www-data" || d.Group != "www-data" || d.Keep != 3 || !d.NoHooks || d.Once != "$migrates" || d.After != "web3" {
		t.Errorf("%+v", a)
	}
	if a.OnceAt != (sluice.Position{File: "app.yaml", Line: 9, Column: 9}) || a.AfterAt != (sluice.Position{File: "app.yaml", Line: 10, Column: 10}) {
		t.Errorf("once at %v, after at %v", a.OnceAt, a.AfterAt)
	}
	if len(d.Services) != 2 || d.Services[0] != (sluice.Service{Name: "nginx", By: "systemd"}) || d.Services[1] != (sluice.Service{Name: "shop-worker", By: "supervisor", Reload: true}) {
		t.Errorf("%+v", d.Services)
	}
	if len(d.Balancers) != 3 || !reflect.DeepEqual(d.Balancers[0], sluice.Balancing{Driver: "haproxy", At: "10.0.0.1:9999", Pool: "shop", Least: sluice.Percent(50)}) {
		t.Fatalf("%+v", d.Balancers)
	}
	if b := d.Balancers[1]; b.Driver != "nginx" || b.At != "/etc/nginx/shop.conf" || b.On != "lb1" || b.Server != "10.0.0.7:80" {
		t.Errorf("%+v", b)
	}
	if b := d.Balancers[2]; !reflect.DeepEqual(b, sluice.Balancing{Name: "web", Pool: "shop", Server: "{host}.internal"}) || a.BalancersAt[2] != (sluice.Position{File: "app.yaml", Line: 14, Column: 7}) {
		t.Errorf("%+v at %v", b, a.BalancersAt)
	}
	if len(d.Checks) != 2 || d.Checks[0] != (sluice.HealthCheck{Kind: "http", At: "http://127.0.0.1:8080/health", Status: 204, Every: 2 * time.Second, Timeout: time.Second, Successes: 5}) ||
		d.Checks[1] != (sluice.HealthCheck{Kind: "exec", At: "/usr/local/bin/ok --deep", Every: time.Second, Timeout: 5 * time.Second, Successes: 3}) {
		t.Errorf("%+v", d.Checks)
	}
	if want := []sluice.Template{{From: "deploy/templates/nginx.conf", To: "deploy/site.conf", Outside: "/etc/nginx/sites-enabled/shop", Mode: "0640", User: "root", Group: "www-data"},
		{From: "deploy/templates/etc/app.ini", To: "deploy/etc/app.ini"}}; !reflect.DeepEqual(d.Templates, want) || len(a.TemplatesAt) != 2 || a.TemplatesAt[1] != (sluice.Position{File: "app.yaml", Line: 25, Column: 7}) {
		t.Errorf("%+v at %v", d.Templates, a.TemplatesAt)
	}
	if d.Waits != (sluice.Waits{Drain: time.Minute, Healthy: 3 * time.Minute, Steady: 10 * time.Second}) || d.OnFailure != sluice.FailureRollsBack {
		t.Errorf("%+v, %q", d.Waits, d.OnFailure)
	}
}

func TestMistakesHavePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                                                                    "app.yaml:1:1: the file is empty",
		"deploy: {}":                                                                                          "app.yaml:1:1: the file does not say which app it is of",
		"app: shop\nap: x":                                                                                    `app.yaml:2:1: unknown key "ap" in app.yaml`,
		"app: ../shop":                                                                                        `app.yaml:1:6: the name of the app must be letters`,
		"app: s\ndeploy: {root: srv/s}":                                                                       "root must be an absolute path",
		"app: s\ndeploy: {root: /srv/../s}":                                                                   "root must be an absolute path",
		"app: s\ndeploy: {root: /srv}":                                                                        `root must be a directory of the app alone, not "/srv"`,
		"app: s\ndeploy: {root: /}":                                                                           "root must be a directory of the app alone",
		"app: s\ndeploy: {keep: 1}":                                                                           "keep must be a number from 2 to 1000",
		"app: s\ndeploy: {user: '-r'}":                                                                        "user must be letters",
		"app: s\ndeploy: {once: 'a b'}":                                                                       "app.yaml:2:16: once must be first, the name of a host, or a tag such as $migrates",
		"app: s\ndeploy: {hooks: maybe}":                                                                      "hooks must be true or false",
		"app: s\ndeploy: {services: [{by: x}]}":                                                               "app.yaml:2:26: by must be one of systemd, supervisor, service",
		"app: s\ndeploy: {services: [{by: systemd}]}":                                                         "a service has no name",
		"app: s\ndeploy: {checks: [{http: a, tcp: b}]}":                                                       "a check asks one thing, and this one has http and tcp",
		"app: s\ndeploy: {balancers: [{pool: a}]}":                                                            "a balancer does not say what it is",
		"app: s\ndeploy: {balancers: [{haproxy: /s}]}":                                                        "a balancer has no pool",
		"app: s\ndeploy: {balancers: [{nginx: s, pool: a}]}":                                                  "nginx needs an absolute path",
		"app: s\ndeploy: {balancers: [{exec: /s, nginx: /s, pool: a}]}":                                       "a balancer is one thing, and this one has exec and nginx",
		"app: s\ndeploy: {balancers: [{exec: /s, pool: a, least: few}]}":                                      "least: ",
		"app: s\ndeploy: {balancers: [{use: web}]}":                                                           "app.yaml:2:22: a balancer has no pool",
		"app: s\ndeploy: {balancers: [{use: web, pool: a, least: 1}]}":                                        "app.yaml:2:42: least of the balancer web is the fleet's to say",
		"app: s\ndeploy: {balancers: [{use: web, pool: a, exec: /x}]}":                                        "app.yaml:2:42: exec of the balancer web is the fleet's to say",
		"app: s\ndeploy: {balancers: [{usee: web, pool: a}]}":                                                 "did you mean use?",
		"app: s\ndeploy: {checks: [{every: 1s}]}":                                                             "a check asks nothing",
		"app: s\ndeploy: {checks: [{tcp: a, status: 200}]}":                                                   "status is for http",
		"app: s\ndeploy: {checks: [{tcp: a, every: 0s}]}":                                                     "every must be more than nothing",
		"app: s\ndeploy: {waits: {drain: 3 weeks}}":                                                           "drain must be a time such as",
		"app: s\ndeploy: {on_failure: rolback}":                                                               `on_failure must be one of halt, rollback, not "rolback"`,
		"app: s\ndeploy: {validate: {on: all}}":                                                               "app.yaml:2:20: validate does not say what is run",
		"app: s\ndeploy: {validate: {run: '  '}}":                                                             "app.yaml:2:26: run has no command in it",
		"app: s\ndeploy: {validate: {run: []}}":                                                               "app.yaml:2:26: run has no command in it",
		"app: s\ndeploy: {validate: {run: [a, {}]}}":                                                          "app.yaml:2:30: a word of run must be a text, not ",
		"app: s\ndeploy: {validate: {run: a, on: web & $}}":                                                   "app.yaml:2:39: on: ",
		"app: s\ndeploy: {validate: {run: a, onn: web}}":                                                      `app.yaml:2:29: unknown key "onn" in validate`,
		"app: s\ndeploy: {validate: {run: a, timeout: soon}}":                                                 "app.yaml:2:38: timeout must be a time such as",
		"app: s\ndeploy: {validate: {run: a, on_failure: panic}}":                                             "app.yaml:2:41: on_failure must be one of halt, rollback",
		"app: s\ndeploy: {waits: {drian: 3s}}":                                                                `unknown key "drian" in waits`,
		"app: s\ndeploy: {checks: [{tcp: a, tcp: b}]}":                                                        `the key "tcp" is there twice`,
		"app: s\ndeploy: {templates: [deploy/templates/a]}":                                                   "app.yaml:2:22: a template must be a mapping, not ",
		"app: s\ndeploy: {templates: [{to: a}]}":                                                              "app.yaml:2:22: a template does not say which one it is",
		"app: s\ndeploy: {templates: [{from: a/b}]}":                                                          "app.yaml:2:29: templates are in deploy/templates/, and \"a/b\" is not",
		"app: s\ndeploy: {templates: [{from: deploy/templates/../a}]}":                                        "from must be a path in the version without . and ..",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, to: /etc/a}]}":                               "app.yaml:2:53: to must be a path in the version",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, to: ../a}]}":                                 "to must be a path in the version",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, outside: a}]}":                               "app.yaml:2:58: outside must be an absolute path",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, mode: 640}]}":                                "mode must be four digits such as \"0640\", not \"640\"",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, mode: '0648'}]}":                             "mode must be four digits",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, mode: '4755'}]}":                             "mode must be four digits",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, owner: x}]}":                                 "unknown key \"owner\" in a template",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, user: -x}]}":                                 "the user of a template must be letters",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a}, {from: deploy/templates/b, to: deploy/a}]}": "app.yaml:2:81: deploy/a is what deploy/templates/a becomes, too",
		"app: s\ndeploy: {after: [a]}":                                                                        "app.yaml:2:17: after must be a",
		"app: s\ndeploy: {after: $}":                                                                          "app.yaml:2:17: after must be last, the name of a host, or a tag such as $migrates",
		"app: s\ndeploy: {templates: [{from: deploy/templates/a, outside: /a}, {from: deploy/templates/b, outside: /a}]}": "/a is outside for deploy/templates/a, too",
		"app: s\nkeep: *x": "this is not YAML",
	} {
		a, err := appfile.Parse("app.yaml", []byte(text))
		var all appfile.Errors
		if err == nil || !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; it shall say %q", text, a, err, want)
		}
	}
}

// FuzzParse: whatever is read has what a deploy needs.
func FuzzParse(f *testing.F) {
	f.Add("app: shop\ndeploy: {root: /srv/shop, checks: [{http: x}]}")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := appfile.Parse("app.yaml", []byte(text))
		if err != nil {
			return
		}
		if a.App == "" || strings.Count(a.Deploy.Root, "/") < 2 || a.Deploy.Keep < 2 || strings.Contains(a.App, "/") {
			t.Errorf("%q: %+v", text, a)
		}
	})
}

// TestTheManual: the file that the manual shows is one, and every key of it counts.
func TestTheManual(t *testing.T) {
	text, err := os.ReadFile("../../../docs/releases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## app.yaml\n\n```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the manual has no example")
	}
	a, err := appfile.Parse("app.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if d := a.Deploy; a.App != "shop" || len(d.Services) != 2 || len(d.Checks) != 4 || len(d.Balancers) != 4 || len(d.Templates) != 1 || d.User != "www-data" || d.Waits.Steady != 10*time.Second || d.NoHooks {
		t.Errorf("%+v", a)
	}
}

func TestWhatValidates(t *testing.T) {
	for text, want := range map[string]sluice.Validate{
		"validate: curl -f http://shop/":                           {Run: "curl -f http://shop/", On: "first", Timeout: 10 * time.Minute},
		"validate: [check, a b, '']":                               {Run: "check 'a b' ''", On: "first", Timeout: 10 * time.Minute},
		"validate: {run: check, on: '$probe & !eu', timeout: 30s}": {Run: "check", On: "$probe & !eu", Timeout: 30 * time.Second},
		"validate: {run: check, on_failure: rollback}":             {Run: "check", On: "first", Timeout: 10 * time.Minute, OnFailure: sluice.FailureRollsBack},
	} {
		a, err := appfile.Parse("app.yaml", []byte("app: s\ndeploy:\n  "+text+"\n"))
		if err != nil || *a.Deploy.Validate != want {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
}

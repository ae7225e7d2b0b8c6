package fleet_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/fleet"
)

func ssh(s sluice.SSH) string {
	var words []string
	add := func(name string, value any, given bool) {
		if given {
			words = append(words, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add("user", s.User, s.User != "")
	add("port", s.Port, s.Port != 0)
	add("address", s.Address, s.Address != "")
	add("identity", s.Identity, len(s.Identity) > 0)
	add("jump", s.Jump, len(s.Jump) > 0)
	add("transport", s.Transport, s.Transport != "")
	return strings.Join(words, " ")
}

func TestSettings(t *testing.T) {
	f := mustLoad(t, one(`
namespace: prod
ssh: {user: deploy, port: 22, identity: ~/.ssh/id_ed25519, jump: [bastion, "ops@b2:2222"]}
host:
  web01: {address: 10.0.0.1, port: 2201, ssh: {user: ann, port: 9}}
  web[02-03]: {user: x}
  $colo.north: {ssh: {jump: [bastion.north]}, user: north}
  web02: {address: "fe80::1%eth0"}
  bastion: {jump: []}
  local: {transport: local}
  same: {user: deploy}
tag:
  colo: {north: [web01, web03, db1]}
target: {dir: /srv/sluice/, pre_hooks: /etc/sluice/pre.d, post_hooks: /etc/sluice/post.d}
confirm_above: 100
approval: {by: another}
`)).Fleet()
	if got, want := ssh(f.SSH), "user=deploy port=22 identity=[~/.ssh/id_ed25519] jump=[bastion ops@b2:2222]"; got != want {
		t.Errorf("for all: %s, want %s", got, want)
	}
	for host, want := range map[sluice.Host]string{
		"web01":   "user=ann port=2201 address=10.0.0.1 identity=[~/.ssh/id_ed25519] jump=[bastion.north]",
		"web02":   "user=x port=22 address=fe80::1%eth0 identity=[~/.ssh/id_ed25519] jump=[bastion ops@b2:2222]",
		"web03":   "user=x port=22 identity=[~/.ssh/id_ed25519] jump=[bastion.north]",
		"db1":     "user=north port=22 identity=[~/.ssh/id_ed25519] jump=[bastion.north]",
		"bastion": "user=deploy port=22 identity=[~/.ssh/id_ed25519]",
		"local":   "user=deploy port=22 identity=[~/.ssh/id_ed25519] jump=[bastion ops@b2:2222] transport=local",
	} {
		if got := ssh(f.HostSSH[host]); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if len(f.HostSSH) != 6 {
		t.Errorf("HostSSH has %d hosts: those that differ are 6", len(f.HostSSH))
	}
	if f.Namespace != "prod" || f.ConfirmAbove != 100 || f.Approval.By != sluice.AnotherApproves || f.Target != (sluice.TargetSettings{Dir: "/srv/sluice", PreHooks: "/etc/sluice/pre.d", PostHooks: "/etc/sluice/post.d"}) {
		t.Errorf("got %+v", f)
	}
}

// TestConverge: the file further down says all of it.
func TestConverge(t *testing.T) {
	files := map[string]string{"fleet.yaml": "include: [b.yaml]\ntag: {web: [web1]}\n", "b.yaml": "converge: {every: 5m, app: shop, env: [production, staging]}\n"}
	for _, c := range []struct {
		own  string
		want sluice.Converge
	}{
		{"", sluice.Converge{Every: 5 * time.Minute, Apps: []string{"shop"}, Envs: []string{"production", "staging"}}},
		{"converge: {every: 2d}\n", sluice.Converge{Every: 48 * time.Hour}},
		{"converge:\n", sluice.Converge{}},
	} {
		w := &world{files: map[string]string{"fleet.yaml": files["fleet.yaml"] + c.own, "b.yaml": files["b.yaml"]}}
		l, err := fleet.Load(w, "fleet.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Fleet().Converge; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.own, got, c.want)
		}
	}
	c := sluice.Converge{Every: time.Minute, Apps: []string{"shop"}, Envs: []string{"production"}}
	all, none := sluice.Converge{Every: time.Minute}, sluice.Converge{Apps: []string{"shop"}}
	if !c.Means("shop", "production") || c.Means("shop", "staging") || c.Means("api", "production") || !all.Means("api", "staging") || none.Means("shop", "production") {
		t.Error("it means other apps and environments than those that are named")
	}
}

func TestBalancers(t *testing.T) {
	f := mustLoad(t, one(`
ssh: {user: deploy}
tag: {web: [web1]}
balancer:
  web: {haproxy: "10.0.0.1:9999", on: lb1, least: 50%, pool: {shop: , api: 2, none: 0}}
  static: {nginx: /etc/nginx/static.conf, pool: static}
  other: {exec: /usr/local/bin/lb, on: lb2, sudo: root, pool: [a, b]}
`)).Fleet()
	least := sluice.Count(1)
	want := []sluice.NamedBalancer{
		{Name: "web", Driver: "haproxy", Address: "10.0.0.1:9999", On: "lb1", Pools: []sluice.NamedPool{{Name: "shop", Least: sluice.Percent(50)}, {Name: "api", Least: sluice.Count(2)}, {Name: "none"}}},
		{Name: "static", Driver: "nginx", Address: "/etc/nginx/static.conf", Pools: []sluice.NamedPool{{Name: "static", Least: least}}},
		{Name: "other", Driver: "exec", Address: "/usr/local/bin/lb", On: "lb2", Sudo: "root", Pools: []sluice.NamedPool{{Name: "a", Least: least}, {Name: "b", Least: least}}},
	}
	if len(f.Balancers) != len(want) {
		t.Fatalf("%+v", f.Balancers)
	}
	for i, b := range f.Balancers {
		if b.At.Line == 0 || b.At.File != "fleet.yaml" {
			t.Errorf("%s is at %+v", b.Name, b.At)
		}
		if b.At = (sluice.Position{}); !reflect.DeepEqual(b, want[i]) {
			t.Errorf("%+v, want %+v", b, want[i])
		}
	}
	if !slices.Equal(f.Hosts, []sluice.Host{"web1"}) {
		t.Errorf("%v: what runs on all hosts would run on balancers", f.Hosts)
	}
	two := &world{files: map[string]string{"fleet.yaml": "include: [b.yaml]\nbalancer:\n  web: {exec: /x, pool: a}\n", "b.yaml": "balancer:\n  web: {exec: /x, pool: a}\n"}}
	if _, err := fleet.Load(two, "fleet.yaml"); err == nil || !strings.Contains(err.Error(), "fleet.yaml:3:3: the balancer web is also at b.yaml:2:3") {
		t.Error(err)
	}
}

func TestJumpsAndAddresses(t *testing.T) {
	for jump, good := range map[string]bool{
		"bastion": true, "ann@bastion": true, "ann@bastion:22": true, "bastion:22": true, "[fe80::1]:22": true, "ann@[::1]": true,
		"fe80::1": true, "10.0.0.1:2222": true, "[bastion]:22": true,
		"bastion:": false, "bastion:0": false, "bastion:65536": false, "-o": false, "@bastion": false, "a@-b": false,
		"-a@b": false, "[::1]x": false, "[::1]:": false, "a b": false, "a;b": false, "bastion:+22": false, "a,b": false,
	} {
		_, err := fleet.Load(one(fmt.Sprintf("ssh: {jump: [%q]}\n", jump)), "fleet.yaml")
		if (err == nil) != good {
			t.Errorf("jump %q: %v", jump, err)
		}
	}
	for address, good := range map[string]bool{
		"10.0.0.1": true, "host.example.org": true, "::1": true, "fe80::1%eth0": true, "fe80::1%25": true,
		"-oProxyCommand=x": false, "a b": false, "fe80::1%": false, "fe80::1%-x": false, "[::1]": false, "$(x)": false,
	} {
		_, err := fleet.Load(one(fmt.Sprintf("ssh: {address: %q}\n", address)), "fleet.yaml")
		if (err == nil) != good {
			t.Errorf("address %q: %v", address, err)
		}
	}
}

func TestIncludes(t *testing.T) {
	w := &world{files: map[string]string{
		"etc/fleet.yaml":      "include: [common.yaml, colo/*.yaml]\ntag: {web: [web1], colo: {south: [s2]}}\nssh: {port: 2}\n",
		"etc/common.yaml":     "namespace: prod\nssh: {user: deploy, port: 1}\nconstraint: {$colo: 1}\nsequence: {all: [$web, $colo]}\n",
		"etc/colo/north.yaml": "include: ../common.yaml\ntag: {colo: {north: [n1]}, web: [n1]}\n",
		"etc/colo/south.yaml": "tag: {colo: {south: [s1]}}\nconstraint: {$colo: 1}\nsequence: {all: [$web, $colo]}\n",
	}}
	l, err := fleet.Load(w, "etc/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := `hosts n1,s[1-2],web1
tag colo: n1,s[1-2]
tag colo.north: n1
tag web: n1,web1
tag colo.south: s[1-2]
sequence all
  $web: n1,web1
  $colo: n1,s[1-2]
constraint $colo
  $colo.north: 1 of n1
  $colo.south: 1 of s[1-2]
`
	if got := outline(l.Fleet()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if f := l.Fleet(); f.Namespace != "prod" || ssh(f.SSH) != "user=deploy port=2" || f.Source != "etc/fleet.yaml" {
		t.Errorf("got %s, %s, %s", f.Namespace, ssh(f.SSH), f.Source)
	}
}

func TestFilesThatDisagree(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ name, one, two string }{
		{"constraints", "tag: {a: [x]}\nconstraint: {$a: 1}\n", "constraint: {'@a': {max_parallel: 1}, $a: 2}\n"},
		{"sequences", "tag: {a: [x], b: [y]}\nsequence: {s: [$a, $b]}\n", "sequence: {s: [$b, $a]}\n"},
		{"gates", "sequence: {s: [a]}\n", "sequence: {s: [{target: a, approve: true}]}\n"},
		{"namespaces", "namespace: a\n", "namespace: b\n"},
		{"resolvers", "resolver: {r: {command: [a]}}\n", "resolver: {r: {command: [b]}}\n"},
		{"themselves", "include: two.yaml\n", "include: [fleet.yaml]\n"},
		{"a broken one", "tag: {a: [$b]}\n", "tag: [\n"},
		{"two that are wrong", "tag: {a: [$b]}\n", "tag: {c: [$d]}\n"},
	} {
		w := &world{files: map[string]string{"fleet.yaml": "include: [one.yaml, two.yaml]\n", "one.yaml": c.one, "two.yaml": c.two}}
		_, err := fleet.Load(w, "fleet.yaml")
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		all.WriteString("# " + c.name + "\n" + err.Error() + "\n\n")
	}
	golden(t, "disagree.golden", all.String())
}

func TestUnnamedSequencesOfSeveralFiles(t *testing.T) {
	w := &world{files: map[string]string{"fleet.yaml": "include: one.yaml\nsequence: [b, a]\n", "one.yaml": "sequence: [a, b]\n"}}
	var names []string
	for _, s := range mustLoad(t, w).Fleet().Sequences {
		names = append(names, s.Name)
	}
	if want := []string{"sequence-1", "sequence-2"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestLimits(t *testing.T) {
	laughs := "tag:\n  a0: &a0 [x, y]\n"
	for i := 1; i < 30; i++ {
		laughs += fmt.Sprintf("  a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	nested := "tag:\n  a: &a [" + strings.Repeat("x,", 5000) + "x]\n"
	for i := range 500 {
		nested += fmt.Sprintf("  b%d: [[*a]]\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"size":                  {strings.Repeat("# a comment\n", fleet.MaxBytes/12+1), "more than"},
		"billion laughs":        {laughs, "aliases"},
		"many aliases":          {nested, "aliases"},
		"hosts in one glob":     {"tag: {a: 'x[1-1000000]{a,b}'}\n", "more than 1000000 hosts"},
		"hosts":                 {"tag: {a: 'x[1-600000]', b: 'y[1-600000]'}\n", "more than 1000000 hosts"},
		"wide names":            {"tag: {a: 'x[1-900000]" + strings.Repeat("a", 1000) + "'}\n", "more than 253 bytes"},
		"depth":                 {strings.Repeat("- ", 100) + "a\n", "levels of nesting"},
		"parentheses":           {"tag: {a: '" + strings.Repeat("(", 10000) + "'}\n", "parentheses"},
		"many errors":           {"tag: {a: [" + strings.Repeat("$x, ", 3000) + "x]}\n", "more errors"},
		"a long resolver's arg": {"resolver: {r: {command: x}}\ntag: {a: '$resolver.r " + strings.Repeat("x", 2000) + "'}\n", "more than 1024"},
	} {
		_, err := fleet.Load(one(c.text), "fleet.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

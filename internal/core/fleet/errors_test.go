package fleet_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/fleet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	is, should := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range is {
		if i >= len(should) || is[i] != should[i] {
			t.Fatalf("%s:%d: got\n%s\nwant\n%s", name, i+1, strings.Join(is[i:min(i+5, len(is))], "\n"), strings.Join(should[min(i, len(should)):min(i+5, len(should))], "\n"))
		}
	}
	t.Fatalf("%s: got only the first %d lines", name, len(is))
}

// TestMistakes loads files that are wrong; testdata/errors.golden is what people read about each.
func TestMistakes(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ name, file string }{
		{"syntax: a flow list that is not closed", "tag:\n  a: [x, y\nsequence: []\n"},
		{"syntax: a glob in a flow list", "tag:\n  a: [web[01-20], x]\n"},
		{"syntax: a bare @", "tag:\n  a: @b\n"},
		{"syntax: a bare wildcard", "tag:\n  a:\n    - *.north\n"},
		{"syntax: a tab", "tag:\n\ta: b\n"},
		{"syntax: a bare !", "tag: {a: [x], b: [y]}\nsequence:\n  - !$a\n"},
		{"not UTF-8", "tag:\n  a: [é, \xff]\n"},
		{"a control character", "tag:\n  a: [\x1b]\n"},
		{"two documents", "tag:\n  a: [x]\n---\ntag: {}\n"},
		{"no mapping", "- a\n- b\n"},
		{"unknown keys", "tags: {a: [b]}\nssh: {usr: x}\nhost: {a: {adress: b}}\nfoo: 1\ntarget: {hooks: /x}\nsequence: [{target: a, gate: 1}]\nconstraint: {a: {max_paralel: 3}, b: {max_parallel: 1, other: 2}}\nresolver: {r: {cmd: x}}\n"},
		{"keys that are there twice", "tag:\n  a: [x]\n  a: [y]\n"},
		{"merge keys", "tag: &t {a: [x]}\nhost:\n  <<: *t\n"},
		{"keys that are no words", "? [a, b]\n: c\n"},
		{"globs", "tag:\n  a: ['web[01-', 'web[3-1]', 'web[1-x]', 'web[north]', 'web{1..3}', 'web{a,b', 'x{}', '-a', 'web[1-1000000][1-2]', 'web[01-007]', 'a b', 'ü']\n"},
		{"names of tags", "tag:\n  a b: [x]\n  $c: [x]\n  d: {e..f: [x]}\n  resolver: {x: [y]}\n  f: [{g: [x]}]\n"},
		{"tags by each other", "tag:\n  a: [$b]\n  b: [x, $c]\n  c: ['$a ! x']\n  d: [$a]\n  e: [$e]\n"},
		{"tags that contain each other", "tag:\n  colo: {north: [$colo]}\n"},
		{"unknown tags", "tag:\n  colo: {north: [a]}\nsequence: [$colo.nroth, '@coloo', $zzzzzz]\nconstraint: {$colo.south: 1}\nhost: {$col: {port: 1}}\n"},
		{"unknown hosts", "tag:\n  web: [web01, web02]\n  some: ['$web ! web20', '$web & wbe01']\n"},
		{"nothing meant", "tag:\n  none: []\n  a: [x]\n  b: [y]\nsequence: [$none, '$a & $b']\nconstraint:\n  $none: 1\n  $a: {$b: 1}\n  zz*: 1\n"},
		{"gates out of reach", "tag: {a: [x], b: [y]}\nsequence:\n  $a:\n    - {target: $b, approve: true}\n    - $a\n"},
		{"limits", "tag: {a: [x]}\nconstraint:\n  $a: -1\n  x: 101%\n  y: many\n  z: {max_parallel: 1.5}\n  v: {}\n  w: [1]\n  u: 10000000\n"},
		{"gates", "sequence:\n  - {target: a, pause: 10, approve: maybe, max_failures: some, ramp: [2, 1]}\n  - {pause: 1m}\n  - {target: b, ramp: 3}\n  - {target: c, ramp: [0, 5%, 5%]}\n  - {target: d, pause: -1m}\n"},
		{"sequences", "tag: {a: [x]}\nsequence:\n  one: []\n  two: [x, [y]]\n"},
		{"settings", "ssh: {port: 0, user: a b, transport: telnet, jump: [a:b], address: '-x'}\nhost: {a: {port: x, identity: [''], jump: '@'}, b: 3}\ntarget: {dir: relative}\nconfirm_above: -1\napproval: {by: me, of: x}\nnamespace: '-x'\n"},
		{"converge", "converge: {every: often, apps: [a], app: ['a b', c], env: []}\n"},
		{"converge without a time", "converge: {app: shop}\n"},
		{"converge too often", "converge: {every: 10ms}\n"},
		{"converge too seldom", "converge: {every: 8d}\n"},
		{"converge is no time", "converge: 5m\n"},
		{"balancers", "balancer:\n  web: {haproxi: /s, pool: a}\n  a b: {exec: /x, pool: y}\n  two: {exec: /x, nginx: /y, pool: z}\n  none: {pool: z}\n  bare: {exec: /x}\n" +
			"  rel: {nginx: shop.conf, pool: z}\n  sock: {haproxy: admin.sock, pool: z}\n  odd: {exec: /x, on: -x, least: few, pool: [a, a, 'b c']}\n  share: {exec: /x, pool: {a: 101%, b: }}\n  empty: {exec: /x, pool: []}\n  root: {haproxy: /s, sudo: root, pool: a}\n  user: {exec: /x, sudo: -r, pool: a}\n  rel2: {exec: lb, pool: z}\n  bell: {nginx: \"/etc/a\\x07.conf\", pool: z}\n"},
		{"resolvers", "resolver: {a b: {command: x}, c: {}, ok: {command: bad}}\ntag: {x: $resolver.nope y, y: $resolver.ok z, z: $resolver.oc, w: $resolver.ok -v}\nsequence: [$y]\n"},
		{"depth", "tag: " + strings.Repeat("[", 80) + strings.Repeat("]", 80) + "\n"},
		{"an anchor in itself", "tag:\n  a: &a [x, *a]\n"},
		{"many errors", many(30)},
		{"a folded text", "tag:\n  a: >\n    x,\n    $nope\n  b: x,\n    $nope2\n  c: \"x, $nope3\"\n"},
		{"includes", "include: [nothing.yaml, 'colo/*.yaml']\n"},
		{"inventories", "inventory: [nothing.ini, bad.ini]\n"},
	} {
		w := one(c.file)
		w.programs = map[string]string{"bad z": "{}"}
		w.files["bad.ini"] = "[web]\nw1 ansible_port=x\n"
		_, err := fleet.Load(w, "fleet.yaml")
		all.WriteString("# " + c.name + "\n")
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		all.WriteString(err.Error() + "\n\n")
		sameMistakes(t, w, err)
		var list fleet.Errors
		if !errors.As(err, &list) || sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%s: %T with code %q", c.name, err, sluice.CodeOf(err))
		}
		for _, e := range list {
			if e.At.File == "" || e.Code != sluice.Config || e.At.Line > 0 && e.At.Column < 1 {
				t.Errorf("%s: %q has code %q and position %+v", c.name, e, e.Code, e.At)
			}
		}
	}
	golden(t, "errors.golden", all.String())
}

// many makes a file with n mistakes.
func many(n int) string {
	var b strings.Builder
	b.WriteString("host:\n")
	for i := range n {
		fmt.Fprintf(&b, "  web%d: {prot: 1}\n", i)
	}
	return b.String()
}

package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/document"
	"sluice/internal/core/fleet"
)

const iniInventory = `
# a comment
lonely ansible_host=192.0.2.9
[web]
web[01:03].example.org ansible_user="deploy"   # the front
web[10:20:5]:2222
[db]
db-[a:b] ansible_port=2201 ansible_ssh_private_key_file='~/keys/my db' some_fact="x y" other="a=b"

[north:children]
web	# in front
db
[north:vars]
ansible_user = north
ignored = {{ template }}
[db:vars]
ansible_user=dba
[all:vars]
ansible_port=22
[here]
localhost ansible_connection=local
`

const yamlInventory = `
all:
  vars: {ansible_port: 22}
  hosts:
    lonely: {ansible_host: 192.0.2.9}
  children:
    north:
      vars: {ansible_user: north}
      children:
        web:
          hosts:
            web[01:03].example.org: {ansible_user: deploy}
            web[10:20:5]: {ansible_port: 2222}
        db:
          hosts:
            db-[a:b]: {ansible_port: 2201, ansible_ssh_private_key_file: ~/keys/my db, facts: [1, 2]}
          vars: {ansible_user: dba}
    here:
      hosts:
        localhost: {ansible_connection: local}
`

const jsonInventory = `{
  "_meta": {"hostvars": {
    "lonely": {"ansible_host": "192.0.2.9", "facts": {"a": ["\ud83d\ude00"]}},
    "web01.example.org": {"ansible_user": "deploy"}, "web02.example.org": {"ansible_user": "deploy"}, "web03.example.org": {"ansible_user": "deploy"},
    "web10": {"ansible_port": 2222}, "web15": {"ansible_port": 2222}, "web20": {"ansible_port": "2222"},
    "db-a": {"ansible_port": 2201, "ansible_ssh_private_key_file": "~/keys/my db"}, "db-b": {"ansible_port": 2201, "ansible_ssh_private_key_file": "~/keys/my db"},
    "localhost": {"ansible_connection": "local"}
  }},
  "all": {"children": ["north", "here"], "hosts": ["lonely"], "vars": {"ansible_port": 22}},
  "north": {"children": ["web", "db"], "vars": {"ansible_user": "north"}},
  "db": {"hosts": ["db-a", "db-b"], "vars": {"ansible_user": "dba"}},
  "web": ["web01.example.org", "web02.example.org", "web03.example.org", "web10", "web15", "web20"],
  "here": {"hosts": ["localhost"]}
}`

func TestInventories(t *testing.T) {
	for name, text := range map[string]string{"hosts.ini": iniInventory, "hosts": iniInventory, "inv.yaml": yamlInventory, "dynamic.py": jsonInventory, "saved.json": jsonInventory} {
		w := one("inventory: " + name + "\nconstraint: {$north: 1}\nhost: {db-b: {user: root}}\ntag: {both: [$web, $here]}\n")
		w.files[name] = text
		if name == "dynamic.py" {
			w.programs = map[string]string{"./dynamic.py --list": jsonInventory}
		}
		f := mustLoad(t, w).Fleet()
		var got strings.Builder
		hosts := slices.Sorted(slices.Values(f.Hosts))
		fmt.Fprintf(&got, "%s\n", fleet.Fold(hosts))
		for _, tag := range slices.Sorted(slices.Values(f.TagOrder)) {
			fmt.Fprintf(&got, "%s: %s\n", tag, fleet.Fold(slices.Sorted(slices.Values(f.Tags[tag]))))
		}
		for _, h := range hosts {
			fmt.Fprintf(&got, "%s: %s\n", h, ssh(f.SSHFor(h)))
		}
		want := `db-a,db-b,localhost,lonely,web[01-03].example.org,web[10,15,20]
both: localhost,web[01-03].example.org,web[10,15,20]
db: db-a,db-b
here: localhost
north: db-a,db-b,web[01-03].example.org,web[10,15,20]
web: web[01-03].example.org,web[10,15,20]
db-a: user=dba port=2201 identity=[~/keys/my db]
db-b: user=root port=2201 identity=[~/keys/my db]
localhost: port=22 transport=local
lonely: port=22 address=192.0.2.9
web01.example.org: user=deploy port=22
web02.example.org: user=deploy port=22
web03.example.org: user=deploy port=22
web10: user=north port=2222
web15: user=north port=2222
web20: user=north port=2222
`
		if got.String() != want {
			t.Errorf("%s: got\n%swant\n%s", name, got.String(), want)
		}
		if len(f.Constraints) != 1 || len(f.Constraints[0].Groups) != 1 {
			t.Errorf("%s: a group of groups counts as one: %+v", name, f.Constraints)
		}
	}
}

func TestInventoryMistakes(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ file, text string }{
		{"a.ini", "[web\nx\n"}, {"a.ini", "[web:kids]\n"}, {"a.ini", "web[1:x]\n"}, {"a.ini", "web[1\n"}, {"a.ini", "web[3:1]\n"},
		{"a.ini", "web[01-03]\n"}, {"a.ini", "[a:children]\nb\n[b:children]\na\n"}, {"a.ini", "x novalue\n"}, {"a.ini", "x a='b\n"},
		{"a.ini", "x:99999\n"}, {"a.ini", "x ansible_host={{y}}\n"}, {"a.ini", "x ansible_connection=docker\n"}, {"a.ini", "[a b]\nx\n"},
		{"a.ini", "\n   -oProxyCommand=x\n"}, {"a.ini", "x\x00\n"}, {"a.ini", "web[1:2000000]\n"}, {"a.ini", "web[1:9:0]\n"}, {"a.ini", "[v:vars]\nx\n"},
		{"a.ini", "''\n"},
		{"a.yaml", "plugin: aws_ec2\n"}, {"a.yaml", "web: {host: {x: {}}}\n"}, {"a.yaml", "web: {hosts: [x]}\n"}, {"a.yaml", "web: [\n"},
		{"a.yaml", "web: {hosts: {x: {ansible_port: 0}}}\n"}, {"a.yaml", "web: {hosts: {'a b': {}}}\n"},
		{"dyn", "[]"}, {"dyn", `{"web": {"hosts": "x"}}`}, {"dyn", `{"web": ["a b"]}`}, {"dyn", `{"_meta": {"hostvars": {"-x": {}}}}`},
		{"dyn", `{"web": {"hosts": ["x"], "vars": {"ansible_port": "y"}}}`}, {"dyn", "!no credentials"},
	} {
		w := one("inventory: [" + c.file + "]\ntag: {other: [y]}\n")
		w.files[c.file] = c.text
		if c.file == "dyn" {
			w.programs = map[string]string{"./dyn --list": c.text}
		}
		_, err := fleet.Load(w, "fleet.yaml")
		fmt.Fprintf(&all, "%s %q\n  %v\n", c.file, c.text, err)
		if err == nil || sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%s %q: %v", c.file, c.text, err)
		}
		sameMistakes(t, w, err)
	}
	golden(t, "inventories.golden", all.String())
}

func FuzzInventoryINI(f *testing.F) {
	for _, s := range []string{iniInventory, "[a:children]\na\n", "x[0:9:2]:22 a=b\n", "[a:vars]\nansible_port=1\n", "x 'a b'=c # d\n", "[all]\nx\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { loadAnything(t, text, "inventory: hosts.ini\n", "hosts.ini") })
}

func FuzzInventoryYAML(f *testing.F) {
	for _, s := range []string{yamlInventory, "all: {hosts: {x: }}\n", "a: {children: {a: {}}}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { loadAnything(t, text, "inventory: hosts.yaml\n", "hosts.yaml") })
}

func FuzzInventoryJSON(f *testing.F) {
	f.Add(jsonInventory)
	f.Add(`{"a": ["x"], "b": {"children": ["a"]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		w := one("inventory: dyn\n")
		w.files["dyn"] = "x"
		w.programs = map[string]string{"./dyn --list": text}
		checkLoaded(t, w)
	})
}

func FuzzFleetFile(f *testing.F) {
	for _, s := range []string{
		pogoTags, fewHosts, "sequence: [[a, b], [c]]\n", "sequence: {$a: {x: [b, {target: c, ramp: [1, 10%]}]}}\ntag: {a: [b, c]}\n",
		"constraint: {$a: {$b: {max_parallel: 3}}, c: 15%}\ntag: {a: {x: [h1], y: [h2]}, b: [h1, h2]}\n",
		"host: {a: {user: x, jump: []}, 'b[1-3]': {ssh: {port: 3}}, $t: }\ntag: {t: &x [a, '!b1'], u: *x}\n",
		"resolver: {r: {command: [x], timeout: 3s}}\ntag: {t: $resolver.r y}\n", "include: fleet.yaml\n", "inventory: x\n", "namespace: a\nconfirm_above: 3\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { loadAnything(t, text, text, "other.yaml") })
}

// loadAnything loads a fleet file with another file beside it, whatever they are.
func loadAnything(t *testing.T, text, file, beside string) {
	w := one(file)
	w.files[beside] = text
	w.programs = map[string]string{"x y": `["a", "b"]`}
	checkLoaded(t, w)
}

// checkLoaded holds what comes out of a fleet file, good or bad, to what callers rely on.
func checkLoaded(t *testing.T, w *world) {
	l, err := fleet.Load(w, "fleet.yaml")
	if err != nil {
		sameMistakes(t, w, err)
		list, ok := err.(fleet.Errors)
		if !ok || len(list) == 0 || len(list) > document.MaxErrors+1 {
			t.Fatalf("%T with %d errors", err, len(list))
		}
		for _, e := range list {
			if e.Code == "" || e.At.File == "" || e.Text == "" {
				t.Fatalf("an error with code %q at %v: %q", e.Code, e.At, e.Text)
			}
		}
		return
	}
	sameByBundle(t, w, l)
	f := l.Fleet()
	for _, h := range f.Hosts {
		if !sluice.ValidHost(string(h)) {
			t.Fatalf("a host called %q", h)
		}
	}
	if len(sortedSet(f.Hosts)) != len(f.Hosts) {
		t.Fatalf("a host is there twice: %v", f.Hosts)
	}
	ordered := func(what string, hosts []sluice.Host) {
		if !inOrder(hosts, f.Hosts) {
			t.Fatalf("%s: %v is not in fleet order %v", what, hosts, f.Hosts)
		}
	}
	for tag, hosts := range f.Tags {
		ordered(string(tag), hosts)
	}
	for _, s := range f.Sequences {
		for _, e := range s.Entries {
			ordered(s.Name, e.Hosts)
			if len(e.Hosts) == 0 || e.At.Line < 1 {
				t.Fatalf("an empty entry %+v", e)
			}
		}
	}
	for _, c := range f.Constraints {
		for _, g := range c.Groups {
			ordered(c.Name, g.Members)
			if len(g.Members) == 0 {
				t.Fatalf("an empty group %+v", g)
			}
		}
	}
	if _, err := sluice.NewRules(f.Hosts, f.Constraints); err != nil {
		t.Fatal(err)
	}
}

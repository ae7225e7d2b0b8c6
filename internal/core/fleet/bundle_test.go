package fleet_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/fleet"
)

// again is the same world, that remembers nothing of what it ran.
func (w *world) again() *world { return &world{files: w.files, programs: w.programs} }

// bundled makes a bundle and takes it through its bytes.
func bundled(t rapid.TB, w *world, main string) (fleet.Bundle, []byte) {
	t.Helper()
	b, err := fleet.Record(w.again()).Bundle(main)
	if err != nil {
		t.Fatalf("no bundle of a fleet that loads: %v", err)
	}
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := fleet.DecodeBundle(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if again, err := back.Encode(); err != nil || string(again) != string(data) {
		t.Fatalf("it is written otherwise once it was read (%v)\n%s\n%s", err, data, again)
	}
	return back, data
}

// sameByBundle holds a bundle of a world's fleet.yaml to the fleet that was loaded from there.
func sameByBundle(t rapid.TB, w *world, l *fleet.Loaded) {
	t.Helper()
	b, data := bundled(t, w, "fleet.yaml")
	got, err := b.Load()
	if err != nil {
		t.Fatalf("the bundle does not load: %v\n%s", err, data)
	}
	if f := l.Fleet(); !reflect.DeepEqual(got.Fleet(), f) {
		t.Fatalf("the bundle is another fleet:\n%+v\nwant\n%+v\n%s", got.Fleet(), f, data)
	}
	expressions := []string{"all", "*1*", "nobody", "$nothing", "$", "all & *[02]", "all ! $web"}
	for _, tag := range l.Fleet().TagOrder {
		expressions = append(expressions, "$"+string(tag), "all ! $"+string(tag), "*1* & $"+string(tag))
	}
	for _, x := range expressions[:min(len(expressions), 50)] {
		hosts, err := l.Resolve(x)
		back, failed := got.Resolve(x)
		if !slices.Equal(hosts, back) || fmt.Sprint(err) != fmt.Sprint(failed) {
			t.Fatalf("%s is %v (%v), want %v (%v)", x, back, failed, hosts, err)
		}
	}
	rec := fleet.Record(b.Source()) // a bundle of a bundle is the bundle
	if b, err := rec.Bundle(b.Main); err != nil {
		t.Fatal(err)
	} else if again, _ := b.Encode(); string(again) != string(data) {
		t.Fatalf("recorded again it is\n%s\nwant\n%s", again, data)
	}
}

// sameMistakes holds the recorder to the mistakes that loading finds.
func sameMistakes(t rapid.TB, w *world, err error) {
	t.Helper()
	_, got := fleet.Record(w.again()).Bundle("fleet.yaml")
	if fmt.Sprint(got) != fmt.Sprint(err) {
		t.Fatalf("the recorder finds\n%v\nwant\n%v", got, err)
	}
}

// wide is a world that a fleet asks everything of, below a directory.
func wide(dir string) *world {
	up := map[string]string{"": "../", "prod/": "", "/home/ann/prod/": "/home/ann/", "../x/prod/": "../x/", "/": "/"}[dir]
	return &world{
		files: map[string]string{
			dir + "fleet.yaml": "include: [common.yaml, '../shared/*.yaml', 'colo/*.yaml', /etc/sluice/all.yaml]\n" +
				"inventory: [inv/hosts.ini, inv.yaml, ./dyn]\nresolver: {r: {command: [./ask, -v]}, s: {command: [ask]}}\n" +
				"tag: {cloud: ['$resolver.r b', $resolver.s], more: $cloud}\nsequence: [$web, $cloud]\nconstraint: {$web: 1}\n",
			dir + "common.yaml":        "namespace: prod\nhost: {first: {port: 3}}\n",
			dir + "colo/north.yaml":    "tag: {north: [n1]}\ninventory: ../inv/hosts.ini\n",
			dir + "colo/south.yaml":    "tag: {south: [s1]}\n",
			up + "shared/target.yaml":  "target: {dir: /srv}\n",
			"/etc/sluice/all.yaml":     "confirm_above: 7\n",
			dir + "inv/hosts.ini":      iniInventory,
			dir + "inv.yaml":           "db:\n  hosts: {db1: {ansible_port: 7, ansible_password: CANARY}}\n",
			dir + "dyn":                "#!/bin/sh\n# CANARY\n",
			dir + "unasked.yaml":       "tag: {unasked: [CANARY]}\n",
			dir + "colo/unasked.ini":   "CANARY\n",
			up + "shared/unasked.json": "{}",
		},
		programs: map[string]string{"./dyn --list": `{"d": {"hosts": ["d1"], "vars": {"x": "CANARY"}}, "_meta": {"hostvars": {"d1": {"token": "CANARY"}}}}`,
			"./ask -v b": "[ \"c1\",\"c2\"]\n", "ask": `["n1"]`, "./ask -v other": `["o1"]`},
	}
}

// TestBundlesTravel: the same fleet makes the same bundle wherever it lies, and the bundle does not say where.
func TestBundlesTravel(t *testing.T) {
	var first string
	for dir, main := range map[string]string{"": "fleet.yaml", "prod/": "prod/fleet.yaml", "/home/ann/prod/": "/home/ann/prod/./colo/../fleet.yaml",
		"../x/prod/": "../x/prod/fleet.yaml"} {
		w := wide(dir)
		_, data := bundled(t, w, main)
		if strings.Contains(string(data), "ann") || strings.Contains(string(data), "CANARY") {
			t.Errorf("the bundle of %s tells too much\n%s", main, data)
		}
		if first == "" {
			first = string(data)
			golden(t, "bundle.golden", first)
		}
		if string(data) != first {
			t.Errorf("%s makes\n%s\nwant\n%s", main, data, first)
		}
	}
}

// TestUnrecordedAnswers: what loading did not ask is an error afterwards, and no program runs.
func TestUnrecordedAnswers(t *testing.T) {
	w := one("resolver: {r: {command: [ask]}}\ntag: {a: $resolver.r a, none: $resolver.r none}\n")
	w.programs = map[string]string{"ask a": `["x", "y"]`, "ask b": `["x"]`, "ask none": `[]`}
	rec := fleet.Record(w)
	l, err := fleet.Load(rec, "fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Resolve("$resolver.r b"); err != nil {
		t.Fatal(err)
	}
	b, err := rec.Bundle("fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ask a", "ask none", "ask b"}; !slices.Equal(w.ran, want) {
		t.Errorf("it ran %q, want %q: making the bundle runs nothing again", w.ran, want)
	}
	got, err := b.Load()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for x, want := range map[string]string{"$resolver.r a": "[x y] <nil>", "$a ! x": "[y] <nil>"} {
				if hosts, err := got.Resolve(x); fmt.Sprint(hosts, " ", err) != want {
					t.Errorf("%s is %v %v", x, hosts, err)
				}
			}
			for _, x := range []string{"$resolver.r b", "x, $resolver.r c", "x ! $resolver.r d", "$resolver.r"} {
				hosts, err := got.Resolve(x)
				var e *sluice.Error
				if hosts != nil || !errors.Is(err, fleet.ErrNotRecorded) || !errors.As(err, &e) || !strings.Contains(e.Hint, "tag") {
					t.Errorf("%s is %v %v", x, hosts, err)
				}
			}
			if n := len(got.Fleet().Hosts); n != 2 {
				t.Errorf("the fleet has %d hosts now", n)
			}
		})
	}
	all.Wait()
}

// TestBrokenBundles: files that a bundle should have and has not, and mistakes in those that it has.
func TestBrokenBundles(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"include: x.yaml\n", "fleet.yaml:1:10: cannot include x.yaml: it was not asked for when the fleet was applied"},
		{"include: ['*.yaml']\n", "fleet.yaml:1:11: cannot look for *.yaml: it was not asked for when the fleet was applied"},
		{"inventory: /etc/passwd\n", "fleet.yaml:1:12: cannot read the inventory /etc/passwd: it was not asked for when the fleet was applied"},
		{"inventory: ./run\n", "fleet.yaml:1:12: cannot read the inventory run: it was not asked for when the fleet was applied"},
		{"resolver: {r: {command: [rm, -rf]}}\ntag: {a: $resolver.r b}\n", "fleet.yaml:2:10: the resolver r gave no answer for \"b\": it was not asked for when the fleet was applied"},
		{"tag: {a: \xff}\n", "fleet.yaml:1:10: this byte is not UTF-8 text"},
		{"tags: {}\n", "fleet.yaml:1:1: unknown key \"tags\" in a fleet file"},
	} {
		b := fleet.Bundle{Main: "fleet.yaml", Files: []fleet.File{{Path: "fleet.yaml", Content: []byte(c.text)}}}
		data, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if b, err = fleet.DecodeBundle(data); err != nil {
			t.Fatal(err)
		}
		_, err = b.Load()
		if first, _, _ := strings.Cut(fmt.Sprint(err), "\n"); first != c.want || sluice.CodeOf(err) != sluice.Config {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

// TestNoBundles are bytes that are refused before anything is loaded from them.
func TestNoBundles(t *testing.T) {
	long := strings.Repeat("x", 9<<20)
	var groups, mentions []string
	for i := range 30 {
		mentions = append(mentions, fmt.Sprintf(`{"name":"g%d","hosts":"0-999999"}`, i))
	}
	for i := range 100_001 {
		groups = append(groups, fmt.Sprintf(`{"name":"g%d"}`, i))
	}
	million := strings.TrimSuffix(strings.Repeat(`"h",`, 1_000_000), ",")
	for _, c := range []struct{ data, want string }{
		{"", "not JSON"},
		{"[]", "not JSON"},
		{"{}", "its form is 0"},
		{`{"bundle":2}`, "its form is 2"},
		{`{"bundle":1,"main":"f","new":3}`, "unknown field"},
		{`{"bundle":1,"main":"f"}{}`, "not JSON"},
		{`{"bundle":1,"main":"f","files":[{"path":"f","text":"=","encoding":"base64"}]}`, "base64"},
		{`{"bundle":1,"main":"f","files":[{"path":"f","text":"=","encoding":"rot13"}]}`, "unknown encoding"},
		{`{"bundle":1,"main":"f","files":[{"path":"f","text":""},{"path":"f","text":"x"}]}`, "there twice"},
		{`{"bundle":1,"main":"f","globs":[{"pattern":"f","files":[]},{"pattern":"f","files":[]}]}`, "there twice"},
		{`{"bundle":1,"main":"f","answers":[{"dir":".","command":["a"],"hosts":[]},{"dir":".","command":["a"],"hosts":[]}]}`, "there twice"},
		{`{"bundle":1,"main":"f","answers":[{"dir":".","command":[],"hosts":[]}]}`, "is none"},
		{`{"bundle":1,"main":"f","answers":[{"dir":".","command":["a"],"hosts":["-x"]}]}`, "is none"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":[]},{"path":"i","hosts":[]}]}`, "there twice"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":["a b"]}]}`, "hosts that cannot be"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":["a"],"groups":[{"name":"g","hosts":"0-1"}]}]}`, "no range"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":["a"],"groups":[{"name":"g"},{"name":"g"}]}]}`, "twice"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":["a"],"groups":[{"name":"g","vars":{"ansible_password":"x"}}]}]}`, "none that is recorded"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":["a"],"vars":[{"host":"a","vars":{"token":"x"}}]}]}`, "none that is recorded"},
		{`{"bundle":1,"main":"f","files":[{"path":"f","text":"` + long + `"},{"path":"g","text":"` + long + `"}]}`, "files have more than"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":[` + million + `],"groups":[` + strings.Join(mentions, ",") + `]}]}`, "more than 20000000 times"},
		{`{"bundle":1,"main":"f","inventories":[{"path":"i","hosts":[],"groups":[` + strings.Join(groups, ",") + `]}]}`, "more than 100000 groups"},
		{strings.Repeat(" ", fleet.MaxBundle) + `{"bundle":1,"main":"f"}`, "more than 67108864 bytes"},
	} {
		if _, err := fleet.DecodeBundle([]byte(c.data)); sluice.CodeOf(err) != sluice.Config || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%.100s: %v, want %s", c.data, err, c.want)
		}
	}
}

// TestNoSecretTravels: inventories with a canary wherever there may be a password, in all their forms.
func TestNoSecretTravels(t *testing.T) {
	const canary = "CANARY-7f3a"
	rapid.Check(t, func(t *rapid.T) {
		secret := func() string {
			return rapid.SampledFrom([]string{"ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_sudo_pass", "db_password",
				"token", "ansible_ssh_common_args", "ansible_ssh_private_key", "ansible_hosts", "Ansible_user", "vault"}).Draw(t, "variable")
		}
		var ini, yaml strings.Builder
		groups, hostvars := []string{}, []string{}
		ini.WriteString("# " + canary + "\n")
		yaml.WriteString("# " + canary + "\nall: {vars: {x: &a [" + canary + "], y: *a}}\n")
		for g := range rapid.IntRange(1, 4).Draw(t, "groups") {
			fmt.Fprintf(&ini, "[g%d] # %s\n", g, canary)
			fmt.Fprintf(&yaml, "g%d:\n  vars: {%s: %s, nested: {%s: [%[3]s]}}\n  hosts:\n", g, secret(), canary, secret())
			var names []string
			for h := range rapid.IntRange(1, 3).Draw(t, "hosts") {
				name, user := fmt.Sprintf("h%d-%d", g, h), rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "user")
				v := secret()
				fmt.Fprintf(&ini, "%s %s='%s' ansible_user=%s # %s\n", name, v, canary, user, canary)
				fmt.Fprintf(&yaml, "    %s: {%s: %s, ansible_user: %s} # %s\n", name, v, canary, user, canary)
				names = append(names, `"`+name+`"`)
				hostvars = append(hostvars, fmt.Sprintf(`"%s": {"%s": "%s", "ansible_user": "%s", "n": {"%s": 1}}`, name, v, canary, user, canary))
			}
			v := secret()
			fmt.Fprintf(&ini, "[g%d:vars]\n; %s\n%s = %s\n", g, canary, v, canary)
			groups = append(groups, fmt.Sprintf(`"g%d": {"hosts": [%s], "vars": {"%s": "%s"}, "%s": "%s"}`, g, strings.Join(names, ","), v, canary, canary, canary))
		}
		printed := "{" + strings.Join(groups, ",") + `, "_meta": {"hostvars": {` + strings.Join(hostvars, ",") + `}, "x": "` + canary + `"}}`
		w := one("inventory: [hosts.ini, hosts, hosts.yaml, saved.json, dyn]\nresolver: {r: {command: [ask]}}\ntag: {t: $resolver.r}\n")
		for name, text := range map[string]string{"hosts.ini": ini.String(), "hosts": ini.String(), "hosts.yaml": yaml.String(), "saved.json": printed, "dyn": canary} {
			w.files[name] = text
		}
		w.programs = map[string]string{"./dyn --list": printed, "ask": `["h0-0"]`}
		l, err := fleet.Load(w, "fleet.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Fleet().HostSSH) == 0 {
			t.Fatal("no host has settings")
		}
		sameByBundle(t, w, l)
		if _, data := bundled(t, w, "fleet.yaml"); strings.Contains(string(data), canary) || !strings.Contains(string(data), `"ansible_user":`) {
			t.Fatalf("%s", data)
		}
	})
}

func FuzzBundle(f *testing.F) {
	for _, dir := range []string{"", "prod/"} {
		w := wide(dir)
		b, err := fleet.Record(w).Bundle(dir + "fleet.yaml")
		if err != nil {
			f.Fatal(err)
		}
		data, err := b.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{`{"bundle":1,"main":"f","files":[{"path":"f","text":"include: f\n"}]}`,
		`{"bundle":1,"main":"f","files":[{"path":"f","text":"/w==","encoding":"base64"}]}`,
		`{"bundle":1,"main":"f","files":[{"path":"f","text":"inventory: i"}],"inventories":[{"path":"i","hosts":["a"],"groups":[{"name":"g","hosts":"0","children":["g"]}]}]}`,
		`{"bundle":1,"main":"f","files":[{"path":"f","text":"resolver: {r: {command: a}}\ntag: {t: $resolver.r}"}],"answers":[{"dir":".","command":["a"],"hosts":null}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := fleet.DecodeBundle(data)
		if err != nil {
			if sluice.CodeOf(err) != sluice.Config {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		out, err := b.Encode()
		if err != nil {
			t.Fatalf("it was read and cannot be written: %v", err)
		}
		back, err := fleet.DecodeBundle(out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if again, err := back.Encode(); err != nil || string(again) != string(out) {
			t.Fatalf("it is not always written the same way\n%s\n%s", out, again)
		}
		l, err := b.Load()
		if err != nil {
			if sluice.CodeOf(err) != sluice.Config {
				t.Fatalf("%v has no code", err)
			}
			return
		}
		if m, err := back.Load(); err != nil || !reflect.DeepEqual(l.Fleet(), m.Fleet()) {
			t.Fatalf("it loads otherwise once it was written (%v)", err)
		}
		for _, x := range []string{"all", "$resolver.r q", "$g"} {
			before := len(l.Fleet().Hosts)
			if hosts, err := l.Resolve(x); err == nil && len(hosts) == 0 || len(l.Fleet().Hosts) != before {
				t.Fatalf("%s is nothing, without an error", x)
			}
		}
	})
}

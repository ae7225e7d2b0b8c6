package fleet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/fleet"
)

const fewHosts = `
tag:
  web: ["web[01-04]"]
  db: [db1, db2]
  colo: {north: [web01, web02, db1], south: [web03, web04, db2]}
  db.main: [db1]
  empty: []
host: {lonely.example.org: {}, web05.north: {}}
resolver:
  ec2: {command: [ec2, list]}
`

func TestResolve(t *testing.T) {
	w := one(fewHosts)
	w.programs = map[string]string{
		"ec2 list a":         `["web02", "new1"]`,
		"ec2 list a, (b) & ": `["web01"]`,
		"ec2 list":           `["db2"]`,
		"ec2 list none":      `[]`,
		"ec2 list bad":       `["a b"]`,
		"ec2 list broken":    `!no credentials`,
		"ec2 list two":       `["a"] ["b"]`,
	}
	var all strings.Builder
	for _, text := range []string{
		"web01", "db1,web01", "web[01-02],db1", "$web", "@web", "$colo.north", "$colo",
		"$web & $colo.north", "$web!web01", "$web & !web01", "$web ! $colo.north ! web03", "!$web", "!(web01,db1)", "db1, !$colo",
		"$web & $colo.north, db2", "$web & ($colo.north, db2)", "db1,web01!web01", "$web&$colo.south!web03,db1", "all", "all!$colo",
		"web*", "*.north", "web0?", "w*{1,2}", "?b[1-2]*", "  $web\n\t&\n  $colo.north  ", "((web01))",
		"$resolver.ec2 a & $web", "$resolver.ec2 a", "web01,$resolver.ec2   'a, (b) & ' ", "@resolver.ec2 \"a\"!web02", "$_ec2[a]", "$resolver.ec2",
		"lonely.example.org", "new1",
		// mistakes
		"", "  ", "web99", "web[01-06]", "web1", "lonely", "web", "$wbe", "$colo.*", "$", "$a..b", "zz*", "web01 web02", "web01,", ",web01", "web01&",
		"(web01", "web01)", "!", "web01!!web02", "a[01-", "db1,\n  web[01-,web02", "$resolver.nope x", "$resolver.ec2 none", "$resolver.ec2 bad",
		"$resolver.ec2 broken", "$resolver.ec2 two", "$resolver. x", "$resolver.ec2 'a", "$_ec2[a", "$resolver.ec2 -rf", "$empty", "$web & $db",
		"wéb01, €", "web[1-200]*", strings.Repeat("(", 101) + "a" + strings.Repeat(")", 101), strings.Repeat("web01,", 50) + "web99" + strings.Repeat(",web01", 50),
	} {
		l := mustLoad(t, w) // afresh: a resolver's answer is remembered
		fmt.Fprintf(&all, "%q\n", text)
		hosts, err := l.Resolve(text)
		var e *sluice.Error
		switch {
		case err == nil:
			fmt.Fprintf(&all, "  %s\n", join(hosts))
			if known := l.Fleet().Hosts; !inOrder(hosts, known) {
				t.Errorf("%q: %v is not in fleet order %v", text, hosts, known)
			}
		case errors.As(err, &e):
			fmt.Fprintf(&all, "  %s: %s\n", e.Code, strings.ReplaceAll(e.Error(), "\n", "\n  "))
			if e.Hint != "" {
				fmt.Fprintf(&all, "  hint: %s\n", e.Hint)
			}
			if len(hosts) > 0 || e.At.Line < 1 || e.At.Column < 1 {
				t.Errorf("%q: hosts %v, error at %v", text, hosts, e.At)
			}
		default:
			t.Errorf("%q: %T", text, err)
		}
	}
	golden(t, "resolve.golden", all.String())
}

// inOrder reports whether some are among all, in their order.
func inOrder(some, all []sluice.Host) bool {
	for _, h := range all {
		if len(some) > 0 && some[0] == h {
			some = some[1:]
		}
	}
	return len(some) == 0
}

func TestResolversAreAskedOnce(t *testing.T) {
	w := one(`
resolver: {ec2: {command: ec2}, idle: {command: idle}}
tag: {cloud: $resolver.ec2 web, more: [$resolver.ec2 web, db1]}
sequence: [$cloud, "$resolver.ec2 web", db1]
`)
	w.programs = map[string]string{"ec2 web": `["a", "b", "a"]`}
	l := mustLoad(t, w)
	for range 2 {
		if hosts, err := l.Resolve("$resolver.ec2 web"); err != nil || join(hosts) != "a b" {
			t.Errorf("got %v, %v", hosts, err)
		}
	}
	if want := []string{"ec2 web"}; !slices.Equal(w.ran, want) {
		t.Errorf("ran %q, want %q", w.ran, want)
	}
}

func TestFleetGrowsByResolvers(t *testing.T) {
	w := one("tag: {web: [web1]}\nresolver: {ec2: {command: ec2}}\n")
	w.programs = map[string]string{"ec2 x": `["web1", "new1"]`}
	l := mustLoad(t, w)
	before := l.Fleet()
	if _, err := l.Resolve("$resolver.ec2 x"); err != nil {
		t.Fatal(err)
	}
	if join(before.Hosts) != "web1" || join(l.Fleet().Hosts) != "web1 new1" {
		t.Errorf("before %v, after %v", before.Hosts, l.Fleet().Hosts)
	}
}

func TestAnEmptyAnswerIsNoGroup(t *testing.T) {
	for _, section := range []string{"sequence: [$cloud]", "constraint: {$cloud: 1}", "sequence: [$resolver.ec2 web]"} {
		w := one("resolver: {ec2: {command: ec2}}\ntag: {cloud: $resolver.ec2 web}\n" + section + "\n")
		w.programs = map[string]string{"ec2 web": `[]`}
		if _, err := fleet.Load(w, "fleet.yaml"); err == nil || !strings.Contains(err.Error(), "means no hosts") {
			t.Errorf("%s: %v", section, err)
		}
	}
}

func TestAdhoc(t *testing.T) {
	for text, want := range map[string]string{
		"web[01-03]":         "web01 web02 web03",
		"b, a, b":            "b a",
		"web[1-3]!web2":      "web1 web3",
		"web[1-3] & web[2-]": "error",
		"web[1-3]&web[2-9]":  "web2 web3",
		"$web":               "error",
		"web*":               "error",
		"all":                "error",
		"!a":                 "error",
		"$resolver.x y":      "error",
		"a!a":                "error",
		"":                   "error",
	} {
		l, err := fleet.Adhoc(text)
		if err != nil {
			if want != "error" || sluice.CodeOf(err) != sluice.Usage {
				t.Errorf("%q: %v with code %q, want %q", text, err, sluice.CodeOf(err), want)
			}
			continue
		}
		hosts, err := l.Resolve(text)
		if err != nil || join(hosts) != want {
			t.Errorf("%q: got %v, %v, want %q", text, hosts, err, want)
		}
		f := l.Fleet()
		if f.Namespace != sluice.DefaultNamespace || f.Source != "" || !inOrder(hosts, f.Hosts) {
			t.Errorf("%q: fleet %+v", text, f)
		}
	}
}

// TestResolveAgreesWithSets works expressions out a second time, with maps.
func TestResolveAgreesWithSets(t *testing.T) {
	l := mustLoad(t, one(fewHosts))
	f := l.Fleet()
	type meaning = map[sluice.Host]bool
	of := func(hosts []sluice.Host) meaning {
		m := meaning{}
		for _, h := range hosts {
			m[h] = true
		}
		return m
	}
	filter := func(keep func(sluice.Host) bool) meaning {
		m := meaning{}
		for _, h := range f.Hosts {
			if keep(h) {
				m[h] = true
			}
		}
		return m
	}
	type both struct {
		text string
		is   meaning
	}
	var expression func(t *rapid.T, depth int) both
	atom := func(t *rapid.T) both {
		if rapid.Bool().Draw(t, "tag") {
			name := rapid.SampledFrom(f.TagOrder).Draw(t, "name")
			return both{rapid.SampledFrom([]string{"$", "@"}).Draw(t, "sigil") + string(name), of(f.Tags[name])}
		}
		h := rapid.SampledFrom(f.Hosts).Draw(t, "host")
		return both{string(h), of([]sluice.Host{h})}
	}
	expression = func(t *rapid.T, depth int) both {
		if depth == 0 {
			return atom(t)
		}
		a, b := expression(t, depth-1), expression(t, depth-1)
		switch rapid.IntRange(0, 5).Draw(t, "operator") {
		case 0:
			return both{"(" + a.text + " , " + b.text + ")", filter(func(h sluice.Host) bool { return a.is[h] || b.is[h] })}
		case 1:
			return both{"(" + a.text + "&" + b.text + ")", filter(func(h sluice.Host) bool { return a.is[h] && b.is[h] })}
		case 2:
			return both{"(" + a.text + "!" + b.text + ")", filter(func(h sluice.Host) bool { return a.is[h] && !b.is[h] })}
		case 3:
			return both{"(" + a.text + "& !" + b.text + ")", filter(func(h sluice.Host) bool { return a.is[h] && !b.is[h] })}
		case 4:
			return both{"(!" + a.text + ")", filter(func(h sluice.Host) bool { return !a.is[h] })}
		}
		return a
	}
	rapid.Check(t, func(t *rapid.T) {
		x := expression(t, rapid.IntRange(0, 4).Draw(t, "depth"))
		want := f.Hosts[:0:0]
		for _, h := range f.Hosts {
			if x.is[h] {
				want = append(want, h)
			}
		}
		got, err := l.Resolve(x.text)
		if !slices.Equal(got, want) || (err == nil) != (len(want) > 0) {
			t.Fatalf("%s: got %v (%v), want %v", x.text, got, err, want)
		}
	})
}

func TestPrecedence(t *testing.T) {
	l := mustLoad(t, one("host: {a: {}, b: {}, c: {}, d: {}}"))
	for text, same := range map[string]string{
		"a,b&b":      "a,(b&b)",
		"a,b!b":      "a,(b!b)",
		"a,b,c!b&c":  "a,b,((c!b)&c)",
		"all!a&b,c":  "((all!a)&b),c",
		"!a,b":       "(all!a),b",
		"!a&b,a":     "((all!a)&b),a",
		"all&!b!c,c": "((all!b)!c),c",
	} {
		one, err1 := l.Resolve(text)
		two, err2 := l.Resolve(same)
		if err1 != nil || err2 != nil || !slices.Equal(one, two) {
			t.Errorf("%s is %v (%v), %s is %v (%v)", text, one, err1, same, two, err2)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"$web & !web01", "all!$colo.north,db1", "(a,b)&c", "$resolver.ec2 'x y', b", "$_ec2[x]!a", "web*", "web[01-", "!!a", "é"} {
		f.Add(s)
	}
	w := one(fewHosts)
	w.programs = map[string]string{"ec2 list x": `["web01"]`}
	f.Fuzz(func(t *testing.T, text string) {
		l := mustLoad(t, w)
		for _, resolve := range []func(string) ([]sluice.Host, error){l.Resolve, func(s string) ([]sluice.Host, error) {
			a, err := fleet.Adhoc(s)
			if err != nil {
				return nil, err
			}
			return a.Resolve(s)
		}} {
			hosts, err := resolve(text)
			if (err == nil) != (len(hosts) > 0) {
				t.Fatalf("%q: %v, %v", text, hosts, err)
			}
			var e *sluice.Error
			if err != nil && (!errors.As(err, &e) || e.Code == "" || e.At.Line < 1) {
				t.Fatalf("%q: %#v", text, err)
			}
		}
	})
}

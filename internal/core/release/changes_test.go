package release_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/release"
)

// closedOf is what templates come to with a configuration.
func closedOf(t *testing.T, files map[string]string, said []sluice.Template, configuration string) release.Closed {
	t.Helper()
	tree, text := templates(t, files)
	list, err := release.Templates(tree, said, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := release.NewRenderer(tree, list, text)
	if err != nil {
		t.Fatal(err)
	}
	one := ""
	if configuration != "" {
		one = string(frozen(t, configuration))
	}
	c, err := r.Closed(one)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sealedIn is a configuration with something sealed.
func sealedIn(keys, mark string) string {
	return keys + ": " + strings.ReplaceAll("!sealed |\n-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBB"+mark+"CkFBQUEKLS0tIEFB\n-----END AGE ENCRYPTED FILE-----\n", "\n", "\n  ") + "\n"
}

func changesOf(was, now release.Closed) release.Changes {
	c := release.NewComparison([]sluice.Host{"web1"})
	c.Compared([]sluice.Host{"web1"}, was, now)
	return c.Changes()
}

func TestWhatChanges(t *testing.T) {
	const at, to = "deploy/templates/a", "deploy/a"
	web1 := []sluice.Host{"web1"}
	type side struct {
		files  map[string]string
		said   []sluice.Template
		config string
	}
	a := func(text string) map[string]string { return map[string]string{at: text} }
	as := func(t sluice.Template) []sluice.Template { t.From, t.To = at, to; return []sluice.Template{t} }
	for name, c := range map[string]struct {
		was, now side
		want     []release.FileChange // without the configuration itself
	}{
		"nothing":          {side{files: a("x\n")}, side{files: a("x\n")}, nil},
		"another template": {side{files: a("1\n2\n3\n4\n5\n")}, side{files: a("1\n2\n3\n4\nfive\n")}, []release.FileChange{{Added: 1, Removed: 1, Diff: "@@ -2,4 +2,4 @@\n 2\n 3\n 4\n-5\n+five"}}},
		"another value":    {side{files: a("{{.n}}\n"), config: "n: 1\n"}, side{files: a("{{.n}}\n"), config: "n: 2\n"}, []release.FileChange{{Added: 1, Removed: 1, Diff: "@@ -1 +1 @@\n-1\n+2"}}},
		"the last end":     {side{files: a("x\n")}, side{files: a("x")}, []release.FileChange{{Added: 1, Removed: 1, Diff: "@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file"}}},
		"to nothing":       {side{files: a("x\n")}, side{files: a("")}, []release.FileChange{{Removed: 1, Diff: "@@ -1 +0,0 @@\n-x"}}},
		"new":              {side{}, side{files: a("x\n")}, []release.FileChange{{Kind: release.FileNew, Mode: "0644", Added: 1, Diff: "@@ -0,0 +1 @@\n+x"}}},
		"new, and empty":   {side{}, side{files: a("")}, []release.FileChange{{Kind: release.FileNew, Mode: "0644"}}},
		"gone": {side{files: a("x\n"), said: as(sluice.Template{Outside: "/etc/a"})}, side{},
			[]release.FileChange{{Kind: release.FileGone, OutsideWas: "/etc/a", Removed: 1, Diff: "@@ -1 +0,0 @@\n-x"}}},
		"in the place of a file": {side{files: map[string]string{to: "y\n"}}, side{files: a("")},
			[]release.FileChange{{Kind: release.FileNew, Mode: "0644", Note: "what is live has a file of its artifact there, which is not compared"}}},
		"a file in its place": {side{files: a("")}, side{files: map[string]string{to: "y\n"}},
			[]release.FileChange{{Kind: release.FileGone, Note: "the artifact has a file there now, which is not compared"}}},
		"mode, owner and link": {side{files: a("x\n")}, side{files: a("x\n"), said: as(sluice.Template{Mode: "0600", User: "www", Outside: "/etc/a"})},
			[]release.FileChange{{ModeWas: "0644", Mode: "0600", OwnerWas: ":", Owner: "www:", Outside: "/etc/a"}}},
		"the link goes away": {side{files: a("x\n"), said: as(sluice.Template{Outside: "/etc/a"})}, side{files: a("x\n")}, []release.FileChange{{OutsideWas: "/etc/a"}}},
		"sealed anew": {side{files: a("{{.p}}\n"), config: sealedIn("p", "AAAB")}, side{files: a("{{.p}}\n"), config: sealedIn("p", "AAAC")},
			[]release.FileChange{{Sealed: []string{"p"}, Added: 1, Removed: 1, Diff: "@@ -1 +1 @@\n-WAS\n+NOW"}}},
		"sealed anew, and nothing to see of it": {side{files: a("{{printf \"%.6s\" .p}}\n"), config: sealedIn("p", "AAAB")},
			side{files: a("{{printf \"%.6s\" .p}}\n"), config: sealedIn("p", "AAAC")}, []release.FileChange{{Sealed: []string{"p"}}}},
		"sealed as before, under another key": {side{files: a("{{.p}}\n"), config: sealedIn("p", "AAAB")}, side{files: a("{{.q}}\n"), config: sealedIn("q", "AAAB")}, nil},
		"another sealed value": {side{files: a("{{printf \"%.6s\" .p}}\n"), config: sealedIn("p", "AAAB") + sealedIn("q", "AAAC")},
			side{files: a("{{printf \"%.6s\" .q}}\n"), config: sealedIn("p", "AAAB") + sealedIn("q", "AAAC")}, []release.FileChange{{Sealed: []string{"p", "q"}}}},
		"sealed anew elsewhere": {side{files: a("{{.q}}\n"), config: sealedIn("p", "AAAB") + sealedIn("q", "AAAC")},
			side{files: a("{{.q}}\n"), config: sealedIn("p", "AAAD") + sealedIn("q", "AAAC")}, nil},
		"something sealed is in it now": {side{files: a("x\n"), config: sealedIn("p", "AAAB")}, side{files: a("{{printf \"%.0s\" .p}}x\n"), config: sealedIn("p", "AAAB")},
			[]release.FileChange{{ModeWas: "0644", Mode: "0640", Sealed: []string{"p"}}}},
		"a long line": {side{files: a("")}, side{files: a(strings.Repeat("é", 300) + "\n")},
			[]release.FileChange{{Added: 1, Diff: "@@ -0,0 +1 @@\n+" + strings.Repeat("é", 200) + "… 200 bytes more"}}},
		"many lines": {side{}, side{files: a(strings.Repeat("x\n", 150))},
			[]release.FileChange{{Kind: release.FileNew, Mode: "0644", Added: 150, Left: 51, Diff: "@@ -0,0 +1,150 @@\n" + strings.Repeat("+x\n", 98) + "+x"}}},
		"too many lines": {side{}, side{files: a("{{range 20001}}\n{{end}}")},
			[]release.FileChange{{Kind: release.FileNew, Mode: "0644", Note: "it has more than 1048576 bytes or 20000 lines, and is not compared line by line"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := changesOf(closedOf(t, c.was.files, c.was.said, c.was.config), closedOf(t, c.now.files, c.now.said, c.now.config))
			got.Files = slices.DeleteFunc(got.Files, func(f release.FileChange) bool { return f.Path == release.ConfigPath })
			for i := range c.want {
				w := &c.want[i]
				w.Path, w.Hosts = to, web1
				if w.Kind == "" {
					w.Kind = release.FileChanged
				}
				w.Diff = strings.NewReplacer("WAS", wordOf(t, c.was.config), "NOW", wordOf(t, c.now.config)).Replace(w.Diff)
			}
			if len(got.Files) != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(got.Files, c.want) {
				t.Errorf("got  %+v\nwant %+v", got.Files, c.want)
			}
		})
	}
}

// wordOf is what people see of what is sealed as p.
func wordOf(t *testing.T, configuration string) string {
	t.Helper()
	if !strings.HasPrefix(configuration, "p: !sealed") {
		return ""
	}
	l, err := config.FrozenOf(frozen(t, configuration)).Look()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(l.Lines, "p: "), "\n")
}

// TestTheConfigurationItself is compared by its keys, a line each.
func TestTheConfigurationItself(t *testing.T) {
	was := closedOf(t, nil, nil, "a: {b: 1, c: x}\n"+sealedIn("p", "AAAB"))
	for text, want := range map[string]release.FileChange{
		"a: {b: 2, c: x}\n" + sealedIn("p", "AAAB"): {Added: 1, Removed: 1, Diff: "@@ -1,4 +1,4 @@\n a:\n-  b: 1\n+  b: 2\n   c: \"x\"\n p: sealed (age, "},
		"a: {b: 1, c: x}\n" + sealedIn("p", "AAAC"): {Added: 1, Removed: 1, Sealed: []string{"p"}, Diff: "@@ -1,4 +1,4 @@\n a:\n   b: 1\n   c: \"x\"\n-p: sealed (age, "},
		"": {Kind: release.FileGone, Removed: 4, Diff: "@@ -1,4 +0,0 @@\n-a:\n-  b: 1\n-  c: \"x\"\n-p: sealed (age, "},
	} {
		got := changesOf(was, closedOf(t, nil, nil, text))
		if want.Kind == "" {
			want.Kind = release.FileChanged
		}
		if len(got.Files) != 1 {
			t.Fatalf("%+v", got)
		}
		f := got.Files[0]
		if f.Path != release.ConfigPath || f.Kind != want.Kind || f.Added != want.Added || f.Removed != want.Removed || !slices.Equal(f.Sealed, want.Sealed) || !strings.HasPrefix(f.Diff, want.Diff) {
			t.Errorf("got  %+v\nwant %+v", f, want)
		}
	}
	if got := changesOf(was, was); len(got.Files) != 0 || !slices.Equal(got.Same, []sluice.Host{"web1"}) {
		t.Errorf("%+v", got)
	}
}

// TestOnceForAllHosts: the same change is told once, with its hosts in their order; what is too much is counted.
func TestOnceForAllHosts(t *testing.T) {
	var hosts []sluice.Host
	for i := range 1000 {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("web%d", i)))
	}
	file := func(path, text string) release.Closed {
		return release.Closed{Files: []release.ClosedFile{{Path: path, Mode: 0o644, Owner: ":", Text: text}}}
	}
	c := release.NewComparison(hosts)
	for i := len(hosts) - 1; i >= 0; i-- { // the name of the host is far from what changes
		text := fmt.Sprintf("%s\n1\n2\n3\n4\n", hosts[i])
		c.Compared(hosts[i:i+1], file("a", text), file("a", text+"5\n"))
	}
	got := c.Changes()
	if len(got.Files) != 1 || !slices.Equal(got.Files[0].Hosts, hosts) || got.Files[0].Diff != "@@ -3,3 +3,4 @@\n 2\n 3\n 4\n+5" {
		t.Errorf("%d changes, the first %+v", len(got.Files), got.Files[0])
	}

	c = release.NewComparison(hosts)
	c.Unknown(hosts[998:], "of that")
	c.Unknown(hosts[997:998], "of this")
	c.Compared(hosts[2:4], file("a", "same"), file("a", "same"))
	c.Compared(hosts[:2], file("a", "same"), file("a", "same"))
	for i := range 40 {
		h := hosts[10+i*10 : 11+i*10+i%2]
		c.Compared(h, file("b", ""), file("b", strings.Repeat(fmt.Sprintf("%s\n", h[0]), 60)))
	}
	got = c.Changes()
	lines, left := 0, 0
	for _, f := range got.Files {
		if f.Diff != "" {
			lines += 1 + strings.Count(f.Diff, "\n")
		}
		left += f.Left
	}
	if len(got.Files) != 20 || lines != 500 || left != 20*61-500 || len(got.Files[0].Hosts) != 2 || got.Files[0].Hosts[0] != "web20" || got.Files[10].Hosts[0] != "web10" {
		t.Errorf("%d changes, %d lines, %d left out; the first is of %v", len(got.Files), lines, left, got.Files[0].Hosts)
	}
	if want := []release.MoreChanges{{Path: "b", Changes: 20, Hosts: 30}}; !reflect.DeepEqual(got.More, want) || !slices.Equal(got.Same, hosts[:4]) {
		t.Errorf("%+v, the same on %v", got.More, got.Same)
	}
	if want := []release.NotCompared{{Hosts: hosts[997:998], Reason: "of this"}, {Hosts: hosts[998:], Reason: "of that"}}; !reflect.DeepEqual(got.Unknown, want) {
		t.Errorf("%+v", got.Unknown)
	}
}

// TestMistakesOfOldTemplates come back as they are.
func TestMistakesOfOldTemplates(t *testing.T) {
	tree, text := templates(t, map[string]string{"deploy/templates/a": "{{.nothing}}"})
	r, err := release.NewRenderer(tree, []sluice.Template{{From: "deploy/templates/a", To: "a"}}, text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Closed(""); err == nil || !strings.Contains(err.Error(), "deploy/templates/a:1:3: there is no key .nothing") {
		t.Error(err)
	}
	if _, err := r.Closed("{}"); err == nil {
		t.Error("a configuration that is none")
	}
}

package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/manifest"
)

var sum = strings.Repeat("0123456789abcdef", 4)

func file(p string) manifest.Entry {
	return manifest.Entry{Path: p, Kind: manifest.File, Mode: 0o644, Size: 3, SHA256: sum}
}

func link(p, to string) manifest.Entry {
	return manifest.Entry{Path: p, Kind: manifest.Link, To: to}
}

func dir(p string) manifest.Entry {
	return manifest.Entry{Path: p, Kind: manifest.Dir, Mode: 0o755}
}

func TestWhatMayNotBeOnAHost(t *testing.T) {
	with := func(e manifest.Entry, change func(*manifest.Entry)) manifest.Entry {
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		tree []manifest.Entry
		why  string
	}{
		"absolute":                {[]manifest.Entry{file("/etc/passwd")}, "begins at the root"},
		"up":                      {[]manifest.Entry{file("../x")}, `the part ".."`},
		"up in the middle":        {[]manifest.Entry{file("app/../../etc/x")}, `the part ".."`},
		"a dot":                   {[]manifest.Entry{file("./x")}, `the part "."`},
		"two slashes":             {[]manifest.Entry{file("a//b")}, `the part ""`},
		"a slash at the end":      {[]manifest.Entry{file("a/")}, `the part ""`},
		"nothing":                 {[]manifest.Entry{file("")}, "no name"},
		"a new line":              {[]manifest.Entry{file("a\nb")}, "control characters"},
		"NUL":                     {[]manifest.Entry{file("a\x00b")}, "control characters"},
		"backslash":               {[]manifest.Entry{file(`a\b`)}, "backslashes"},
		"not UTF-8":               {[]manifest.Entry{file("a\xffb")}, "UTF-8"},
		"from right to left":      {[]manifest.Entry{file("a\u202egnp.exe")}, "control characters"},
		"long":                    {[]manifest.Entry{file(strings.Repeat("a/", 600) + "b")}, "goes on for"},
		"long part":               {[]manifest.Entry{file(strings.Repeat("a", 256))}, "255"},
		"twice":                   {[]manifest.Entry{file("a"), file("a")}, "twice"},
		"below a file":            {[]manifest.Entry{file("a"), file("a/b")}, "no directory"},
		"below a link":            {[]manifest.Entry{link("a", "."), file("a/b")}, "no directory"},
		"setuid":                  {[]manifest.Entry{with(file("a"), func(e *manifest.Entry) { e.Mode = 0o4755 })}, "more than permissions"},
		"an owner that is none":   {[]manifest.Entry{with(file("a"), func(e *manifest.Entry) { e.User = "a b" })}, "cannot belong to"},
		"an owner like an option": {[]manifest.Entry{with(file("a"), func(e *manifest.Entry) { e.Group = "-R" })}, "cannot belong to"},
		"a directory of others":   {[]manifest.Entry{with(dir("a"), func(e *manifest.Entry) { e.User = "www" })}, "cannot belong to"},
		"a device":                {[]manifest.Entry{{Path: "a", Kind: 'c'}}, "neither"},
		"no digest":               {[]manifest.Entry{with(file("a"), func(e *manifest.Entry) { e.SHA256 = "ab" })}, "does not fit"},
		"a link to the root":      {[]manifest.Entry{link("a", "/etc")}, "leads out"},
		"a link up":               {[]manifest.Entry{link("a", "..")}, "leads out"},
		"a link up from below":    {[]manifest.Entry{dir("d"), link("d/a", "../..")}, "leads out"},
		"a link out and in":       {[]manifest.Entry{dir("d"), link("a", "../x/d")}, "leads out"},
		"a link by way of a link": {[]manifest.Entry{dir("d"), link("d/up", ".."), link("esc", "d/up/../etc")}, "leads out"},
		"a link to nowhere":       {[]manifest.Entry{link("a", "")}, "odd name"},
		"a link to an odd name":   {[]manifest.Entry{link("a", "b\tc")}, "odd name"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.New(c.tree)
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, %v; it shall say %q", m, err, c.why)
			}
		})
	}
}

// TestLinksThatTakeHours: each of these leads through the one before it sixty times, which would be looked at for hours.
func TestLinksThatTakeHours(t *testing.T) {
	tree := []manifest.Entry{dir("l0")}
	for i := 1; i < 5000; i++ {
		to := strings.Repeat(fmt.Sprintf("x/../l%d/", i-1), 60)
		tree = append(tree, link(fmt.Sprintf("l%d", i), strings.TrimSuffix(to, "/")))
	}
	if _, err := manifest.New(tree); err == nil || !strings.Contains(err.Error(), "too many ways") {
		t.Errorf("%v", err)
	}
}

func TestLinksThatStay(t *testing.T) {
	m, err := manifest.New([]manifest.Entry{
		file("a/b/c"), link("a/up", ".."), link("x", "a/up/a/b"), link("round", "round"), link("gone", "not/there"), link("a/b/self", "../../a/./b//c"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "a/b", "a/b/c", "a/b/self", "a/up", "gone", "round", "x"}; !slices.EqualFunc(m, want, func(e manifest.Entry, p string) bool { return e.Path == p }) {
		t.Errorf("%v", m)
	}
}

// TestStaysAsTheKernelDoes: what is said of links is held against a real directory, where every link is followed by the kernel.
func TestStaysAsTheKernelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "b", "c", "..", "..", "."})
		dirs := []string{"", "a", "a/b", "b"}
		tree := []manifest.Entry{dir("a"), dir("a/b"), dir("b")}
		seen := map[string]bool{"a": true, "a/b": true, "b": true}
		for range rapid.IntRange(1, 5).Draw(t, "links") {
			p := filepath.Join(rapid.SampledFrom(dirs).Draw(t, "in"), rapid.SampledFrom([]string{"x", "y", "c"}).Draw(t, "name"))
			if !seen[p] {
				seen[p] = true
				tree = append(tree, link(p, strings.Join(rapid.SliceOfN(part, 1, 5).Draw(t, "to"), "/")))
			}
		}
		_, err := manifest.New(tree)
		top, fail := os.MkdirTemp("", "manifest")
		if fail != nil {
			t.Fatal(fail)
		}
		defer func() { _ = os.RemoveAll(top) }()
		root := filepath.Join(top, "1/2/3/4/5/6")
		out := false
		for _, e := range tree {
			p := filepath.Join(root, e.Path)
			if e.Kind == manifest.Dir {
				fail = os.MkdirAll(p, 0o755)
			} else {
				fail = os.Symlink(e.To, p)
			}
			if fail != nil {
				t.Fatal(fail)
			}
		}
		r, fail := os.OpenRoot(root)
		if fail != nil {
			t.Fatal(fail)
		}
		defer func() { _ = r.Close() }()
		for _, e := range tree {
			if e.Kind == manifest.Link {
				if _, err := r.Stat(e.Path); err != nil && strings.Contains(err.Error(), "escapes") {
					out = true
				}
			}
		}
		if out && err == nil {
			t.Fatalf("%v leads out, and is not refused", tree)
		}
	})
}

func tree(t *rapid.T) manifest.Manifest {
	var entries []manifest.Entry
	seen := map[string]bool{}
	for range rapid.IntRange(0, 20).Draw(t, "files") {
		p := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[a-z][a-z ._-]?`), 1, 3).Draw(t, "path"), "/")
		if !seen[p] {
			seen[p] = true
			e := file(p)
			e.Size, e.Mode = rapid.Int64Range(0, 5).Draw(t, "size"), uint32(rapid.IntRange(0, 0o777).Draw(t, "mode"))
			e.SHA256 = fmt.Sprintf("%064x", rapid.IntRange(0, 9).Draw(t, "sum"))
			e.User = rapid.SampledFrom([]string{"", "", "", "www", "33"}).Draw(t, "user")
			e.Group = rapid.SampledFrom([]string{"", "", "", "adm"}).Draw(t, "group")
			entries = append(entries, e)
		}
	}
	m, err := manifest.New(entries)
	if err != nil {
		t.Skip(err)
	}
	return m
}

func TestReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := tree(t)
		got, err := manifest.Parse(m.Encode())
		if err != nil || !slices.Equal(got, m) || got.Digest() != m.Digest() {
			t.Fatalf("%v, %v; it was %v", got, err, m)
		}
	})
}

func TestSources(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, old := tree(t), []manifest.Manifest{tree(t), tree(t)}
		for i, s := range m.Sources(old) {
			has := func(tree manifest.Manifest) bool {
				return slices.ContainsFunc(tree, func(o manifest.Entry) bool {
					return m[i].Kind == manifest.File && m[i].Size > 0 && o.Kind == manifest.File && o.SHA256 == m[i].SHA256 && o.Mode == m[i].Mode && !o.Owned() && !m[i].Owned()
				})
			}
			if s.Tree < 0 {
				if has(old[0]) || has(old[1]) {
					t.Fatalf("%v is sent, though it is there", m[i])
				}
				continue
			}
			if s.Tree == 1 && has(old[0]) {
				t.Fatalf("%v is not from the first", m[i])
			}
			if !slices.ContainsFunc(old[s.Tree], func(o manifest.Entry) bool {
				return o.Path == s.From && o.SHA256 == m[i].SHA256 && o.Mode == m[i].Mode && !o.Owned()
			}) || m[i].Owned() {
				t.Fatalf("%v is not at %v", m[i], s)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	m, err := manifest.New([]manifest.Entry{file("a/b c"), link("l", "a"), dir("d")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Encode())
	f.Add([]byte("sluice manifest 1\nf 0644 -1 x y\n"))
	f.Add([]byte("sluice manifest 1\nf 0644 3 " + sum + " y\no www -\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse(text)
		if err != nil {
			return
		}
		if string(m.Encode()) != string(text) {
			t.Errorf("%q is read, and written as %q", text, m.Encode())
		}
	})
}

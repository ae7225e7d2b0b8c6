package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/core/config"
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
	is, should := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range is {
		if i >= len(should) || is[i] != should[i] {
			t.Fatalf("%s:%d: got\n%s\nwant\n%s", name, i+1, strings.Join(is[i:min(i+5, len(is))], "\n"), strings.Join(should[min(i, len(should)):min(i+5, len(should))], "\n"))
		}
	}
	if got != string(want) {
		t.Fatalf("%s: got only the first %d lines", name, len(is))
	}
}

func layer(t testing.TB, file, text string) *config.Layer {
	t.Helper()
	l, err := config.ReadLayer(file, []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return l
}

var place = config.For{App: "shop", Environment: "production"}

// render merges YAML layers called 1.yaml, 2.yaml, ...
func render(t testing.TB, layers ...string) (*config.Rendered, error) {
	t.Helper()
	var read []*config.Layer
	for i, text := range layers {
		read = append(read, layer(t, string(rune('1'+i))+".yaml", text))
	}
	return config.Render(place, read)
}

// TestLaws is the table of what becomes of two or three layers.
func TestLaws(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers []string
		want   string // or the error
	}{
		{"maps merge", []string{"a: {x: 1, y: 2}\nb: 1", "a: {y: 3, z: 4}\nc: t"}, `{"a":{"x":1,"y":3,"z":4},"b":1,"c":"t"}`},
		{"lists append", []string{"a: [1, 2]", "a: [2, {b: 3}]", "a: []"}, `{"a":[1,2,2,{"b":3}]}`},
		{"null yields to any type", []string{"a: null\nb:\nc: ~\nd: null", "a: 1\nb: [x]\nc: {y: z}\nd: null"}, `{"a":1,"b":["x"],"c":{"y":"z"},"d":null}`},
		{"numbers are one type", []string{"a: 1", "a: 2.5"}, `{"a":2.5}`},
		{"a number is no text", []string{"a: 42", "a: '42'"}, "2.yaml:1:1: a is a text here, and a number at 1.yaml:1:1"},
		{"nor a map", []string{"a: 42", "a: {}"}, "2.yaml:1:1: a is a map here, and a number at 1.yaml:1:1"},
		{"nor null", []string{"x:\n  a: 42", "x: {a: null}"}, "2.yaml:1:5: x.a is null here, and a number at 1.yaml:2:3"},
		{"a list is no text", []string{"a: [1]", "a: b"}, "2.yaml:1:1: a is a text here, and a list at 1.yaml:1:1"},
		{"a truth is no text", []string{"a: true", "a: 'true'"}, "2.yaml:1:1: a is a text here, and a truth at 1.yaml:1:1"},
		{"all clashes are told", []string{"a: 1\nb: 2", "a: x\nb: z"}, "2.yaml:1:1: a is a text here, and a number at 1.yaml:1:1\n2.yaml:2:1: b is a text here, and a number at 1.yaml:2:1"},
		{"missing is filled", []string{"a: !missing\nb: {c: !missing why}", "a: {x: 1}\nb: {c: 3}"}, `{"a":{"x":1},"b":{"c":3}}`},
		{"missing is refused", []string{"a: !missing\nb:\n  c: !missing the password of the DBA\n  d: !missing", "b: {d: 1}"},
			"1.yaml:1:1: a is missing for shop in production\n1.yaml:3:3: b.c is missing for shop in production (the password of the DBA)"},
		{"a value is not missing later", []string{"a: 1", "a: !missing"}, "2.yaml:1:1: a is !missing here, and a number at 1.yaml:1:1"},
		{"null may be missing", []string{"a: null", "a: !missing", "a: 1"}, `{"a":1}`},
		{"delete removes", []string{"a: {x: {y: 1}, z: 2}", "a: {x: !delete, w: !delete}"}, `{"a":{"z":2}}`},
		{"and what comes later is anew", []string{"a: {x: 1}", "a: !delete", "a: text"}, `{"a":"text"}`},
		{"delete in what is not there", []string{"b: 1", "a: {x: !delete, y: {z: !delete}}"}, `{"a":{"y":{}},"b":1}`},
		{"replace a list", []string{"a: [1, 2]", "a: !replace [3]", "a: [4]"}, `{"a":[3,4]}`},
		{"replace a map", []string{"a: {x: 1, y: 2}", "a: !replace {z: 3}", "a: {w: 4}"}, `{"a":{"w":4,"z":3}}`},
		{"replace what is not there", []string{"a: !replace [1]\nb: {c: !replace {d: 1, e: !delete}}"}, `{"a":[1],"b":{"c":{"d":1}}}`},
		{"replace keeps to types", []string{"a: [1]", "a: !replace {b: 1}"}, "2.yaml:1:1: a is a map here, and a list at 1.yaml:1:1"},
		{"marks without tags", []string{"a: {'!missing': why}\nb: [1]\nc: 1", "a: x\nb: {'!replace': [2]}\nc: {'!delete': true}"}, `{"a":"x","b":[2]}`},
		{"nothing at all", []string{"", "# nothing\n"}, `{}`},
		{"anchors", []string{"a: &x {b: [1]}\nc: *x", "a: {b: [2]}"}, `{"a":{"b":[1,2]},"c":{"b":[1]}}`},
	} {
		r, err := render(t, c.layers...)
		got := ""
		if err != nil {
			for i, line := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(line, "    ") {
					if i > 0 {
						got += "\n"
					}
					got += line
				}
			}
		} else {
			got = string(r.Tree.JSON())
		}
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// What was rendered before is not changed by rendering more: layers are shared between all places.
func TestLayersAreNotChanged(t *testing.T) {
	a, b := layer(t, "a.yaml", "a: [1]\nm: {x: {y: [1]}}"), layer(t, "b.yaml", "a: [2]\nm: {x: {y: [2], z: !delete}}")
	before := string(a.Top.JSON()) + string(b.Top.JSON())
	first, err := config.Render(place, []*config.Layer{a, b})
	if err != nil {
		t.Fatal(err)
	}
	was := string(first.Tree.JSON())
	if _, err := config.Render(place, []*config.Layer{a, b, layer(t, "c.yaml", "a: [3]\nm: {x: {y: [3]}}")}); err != nil {
		t.Fatal(err)
	}
	if got := string(a.Top.JSON()) + string(b.Top.JSON()); got != before || string(first.Tree.JSON()) != was {
		t.Errorf("changed: %s, %s", got, first.Tree.JSON())
	}
}

// One thing said in three languages is one tree, and each value has its place in each.
func TestForms(t *testing.T) {
	forms := map[string]string{
		"a.yaml": "db:\n  host: h\n  ports: [1, 2.5]\n  on: true\n'a.b':\n  c: x\nlist:\n  - k: 1\n  - k: 2\n    \"!x\": 3\n",
		"a.json": "{\n  \"db\": {\n    \"host\": \"h\", \"ports\": [1, 2.5],\n    \"on\": true},\n  \"a.b\": {\"c\": \"x\"},\n  \"list\": [{\"k\": 1},\n    {\"k\": 2}]\n}\n",
		"a.toml": "[db]\nhost = \"h\"\nports = [1, 2.5]\non = true\n[\"a.b\"]\nc = \"x\"\n[[list]]\nk = 1\n[[list]]\nk = 2\n",
	}
	forms["a.yaml"] = strings.Replace(forms["a.yaml"], "    \"!x\": 3\n", "", 1)
	const want = `{"a.b":{"c":"x"},"db":{"host":"h","on":true,"ports":[1,2.5]},"list":[{"k":1},{"k":2}]}`
	places := map[string]string{
		"a.yaml": "1:1 2:3 3:3 3:14 6:3 9:5", "a.json": "2:3 3:5 3:18 3:31 5:11 7:6", "a.toml": "1:2 2:1 3:1 3:13 6:1 10:1",
	}
	for file, text := range forms {
		l := layer(t, file, text)
		if got := string(l.Top.JSON()); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
		top := l.Top
		var got []string
		for _, v := range []*config.Value{
			top.Map["db"], top.Map["db"].Map["host"], top.Map["db"].Map["ports"], top.Map["db"].Map["ports"].List[1],
			top.Map["a.b"].Map["c"], top.Map["list"].List[1].Map["k"],
		} {
			got = append(got, strings.TrimPrefix(v.At.String(), file+":"))
		}
		if strings.Join(got, " ") != places[file] {
			t.Errorf("%s: places %s, not %s", file, got, places[file])
		}
	}
}

// TestMistakes reads layers that are wrong; testdata/mistakes.golden is what people read about each.
func TestMistakes(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ name, file, text string }{
		{"yaml: syntax", "a.yaml", "a: [1\nb: 2\n"},
		{"yaml: a list", "a.yaml", "- a\n"},
		{"yaml: a text", "a.yaml", "just text\n"},
		{"yaml: a key twice", "a.yaml", "a: 1\nb: {c: 1, c: 2}\n"},
		{"yaml: keys that are no texts", "a.yaml", "1: a\ntrue: b\n? [x]\n: c\n'2': fine\n"},
		{"yaml: merge keys", "a.yaml", "a: &a {x: 1}\nb:\n  <<: *a\n"},
		{"yaml: words of old", "a.yaml", "a: yes\nb: 'no'\nc: On\nd: n\n"},
		{"yaml: numbers that readers disagree about", "a.yaml", "mode: 0755\nok: 0o755\nbig: 99999999999999999999\nnan: .nan\ninf: -.inf\nu: 1_000\nf: 1e400\n"},
		{"yaml: tags", "a.yaml", "a: !!int '3'\nb: !misssing\nc: !foo x\nd: !!binary aGk=\ne: !!str 3\nf: !!set {a}\n"},
		{"yaml: marks that do not fit", "a.yaml", "a: !missing [1]\nb: !delete now\nc: !replace 3\nd: [!missing , !delete , !replace [1]]\ne: {'!delete': true, x: 1}\n'!missing': {a: 1}\n"},
		{"yaml: not sealed at all", "a.yaml", "a: !sealed hunter2\nb: !sealed\nc: !sealed {x: 1}\nd: !sealed AGE-SECRET-KEY-1QQQ\ne: !sealed |\n  -----BEGIN AGE ENCRYPTED FILE-----\n  aGVsbG8=\n  -----END AGE ENCRYPTED FILE-----\n"},
		{"yaml: two documents", "a.yaml", "a: 1\n---\nb: 1\n"},
		{"yaml: depth", "a.yaml", "a: " + strings.Repeat("[", 80) + strings.Repeat("]", 80) + "\n"},
		{"yaml: aliases", "a.yaml", bomb()},
		{"yaml: not UTF-8", "a.yaml", "a: \xff\n"},
		{"json: syntax", "a.json", "{\n  \"a\": 1,\n  \"b\": tru\n}\n"},
		{"json: too short", "a.json", "{\"a\": {\"b\": [1, 2"},
		{"json: more", "a.json", "{} {}"},
		{"json: a list", "a.json", "[1]"},
		{"json: a key twice", "a.json", "{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}"},
		{"json: numbers", "a.json", "{\"a\": 1e999}"},
		{"json: depth", "a.json", "{\"a\": " + strings.Repeat("[", 80) + strings.Repeat("]", 80) + "}"},
		{"json: not UTF-8", "a.json", "{\"a\": \"\xff\"}"},
		{"toml: syntax", "a.toml", "a = 1\nb = = 2\n"},
		{"toml: a key twice", "a.toml", "a = 1\n[b]\nc = 1\nc = 2\n"},
		{"toml: numbers", "a.toml", "a = inf\n[b]\nc = nan\n"},
		{"toml: depth", "a.toml", "a = " + strings.Repeat("[", 80) + strings.Repeat("]", 80) + "\n"},
		{"toml: marks", "a.toml", "a = {\"!missin\" = \"\"}\n"},
		{"too large", "a.yaml", "a: " + strings.Repeat("x", config.MaxBytes)},
	} {
		all.WriteString("# " + c.name + "\n")
		_, err := config.ReadLayer(c.file, []byte(c.text))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		all.WriteString(err.Error() + "\n\n")
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "1QQQ") {
			t.Errorf("%s: what may be a secret is told: %v", c.name, err)
		}
	}
	golden(t, "mistakes.golden", all.String())
}

// bomb is a small file that stands for a large tree.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 7 {
		n, m := string(rune('1'+i)), string(rune('0'+i))
		b.WriteString("a" + n + ": &a" + n + " [" + strings.Repeat("*a"+m+", ", 9) + "*a" + m + "]\n")
	}
	return b.String()
}

func TestPaths(t *testing.T) {
	for text, want := range map[string][]string{
		"a": {"a"}, "a.b-c.d_1": {"a", "b-c", "d_1"}, `a."b.c".d`: {"a", "b.c", "d"}, `"x\"y\\"`: {`x"y\`}, "a.0": {"a", "0"},
	} {
		p, err := config.ParsePath(text)
		if err != nil || !slices.Equal(p, want) || p.String() != text {
			t.Errorf("%s: %q, %v", text, p, err)
		}
	}
	for _, text := range []string{"", ".", "a.", ".a", "a..b", `"a`, `"a"b`, `a"b`} {
		if p, err := config.ParsePath(text); err == nil {
			t.Errorf("%q is %q", text, p)
		}
	}
}

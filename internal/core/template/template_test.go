package template_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/template"
)

// name is where mistakes are said to be.
const name = "deploy/templates/a"

// values are those of a host; the sealed ones are what is put in their place.
func values(password, port string) map[string]any {
	return map[string]any{
		"db":    map[string]any{"host": "db.example.com", "port": int64(5432), "password": template.Hide("db.password", password, false), "pin": template.Hide("db.pin", port, true)},
		"names": []any{"a", "b"}, "none": nil, "on": true, "off": false, "empty": []any{}, "ratio": 0.5, "large": float64(1 << 40),
		"servers": []any{map[string]any{"name": "web1", "weight": int64(3)}, map[string]any{"name": "web2", "weight": int64(1)}},
		"lines":   "one\ntwo", "html": "<a & b>",
	}
}

func render(t *testing.T, text string, values map[string]any) (template.Rendered, error) {
	t.Helper()
	p, err := template.Parse(name, []byte(text))
	if err != nil {
		return template.Rendered{}, err
	}
	return p.Render(values)
}

func TestRender(t *testing.T) {
	for text, want := range map[string]string{
		"":      "",
		"plain": "plain",
		"{{.db.host}}:{{.db.port}} {{$.db.port}} {{$x := .db}}{{$x.port}} {{(index .servers 1).name}}":       "db.example.com:5432 5432 5432 web2",
		"{{range .servers}}server {{.name}} weight={{.weight}};\n{{end}}":                                    "server web1 weight=3;\nserver web2 weight=1;\n",
		"{{range $i, $n := .names}}{{if $i}}, {{end}}{{$n}}{{end}}":                                          "a, b",
		"{{range $k, $v := index .servers 0}}{{$k}}={{$v}} {{end}}":                                          "name=web1 weight=3 ",
		"{{range .empty}}x{{else}}none{{end}}{{range .none}}x{{end}}{{range 3}}.{{end}}":                     "none...",
		"{{with .db}}{{.host}}{{end}}{{with .off}}x{{else}}y{{end}}":                                         "db.example.comy",
		"{{if and .on (eq .db.port 5432) (not .off)}}yes{{end}}{{if or .off (gt .db.port 6000)}}no{{end}}":   "yes",
		"{{default 80 .port}} {{.port | default 81}} {{default \"x\" .none}} {{default \"x\" .none.at.all}}": "80 81 x x",
		"{{join \", \" .names}} {{.names | join \"+\"}} {{quote .html}} {{upper \"a\"}}{{lower \"B\"}}":      "a, b a+b \"<a & b>\" Ab",
		"{{indent 2 .lines}}|{{trim \" a \"}}|{{replace \"o\" \"0\" .lines}}|{{len .names}}{{len .lines}}":   "  one\n  two|a|0ne\ntw0|27",
		"{{toJson .servers}} {{toJson .db.host}} {{toJson .none}} {{toJson .empty}} {{toJson .html}}":        `[{"name":"web1","weight":3},{"name":"web2","weight":1}] "db.example.com" null [] "<a & b>"`,
		"{{toYaml .servers}}": "- name: web1\n  weight: 3\n- name: web2\n  weight: 1",
		"{{printf \"%05d %s %.2f %q %x%%\" .db.port .db.host .ratio .html 255}}":                       "05432 db.example.com 0.50 \"<a & b>\" ff%",
		"{{.ratio}} {{.large}} {{.on}}":                                                                "0.5 1099511627776 true",
		"{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .db.host}}{{block \"y\" .db}}{{.port}}{{end}}": "<db.example.com>5432",
		"{{define \"x\"}}<{{.}}>{{end}}":                                                               "",
		"a {{- /* nothing */ -}} b":                                                                    "ab",
		"{{range .names}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}":                                "a",
	} {
		got, err := render(t, text, values("s3cret", "1"))
		if err != nil || string(got.Text) != want || got.Secret {
			t.Errorf("%q: %q, %v, %v; want %q", text, got.Text, got.Secret, err, want)
		}
	}
}

func TestMistakesHavePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"a\n  {{.db.hsot}}":                  "2:8: there is no key .db.hsot\n    did you mean .db.host?",
		"ä {{ .dbb.host }}":                  "1:6: there is no key .dbb\n    did you mean .db?",
		"{{.nothing.like.it}}":               "1:3: there is no key .nothing\n    where it may be missing: {{default VALUE .nothing.like.it}}",
		"{{range .servers}}{{.nmae}}{{end}}": "1:21: there is no key .nmae\n    did you mean .name?",
		"{{$x := .db}}\n{{$x.hots}}":         "2:5: there is no key $x.hots\n    did you mean $x.host?",
		"{{(index .servers 0).nam}}":         "there is no key (...).nam\n    did you mean (...).name?",
		"{{index .db \"hosst\"}}":            "1:3: there is no key .hosst\n    did you mean .host?",
		"{{index .names 2}}":                 "1:3: there is no element 2 in a list of 2",
		"{{.none}}":                          "1:3: it is null, which cannot be written",
		"{{.none.x}}":                        "1:8: .none is null, so it has no key x",
		"{{.db.host.x}}":                     "1:11: .db.host is a text, so it has no key x",
		"{{default 1 .db.host.x}}":           "1:21: .db.host is a text, so it has no key x",
		"{{.names}}":                         "1:3: it is a list, which cannot be written as it is",
		"{{if .db.tls}}x{{end}}":             "1:9: there is no key .db.tls",
		"{{.db}}":                            "1:3: it is a map",
		"{{ toJosn .db }}":                   "1:4: there is no function toJosn\n    did you mean toJson?",
		"{{ html .db.host }}":                "1:4: there is no function html\n    there is: and, default",
		"{{ _get 0 . }}":                     "there is no function _get",
		"{{ env \"HOME\" }}":                 "there is no function env",
		"{{ call .x }}":                      "there is no function call",
		"a\nb {{ .x":                         "2:3: this is no template: unclosed action",
		"{{if .on}}\n\n":                     "this is no template: unexpected EOF",
		"x {{end}}":                          "1:3: this is no template: unexpected {{end}}",
		"{{template \"hed\"}}{{define \"head\"}}{{end}}":                                     "there is no template \"hed\" in this file\n    did you mean head?",
		"{{define \"a\"}}{{template \"b\"}}{{end}}{{define \"b\"}}{{template \"a\"}}{{end}}": "uses itself",
		"{{join \",\" .db.host}}":                                          "1:3: join takes a list, not a text",
		"{{lt .db.host .db.port}}":                                         "1:3: a text and a number cannot be compared",
		"{{printf \"%d\" .db.host}}":                                       "1:3: printf: %d is not for a text",
		"{{printf \"%s\"}}":                                                "the format wants more values",
		"{{printf \"%s\" 1 2}}":                                            "the format wants 1 values, and 2 follow",
		"{{printf \"%9999d\" 1}}":                                          "a width has more than 3 digits",
		"{{printf \"%*d\" 1 1}}":                                           "%* is not for a number",
		"{{indent 101 .lines}}":                                            "indent takes a number from 0 to 100",
		"{{upper}}":                                                        "1:3: wrong number of args for upper",
		"{{.db.host 1}}":                                                   "1:3: what stands there is no function, and takes no argument",
		"{{.db.password.x}}":                                               "1:15: db.password is sealed",
		"{{if .db.password}}x{{end}}":                                      "1:6: db.password is sealed: a template can write it, and nothing else",
		"{{with .db.password}}x{{end}}":                                    "db.password is sealed",
		"{{range .db.password}}x{{end}}":                                   "db.password is sealed",
		"{{if eq .db.password \"x\"}}x{{end}}":                             "db.password is sealed",
		"{{if eq .none .db.password}}x{{end}}":                             "db.password is sealed",
		"{{if and .on .db.password}}x{{end}}":                              "db.password is sealed",
		"{{if .db.password | or .off}}x{{end}}":                            "db.password is sealed",
		"{{if not .db.password}}x{{end}}":                                  "db.password is sealed",
		"{{if quote .db.password}}x{{end}}":                                "what is made of a sealed value is sealed",
		"{{len .db.password}}":                                             "db.password is sealed",
		"{{len (toJson .db)}}":                                             "what is made of a sealed value is sealed",
		"{{index .db.password 0}}":                                         "db.password is sealed",
		"{{printf \"%d\" .db.pin}}":                                        "a sealed value is written with %s",
		"{{indent .db.pin .lines}}":                                        "indent takes a number",
		"{{index .names .db.pin}}":                                         "an element of a list is found by a number, not by a sealed value",
		"{{replace .db.password \"x\" .lines}}":                            "wrong type for value; expected string",
		string([]byte{'a', '\n', 0xff}):                                    "2:1: this byte is not UTF-8 text",
		strings.Repeat("{{if .on}}", 101) + strings.Repeat("{{end}}", 101): "more than 100 things stand in each other",
		strings.Repeat("x", template.MaxBytes+1):                           "more than 262144 bytes",
	} {
		got, err := render(t, text, values("s3cret", "41"))
		var e *sluice.Error
		if err == nil || !errors.As(err, &e) {
			t.Errorf("%.60q: %q, %v; it shall say %q", text, got.Text, err, want)
			continue
		}
		said := e.Error()
		if e.Hint != "" {
			said += "\n    " + e.Hint
		}
		if !strings.HasPrefix(said, name) || !strings.Contains(said, want) || strings.Contains(said, "s3cret") || strings.Contains(said, "_get") && !strings.Contains(text, "_get") {
			t.Errorf("%.60q: %q; it shall say %q", text, said, want)
		}
		if e.At.Line == 0 && len(text) <= template.MaxBytes {
			t.Errorf("%.60q has no place: %v", text, said)
		}
	}
}

// TestBounds: what would take all memory or go on for ever ends, at the same place each time.
func TestBounds(t *testing.T) {
	all := values("s", "1")
	long := make([]any, 2000)
	for i := range long {
		long[i] = int64(i)
	}
	all["long"], all["text"] = long, strings.Repeat("x", 1<<20)
	other := maps.Clone(all)
	for text, want := range map[string]string{
		"{{range 9000000000000}}{{end}}":                                    "more than 300000 steps",
		"{{range .long}}{{range $.long}}{{end}}{{end}}":                     "more than 300000 steps",
		"{{range .long}}" + strings.Repeat("{{$x := .}}", 1000) + "{{end}}": "more than 300000 steps",
		"{{range 1000}}{{$.text}}{{end}}":                                   "rendered to more than",
		"{{$x := .text}}{{range 99}}{{$x = printf \"%s%s\" $x $x}}{{end}}":  "a text of more than",
		"{{$x := .text}}{{range 99}}{{$y := upper $x}}{{end}}":              "makes more than",
		"{{range 1000}}{{if eq $.text (lower $.text)}}{{end}}{{end}}":       "makes more than",
		"{{indent 100 (replace \"x\" \"\\n\" .text)}}":                      "a text of more than",
		"{{replace \"x\" \"xxxxxxxxxxxxxxx\" .text}}":                       "a text of more than",
		doubling(40): "more than 300000 steps",
	} {
		_, err := render(t, text, all)
		_, again := render(t, text, other)
		if err == nil || !strings.Contains(err.Error(), want) || again == nil || again.Error() != err.Error() {
			t.Errorf("%.60q: %v, and then %v; it shall say %q", text, err, again, want)
		}
	}
}

// doubling is a template in which each part uses the next one twice.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{{define \"t%02d\"}}{{template \"t%02d\"}}{{template \"t%02d\"}}{{end}}", i, i+1, i+1)
	}
	fmt.Fprintf(&b, "{{define \"t%02d\"}}{{end}}{{template \"t00\"}}", n)
	return b.String()
}

// TestSealed: what is rendered with words in the place of sealed values is what is rendered with them, but for them; and that there
// are some is known.
func TestSealed(t *testing.T) {
	for text, want := range map[string]string{
		"{{.db.password}}":                             "<P>",
		"a={{.db.password | quote}};":                  `a="<P>";`,
		"{{toJson .db}}":                               `{"host":"db.example.com","password":"<P>","pin":<N>,"port":5432}`,
		"{{printf \"%s:%s\" .db.host .db.pin}}":        "db.example.com:<N>",
		"{{range $k, $v := .db}}{{$k}}={{$v}},{{end}}": "host=db.example.com,password=<P>,pin=<N>,port=5432,",
		"{{join \",\" .list}}":                         "a,<P>",
		"{{with $x := default \"x\" .db.host}}{{$x}}{{end}}{{default \"none\" .db.password}}": "db.example.com<P>",
	} {
		of := func(p, n string) string {
			v := values(p, n)
			v["list"] = []any{"a", template.Hide("list", p, false)}
			got, err := render(t, text, v)
			if err != nil || !got.Secret {
				t.Errorf("%q: secret: %v, %v", text, got.Secret, err)
			}
			return string(got.Text)
		}
		true1, word := of("s3cret", "4711"), of("WORD", "NUMBER")
		if w := strings.NewReplacer("<P>", "s3cret", "<N>", "4711").Replace(want); true1 != w {
			t.Errorf("%q: %q, want %q", text, true1, w)
		}
		if w := strings.NewReplacer("<P>", "WORD", "<N>", "NUMBER").Replace(want); word != w {
			t.Errorf("%q: %q, want %q", text, word, w)
		}
	}
	h := template.Hide("k", "s3cret", false)
	if s := fmt.Sprintf("%v %+v %#v %s %q %v", h, h, h, h, h, []any{h, map[string]any{"a": h}}); strings.Contains(s, "s3cret") {
		t.Error(s)
	}
}

// TestWhichSealed: it is told which sealed values a text may depend on, whatever was made of them.
func TestWhichSealed(t *testing.T) {
	for text, want := range map[string][]string{
		"{{.db.host}}":                                nil,
		"{{.db.password}}":                            {"db.password"},
		"{{.db.pin}}{{.db.pin}}":                      {"db.pin"},
		"{{$x := quote .db.password}}{{upper $x}}":    {"db.password"},
		"{{printf \"%.0s%s\" .db.pin .db.password}}":  {"db.password", "db.pin"},
		"{{toJson .db}}":                              {"db.password", "db.pin"},
		"{{toYaml .db}}":                              {"db.password", "db.pin"},
		"{{default \"x\" .db.password | trim}}":       {"db.password"},
		"{{if .off}}{{.db.pin}}{{else}}none{{end}}":   nil,
		"{{replace \"a\" \"b\" .db.password | len}}x": nil, // is refused
	} {
		got, err := render(t, text, values("s3cret", "4711"))
		if !slices.Equal(got.Sealed, want) || err == nil && got.Secret != (want != nil) {
			t.Errorf("%q: %q, %v; want %q", text, got.Sealed, err, want)
		}
	}
}

// TestTwoAtOnce: a template is used for many hosts at a time.
func TestTwoAtOnce(t *testing.T) {
	p, err := template.Parse(name, []byte("{{range 1000}}{{$.n}}{{end}}"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for i := range 4 {
		go func() {
			got, err := p.Render(map[string]any{"n": fmt.Sprint(i)})
			if err == nil && string(got.Text) != strings.Repeat(fmt.Sprint(i), 1000) {
				err = errors.New("it has another's values")
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// FuzzTemplate: whatever is read as a template ends within its bounds, with a place where it fails, shows no sealed value but where
// it says so, and comes to the same with a word in the place of a sealed value, but for that.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{{.db.host}}", "{{range $i, $e := .servers}}{{$i}}{{$e.name}}{{end}}", "{{toYaml . | indent 2}}", "{{printf \"%5s\" .db.password}}",
		"{{range 99999999}}{{end}}", "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "{{with $x := .db}}{{$x.port}}{{end}}", "{{if and .on (lt .db.port 9)}}{{else if .off}}{{end}}",
		"{{.x | default (join \",\" .names) | quote}}", "{{index . \"db\" \"pin\"}}", "{{(index .servers 0).name}}", "{{- break -}}", "{{range .names}}{{continue}}{{end}}", doubling(30)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := template.Parse(name, []byte(text))
		if err != nil {
			placed(t, err)
			return
		}
		const secret, word = "s3cret0of0the0fuzzer", "w0rd00of0the0fuzzer0"
		got, err := p.Render(values(secret, "98765432101234567890"))
		other, err2 := p.Render(values(word, "01234567890987654321"))
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("%v with one value, %v with another", err, err2)
		}
		if err != nil {
			placed(t, err)
			if strings.Contains(err.Error(), secret) {
				t.Fatalf("it shows what is sealed: %v", err)
			}
			return
		}
		if len(got.Text) > template.MaxOutput {
			t.Fatalf("%d bytes", len(got.Text))
		}
		if got.Secret != other.Secret || len(got.Text) != len(other.Text) {
			t.Fatalf("%v %q, and %v %q", got.Secret, got.Text, other.Secret, other.Text)
		}
		if !got.Secret && string(got.Text) != string(other.Text) {
			t.Fatalf("what is sealed is told: %q", got.Text)
		}
	})
}

func placed(t *testing.T, err error) {
	var e *sluice.Error
	if !errors.As(err, &e) || e.At.File != name {
		t.Fatalf("no place: %v", err)
	}
}

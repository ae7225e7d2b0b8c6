package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/config"
)

func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	ids, err := age.ParseIdentities(strings.NewReader(testdata(t, "sops/key.txt")))
	if err != nil {
		t.Fatal(err)
	}
	return ids[0].(*age.X25519Identity)
}

// unlock is what a worker hands in.
func unlock(id age.Identity) config.Unlock {
	return func(armored string) (sluice.Secret, error) {
		r, err := age.Decrypt(armor.NewReader(strings.NewReader(armored)), id)
		if err != nil {
			return sluice.Secret{}, err
		}
		b, err := io.ReadAll(r)
		return sluice.NewSecret(b), err
	}
}

// sealed is what age --armor prints, as it stands behind a key.
func sealed(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, identity(t).Recipient())
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return "!sealed |\n    " + strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", "\n    ") + "\n"
}

// plain is a tree as encoding/json has it, without what SOPS keeps for itself.
func plain(t *testing.T, name string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(testdata(t, name)), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return generic(t, b)
}

func generic(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What the real sops has encrypted is opened to what it was.
func TestSops(t *testing.T) {
	for name, was := range map[string]string{"all.yaml": "plain.yaml", "regex.yaml": "plain.yaml", "regexmac.yaml": "plain.yaml", "all.json": "plain.json"} {
		r, err := config.Render(place, []*config.Layer{layer(t, name, testdata(t, "sops/"+name))})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f := r.Freeze()
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		if strings.Contains(string(f.JSON), "hunter") || len(r.Sealed()) == 0 {
			t.Errorf("%s: it is not sealed", name)
		}
		o, err := f.Open(unlock(identity(t)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := generic(t, o.JSON().Reveal()), plain(t, "sops/"+was); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%v\nwant\n%v", name, got, want)
		}
	}
}

// A file that was changed after sops has encrypted it is not opened, whatever was changed.
func TestSopsChanged(t *testing.T) {
	text := testdata(t, "sops/regexmac.yaml")
	lines := strings.Split(text, "\n")
	find := func(part string) string {
		for _, l := range lines {
			if strings.Contains(l, part) {
				_, v, _ := strings.Cut(l, part)
				return v
			}
		}
		t.Fatal(part)
		return ""
	}
	one, two := find("- ENC"), find("two: ENC")
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ was, is, want string }{
		"a value in the open":  {"port: 5432", "port: 5433", "was changed since"},
		"a value left out":     {"    port: 5432\n", "", "was changed since"},
		"a value added":        {"    port: 5432\n", "    port: 5432\n    more: 1\n", "was changed since"},
		"values change places": {"- ENC" + one, "- ENC" + two, "not for this place"},
		"another time":         {"lastmodified: \"2026", "lastmodified: \"2025", "was changed since"},
		"another rule":         {"^(password|hosts)$", "^(password|hosts|nothing)$", ""},
		"no rule":              {"    encrypted_regex: ^(password|hosts)$\n", "    encrypted_regex: ^password$\n", "was changed since"},
		"the type":             {one, strings.Replace(one, "type:str", "type:bool", 1), "is not a truth"},
	} {
		changed := strings.Replace(text, c.was, c.is, 1)
		if changed == text {
			t.Fatalf("%s: nothing changed", name)
		}
		r, err := config.Render(place, []*config.Layer{layer(t, "a.yaml", changed)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = r.Freeze().Open(unlock(identity(t)))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(fmt.Sprintf("%+v", err), "hunter2") {
			t.Errorf("%s: it tells: %v", name, err)
		}
	}
	r, err := config.Render(place, []*config.Layer{layer(t, "a.yaml", text)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Freeze().Open(unlock(other)); err == nil || !strings.Contains(err.Error(), "db.hosts cannot be opened") {
		t.Errorf("another key: %v", err)
	}
}

// A file of SOPS that no worker could open, or in which a secret stands in the open, is refused where it is read.
func TestSopsRefused(t *testing.T) {
	text := testdata(t, "sops/all.yaml")
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "    password: ENC[") {
			lines[i] = "    password: hunter2"
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"in the open": {strings.Join(lines, "\n"), "db.password is not encrypted"},
		"a number":    {strings.Replace(text, "    port: ENC", "    hole: 7\n    port: ENC", 1), "db.hole is not encrypted"},
		"no age":      {strings.Replace(text, "\n    age:\n", "\n    pgp:\n", 1), "to nobody who has a key of age"},
		"groups":      {strings.Replace(text, "\nsops:\n", "\nsops:\n    key_groups:\n        - age: []\n", 1), "several groups"},
		"comments":    {strings.Replace(text, "\nsops:\n", "\nsops:\n    encrypted_comment_regex: x\n", 1), "comments say which"},
		"a rule":      {strings.Replace(text, "\nsops:\n", "\nsops:\n    encrypted_regex: '('\n", 1), "an expression that is none"},
	} {
		_, err := config.ReadLayer("a.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: it tells: %v", name, err)
		}
	}
	if l := layer(t, "a.yaml", "sops: {mac: '', x: 1}\na: 1\n"); string(l.Top.JSON()) != `{"a":1,"sops":{"mac":"","x":1}}` {
		t.Errorf("a key of one's own that is called sops: %s", l.Top.JSON())
	}
}

const canary = "canary-7f3a-of-the-password"

// Sealed values are texts when layers are merged, and stay sealed: in trees, explanations, differences, frozen. They are opened
// with the key, and what is opened shows itself to nobody who does not ask.
func TestSealedWithAge(t *testing.T) {
	secret := sealed(t, canary)
	r, err := render(t, "db:\n  password: dev\n  n: 1\n", "db:\n  password: "+secret, "list: [a]\n")
	if err != nil {
		t.Fatal(err)
	}
	r2, err := render(t, "db:\n  password: dev\n")
	if err != nil {
		t.Fatal(err)
	}
	f := r.Freeze()
	o, err := f.Open(unlock(identity(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(o.JSON().Reveal()), `{"db":{"n":1,"password":"`+canary+`"},"list":["a"]}`; got != want {
		t.Errorf("got %s", got)
	}
	values := func(o *config.Opened) string {
		return fmt.Sprint(o.Values(func(key, text string, bare bool) any { return fmt.Sprint(key, "=", text, " ", bare) }))
	}
	if got, want := values(o), "map[db:map[n:1 password:db.password="+canary+" false] list:[a]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if c, err := f.Closed(); err != nil || !strings.HasPrefix(values(c), "map[db:map[n:1 password:db.password=sealed (age, ") || strings.Contains(values(c), canary) {
		t.Errorf("closed: %v, %v", values(c), err)
	}
	if len(o.Secrets()) != 1 || string(o.Secrets()[0].Reveal()) != canary {
		t.Error("the secret is not told for masking")
	}
	shown := fmt.Sprintf("%v %+v %#v %s %v %v %s", o, o, o, o, r.Explain(nil), config.Diff(r, r2), f.JSON)
	if j, err := json.Marshal(o); err != nil || strings.Contains(shown+string(j), canary) {
		t.Errorf("it is shown: %s %v", j, err)
	}
	if _, err := render(t, "a: 1\n", "a: "+secret); err == nil || !strings.Contains(err.Error(), "a is a sealed value here, and a number at 1.yaml:1:1") {
		t.Errorf("a number is sealed over: %v", err)
	}
	o.Wipe()
	if strings.Contains(string(o.JSON().Reveal()), canary) || len(o.Secrets()[0].Reveal()) != 0 {
		t.Error("it is not wiped")
	}
}

// TestLook: a frozen configuration is looked at without opening anything, and by its ciphertexts it is seen what has changed.
func TestLook(t *testing.T) {
	look := func(name, text string) config.Look {
		t.Helper()
		r, err := config.Render(place, []*config.Layer{layer(t, name, text)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := r.Freeze().Look()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	one, other := sealed(t, canary), sealed(t, canary)
	a := look("a.yaml", "n: 1\ndb:\n  password: "+one+"list:\n  - "+one)
	b := look("a.yaml", "n: 1\ndb:\n  password: "+other+"list:\n  - "+one)
	if !strings.HasPrefix(a.Lines, "db:\n  password: sealed (age, ") || !strings.HasSuffix(a.Lines, "\nn: 1\n") || strings.Contains(a.Lines+b.Lines, canary) {
		t.Errorf("lines:\n%s", a.Lines)
	}
	if len(a.Sealed) != 2 || len(a.Sealed["db.password"]) != 1 || slices.Equal(a.Sealed["db.password"], b.Sealed["db.password"]) || !slices.Equal(a.Sealed["list"], b.Sealed["list"]) {
		t.Errorf("sealed: %v and %v", a.Sealed, b.Sealed)
	}
	text := testdata(t, "sops/all.yaml")
	was := look("all.yaml", text)
	again := regexp.MustCompile(`lastmodified: .*`).ReplaceAllString(text, `lastmodified: "2026-01-01T00:00:00Z"`)
	if now := look("all.yaml", again); text == again || len(was.Sealed) == 0 || !reflect.DeepEqual(was.Sealed, now.Sealed) {
		t.Errorf("another sum of the same values: %v and %v", was.Sealed, now.Sealed)
	}
}

func TestPublic(t *testing.T) {
	r, err := render(t, "shop: {title: T, limits: {a: 1, b: 2}, key: "+strings.ReplaceAll("dev", "\n", "")+"}\nother: 1\n", "shop:\n  key: "+sealed(t, canary))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"keys: [shop.title, shop.limits, shop.limits.a]": `{"shop":{"limits":{"a":1,"b":2},"title":"T"}}`,
		"":                         `{}`,
		"keys: [shop.titel]":       "public.yaml:1:8: there is no shop.titel for shop in production",
		"keys: [shop]":             "public.yaml:1:8: shop.key is sealed, at 2.yaml:2:3, and cannot be public",
		"keys: [shop.key]":         "public.yaml:1:8: shop.key is sealed",
		"keys: ['a..b']":           `public.yaml:1:8: "a..b" is no key`,
		"key: [shop.title]":        "did you mean keys?",
		"keys: [shop.title]\nx: 1": `unknown key "x"`,
	} {
		p, err := config.ReadPublic("public.yaml", []byte(text))
		got := ""
		if err == nil {
			var pub *config.Rendered
			if pub, err = p.Of(r); err == nil {
				got = string(pub.Tree.JSON())
			}
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

package target_test

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/target"
)

func uintText(n uint64) string { return strconv.FormatUint(n, 10) }

func TestRedaction(t *testing.T) {
	s := target.NewSecrets([]byte("hunter2"), []byte("a b&c/d"), nil, []byte("inter"))
	for in, want := range map[string]string{
		"":                 "",
		"nothing here":     "nothing here",
		"x hunter2 y":      "x ******* y",
		"hunter2hunter2":   "**************",
		"hunterhunter2":    "hunter*******",
		"url a+b%26c%2Fd":  "url ***********",
		"path a%20b&c%2Fd": "path ***********",
		"an inter est":     "an ***** est",
		"winters hunter2":  "w*****s *******",
		"hunter":           "hunter",
	} {
		if got := s.Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for shift := range 4 {
		coded := base64.StdEncoding.EncodeToString([]byte("user:::"[:shift+2] + "hunter2" + ":rest"))
		if got := s.Text(coded); !strings.Contains(got, "*******") || len(got) != len(coded) {
			t.Errorf("base64 %q: %q", coded, got)
		}
	}
}

// However the stream is cut, the redactor says what it says of the whole, and no secret comes through.
func TestRedactionOfPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ab&]{2,6}`).Draw(t, "secret")
		text := rapid.StringMatching(`([ab&x]|%26){0,40}`).Draw(t, "text") + rapid.SampledFrom([]string{"", secret, url.QueryEscape(secret)}).Draw(t, "end")
		s := target.NewSecrets([]byte(secret))
		r := s.Redactor()
		var out strings.Builder
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			out.Write(r.Feed([]byte(rest[:n])))
			if r.Held() > 40 {
				t.Fatalf("%d bytes are held back", r.Held())
			}
			rest = rest[n:]
		}
		out.Write(r.Rest())
		if len(out.String()) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), out.Len())
		}
		if strings.Contains(out.String(), secret) {
			t.Fatalf("%q of %q shows %q", out.String(), text, secret)
		}
		if whole := s.Text(text); whole != out.String() {
			t.Fatalf("%q in pieces, %q as a whole", out.String(), whole)
		}
	})
}

func TestPrompts(t *testing.T) {
	p, err := target.NewPrompts([]string{`Password( for \w+)?: `, `PIN>`})
	if err != nil {
		t.Fatal(err)
	}
	asked := func(want string) {
		t.Helper()
		if got, ok := p.Asked(); got != want || ok != (want != "") {
			t.Errorf("asked %q, %v; want %q", got, ok, want)
		}
	}
	asked("")
	p.Feed("stdout", []byte("Password: \n"))
	asked("") // a whole line is no prompt
	p.Feed("stdout", []byte("The Password: "))
	asked("") // nor is the end of one
	p.Feed("stdout", []byte("\nPass"))
	asked("")
	p.Feed("stderr", []byte("PIN"))
	p.Feed("stdout", []byte("word for app: "))
	asked("Password for app: ")
	asked("")
	p.Feed("stderr", []byte(">"))
	asked("PIN>")
	if p.Again() {
		t.Error("again before it was")
	}
	p.Feed("stdout", []byte("\r\nPassword: "))
	asked("")
	if !p.Again() {
		t.Error("the second time is not seen")
	}
	if _, err := target.NewPrompts([]string{"("}); err == nil {
		t.Error("a broken pattern is taken")
	}
}

func FuzzPrompts(f *testing.F) {
	f.Add("Password: ", []byte("x\nPassword: "), 5)
	f.Add("(a|b)*c", []byte("ababc"), 2)
	f.Fuzz(func(t *testing.T, pattern string, data []byte, at int) {
		if len(pattern) > 100 || at < 0 || at > len(data) {
			t.Skip()
		}
		one, err := target.NewPrompts([]string{pattern})
		if err != nil {
			t.Skip()
		}
		two, _ := target.NewPrompts([]string{pattern})
		one.Feed("s", data)
		two.Feed("s", data[:at])
		two.Feed("s", data[at:])
		a, ok := one.Asked()
		if b, ok2 := two.Asked(); a != b || ok != ok2 {
			t.Errorf("%q cut at %d: %q, whole %q", data, at, b, a)
		}
		if ok && (strings.ContainsAny(a, "\r\n") || !strings.HasSuffix(string(data), a)) {
			t.Errorf("%q is no prompt at the end of %q", a, data)
		}
		if _, again := one.Asked(); again {
			t.Error("answered twice")
		}
	})
}

func TestLure(t *testing.T) {
	var l target.Lure
	if l.Feed("s", []byte("\n\n")) {
		t.Error("nothing is a lure")
	}
	l.Add("")
	l.Add("sluice-abc:")
	for in, want := range map[string]bool{
		"sluice-abc:": true, "x\nsluice-abc:": true, "sluice-abc:\n": true, "\rsluice-abc:\r": true,
		"x sluice-abc:": false, "sluice-abc: x\n": true, "ps sluice-abc:\n": false, "sluice-abc\n:": false,
	} {
		whole := l
		whole.Feed("s", []byte("\n"))
		pieces := target.Lure{}
		pieces.Add("sluice-abc:")
		got := false
		for _, c := range strings.Split(in, "") {
			got = pieces.Feed("s", []byte(c)) || got
		}
		if got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestMarker(t *testing.T) {
	m := target.NewMarker("mark")
	for _, c := range []struct{ in, out string }{{"noise ma", ""}, {"rk", ""}, {"\r", ""}, {"\nout", "out"}, {"mark\n", "mark\n"}} {
		if got := string(m.Feed([]byte(c.in))); got != c.out {
			t.Errorf("%q: %q, want %q", c.in, got, c.out)
		}
	}
	if m.Noise() != "noise " || !m.Found() {
		t.Errorf("%q", m.Noise())
	}
}

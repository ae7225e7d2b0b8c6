package clean

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":             "plain\ttext\n",
		"Grüße ✓":                   "Grüße ✓",
		"\x1b[31mred\x1b[0m":        `\e[31mred\e[0m`,
		"\x1b]0;title\x07":          `\e]0;title\x07`,
		"a\rb":                      `a\rb`,
		"a\r\nb":                    "a\nb",
		"\u009b2J":                  `\x9b2J`,
		"user\u202etxt.exe":         `user\u{202e}txt.exe`,
		"zero\u200bwidth":           `zero\u{200b}width`,
		"bad \xff\xfe bytes":        `bad \xff\xfe bytes`,
		"\x00":                      `\x00`,
		"real \ufffd is not a lie":  "real \ufffd is not a lie",
		"soft\u00adhyphen\u2028end": `soft\xadhyphen\u{2028}end`,
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line("a\nb\tc"); got != `a\nb\tc` {
		t.Errorf("Line keeps line ends: %q", got)
	}
}

func TestWriterIsTheSameInPieces(t *testing.T) {
	const text = "Grüße \x1b[2J ✓ 𝄞 \xff end \xf0\x9f"
	for cut := range len(text) {
		var b strings.Builder
		w := Writer(&b)
		for _, piece := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if b.String() != Text(text) {
			t.Errorf("cut at %d: %q", cut, b.String())
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[31m\u202e\xff\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		out := Text(in)
		if !utf8.ValidString(out) {
			t.Fatalf("%q is not valid", out)
		}
		for _, r := range out {
			if hidden(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q has %U", out, r)
			}
		}
		if strings.ContainsAny(Line(in), "\n\t\x1b") {
			t.Fatal("Line has more than one line")
		}
	})
}

// Package clean makes text that came from a host, a file or a person safe to show on a terminal: nothing in it can
// move the cursor, change colours, rename a window, or turn the direction of reading. It is the only place where
// that is decided.
package clean

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Line shows a text on one line: control characters, line ends among them, become visible.
func Line(s string) string { return clean(s, false) }

// Text shows a text of several lines: newlines and tabs stay, other control characters become visible.
func Text(s string) string { return clean(s, true) }

// Colourless is Text without the marks by which programs colour what they print (SGR): where it is shown in few words, they
// would be in the way. What else steers a terminal becomes visible.
func Colourless(s string) string {
	if strings.Contains(s, "\x1b[") {
		s = regexp.MustCompile("\x1b\\[[0-9;:]*m").ReplaceAllLiteralString(s, "")
	}
	return Text(s)
}

// Cut is Colourless for one line, of which so many bytes are shown; it says how much is left out.
func Cut(line string, most int) string {
	line = strings.TrimSuffix(line, "\r")
	if len(line) <= most {
		return Colourless(line)
	}
	at := most
	for at > most-utf8.UTFMax && at > 0 && !utf8.RuneStart(line[at]) {
		at--
	}
	return Colourless(line[:at]) + fmt.Sprintf("… %d bytes more", len(line)-at)
}

func clean(s string, lines bool) string {
	if !dirty(s, lines) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case lines && r == '\r' && i+1 < len(s) && s[i+1] == '\n': // the end of a line as Windows writes it
		default:
			b.WriteString(visible(r))
		}
		i += n
	}
	return b.String()
}

func dirty(s string, lines bool) bool {
	for _, r := range s {
		if r == utf8.RuneError || hidden(r) && !(lines && (r == '\n' || r == '\t')) {
			return true
		}
	}
	return false
}

// hidden reports whether a character does something instead of showing something.
func hidden(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // C0, delete, C1
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f: // zero width, direction
		return true
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r >= 0xfff9 && r <= 0xfffb: // letters that show nothing
		return true
	case r == 0x061c, r == 0xfeff, r == 0x2028, r == 0x2029, r == 0x00ad, r == 0x180e:
		return true
	case r >= 0xe0000 && r <= 0xe007f: // tags
		return true
	}
	return false
}

func visible(r rune) string {
	switch {
	case !hidden(r):
		return string(r)
	case r == '\n':
		return `\n`
	case r == '\t':
		return `\t`
	case r == '\r':
		return `\r`
	case r == 0x1b:
		return `\e`
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	}
	return fmt.Sprintf(`\u{%x}`, r)
}

// Writer cleans what is written to it, lines kept. A character that is cut by the end of a piece waits for the next,
// or for Close.
func Writer(w io.Writer) io.WriteCloser { return &writer{w: w} }

type writer struct {
	w    io.Writer
	rest []byte
}

// Close writes what is left of a cut character. It does not close what is below.
func (c *writer) Close() error {
	_, err := io.WriteString(c.w, Text(string(c.rest)))
	c.rest = nil
	return err
}

func (c *writer) Write(p []byte) (int, error) {
	b := append(c.rest, p...)
	end := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				end = len(b) - i
			}
			break
		}
	}
	c.rest = append([]byte(nil), b[end:]...)
	if _, err := io.WriteString(c.w, Text(string(b[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

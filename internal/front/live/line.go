package live

import (
	"strings"
	"unicode"
)

// style is how a span looks beside its text. It only adds: everything is readable without.
type style uint8

const (
	plain style = iota
	bold
	dim
	good
	bad
	warn
	busy
)

// sgr are the parameters that select a style. They are the terminal's own colours, so that they fit its
// background.
var sgr = [...]string{plain: "", bold: "1", dim: "2", good: "32", bad: "31", warn: "33", busy: "36"}

// span is text in one style, line what stands on one line of the screen.
type span struct {
	text  string
	style style
}

type line []span

func text(s string) line { return line{{s, plain}} }

func styled(st style, s string) line { return line{{s, st}} }

// add returns the line with more behind it. Neighbours of one style become one span.
func (l line) add(st style, s string) line {
	if s == "" {
		return l
	}
	if n := len(l); n > 0 && l[n-1].style == st {
		l[n-1].text += s
		return l
	}
	return append(l, span{s, st})
}

func (l line) join(more line) line {
	for _, s := range more {
		l = l.add(s.style, s.text)
	}
	return l
}

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

// pad fills the line with spaces up to a width.
func (l line) pad(to int) line { return l.add(plain, spaces(to-l.width())) }

// cut shortens the line to a width; ellipsis stands where something is missing.
func (l line) cut(to int, ellipsis string) line {
	if l.width() <= to {
		return l
	}
	room := to - width(ellipsis)
	if room < 0 {
		room, ellipsis = to, ""
	}
	var out line
	for _, s := range l {
		kept := prefix(s.text, room)
		out = out.add(s.style, kept)
		room -= width(kept)
		if len(kept) < len(s.text) {
			return out.add(s.style, ellipsis)
		}
	}
	return out.add(plain, ellipsis)
}

// paint writes the line for a terminal, without spaces at its end.
func (l line) paint(color bool) string {
	var b strings.Builder
	for i, s := range l {
		if i == len(l)-1 {
			s.text = strings.TrimRight(s.text, " ")
		}
		if !color || s.style == plain || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		b.WriteString("\x1b[" + sgr[s.style] + "m" + s.text + "\x1b[0m")
	}
	return b.String()
}

func spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }

// ends puts two lines at the ends of a width, and leaves the right one out if there is no room for it.
func ends(left, right line, width int) line {
	gap := width - left.width() - right.width()
	if gap < 1 {
		return left
	}
	return left.add(plain, spaces(gap)).join(right)
}

// prefix is as much of the text as fits a width.
func prefix(s string, room int) string {
	for i, r := range s {
		if room -= runeWidth(r); room < 0 {
			return s[:i]
		}
	}
	return s
}

// width is the number of columns that a text takes on a terminal.
func width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// wide are the characters that take two columns (East Asian wide and full width, and pictures).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x2329, 0x232a, 1}, {0x23e9, 0x23ec, 1}, {0x23f0, 0x23f3, 3},
		{0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1}, {0x2648, 0x2653, 1}, {0x267f, 0x2693, 0x14}, {0x26a1, 0x26a1, 1}, {0x26aa, 0x26ab, 1},
		{0x26bd, 0x26be, 1}, {0x26c4, 0x26c5, 1}, {0x26ce, 0x26d4, 6}, {0x26ea, 0x26ea, 1}, {0x26f2, 0x26f3, 1}, {0x26f5, 0x26fa, 5},
		{0x26fd, 0x2705, 8}, {0x270a, 0x270b, 1}, {0x2728, 0x274c, 0x24}, {0x274e, 0x274e, 1}, {0x2753, 0x2755, 1}, {0x2757, 0x2757, 1},
		{0x2795, 0x2797, 1}, {0x27b0, 0x27bf, 0xf}, {0x2b1b, 0x2b1c, 1}, {0x2b50, 0x2b55, 5}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1},
		{0x3400, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe10, 0xfe19, 1},
		{0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x16fe0, 0x18cff, 1}, {0x1b000, 0x1b2fb, 1}, {0x1f004, 0x1f0cf, 0xcb}, {0x1f18e, 0x1f18e, 1}, {0x1f191, 0x1f19a, 1},
		{0x1f200, 0x1f320, 1}, {0x1f32d, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f7e0, 0x1f7f0, 1}, {0x1f900, 0x1f9ff, 1}, {0x1fa70, 0x1faff, 1},
		{0x20000, 0x3fffd, 1}},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// wrap breaks a text at spaces, and long lists at commas, into at most n lines of the given width. The last one
// may be longer.
func wrap(s string, to, n int) []string {
	var out []string
	for len(out) < n-1 && width(s) > to {
		head := prefix(s, to)
		at := strings.LastIndexByte(head, ' ')
		if at < len(head)/2 {
			at = max(at, strings.LastIndexByte(head, ',')+1)
		}
		if at <= 0 {
			break
		}
		out = append(out, s[:at])
		s = strings.TrimLeft(s[at:], " ")
	}
	return append(out, s)
}

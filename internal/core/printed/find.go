package printed

import (
	"bytes"
	"unicode/utf8"
)

// Found is a place in a text where something stands that was looked for.
type Found struct {
	Offset int64  // of its first byte
	Line   int64  // from 1
	Before string // of its line, as far as it is short
	Text   string
	After  string
}

// around is how many bytes of a line are shown on either side of what was found.
const around = 80

// Finder looks for a text in pieces of another one.
type Finder struct {
	// Most is how many places are wanted at most.
	Most int
	// Found are those that were found, in order. They do not overlap.
	Found []Found

	what []byte
	fold bool
	at   int64  // of rest in the text
	line int64  // of its first byte, from 0
	rest []byte // what may be the beginning of something, and what is before it on its line
	free int64  // where the next may begin
}

// NewFinder looks for what, which is not empty, from the offset from on. Its first piece begins at the offset at, at or
// before that, and before it so many lines end. fold takes ASCII letters for the same in both cases.
func NewFinder(what string, fold bool, from, at, lines int64, most int) *Finder {
	f := &Finder{Most: most, what: []byte(what), fold: fold, at: at, line: lines, free: from}
	if fold {
		f.what = lower(f.what)
	}
	return f
}

// Done reports whether there is as much as was wanted.
func (f *Finder) Done() bool { return len(f.Found) >= f.Most }

// Next is where to go on behind what was found.
func (f *Finder) Next() int64 { return f.free }

// Add takes the next piece; last says that none follows.
func (f *Finder) Add(piece []byte, last bool) {
	text := append(f.rest, piece...)
	in := text
	if f.fold {
		in = lower(text)
	}
	counted, lines := 0, f.line
	end := len(text)
	if !last {
		end = max(0, len(text)-len(f.what)-around) // what is found has its surroundings
	}
	from := int(max(0, f.free-f.at))
	for !f.Done() {
		i := bytes.Index(in[min(from, len(in)):], f.what)
		if i < 0 || from+i >= end && !last {
			break
		}
		i += from
		lines += int64(bytes.Count(text[counted:i], []byte{'\n'}))
		counted = i
		before, after := surroundings(text, i, i+len(f.what))
		f.Found = append(f.Found, Found{f.at + int64(i), lines + 1, string(before), string(text[i : i+len(f.what)]), string(after)})
		from = i + len(f.what)
		f.free = f.at + int64(from)
	}
	keep := max(0, min(end, len(text))-around) // for the surroundings of the next
	if last {
		keep = len(text)
	}
	if keep >= counted {
		lines += int64(bytes.Count(text[counted:keep], []byte{'\n'}))
	} else {
		lines -= int64(bytes.Count(text[keep:counted], []byte{'\n'}))
	}
	f.line, f.at = lines, f.at+int64(keep)
	f.rest = append([]byte(nil), text[keep:]...)
	if !f.Done() {
		f.free = max(f.free, f.at+int64(max(0, end-keep)))
	}
}

// surroundings are what is on the same line before and after a piece of a text, cut between characters.
func surroundings(text []byte, from, to int) (before, after []byte) {
	before = text[max(0, from-around):from]
	if i := bytes.LastIndexByte(before, '\n'); i >= 0 {
		before = before[i+1:]
	}
	for len(before) > 0 && len(before) == around && !utf8.RuneStart(before[0]) {
		before = before[1:]
	}
	after = text[to:min(len(text), to+around)]
	if i := bytes.IndexByte(after, '\n'); i >= 0 {
		return before, after[:i]
	}
	for i := 1; i < utf8.UTFMax && i <= len(after) && len(after) == around; i++ {
		if utf8.RuneStart(after[len(after)-i]) {
			if !utf8.FullRune(after[len(after)-i:]) {
				after = after[:len(after)-i]
			}
			break
		}
	}
	return before, after
}

func lower(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		out[i] = c
	}
	return out
}

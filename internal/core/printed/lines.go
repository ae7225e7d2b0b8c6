package printed

import (
	"bytes"
	"strings"
)

// Index says where the lines of a text are, in room that does not grow with the text: how many lines end before each of
// some places, which are equally far apart. The zero Index is that of no text.
type Index struct {
	Size  int64 // bytes
	Lines int64 // that have ended
	// Every is how many bytes are between two places; Before[i] is how many lines end before byte i*Every.
	Every  int64
	Before []int64
}

const (
	firstEvery = 16 << 10
	mostPlaces = 4096
)

// Write takes the next piece of the text. It does not fail.
func (x *Index) Write(p []byte) (int, error) {
	if x.Every == 0 {
		x.Every, x.Before = firstEvery, []int64{0}
	}
	n := len(p)
	for len(p) > 0 {
		room := int64(len(x.Before))*x.Every - x.Size // up to the next place
		part := p[:min(int64(len(p)), room)]
		x.Lines += int64(bytes.Count(part, []byte{'\n'}))
		x.Size += int64(len(part))
		p = p[len(part):]
		if int64(len(part)) == room {
			x.Before = append(x.Before, x.Lines)
			x.thin()
		}
	}
	return n, nil
}

// thin leaves every second place out when there are too many.
func (x *Index) thin() {
	if len(x.Before) <= mostPlaces {
		return
	}
	kept := x.Before[:0]
	for i := 0; i < len(x.Before); i += 2 {
		kept = append(kept, x.Before[i])
	}
	x.Before, x.Every = kept, 2*x.Every
}

// Near is the last place at or before an offset, and how many lines end before it.
func (x *Index) Near(offset int64) (place, before int64) {
	if x.Every == 0 {
		return 0, 0
	}
	i := min(offset/x.Every, int64(len(x.Before))-1)
	return i * x.Every, x.Before[i]
}

// Lines are the lines of a text, without their ends. A last one without an end counts.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// Tail are the last lines of a text, at most n, of which only the end may be at hand: part says that it begins in the
// middle. Blank lines at the end say nothing.
func Tail(text string, part bool, n int) []string {
	lines := Lines(strings.TrimRight(text, "\r\n\t "))
	if part && len(lines) > 1 {
		lines = lines[1:]
	}
	return lines[max(0, len(lines)-n):]
}

// Head are the first lines of a text, at most n; cut says that there is more, in the text or behind what is at hand.
func Head(text string, n int) (lines []string, cut bool) {
	lines = Lines(text)
	if len(lines) > n {
		return lines[:n], true
	}
	return lines, false
}

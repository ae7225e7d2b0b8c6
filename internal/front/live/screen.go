package live

import (
	"time"

	"sluice"
	"sluice/internal/front/clean"
)

// Screen is where a picture is shown.
type Screen struct {
	Width, Height int
	Color         bool
	Unicode       bool // else ASCII only
	Now           time.Time
	// Footer stands below a job that is going on, such as what Ctrl-C does.
	Footer string
	// Last returns the last line that a host printed, or ""; nil if nobody knows.
	Last func(sluice.Host) string
}

// mark is the state of a host, or of several of which the worst is shown. The order is from best to worst.
type mark uint8

const (
	ok mark = iota
	skipped
	waiting
	running
	cancelled
	timedOut
	unreachable
	unknown
	failed
	marks // how many there are
)

var outcomeMarks = map[sluice.Outcome]mark{sluice.Succeeded: ok, sluice.Skipped: skipped, sluice.Cancelled: cancelled,
	sluice.TimedOut: timedOut, sluice.Unreachable: unreachable, sluice.Unknown: unknown, sluice.Failed: failed}

// reading is the order in which people read counts.
var reading = [...]mark{ok, skipped, failed, timedOut, unreachable, unknown, cancelled, running, waiting}

var markWords = [marks]string{ok: "ok", skipped: "skipped", waiting: "waiting", running: "running", cancelled: "cancelled",
	timedOut: "timed out", unreachable: "unreachable", unknown: "unknown", failed: "failed"}

var markStyles = [marks]style{ok: good, skipped: dim, waiting: dim, running: busy, cancelled: warn,
	timedOut: bad, unreachable: bad, unknown: warn, failed: bad}

// glyphs are the characters that a picture is drawn with.
type glyphs struct {
	marks    [marks]string
	bar      [4]string // done well, badly, running, waiting
	ellipsis string
	fold     string // before stages that are folded away
}

var unicodeGlyphs = glyphs{
	marks: [marks]string{ok: "✓", skipped: "-", waiting: "·", running: "▸", cancelled: "⊘", timedOut: "✗", unreachable: "!", unknown: "?", failed: "✗"},
	bar:   [4]string{"█", "▓", "▒", "░"}, ellipsis: "…", fold: "⋮",
}

var asciiGlyphs = glyphs{
	marks: [marks]string{ok: "+", skipped: "-", waiting: ".", running: ">", cancelled: "/", timedOut: "x", unreachable: "!", unknown: "?", failed: "x"},
	bar:   [4]string{"#", "x", ">", "."}, ellipsis: "...", fold: ":",
}

func (s Screen) glyphs() *glyphs {
	if s.Unicode {
		return &unicodeGlyphs
	}
	return &asciiGlyphs
}

// clean makes a foreign text fit for one line of this screen.
func (s Screen) clean(raw string) string { return s.encode(clean.Line(raw)) }

// encode writes out what the screen cannot show.
func (s Screen) encode(text string) string {
	if s.Unicode {
		return text
	}
	return ascii(text)
}

// paint cuts lines to the screen's width and writes them for it.
func (s Screen) paint(lines []line) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.cut(s.Width, s.glyphs().ellipsis).paint(s.Color)
	}
	return out
}

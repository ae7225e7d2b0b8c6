package live

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"sluice"
	"sluice/internal/front/clean"
)

// outputOf is what a host printed. What cannot be decoded is shown as it came.
func outputOf(b sluice.TaskOutput) string {
	if b.Encoding == "base64" {
		if raw, err := base64.StdEncoding.DecodeString(b.Data); err == nil {
			return string(raw)
		}
	}
	return b.Data
}

// longestShown is how many bytes are shown of one line of output.
const longestShown = 4096

// shown makes a line of output fit to be printed: clean, with its tabs, and not endless.
func (s Screen) shown(raw string) string {
	raw = strings.TrimSuffix(raw, "\r")
	if more := len(raw) - longestShown; more > 0 {
		at := longestShown
		for at > longestShown-utf8.UTFMax && !utf8.RuneStart(raw[at]) {
			at--
		}
		return s.encode(clean.Text(raw[:at])) + s.glyphs().ellipsis + " " + count(len(raw)-at, "byte") + " more"
	}
	return s.encode(clean.Text(raw))
}

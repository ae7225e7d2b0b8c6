package live

import (
	"bytes"
	"fmt"
	"html"
	"strconv"
	"strings"
	"time"
)

// parse takes painted lines apart again. It knows the styles that paint writes, and no others.
func parse(painted string) (l line) {
	st := plain
	for len(painted) > 0 {
		at := strings.Index(painted, "\x1b[")
		if at < 0 {
			return l.add(st, painted)
		}
		l = l.add(st, painted[:at])
		code, rest, _ := strings.Cut(painted[at+2:], "m")
		painted, st = rest, plain
		for s, known := range sgr {
			if known == code && code != "" {
				st = style(s)
			}
		}
	}
	return l
}

// Measures of a picture, in pixels.
const (
	cellWidth  = 8.4
	cellHeight = 18
	margin     = 16
	titleBar   = 34
)

var svgStyles = [...]string{plain: "", bold: "b", dim: "d", good: "g", bad: "r", warn: "y", busy: "c"}

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%[3]s">
<style>
text{font:14px ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d5dae3;white-space:pre}
.b{font-weight:700;fill:#fff}.d{fill:#7c8698}.g{fill:#7ec98f}.r{fill:#f07178}.y{fill:#e5c07b}.c{fill:#6cb6e8}.t{fill:#9aa3b2;text-anchor:middle}
%[4]s</style>
<rect width="%[1]d" height="%[2]d" rx="10" fill="#171b22"/>
<circle cx="20" cy="17" r="6" fill="#ed6a5e"/><circle cx="40" cy="17" r="6" fill="#f4bf4f"/><circle cx="60" cy="17" r="6" fill="#61c554"/>
<text class="t" x="%[5]d" y="22">%[3]s</text>
`

// SVG makes a picture of what [Render] returned, as a terminal of that screen's size would show it. With
// s.Height 0 it is as high as the lines.
func SVG(lines []string, s Screen, title string) []byte {
	var b bytes.Buffer
	height := s.Height
	if height == 0 {
		height = len(lines)
	}
	svgOpen(&b, s.Width, height, title, "")
	for i, l := range lines {
		b.WriteString(svgLine(l, i))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func svgOpen(b *bytes.Buffer, columns, rows int, title, css string) {
	w := int(float64(columns)*cellWidth) + 2*margin
	h := rows*cellHeight + titleBar + margin
	fmt.Fprintf(b, svgHead, w, h, html.EscapeString(Screen{Unicode: true}.clean(title)), css, w/2)
}

// svgLine draws one line. Every span has its own place, so that the columns stay where they are whatever the
// font's width is.
func svgLine(painted string, row int) string {
	var b strings.Builder
	column := 0
	y := titleBar + row*cellHeight + cellHeight*3/4
	for _, s := range parse(painted) {
		w := width(s.text)
		if strings.TrimSpace(s.text) != "" {
			fmt.Fprintf(&b, `<text x="%s" y="%d" textLength="%s"`, pixels(margin+float64(column)*cellWidth), y, pixels(float64(w)*cellWidth))
			if class := svgStyles[s.style]; class != "" {
				b.WriteString(` class="` + class + `"`)
			}
			b.WriteString(` xml:space="preserve">` + html.EscapeString(s.text) + "</text>\n")
		}
		column += w
	}
	return b.String()
}

func pixels(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// Frame is one picture of several, and when it appears.
type Frame struct {
	At    time.Duration
	Lines []string
}

// holdLast is how long the last frame stays before the first comes again.
const holdLast = 5 * time.Second

// AnimatedSVG makes a moving picture of frames in the order of their times. It repeats for ever. Lines that many
// frames share are in it once. Who wants no movement sees the last frame.
func AnimatedSVG(frames []Frame, s Screen, title string) []byte {
	if len(frames) == 0 {
		return SVG(nil, s, title)
	}
	first, last := frames[0].At, len(frames)-1
	total := frames[last].At - first + holdLast
	height := s.Height
	var css strings.Builder
	for i, f := range frames {
		if s.Height == 0 {
			height = max(height, len(f.Lines))
		}
		from := percent(f.At-first, total)
		to := "100"
		if i < last {
			to = percent(frames[i+1].At-first, total)
		}
		fmt.Fprintf(&css, "@keyframes f%d{0%%{visibility:hidden}%s%%{visibility:visible}%s%%{visibility:%s}}\n", i, from, to,
			map[bool]string{true: "visible", false: "hidden"}[i == last])
		fmt.Fprintf(&css, "#f%d{visibility:hidden;animation:f%d %ss step-end infinite}\n", i, i, pixels(total.Seconds()))
	}
	fmt.Fprintf(&css, "@media (prefers-reduced-motion:reduce){g{animation:none!important}#f%d{visibility:visible!important}}\n", last)
	var b, body bytes.Buffer
	svgOpen(&b, s.Width, height, title, css.String())
	b.WriteString("<defs>\n")
	known := map[string]int{}
	for i, f := range frames {
		fmt.Fprintf(&body, `<g id="f%d">`+"\n", i)
		for row, l := range f.Lines {
			drawn := svgLine(l, 0)
			if drawn == "" {
				continue
			}
			n, have := known[drawn]
			if !have {
				n = len(known)
				known[drawn] = n
				fmt.Fprintf(&b, `<g id="l%d">%s</g>`+"\n", n, strings.TrimSpace(drawn))
			}
			fmt.Fprintf(&body, `<use href="#l%d" y="%d"/>`, n, row*cellHeight)
		}
		body.WriteString("</g>\n")
	}
	b.WriteString("</defs>\n")
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func percent(d, of time.Duration) string {
	return strconv.FormatFloat(float64(d)*100/float64(of), 'f', 3, 64)
}

package live

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"sluice"
	"sluice/internal/core/plan"
)

// manyGroups is from how many groups a constraint is summed up.
const manyGroups = 20

// Plan writes what a job would do: its tracks and stages, the limits that it is under, and how much can be out of
// service at once. s.Height does not matter.
func Plan(w io.Writer, f *sluice.Fleet, p sluice.Plan, worst []plan.Worst, s Screen) error {
	d := &document{Screen: s}
	hosts := map[sluice.Host]bool{}
	stages := 0
	for _, t := range p.Tracks {
		for _, st := range t.Stages {
			if len(st.Hosts) > 0 {
				stages++
			}
			for _, h := range st.Hosts {
				hosts[h] = true
			}
		}
	}
	title := fmt.Sprintf("%s in %s", count(len(hosts), "host"), count(stages, "stage"))
	if len(p.Tracks) > 1 {
		title += fmt.Sprintf(" on %s, side by side", count(len(p.Tracks), "track"))
	}
	if f.Source != "" {
		title += ", from " + f.Source
	}
	d.wrapped(bold, "", title)
	for _, t := range p.Tracks {
		d.track(t)
	}
	d.limits(p.Constraints, hosts)
	d.worst(worst)
	_, err := w.Write(d.b.Bytes())
	return err
}

// document is text of any length for a screen's width.
type document struct {
	Screen
	b bytes.Buffer
}

func (d *document) line(l line) {
	if d.Width > 0 {
		l = l.cut(d.Width, d.glyphs().ellipsis)
	}
	d.b.WriteString(l.paint(d.Color) + "\n")
}

// wrapped writes a text on as many lines as it takes, up to four.
func (d *document) wrapped(look style, indent, s string) {
	room := d.Width - len(indent)
	if d.Width <= 0 {
		room = 1 << 20
	}
	for _, l := range wrap(d.clean(s), max(room, 20), 4) {
		d.line(text(indent).add(look, l))
	}
}

func (d *document) head(s string) {
	d.line(nil)
	d.line(styled(bold, s))
}

// track writes the stages of a track, one a line, and the gates between them.
func (d *document) track(t sluice.Track) {
	d.head(d.clean(t.Name))
	names := 0
	for _, st := range t.Stages {
		names = max(names, width(d.clean(st.Name)))
	}
	names = min(names, 30)
	digits := len(fmt.Sprint(len(t.Stages)))
	n := 0
	for i, st := range t.Stages {
		if len(st.Hosts) == 0 { // before the start
			d.wrapped(warn, spaces(4+digits), "first "+gateText(t, i))
			continue
		}
		n++
		l := text(fmt.Sprintf("  %*d  ", digits, n)).join(styled(plain, d.clean(st.Name)).cut(names, d.glyphs().ellipsis)).pad(4 + digits + names)
		l = l.add(plain, "  ")
		number := fmt.Sprintf(" (%s)", number(len(st.Hosts)))
		room := d.Width - l.width() - len(number)
		if d.Width <= 0 {
			room = 1 << 20
		}
		l = l.join(text(d.clean(fold(st.Hosts))).cut(max(room, 1), d.glyphs().ellipsis)).add(dim, number)
		d.line(l)
		if g := gateText(t, i); g != "" {
			d.wrapped(warn, spaces(4+digits), "then "+g)
		}
	}
}

// gateText says what stands between a stage and the next.
func gateText(t sluice.Track, i int) string {
	st := t.Stages[i]
	if i == len(t.Stages)-1 && st.Gate.Pause == 0 && !st.Gate.Approve {
		return ""
	}
	var parts []string
	if st.MaxFailures > 0 && i < len(t.Stages)-1 {
		parts = append(parts, "on if at most "+count(st.MaxFailures, "host")+" failed")
	}
	if st.Gate.Pause > 0 {
		parts = append(parts, "a pause of "+elapsed(st.Gate.Pause))
	}
	if st.Gate.Approve {
		parts = append(parts, "an approval")
	}
	return strings.Join(parts, ", ")
}

// limits writes the groups of the constraints: how many of how many may be out, and how many of them are meant.
func (d *document) limits(cs []sluice.Constraint, targets map[sluice.Host]bool) {
	if len(cs) == 0 {
		d.head("No limits: all hosts of a stage may go at once")
		return
	}
	d.head("At most so many out of service at once")
	var rows [][]string
	for _, c := range cs {
		if len(c.Groups) > manyGroups {
			rows = append(rows, summed(c))
			continue
		}
		for _, g := range c.Groups {
			n := 0
			for _, h := range g.Members {
				if targets[h] {
					n++
				}
			}
			out := fmt.Sprintf("%s of %s", number(g.Limit.Capacity(len(g.Members))), number(len(g.Members)))
			if g.Limit.IsPercent() {
				out += " (" + g.Limit.String() + ")"
			}
			rows = append(rows, []string{g.Name, out, meant(n, len(g.Members))})
		}
	}
	d.table(rows)
}

func meant(n, of int) string {
	if n == of {
		return "all of them are meant"
	}
	return number(n) + " of them meant"
}

// summed is one row for a constraint of many groups.
func summed(c sluice.Constraint) []string {
	least, most, small, large := -1, 0, -1, 0
	limits := map[sluice.Amount]bool{}
	for _, g := range c.Groups {
		n := len(g.Members)
		room := g.Limit.Capacity(n)
		if least < 0 || room < least {
			least = room
		}
		if small < 0 || n < small {
			small = n
		}
		most, large = max(most, room), max(large, n)
		limits[g.Limit] = true
	}
	out := between(least, most) + " of " + between(small, large)
	if limit := c.Groups[0].Limit; len(limits) == 1 && limit.IsPercent() {
		out += " (" + limit.String() + ")"
	}
	return []string{c.Name, out, "in each of " + count(len(c.Groups), "group")}
}

func between(a, b int) string {
	if a == b {
		return number(a)
	}
	return number(a) + " to " + number(b)
}

// worst writes, for each tag, how many of its hosts can be out at once.
func (d *document) worst(ws []plan.Worst) {
	if len(ws) == 0 {
		return
	}
	d.head("Worst case: out of service at once")
	rows, rest := [][]string{}, [][]string{}
	for _, w := range ws {
		share := 0
		if w.Members > 0 {
			share = w.Out * 100 / w.Members
		}
		row := []string{string(w.Tag), fmt.Sprintf("%s of %s", number(w.Out), number(w.Members)), fmt.Sprintf("%d%%", share)}
		if len(rows) < 2*manyGroups {
			rows = append(rows, row)
		} else {
			rest = append(rest, row)
		}
	}
	d.table(rows)
	if len(rest) > 0 {
		d.line(styled(dim, "  "+d.glyphs().fold+" "+count(len(rest), "more tag")))
	}
}

// table writes rows in columns.
func (d *document) table(rows [][]string) {
	var widths [8]int
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], min(width(d.clean(cell)), 40))
		}
	}
	for _, r := range rows {
		l := text("  ")
		at := 2
		for i, cell := range r {
			look := plain
			if i == len(r)-1 {
				look = dim
			}
			l = l.join(styled(look, d.clean(cell)).cut(max(widths[i], 1), d.glyphs().ellipsis))
			at += widths[i] + 2
			l = l.pad(at)
		}
		d.line(l)
	}
}

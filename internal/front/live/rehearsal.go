package live

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/rehearse"
)

// Rehearsal writes what a rehearsal showed: when each stage ran, how many of each tag were out at once, and how
// it ended. s.Height does not matter.
func Rehearsal(w io.Writer, r rehearse.Result, s Screen) error {
	d := &document{Screen: s}
	title := styled(bold, "Rehearsal: ").add(endLook(r.Last), r.End()).add(plain, " after "+elapsed(r.Total))
	if counts := tallyText(r.Counts); counts != "" {
		title = title.add(plain, ", "+counts)
	}
	d.line(title)
	if h, is := r.Last.Body.(sluice.JobHalted); is {
		said := h.Reason
		if len(h.Holders) > 0 {
			said += " (" + fold(h.Holders) + ")"
		}
		d.wrapped(plain, "", said)
	}
	d.timeline(r)
	if len(r.Peaks) > 0 {
		d.head("Most hosts out of service at once")
		rows := [][]string{}
		for _, p := range r.Peaks[:min(len(r.Peaks), 2*manyGroups)] {
			rows = append(rows, []string{string(p.Tag), number(p.Out) + " of " + number(p.Members), fmt.Sprintf("%d%%", p.Out*100/max(p.Members, 1))})
		}
		d.table(rows)
		if more := len(r.Peaks) - len(rows); more > 0 {
			d.line(styled(dim, "  "+d.glyphs().fold+" "+count(more, "more tag")))
		}
	}
	_, err := w.Write(d.b.Bytes())
	return err
}

// endLook is how the end of a rehearsal looks.
func endLook(last sluice.Event) style {
	if b, is := last.Body.(sluice.JobFinished); is && b.Outcome == sluice.Succeeded {
		return good
	} else if is && b.Outcome != sluice.Cancelled {
		return bad
	}
	return warn
}

// timeline draws when each stage ran, wave by wave.
func (d *document) timeline(r rehearse.Result) {
	if len(r.Stages) == 0 {
		return
	}
	names, troubles := 0, 0
	for _, st := range r.Stages {
		names = max(names, width(d.stageName(r, st)))
		if n := len(trouble(st)); n > 0 {
			troubles = max(troubles, n+2)
		}
	}
	total := d.Width
	if total <= 0 {
		total = 100
	}
	names = min(names, total/3)
	at := 2 + names + 2
	wide := max(10, total-at-len(stageHead)-troubles)
	d.line(nil)
	d.line(styled(bold, "Time").pad(at+wide).add(dim, stageHead))
	for _, st := range r.Stages {
		l := text("  ").join(styled(plain, d.stageName(r, st)).cut(names, d.glyphs().ellipsis)).pad(at)
		l = l.join(d.span(st, r.Total, wide)).pad(at + wide)
		l = l.add(plain, fmt.Sprintf("%8s%9s%7s", number(st.Hosts), number(st.Peak), number(waves(st))))
		if said := trouble(st); said != "" {
			l = l.add(bad, "  "+said)
		}
		d.line(l)
	}
	end := elapsed(r.Total)
	d.line(styled(dim, spaces(at)+"0s"+spaces(wide-2-len(end))+end))
}

// stageHead is above the numbers of stages.
const stageHead = "   hosts  at once  waves"

// stageName names a stage, with its track if there are several.
func (d *document) stageName(r rehearse.Result, st rehearse.StageResult) string {
	for _, other := range r.Stages {
		if other.Track != st.Track && st.Track != st.Stage {
			return d.clean(st.Track + " " + st.Stage)
		}
	}
	return d.clean(st.Stage)
}

// trouble counts what did not succeed in a stage.
func trouble(st rehearse.StageResult) string {
	var parts []string
	for _, o := range sluice.Outcomes {
		if n := st.Outcomes[o]; n > 0 && o != sluice.Succeeded {
			parts = append(parts, number(n)+" "+markWords[outcomeMarks[o]])
		}
	}
	return strings.Join(parts, ", ")
}

// waves is how many times over the stage had as many hosts running as it ever had.
func waves(st rehearse.StageResult) int { return (st.Hosts + max(st.Peak, 1) - 1) / max(st.Peak, 1) }

// span draws the bar of a stage on the time line. Waves alternate between two shades, if they can be told apart.
func (d *document) span(st rehearse.StageResult, total time.Duration, wide int) line {
	place := func(t time.Duration) int {
		if total <= 0 {
			return 0
		}
		return int(int64(t) * int64(wide) / int64(total))
	}
	from := min(place(st.From), wide-1)
	to := min(max(place(st.To), from+1), wide)
	n := waves(st)
	if n > (to-from)/2 {
		n = 1
	}
	look := good
	for o, c := range st.Outcomes {
		if c > 0 && o.Failure() {
			look = bad
		}
	}
	if st.Hosts == 0 {
		return styled(dim, spaces(from)+strings.Repeat(d.glyphs().marks[waiting], to-from))
	}
	l := text(spaces(from))
	for i := range to - from {
		shade := d.glyphs().bar[0]
		if i*n/(to-from)%2 == 1 {
			shade = d.glyphs().bar[2]
		}
		l = l.add(look, shade)
	}
	return l
}

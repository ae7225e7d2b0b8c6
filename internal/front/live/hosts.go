package live

import (
	"fmt"

	"sluice"
	"sluice/internal/core/view"
)

// Two ways to draw hosts that need their names to fit. Where they do not fit, stages.go draws a character each.

// listSection has a line for every host.
func (p *picture) listSection() *section {
	n := len(p.headings()) + len(p.job.Tasks)
	return &section{least: n, most: n, draw: func(int) (out []line) {
		headings := p.headings()
		names := 0
		for i := range p.job.Tasks {
			names = max(names, len(p.job.Tasks[i].Host))
		}
		for i := range p.job.Stages {
			if h, has := headings[i]; has {
				out = append(out, h)
			}
			for _, k := range p.stages[i] {
				out = append(out, p.hostLine(&p.job.Tasks[k], min(names, p.Width/3)))
			}
		}
		return out
	}}
}

// hostLine is one host with all that is known of it.
func (p *picture) hostLine(t *view.Task, names int) line {
	m := p.markOf(t)
	l := text(" ").add(markStyles[m], p.marks[m]).add(plain, " "+p.clean(string(t.Host))).pad(3+names).add(plain, "  ")
	switch m {
	case running:
		l = l.add(busy, "running").add(plain, " "+elapsed(p.now.Sub(t.Since)))
		if said := p.last(t.Host); said != "" {
			l = l.add(dim, "  "+said)
		}
		return l
	case waiting:
		return l.add(dim, "waiting")
	case cancelled:
		if t.Outcome == "" {
			return l.add(warn, "cancelled").add(dim, ", not started")
		}
	}
	return l.join(p.ending(t))
}

// headings are the lines above the hosts of stages, by stage. A job of one stage needs none.
func (p *picture) headings() map[int]line {
	out := map[int]line{}
	if len(p.job.Stages) < 2 {
		return out
	}
	for i := range p.job.Stages {
		st := &p.job.Stages[i]
		if len(p.stages[i]) == 0 {
			continue
		}
		l := text(" ").add(bold, p.clean(st.Name))
		if p.manyTracks() && st.Track != st.Name {
			l = text(" ").add(plain, p.clean(st.Track)+" ").add(bold, p.clean(st.Name))
		}
		out[i] = l.add(dim, fmt.Sprintf("  %s/%s", number(p.settled(i)), number(st.Hosts)))
	}
	return out
}

func (p *picture) manyTracks() bool {
	for i := range p.job.Stages {
		if p.job.Stages[i].Track != p.job.Stages[0].Track {
			return true
		}
	}
	return false
}

// settled is how many hosts of a stage have an outcome.
func (p *picture) settled(stage int) int {
	if p.job.Finished != nil {
		return p.job.Stages[stage].Hosts
	}
	return p.job.Stages[stage].Settled()
}

// nameSection has the name of every host, in columns.
func (p *picture) nameSection() *section {
	if len(p.job.Tasks) > p.Height*p.Width/3 { // would not fit; nothing need be measured
		return &section{least: p.Height + 1, most: p.Height + 1}
	}
	cell := 0
	for i := range p.job.Tasks {
		cell = max(cell, len(p.job.Tasks[i].Host))
	}
	cell += len("x ") + len(" 12m34s") + 2
	columns := max(1, (p.Width-1)/cell)
	headings := p.headings()
	rows := len(headings)
	for _, tasks := range p.stages {
		rows += (len(tasks) + columns - 1) / columns
	}
	return &section{least: rows, most: rows, draw: func(int) (out []line) {
		for i, tasks := range p.stages {
			if h, has := headings[i]; has {
				out = append(out, h)
			}
			deep := (len(tasks) + columns - 1) / columns // down first: names that follow each other stand below each other
			for r := range deep {
				l := text(" ")
				for k := r; k < len(tasks); k += deep {
					l = l.pad(1 + (k/deep)*cell).join(p.hostCell(&p.job.Tasks[tasks[k]]))
				}
				out = append(out, l)
			}
		}
		return out
	}}
}

func (p *picture) hostCell(t *view.Task) line {
	m := p.markOf(t)
	l := styled(markStyles[m], p.marks[m])
	look := plain
	if m == waiting || m == skipped {
		look = dim
	}
	l = l.add(look, " "+p.clean(string(t.Host)))
	switch {
	case m == running:
		l = l.add(busy, " "+elapsed(p.now.Sub(t.Since)))
	case t.Took > 0 && t.Outcome != sluice.Skipped:
		l = l.add(dim, " "+took(t.Took))
	}
	return l
}

package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// row is a line of the overview of stages: the name of a track, a stage, or stages that are folded away.
type row struct {
	track  string
	stage  int
	folded []int
	lines  int // for a stage: lines of its grid
}

// stageSection has a grid of characters for every stage: one for a host, or one for several.
func (p *picture) stageSection(room int) *section {
	rows := p.rows(p.allStages())
	wide := p.gridWidth(rows)
	p.grow(rows, p.Height, wide)
	most := 0
	for _, r := range rows {
		most += max(1, r.lines)
		if r.stage >= 0 && scaleOf(len(p.stages[r.stage]), wide*r.lines) > 1 {
			most++ // may need a word about the scale
		}
	}
	return &section{greedy: true, least: min(most, max(1, room*2/5)), most: most, draw: p.drawStages}
}

func (p *picture) allStages() []bool {
	all := make([]bool, len(p.job.Stages))
	for i := range all {
		all[i] = len(p.stages[i]) > 0
	}
	return all
}

// rows lists the lines for these stages, one line each, with what is folded away between them.
func (p *picture) rows(shown []bool) []row {
	many := p.manyTracks()
	var out []row
	var hidden []int
	flush := func() {
		if len(hidden) > 0 {
			out = append(out, row{stage: -1, folded: hidden})
			hidden = nil
		}
	}
	track := ""
	for i := range p.job.Stages {
		st := &p.job.Stages[i]
		if len(p.stages[i]) == 0 { // all its hosts stand in an earlier track
			continue
		}
		if !shown[i] {
			hidden = append(hidden, i)
			continue
		}
		flush()
		if many && st.Track != track && !p.alone(i) {
			out = append(out, row{track: st.Track, stage: -1})
		}
		track = st.Track
		out = append(out, row{stage: i, lines: 1})
	}
	flush()
	return out
}

// alone reports whether a stage is the only one of its track and needs no heading.
func (p *picture) alone(i int) bool {
	s := p.job.Stages
	return s[i].Name == s[i].Track && (i == 0 || s[i-1].Track != s[i].Track) && (i == len(s)-1 || s[i+1].Track != s[i].Track)
}

// chooseRows shows as many stages as there is room for: those that are open first, then those with failures,
// then their neighbours.
func (p *picture) chooseRows(room int) []row {
	if all := p.rows(p.allStages()); len(all) <= room {
		return all
	}
	order := p.byInterest()
	shown := make([]bool, len(p.job.Stages))
	var best []row
	misses := 0
	for _, i := range order {
		shown[i] = true
		rows := p.rows(shown)
		if len(rows) > room {
			rows = tight(rows)
		}
		if len(rows) <= room {
			best, misses = rows, 0
			continue
		}
		shown[i] = false
		if misses++; misses == 4 { // what follows is of no more interest, and as long
			break
		}
	}
	if best == nil && len(order) > 0 {
		best = []row{{stage: order[0], lines: 1}}
	}
	return best
}

// tight brings all that is folded away to one line at the end, and leaves out the names of tracks.
func tight(rows []row) (out []row) {
	folded := row{stage: -1}
	for _, r := range rows {
		switch {
		case r.stage >= 0:
			out = append(out, r)
		default:
			folded.folded = append(folded.folded, r.folded...)
		}
	}
	if len(folded.folded) > 0 {
		out = append(out, folded)
	}
	return out
}

// byInterest orders the stages by how much people want to see them now.
func (p *picture) byInterest() []int {
	var order, open []int
	interest := make([]int, len(p.job.Stages))
	for i := range p.job.Stages {
		if len(p.stages[i]) == 0 {
			continue
		}
		order = append(order, i)
		st := &p.job.Stages[i]
		switch {
		case st.Running > 0:
			interest[i] = 0
		case !st.Opened.IsZero() && st.Settled() < st.Hosts:
			interest[i] = 1
		case p.bad(i) > 0:
			interest[i] = 2
		default:
			interest[i] = 3
			continue
		}
		open = append(open, i)
	}
	far := func(i int) int { // to the nearest one of interest; what comes counts as nearer than what was
		at, _ := slices.BinarySearch(open, i)
		d := len(p.job.Stages) * 2
		if at > 0 {
			d = min(d, 2*(i-open[at-1]))
		}
		if at < len(open) {
			d = min(d, 2*(open[at]-i)+1)
		}
		return d
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if c := cmp.Compare(interest[a], interest[b]); c != 0 || interest[a] < 3 {
			return c
		}
		return cmp.Compare(far(a), far(b))
	})
	return order
}

func (p *picture) bad(stage int) int {
	n := 0
	for o, c := range p.job.Stages[stage].Counts {
		if o.Bad() {
			n += c
		}
	}
	return n
}

const (
	leastGrid = 8 // columns; names of stages give way to it
	gridGap   = 2
)

// nameWidth is the width of the column of names.
func (p *picture) nameWidth(rows []row) int {
	n := 0
	for _, r := range rows {
		if r.stage >= 0 {
			n = max(n, width(p.stageName(r.stage)))
		}
	}
	return min(n, p.Width/3)
}

func (p *picture) stageName(i int) string {
	name := p.clean(p.job.Stages[i].Name)
	if p.manyTracks() && !p.alone(i) {
		return "  " + name
	}
	return name
}

// figuresWidth is the width of the columns of numbers.
func (p *picture) figuresWidth(rows []row) (settled, rest int) {
	for _, r := range rows {
		if r.stage >= 0 {
			settled = max(settled, width(p.progress(r.stage)))
			rest = max(rest, p.figures(r.stage).width())
		}
	}
	if p.Width < 60 {
		rest = 0
	}
	return settled, rest
}

func (p *picture) gridWidth(rows []row) int {
	settled, rest := p.figuresWidth(rows)
	return max(leastGrid, p.Width-2-p.nameWidth(rows)-2*gridGap-settled-rest)
}

func (p *picture) progress(i int) string {
	return number(p.settled(i)) + "/" + number(p.job.Stages[i].Hosts)
}

// figures are what runs and what went wrong in a stage.
func (p *picture) figures(i int) line {
	var n [marks]int
	for _, k := range p.stages[i] {
		n[p.markOf(&p.job.Tasks[k])]++
	}
	var l line
	for _, m := range reading {
		if n[m] > 0 && (m == running || m > running) {
			l = l.add(markStyles[m], " "+p.marks[m]+number(n[m]))
		}
	}
	return l
}

func (p *picture) drawStages(room int) (out []line) {
	rows := p.chooseRows(room)
	names, wide := p.nameWidth(rows), p.gridWidth(rows)
	p.grow(rows, room-1, wide)
	settledWidth, rest := p.figuresWidth(rows)
	scale := 1
	for _, r := range rows {
		switch {
		case r.track != "":
			out = append(out, text(" ").add(bold, p.clean(r.track)))
		case r.stage < 0:
			out = append(out, styled(dim, " "+p.fold+" "+p.foldedAway(r.folded)))
		default:
			l := line{{" ", plain}, {p.stageName(r.stage), plain}}.cut(1+names, p.ellipsis).pad(1 + names + gridGap)
			grid, per := p.grid(p.stages[r.stage], wide, r.lines)
			scale = max(scale, per)
			figures := p.progress(r.stage)
			l = l.join(grid[0]).pad(1+names+gridGap+min(wide, p.widest(rows, wide))+gridGap).
				add(dim, spaces(settledWidth-len(figures))+figures)
			if rest > 0 {
				l = l.join(p.figures(r.stage))
			}
			out = append(out, l)
			for _, more := range grid[1:] {
				out = append(out, text(spaces(1+names+gridGap)).join(more))
			}
		}
	}
	if scale > 1 && len(out) < room {
		out = append(out, styled(dim, spaces(1+names+gridGap)+fmt.Sprintf("a mark is up to %d hosts, and shows the worst", scale)))
	}
	return out
}

// widest is the width of the longest grid.
func (p *picture) widest(rows []row, wide int) int {
	n := 0
	for _, r := range rows {
		if r.stage >= 0 {
			n = max(n, min(wide, len(p.stages[r.stage])))
		}
	}
	return n
}

// grow gives the lines that are left to the stages with the most hosts to a character, as long as that helps.
// Among several stages, one that is closed, or done without failure, needs no more than its line.
func (p *picture) grow(rows []row, room, wide int) {
	for used := len(rows); used < room; used++ {
		at, most := -1, 1
		for k, r := range rows {
			if r.stage < 0 {
				continue
			}
			st := &p.job.Stages[r.stage]
			calm := st.Opened.IsZero() || st.Settled() == st.Hosts && p.bad(r.stage) == 0
			if per := scaleOf(len(p.stages[r.stage]), wide*r.lines); per > most && (!calm || len(p.job.Stages) == 1) {
				at, most = k, per
			}
		}
		if at < 0 {
			return
		}
		rows[at].lines++
	}
}

// scaleOf is how many of n hosts one of at most `places` characters must stand for.
func scaleOf(n, places int) int { return max(1, (n+places-1)/places) }

// grid draws the hosts of a stage in at most `lines` lines, and says how many hosts a character stands for.
func (p *picture) grid(tasks []int, wide, lines int) (out []line, per int) {
	per = scaleOf(len(tasks), wide*lines)
	cells := make([]mark, 0, (len(tasks)+per-1)/per)
	for at := 0; at < len(tasks); at += per {
		worst := ok
		for _, k := range tasks[at:min(at+per, len(tasks))] {
			worst = max(worst, p.markOf(&p.job.Tasks[k]))
		}
		cells = append(cells, worst)
	}
	for row := range slices.Chunk(cells, wide) {
		var l line
		for len(row) > 0 {
			n := 1
			for n < len(row) && row[n] == row[0] {
				n++
			}
			l = l.add(markStyles[row[0]], strings.Repeat(p.marks[row[0]], n))
			row = row[n:]
		}
		out = append(out, l)
	}
	return out, per
}

// foldedAway sums up stages that are not shown.
func (p *picture) foldedAway(stages []int) string {
	done, hosts := 0, 0
	for _, i := range stages {
		if st := &p.job.Stages[i]; p.settled(i) == st.Hosts {
			done++
		}
		hosts += p.job.Stages[i].Hosts
	}
	s := count(len(stages), "more stage") + ", " + count(hosts, "host")
	switch {
	case done == len(stages):
		s += ", done"
	case done > 0:
		s += fmt.Sprintf(", %d done", done)
	}
	return s
}

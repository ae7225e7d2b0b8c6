package live

import (
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// Render draws a job: at most s.Height lines of at most s.Width columns. waits are the scheduler's reasons, as
// far as they are known.
//
// From top to bottom: what runs and how far it is, notices, stages with their hosts, what runs now, what
// failed, and why the rest waits. What does not fit is summed up, never silently dropped. Hosts are drawn as
// large as there is room: a line each, a name each, a character each, or several to a character.
func Render(j *view.Job, waits []schedule.Wait, s Screen) []string {
	if s.Width < 1 || s.Height < 1 {
		return nil
	}
	return s.paint(newPicture(j, waits, s).draw())
}

// roomy is the height from which sections are set apart by empty lines.
const roomy = 20

// picture is what is known while a job is drawn.
type picture struct {
	Screen
	*glyphs
	job    *view.Job
	waits  []schedule.Wait
	counts [marks]int
	stages [][]int // tasks, by stage
	now    time.Time
}

func newPicture(j *view.Job, waits []schedule.Wait, s Screen) *picture {
	p := &picture{Screen: s, glyphs: s.glyphs(), job: j, waits: waits, now: s.Now, stages: make([][]int, len(j.Stages))}
	if !j.Ended.IsZero() {
		p.now = j.Ended
	}
	for i := range j.Tasks {
		t := &j.Tasks[i]
		p.counts[p.markOf(t)]++
		if t.Stage >= 0 {
			p.stages[t.Stage] = append(p.stages[t.Stage], i)
		}
	}
	return p
}

func (p *picture) markOf(t *view.Task) mark {
	switch {
	case t.Running:
		return running
	case t.Outcome != "":
		return outcomeMarks[t.Outcome]
	case p.job.Finished != nil: // what a cancel kept from starting has no event of its own
		return cancelled
	}
	return waiting
}

// section is a part of the picture that can do with more or fewer lines.
type section struct {
	least, most int
	greedy      bool
	draw        func(rows int) []line
	rows        int
}

func (p *picture) draw() []line {
	head := p.head()
	if p.job.Spec == nil || p.Height <= 4 {
		return head[:min(len(head), p.Height)]
	}
	var foot []line
	if p.job.Ended.IsZero() && p.job.Cancel == nil && p.Footer != "" {
		foot = []line{styled(dim, " "+p.clean(p.Footer))}
	}
	room := p.Height - len(head) - len(foot)
	out := head
	for _, s := range p.body(room) {
		if s.rows > 0 {
			out = append(append(out, make([]line, p.gap())...), s.draw(s.rows)...)
		}
	}
	if len(foot) > 0 {
		out = append(append(out, make([]line, p.gap())...), foot...)
	}
	return out
}

// body chooses how large hosts are drawn, and shares the lines out among the sections.
func (p *picture) body(room int) []*section {
	notices, why, fails := p.noticeSection(), p.waitSection(), p.failSection()
	hosts := p.listSection()
	all := []*section{notices, hosts, why}
	if !share(room, p.gap(), notices, hosts, why) {
		hosts = p.nameSection()
		all = []*section{notices, hosts, fails, why}
		if !share(room, p.gap(), notices, fails, why, hosts) {
			runs, hosts := p.runSection(), p.stageSection(room)
			all = []*section{notices, hosts, runs, fails, why}
			share(room, p.gap(), notices, hosts, fails, why, runs)
		}
	}
	return all
}

// gap is the number of empty lines before each section, and before the footer.
func (p *picture) gap() int {
	if p.Height >= roomy {
		return 1
	}
	return 0
}

// share gives every section its least, in the order given, and then more; the greedy ones take what is left. It
// reports whether all have their least.
func share(room, gap int, sections ...*section) bool {
	fits := true
	room -= gap // before the footer
	for _, s := range sections {
		s.rows = 0
		if s.most == 0 {
			continue
		}
		if s.rows = min(s.least, max(room-gap, 0)); s.rows < s.least {
			fits = false
		}
		if s.rows > 0 {
			room -= s.rows + gap
		}
	}
	for _, greedy := range []bool{false, true} {
		for _, s := range sections {
			if s.rows > 0 && s.greedy == greedy {
				more := min(s.most-s.rows, max(room, 0))
				s.rows += more
				room -= more
			}
		}
	}
	return fits
}

// head says which job it is, and how far.
func (p *picture) head() []line {
	j := p.job
	if j.Spec == nil {
		return []line{styled(dim, " waiting for the job to be submitted")}
	}
	state, look := p.state()
	title := text(" ").add(bold, p.clean(string(j.ID))).add(plain, "  ").add(look, state)
	if since := j.Started; !since.IsZero() {
		title = title.add(plain, "  "+elapsed(p.now.Sub(since)))
	}
	var left line
	if d, known := p.left(); known {
		left = styled(dim, "~"+roughly(d)+" left ")
	}
	command := line{{" " + p.clean(j.Spec.Command), bold}}
	head := []line{ends(title, left, p.Width), command.cut(p.Width-1, p.ellipsis), p.bar(), p.tally()}
	if p.Height < 8 { // the command is the first that can be spared
		head = []line{head[0], head[2], head[3]}
	}
	return head
}

// state is the state of the job in a word, and its look.
func (p *picture) state() (string, style) {
	j := p.job
	s := j.State()
	switch s {
	case "running":
		return s, busy
	case string(sluice.Succeeded):
		return s, good
	case string(sluice.Failed):
		return s, bad
	case "waiting", "paused":
		return s, plain
	case "halting":
		if j.Cancel != nil {
			return "cancelling", warn
		}
	}
	return s, warn
}

// fewForEstimate is how many hosts must have ended before the time that is left can be estimated.
const fewForEstimate = 3

// left estimates the time that is left from the hosts that ended since the job was last taken up.
func (p *picture) left() (time.Duration, bool) {
	j := p.job
	rest := len(j.Tasks) - j.Settled()
	if j.State() != "running" || rest <= 0 || j.Started.IsZero() {
		return 0, false
	}
	ended := 0
	for i := range j.Tasks {
		if t := &j.Tasks[i]; t.Outcome != "" && t.Attempt != "" && !t.At.Before(j.Started) {
			ended++
		}
	}
	since := p.now.Sub(j.Started)
	if ended < fewForEstimate || since <= 0 {
		return 0, false
	}
	return time.Duration(float64(since) / float64(ended) * float64(rest)), true
}

// bar shows all hosts: done well, badly, running, waiting, each in its own shade.
func (p *picture) bar() line {
	settled, all := p.job.Settled(), len(p.job.Tasks)
	if p.job.Finished != nil {
		settled = all
	}
	share := 100
	if all > 0 {
		share = settled * 100 / all
	}
	figures := fmt.Sprintf(" %s/%s %3d%% ", number(settled), number(all), share)
	w := p.Width - len(figures) - 1
	if w < 5 {
		return text(figures)
	}
	c := &p.counts
	bad := c[failed] + c[timedOut] + c[unreachable] + c[unknown] + c[cancelled]
	parts := apportion([]int{c[ok] + c[skipped], bad, c[running], c[waiting]}, w)
	l := text(" ")
	for i, look := range []style{good, 0, busy, dim} {
		if i == 1 {
			look = styleBad(c)
		}
		for range parts[i] {
			l = l.add(look, p.glyphs.bar[i])
		}
	}
	return l.add(plain, figures)
}

// styleBad is red if anything failed, else yellow: cancelled and unknown are not failures of hosts.
func styleBad(c *[marks]int) style {
	if c[failed]+c[timedOut]+c[unreachable] > 0 {
		return bad
	}
	return warn
}

// apportion shares n places out by the sizes. Who has any gets at least one place, as far as there are places.
func apportion(sizes []int, n int) []int {
	total, most := 0, 0
	for i, s := range sizes {
		total += s
		if s > sizes[most] {
			most = i
		}
	}
	out := make([]int, len(sizes))
	if total == 0 {
		out[len(out)-1] = n
		return out
	}
	left := n
	for i, s := range sizes {
		if s > 0 && i != most {
			out[i] = min(max(1, s*n/total), left)
			left -= out[i]
		}
	}
	out[most] = left
	return out
}

// tally counts the hosts by what became of them, with words if there is room.
func (p *picture) tally() line {
	var long, short line
	for _, m := range reading {
		n := p.counts[m]
		if n == 0 {
			continue
		}
		look := markStyles[m]
		if long != nil {
			long, short = long.add(plain, "  "), short.add(plain, " ")
		}
		long = long.add(plain, " ").add(look, p.marks[m]+" "+number(n)).add(plain, " "+markWords[m])
		short = short.add(plain, " ").add(look, p.marks[m]).add(plain, number(n))
	}
	if long.width() <= p.Width {
		return long
	}
	return short
}

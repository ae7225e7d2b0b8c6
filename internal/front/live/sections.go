package live

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// noticeSection says that the job is halting, halted or being cancelled.
func (p *picture) noticeSection() *section {
	j := p.job
	var said string
	switch {
	case j.Finished != nil:
	case j.Halted != nil:
		said = "halted: " + j.Halted.Reason
		if len(j.Halted.Holders) > 0 && len(j.Halted.Holders) <= foldLimit {
			said += " (" + fold(j.Halted.Holders) + ")"
		}
	case j.Cancel != nil:
		said = "being cancelled" + by(j.Cancel.By) + ": what runs is killed"
	case j.Halting != nil && j.Halting.Kill:
		said = "halting" + by(j.Halting.By) + ": " + j.Halting.Reason + "; what runs is killed"
	case j.Halting != nil:
		said = "halting" + by(j.Halting.By) + ": " + j.Halting.Reason + "; what runs ends by itself"
	}
	if said == "" {
		return &section{}
	}
	lines := wrap(p.clean(said), p.Width-4, 3)
	return &section{least: 1, most: len(lines), draw: func(rows int) []line {
		if rows < len(lines) {
			lines = wrap(p.clean(said), p.Width-4, rows)
		}
		return p.hang(warn, "!", warn, lines)
	}}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// hang puts a mark before the first of several lines and sets the others below.
func (p *picture) hang(look style, mark string, textLook style, lines []string) (out []line) {
	for i, l := range lines {
		if i == 0 {
			out = append(out, text(" ").add(look, mark).add(plain, " ").add(textLook, l))
		} else {
			out = append(out, text("   ").add(textLook, l))
		}
	}
	return out
}

// longest is how many hosts that run are named with their time.
const longest = 3

// runSection names the hosts that run, those that run longest first with their time.
func (p *picture) runSection() *section {
	if p.counts[running] == 0 {
		return &section{}
	}
	return &section{least: 1, most: 2, draw: func(rows int) []line {
		var tasks []*view.Task
		for i := range p.job.Tasks {
			if t := &p.job.Tasks[i]; t.Running {
				tasks = append(tasks, t)
			}
		}
		slices.SortStableFunc(tasks, func(a, b *view.Task) int { return a.Since.Compare(b.Since) })
		var parts []string
		for _, t := range tasks[:min(longest, len(tasks))] {
			parts = append(parts, string(t.Host)+" "+elapsed(p.now.Sub(t.Since)))
		}
		if len(tasks) > longest {
			rest := make([]sluice.Host, 0, len(tasks))
			for i := range p.job.Tasks { // in the order of the job, for folding
				if t := &p.job.Tasks[i]; t.Running && !slices.Contains(tasks[:longest], t) {
					rest = append(rest, t.Host)
				}
			}
			parts = append(parts, fold(rest))
		}
		return p.hang(busy, p.marks[running], plain, wrap(p.clean(strings.Join(parts, ", ")), p.Width-4, rows))
	}}
}

// failSection lists what ended badly as it comes, the newest last.
func (p *picture) failSection() *section {
	var tasks []*view.Task
	for i := range p.job.Tasks {
		if t := &p.job.Tasks[i]; t.Outcome.Bad() && !t.Running {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		return &section{}
	}
	slices.SortStableFunc(tasks, func(a, b *view.Task) int { return a.At.Compare(b.At) })
	most := min(len(tasks), max(3, p.Height/4))
	return &section{least: min(len(tasks), 2, max(1, p.Height/8)), most: most, draw: func(rows int) (out []line) {
		shown := tasks[max(0, len(tasks)-rows):]
		if len(shown) < len(tasks) && rows > 1 {
			shown = shown[1:]
			out = append(out, styled(dim, "   "+count(len(tasks)-len(shown), "earlier failure")))
		}
		names := 0
		for _, t := range shown {
			names = max(names, len(t.Host))
		}
		for _, t := range shown {
			m := p.markOf(t)
			out = append(out, text(" ").add(markStyles[m], p.marks[m]).add(plain, " "+p.clean(string(t.Host))).
				pad(3+min(names, p.Width/3)).add(plain, "  ").join(p.ending(t)))
		}
		return out
	}}
}

// ending says how a task ended, how long it took, and the last that it printed if that was bad.
func (p *picture) ending(t *view.Task) line {
	m := p.markOf(t)
	l := styled(markStyles[m], markWords[m])
	if d := view.Detail(t); d != "" {
		l = l.add(plain, ": "+p.clean(d))
	}
	if t.Took > 0 {
		l = l.add(dim, " ("+took(t.Took)+")")
	}
	if said := p.last(t.Host); said != "" && t.Outcome.Bad() {
		l = l.add(dim, "  "+said)
	}
	return l
}

func (p *picture) last(h sluice.Host) string {
	if p.Last == nil {
		return ""
	}
	return p.clean(p.Last(h))
}

// waitSection says why hosts wait.
func (p *picture) waitSection() *section {
	whys := p.whys()
	if len(whys) == 0 {
		return &section{}
	}
	most := 0
	for _, w := range whys {
		most += len(wrap(w, p.Width-4, 2))
	}
	return &section{least: min(len(whys), 2), most: min(most, max(4, p.Height/5)), draw: func(rows int) (out []line) {
		if more := len(whys) - 1; rows == 1 && more > 0 {
			tail := " (and " + count(more, "more reason") + ")"
			first := p.hang(dim, p.marks[waiting], plain, whys[:1])[0]
			return []line{first.cut(p.Width-len(tail), p.ellipsis).add(dim, tail)}
		}
		for i, w := range whys {
			left := rows - len(out)
			after := len(whys) - i - 1
			if left == 1 && after > 0 {
				return append(out, styled(dim, "   and "+count(after+1, "more reason")))
			}
			if left == 0 {
				break
			}
			lines := 1
			if left > after+1 {
				lines = 2
			}
			out = append(out, p.hang(dim, p.marks[waiting], plain, wrap(w, p.Width-4, lines))...)
		}
		return out
	}}
}

// whys are the reasons, one text each: gates first, for they wait for somebody.
func (p *picture) whys() (out []string) {
	if !p.job.Ended.IsZero() || p.job.Halting != nil || p.job.Cancel != nil {
		return nil
	}
	for _, g := range p.job.Gates {
		out = append(out, p.clean(p.gateHosts(g)+p.gate(g)))
	}
	for _, w := range merge(p.waits, 6) {
		if w.Rule == sluice.RuleGate && len(p.job.Gates) > 0 {
			continue
		}
		said := hostsWait(w.Hosts) + ": " + w.Text
		if len(w.Holders) > 0 {
			said += " (" + holders(w.Holders, p.job.ID) + ")"
		}
		out = append(out, p.clean(said))
	}
	return out
}

func hostsWait(n int) string {
	if n == 1 {
		return "1 host waits"
	}
	return number(n) + " hosts wait"
}

// gateHosts says how many hosts wait at a gate, as far as that is known.
func (p *picture) gateHosts(g sluice.GateWaiting) string {
	for _, w := range p.waits {
		atPause := g.Kind == sluice.GatePause && strings.HasPrefix(w.Text, "pause after "+g.Stage)
		atApproval := g.Kind == sluice.GateApproval && strings.HasPrefix(w.Text, g.Stage+" waits for approval")
		if w.Rule == sluice.RuleGate && (atPause || atApproval) {
			return hostsWait(w.Hosts) + ": "
		}
	}
	return ""
}

func (p *picture) gate(g sluice.GateWaiting) string {
	if g.Kind == sluice.GateApproval {
		return awaits(g.Stage) + ": sluice approve " + string(p.job.ID)
	}
	left := g.Until.Sub(p.now).Round(time.Second)
	if left <= 0 {
		return "the pause after " + g.Stage + " is over"
	}
	return "pause after " + g.Stage + ", " + elapsed(left) + " left"
}

// merge brings reasons together where there are many: those of the groups of one constraint become one.
func merge(waits []schedule.Wait, many int) []schedule.Wait {
	if len(waits) <= many {
		return waits
	}
	var out []schedule.Wait
	at, groups := map[string]int{}, map[string]int{}
	for _, w := range waits {
		i, known := at[w.Constraint]
		if w.Rule != sluice.RuleConstraint || !known {
			if w.Rule == sluice.RuleConstraint {
				at[w.Constraint] = len(out)
				groups[w.Constraint] = 1
			}
			w.Holders = slices.Clone(w.Holders)
			out = append(out, w)
			continue
		}
		groups[w.Constraint]++
		out[i].Hosts += w.Hosts
		out[i].Holders = append(out[i].Holders, w.Holders...)
	}
	for name, n := range groups {
		if n > 1 {
			w := &out[at[name]]
			w.Text = count(n, "group") + " of " + name + " have no room"
			slices.SortStableFunc(w.Holders, func(a, b schedule.Holder) int { // what fails first, not what runs
				return cmp.Compare(runsLast(a), runsLast(b))
			})
		}
	}
	return out
}

func runsLast(h schedule.Holder) int {
	if h.Why == "running" {
		return 1
	}
	return 0
}

package live

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
)

// elapsed writes a duration in whole seconds.
func elapsed(d time.Duration) string {
	d = max(d, 0)
	switch s := int(d / time.Second); {
	case s < 60:
		return strconv.Itoa(s) + "s"
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}

// took writes how long something took; below ten seconds tenths matter.
func took(d time.Duration) string {
	if d < 9950*time.Millisecond {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return elapsed(d.Round(time.Second))
}

// roughly writes an estimate: nobody needs its seconds.
func roughly(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return elapsed(d.Round(time.Second))
	case d < time.Minute:
		return elapsed(d.Round(5 * time.Second))
	case d < time.Hour:
		return strconv.Itoa(int(d.Round(time.Minute)/time.Minute)) + "m"
	}
	return elapsed(d.Round(5 * time.Minute))
}

// number writes 12345 as 12,345.
func number(n int) string {
	s := strconv.Itoa(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + one + "s"
}

// ascii writes out what a terminal cannot show that knows only ASCII.
func ascii(s string) string {
	at := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:at])
	for _, r := range s[at:] {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r == '…':
			b.WriteString("...")
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// foldLimit is how many hosts are written as ranges: folding more takes longer than anybody reads.
const foldLimit = 2000

// fold writes hosts as ranges.
func fold(hosts []sluice.Host) string {
	if len(hosts) > foldLimit {
		return fleet.Fold(hosts[:foldLimit]) + fmt.Sprintf(" and %s more", number(len(hosts)-foldLimit))
	}
	return fleet.Fold(hosts)
}

const (
	// namedHolders is how many hosts of one kind are named among those in the way.
	namedHolders = 40
	// namedRunning is the same for those that run: they will be out of the way by themselves.
	namedRunning = 6
)

// holders says who is in the way, such as "web[03,05] failed, db1 held, 12 running". Those that are out for the
// same reason stand together.
func holders(hs []schedule.Holder, job sluice.JobID) string {
	var order []string
	by := map[string][]sluice.Host{}
	for _, h := range hs {
		why := outcomeWord(h.Why)
		if h.Job != "" && h.Job != job {
			why += " in " + string(h.Job)
		}
		if by[why] == nil {
			order = append(order, why)
		}
		by[why] = append(by[why], h.Host)
	}
	var parts []string
	for _, why := range order {
		hosts, who := by[why], ""
		switch n := len(hosts); {
		case strings.HasPrefix(why, "running") && n > namedRunning:
			who = number(n)
		case n > namedHolders:
			who = fleet.Fold(hosts[:namedHolders]) + " and " + number(n-namedHolders) + " more"
		default:
			who = fleet.Fold(hosts)
		}
		parts = append(parts, strings.TrimSpace(who+" "+why))
	}
	return strings.Join(parts, ", ")
}

// outcomeWord is the word for an outcome, or the text itself where it is none.
func outcomeWord(why string) string {
	if m, is := outcomeMarks[sluice.Outcome(why)]; is {
		return markWords[m]
	}
	return why
}

// awaits says which gate waits for approval: the one behind a stage, or that before everything.
func awaits(stage string) string {
	if stage == sluice.BeforeStart {
		return "the start waits for approval"
	}
	return stage + " is done and waits for approval"
}

// opens says what an approval does at the gate behind a stage.
func opens(stage string) string {
	if stage == sluice.BeforeStart {
		return "lets it start"
	}
	return stage + " is done; lets the next stage open"
}

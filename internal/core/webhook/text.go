package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"sluice"
)

// maxText is the most characters of a sentence.
const maxText = 1000

// spoken are the beginnings of the events that a sentence can be made of: those of jobs.
var spoken = []string{"job.", "gate."}

// sentence is the body of what is sent to a chat: Slack, Mattermost, Rocket.Chat and Google Chat know it.
type sentence struct {
	Text string `json:"text"`
}

// DeliverText makes what is sent to a chat for the last of the events of a job, of which there are all up to it.
func DeliverText(w sluice.Webhook, ns sluice.Namespace, events []sluice.Event) (Delivery, error) {
	e := events[len(events)-1]
	d := Delivery{ID: deliveryID(w, ns, e), Type: e.Body.Type()}
	var err error
	d.Body, err = json.Marshal(sentence{Say(ns, events)})
	return d, err
}

// Say tells in a sentence what the last of the events of a job says, of which there are all up to it.
func Say(ns sluice.Namespace, events []sluice.Event) string {
	var job sluice.Job
	var begun time.Time
	for _, e := range events {
		if b, ok := e.Body.(sluice.JobSubmitted); ok {
			job, begun = b.Submitted, e.Time
		}
	}
	last := events[len(events)-1]
	what := fmt.Sprintf("%s by %s", brief(job.Command, 100), job.By)
	text := fmt.Sprintf("%s: %s", what, last.Body.Type())
	switch b := last.Body.(type) {
	case sluice.JobSubmitted:
		text = fmt.Sprintf("%s: submitted, for %s", what, hosts(len(job.Targets)))
	case sluice.JobStarted:
		text = what + ": started"
	case sluice.JobHalting:
		text = what + ": is being halted" + because(b.Reason, b.By)
	case sluice.JobHalted:
		text = what + ": halted" + because(b.Reason, "")
	case sluice.JobResumed:
		text = what + ": resumed" + because("", b.By)
	case sluice.JobCancelling:
		text = what + ": is being cancelled" + because(b.Reason, b.By)
	case sluice.GateWaiting:
		text = fmt.Sprintf("%s: waits for an approval before the stage %s", what, b.Stage)
		if !b.Until.IsZero() {
			text = fmt.Sprintf("%s: pauses before the stage %s until %s", what, b.Stage, b.Until.UTC().Format(time.RFC3339))
		}
	case sluice.GatePassed:
		text = fmt.Sprintf("%s: goes on with the stage %s", what, b.Stage)
	case sluice.JobFinished:
		text = fmt.Sprintf("%s: %s after %s: %s", what, b.Outcome, last.Time.Sub(begun).Round(time.Second), counts(b.Counts))
		if moves := moved(events); moves != "" {
			text += "; " + moves
		}
		if b.Undo != "" {
			text += fmt.Sprintf("; job %s brings them back", b.Undo)
		}
	}
	return plain(fmt.Sprintf("%s (job %s in %s)", text, last.Job, ns))
}

func because(reason, by string) (text string) {
	if by != "" {
		text = " by " + by
	}
	if reason != "" {
		text += ": " + brief(reason, 300)
	}
	return text
}

func hosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprintf("%d hosts", n)
}

// counts tells how hosts ended, the good ones first.
func counts(c map[sluice.Outcome]int) string {
	var out []string
	if n := c[sluice.Succeeded]; n > 0 {
		out = append(out, fmt.Sprintf("%s succeeded", hosts(n)))
	}
	for _, o := range slices.Sorted(maps.Keys(c)) {
		if o != sluice.Succeeded && c[o] > 0 {
			out = append(out, fmt.Sprintf("%d %s", c[o], o))
		}
	}
	if len(out) == 0 {
		return "no hosts"
	}
	return strings.Join(out, ", ")
}

// moved tells from which version to which hosts went, by what they said of it.
func moved(events []sluice.Event) string {
	type move struct{ from, to string }
	went := map[sluice.Host]move{}
	for _, e := range events {
		if b, ok := e.Body.(sluice.TaskFinished); ok && b.Release != nil && b.Release.Live != b.Release.Before {
			m := move{b.Release.Before.Version, b.Release.Live.Version}
			if first, ok := went[b.Host]; ok {
				m.from = first.from // it was tried again
			}
			went[b.Host] = m
		}
	}
	count := map[move]int{}
	for _, m := range went {
		count[m]++
	}
	list := slices.SortedFunc(maps.Keys(count), func(a, b move) int {
		if c := count[b] - count[a]; c != 0 {
			return c
		}
		return strings.Compare(a.from+" "+a.to, b.from+" "+b.to)
	})
	const most = 3
	var out []string
	for i, m := range list {
		if i == most {
			out = append(out, "and others")
			break
		}
		out = append(out, fmt.Sprintf("%s from %s to %s", hosts(count[m]), cmp.Or(m.from, "nothing"), m.to))
	}
	return strings.Join(out, ", ")
}

// brief is the first line of a text, not longer than n characters.
func brief(s string, n int) string {
	line, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(line); len(r) > n {
		line, more = string(r[:n]), true
	}
	if more {
		line += "..."
	}
	return line
}

// plain takes from a text what means something to a chat: names and commands are no links, and call nobody.
func plain(s string) string {
	var b strings.Builder
	n, word := 0, false
	for _, r := range s {
		if n++; n > maxText {
			b.WriteString("...")
			break
		}
		switch {
		case r == '<':
			r = '‹'
		case r == '>':
			r = '›'
		case r == '&':
			r = '＆'
		case r == '@' && !word:
			b.WriteString("@\u2060") // @all is a call, and with this behind @ it is none
			continue
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			r = ' '
		}
		b.WriteRune(r)
		word = unicode.IsLetter(r) || unicode.IsDigit(r) // as before the @ of shop@1.2 and ann@example.org
	}
	return b.String()
}

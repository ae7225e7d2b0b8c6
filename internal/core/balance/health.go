package balance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Finding is what one look at a server found.
type Finding string

const (
	Well   Finding = "well"
	Ill    Finding = "ill"
	Unseen Finding = "unseen" // nobody could look: it is neither
)

// Seen is one look at a server.
type Seen struct {
	At      time.Time
	Finding Finding
	Text    string // what was found, for people
}

// Rule says when a server is healthy.
type Rule struct {
	// Passes are how many looks in a row must find it well; at least 1 is needed.
	Passes int `json:"passes,omitzero"`
	// For is how long it must have been well, from the first of these to the last.
	For time.Duration `json:"for,omitzero"`
	// Deadline is how long it may take until then.
	Deadline time.Duration `json:"deadline,omitzero"`
}

// Health is what came of looking, so far. The zero Health has seen nothing.
type Health struct {
	InRow int // looks that found it well, since one that did not
	since time.Time
	last  Seen
	looks int
}

// See adds a look. One that found nothing out begins the count anew: what happened meanwhile is not known.
func (h Health) See(s Seen) Health {
	if s.Finding != Well {
		h.InRow = 0
	} else {
		if h.InRow == 0 {
			h.since = s.At
		}
		h.InRow++
	}
	h.last = s
	h.looks++
	return h
}

// State is what may be concluded of a server.
type State string

const (
	Waiting   State = "waiting"
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy"
	Unknown   State = "unknown" // the deadline passed, and nobody could look; it is no success
)

// Verdict is a conclusion, and what it rests on.
type Verdict struct {
	State  State         `json:"state"`
	InRow  int           `json:"in_row"`
	Passes int           `json:"passes"`
	Well   time.Duration `json:"well"` // for how long it was seen well
	For    time.Duration `json:"for"`
	After  time.Duration `json:"after"` // since the looking began
	Last   string        `json:"last,omitzero"`
}

// Judge says what may be concluded at a moment, after looking since start.
func (h Health) Judge(r Rule, start, now time.Time) Verdict {
	v := Verdict{State: Waiting, InRow: h.InRow, Passes: max(1, r.Passes), For: r.For, After: now.Sub(start), Last: h.last.Text}
	if h.InRow > 0 {
		v.Well = h.last.At.Sub(h.since)
	}
	switch {
	case h.InRow >= v.Passes && v.Well >= r.For:
		v.State = Healthy
	case v.After < r.Deadline:
	case h.looks == 0 || h.last.Finding == Unseen:
		v.State = Unknown
	default:
		v.State = Unhealthy
	}
	return v
}

// Text says it for people.
func (v Verdict) Text() string {
	after := v.After.Round(100 * time.Millisecond)
	var text string
	switch v.State {
	case Healthy:
		return fmt.Sprintf("healthy: well %d times in a row, for %s", v.InRow, v.Well.Round(100*time.Millisecond))
	case Unhealthy:
		text = fmt.Sprintf("not healthy after %s", after)
	case Unknown:
		text = fmt.Sprintf("nobody knows whether it is healthy after %s", after)
	default:
		text = fmt.Sprintf("not healthy yet after %s", after)
	}
	if v.InRow > 0 {
		text += fmt.Sprintf(": well %d times in a row of %d, for %s of %s", v.InRow, v.Passes, v.Well.Round(100*time.Millisecond), v.For)
	}
	if v.Last != "" {
		text += ": " + v.Last
	}
	return text
}

// Together is what several looks of one moment find: well is who is well in all of them.
func Together(at time.Time, all ...Seen) Seen {
	s := Seen{At: at, Finding: Unseen, Text: "nothing is looked at"}
	for i, one := range all {
		if i == 0 || worse(one.Finding, s.Finding) {
			s.Finding, s.Text = one.Finding, one.Text
		}
	}
	return s
}

func worse(a, b Finding) bool {
	rank := []Finding{Well, Unseen, Ill}
	return slices.Index(rank, a) > slices.Index(rank, b)
}

// Answer is what a look at a web server wants to see.
type Answer struct {
	Status []int          // any of these; none means 200 to 299
	Body   *regexp.Regexp // nil: anything
}

// Find judges an answer.
func (a Answer) Find(status int, body []byte) (Finding, string) {
	right := slices.Contains(a.Status, status) || len(a.Status) == 0 && 200 <= status && status <= 299
	switch {
	case !right:
		return Ill, fmt.Sprintf("it answered with status %d", status)
	case a.Body != nil && !a.Body.Match(body):
		return Ill, fmt.Sprintf("its answer with status %d does not match %q", status, a.Body)
	}
	return Well, fmt.Sprintf("status %d", status)
}

// Unit judges what "systemctl show -p LoadState,ActiveState,SubState UNIT" printed.
func Unit(unit, printed string) (Finding, string) {
	values := map[string]string{}
	for line := range strings.Lines(printed) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[name] = value
		}
	}
	active, sub := values["ActiveState"], values["SubState"]
	switch {
	case active == "":
		return Unseen, "systemctl does not say how " + unit + " is"
	case values["LoadState"] == "not-found":
		return Ill, "there is no unit " + unit
	case active == "active":
		return Well, fmt.Sprintf("%s is active (%s)", unit, sub)
	}
	return Ill, fmt.Sprintf("%s is %s (%s)", unit, active, sub)
}

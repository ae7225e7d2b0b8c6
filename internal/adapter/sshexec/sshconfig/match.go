package sshconfig

import (
	"strings"

	"sluice"
	"sluice/internal/adapter/sshexec/pattern"
)

// condition says whether a section applies, given what is known of the host so far.
type condition interface {
	holds(r *resolver) (bool, error)
}

type always struct{}

func (always) holds(*resolver) (bool, error) { return true, nil }

// hostCondition are the patterns of a Host line: one must match the name as the user gave it, and no negated
// one may.
type hostCondition []string

func (c hostCondition) holds(r *resolver) (bool, error) { return pattern.MatchAny(c, r.q.Host), nil }

// matchCondition are the criteria of a Match line, which must all hold.
type matchCondition struct {
	at       sluice.Position
	criteria []criterion
}

type criterion struct {
	name   string // in lower case
	negate bool
	arg    string
}

func parseMatch(it item) (condition, error) {
	m := matchCondition{at: it.at}
	for text := it.rest; ; {
		var name string
		name, text = delimited(text)
		if name == "" || name[0] == '#' {
			break
		}
		c := criterion{name: strings.ToLower(name)}
		c.name, c.negate = strings.CutPrefix(c.name, "!")
		switch c.name {
		case "all", "canonical", "final":
		default:
			if c.arg, text = delimited(text); c.arg == "" {
				return nil, wrong(it.at, "Match %s needs a value", name)
			}
		}
		m.criteria = append(m.criteria, c)
	}
	if len(m.criteria) == 0 {
		return nil, wrong(it.at, "Match needs a criterion, such as host or user")
	}
	return m, nil
}

// delimited takes one word off, which may be quoted and ends at a blank or "=".
func delimited(s string) (word, rest string) {
	s = strings.TrimLeft(s, blanks)
	if strings.HasPrefix(s, `"`) {
		word, rest, _ = strings.Cut(s[1:], `"`)
		return word, rest
	}
	end := strings.IndexAny(s, blanks+"=")
	if end < 0 {
		return s, ""
	}
	rest = strings.TrimLeft(s[end:], blanks)
	return s[:end], strings.TrimPrefix(rest, "=")
}

// holds decides exec last: where another criterion fails, no program could change the answer.
func (m matchCondition) holds(r *resolver) (bool, error) {
	exec := false
	for _, c := range m.criteria {
		ok := false
		switch c.name {
		case "all":
			ok = true
		case "host":
			ok = pattern.MatchAny(strings.Split(c.arg, ","), r.hostName())
		case "originalhost":
			ok = pattern.MatchAny(strings.Split(c.arg, ","), r.q.Host)
		case "user":
			ok = pattern.MatchAny(strings.Split(c.arg, ","), r.user())
		case "localuser":
			ok = pattern.MatchAny(strings.Split(c.arg, ","), r.q.LocalUser)
		case "canonical", "final":
			// There is only one pass here.
		case "exec":
			exec = true
			continue
		default:
			return false, nil
		}
		if ok == c.negate {
			return false, nil
		}
	}
	if exec {
		return false, wrong(m.at, "Match exec is not supported: it runs text from a configuration").
			WithHint("use Match host, or say in the fleet file how the host is reached")
	}
	return true, nil
}

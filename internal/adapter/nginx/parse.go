package nginx

import (
	"fmt"
	"strconv"
	"strings"

	"sluice"
)

// token is a word or one of { } ; in a configuration, and where it stands.
type token struct {
	text       string
	start, end int
	word       bool
}

// tokens splits a configuration as nginx does: comments begin where a word could, words may be quoted.
func tokens(text string) (out []token, err error) {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '#':
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return out, nil
			}
			i += end
		case strings.IndexByte("{};", c) >= 0:
			out = append(out, token{string(c), i, i + 1, false})
			i++
		default:
			t, err := word(text, i)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
			i = t.end
		}
	}
	return out, nil
}

func word(text string, start int) (token, error) {
	var b strings.Builder
	quote := text[start]
	i := start
	quoted := quote == '"' || quote == '\''
	if quoted {
		i++
	}
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == quote:
			return token{b.String(), start, i + 1, true}, nil
		case c == '$' && !quoted && i+1 < len(text) && text[i+1] == '{': // a variable, no block
			b.WriteString("${")
			i++
		case !quoted && (strings.IndexByte(" \t\r\n;", c) >= 0 || c == '{'):
			return token{b.String(), start, i, true}, nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return token{}, fmt.Errorf("line %d: the quote does not end", line(text, start))
	}
	return token{b.String(), start, i, true}, nil
}

func line(text string, at int) int { return 1 + strings.Count(text[:at], "\n") }

// serverLine is a "server" of an upstream.
type serverLine struct {
	name      string
	words     []token // with "server" and the name
	semicolon int     // its place
}

func (s serverLine) param(name string) (token, bool) {
	for _, w := range s.words[2:] {
		if w.text == name {
			return w, true
		}
	}
	return token{}, false
}

func (s serverLine) weight() int {
	for _, w := range s.words[2:] {
		if text, ok := strings.CutPrefix(w.text, "weight="); ok {
			if n, err := strconv.Atoi(text); err == nil {
				return n
			}
		}
	}
	return 1
}

// upstream finds the servers of an upstream. An error has the code NotFound where the text has no such upstream.
func upstream(text, name string) ([]serverLine, error) {
	all, err := tokens(text)
	if err != nil {
		return nil, err
	}
	var out []serverLine
	var blocks []string // "upstream NAME" or "", outermost first
	var words []token
	found := false
	for _, t := range all {
		switch {
		case t.word:
			words = append(words, t)
			continue
		case t.text == "{":
			block := ""
			if len(words) == 2 && words[0].text == "upstream" {
				block = words[1].text
				found = found || block == name
			}
			blocks = append(blocks, block)
		case t.text == "}":
			if len(words) > 0 {
				return nil, fmt.Errorf("line %d: a ; is missing before the }", line(text, t.start))
			}
			if len(blocks) == 0 {
				return nil, fmt.Errorf("line %d: a } that closes nothing", line(text, t.start))
			}
			blocks = blocks[:len(blocks)-1]
		case len(blocks) > 0 && blocks[len(blocks)-1] == name && len(words) >= 2 && words[0].text == "server":
			out = append(out, serverLine{words[1].text, words, t.start})
		}
		words = nil
	}
	switch {
	case len(blocks) > 0 || len(words) > 0:
		return nil, fmt.Errorf("line %d: the file ends in the middle of something", line(text, len(text)))
	case !found:
		return nil, sluice.Errorf(sluice.NotFound, "there is no upstream %s", name)
	}
	return out, nil
}

// mark has a server be down or not. Nothing but its lines changes.
func mark(text, pool, server string, down bool) (string, error) {
	servers, err := upstream(text, pool)
	if err != nil {
		return "", err
	}
	found := false
	for i := len(servers) - 1; i >= 0; i-- { // from the end, so that places stay right
		s := servers[i]
		if s.name != server {
			continue
		}
		found = true
		w, is := s.param("down")
		switch last := s.words[len(s.words)-1].end; {
		case down && !is:
			text = text[:last] + " down" + text[last:]
		case !down && is:
			from := strings.LastIndexFunc(text[:w.start], func(r rune) bool { return !strings.ContainsRune(" \t", r) }) + 1
			if from > 0 && text[from-1] == '\n' { // it stands on a line of its own
				from = w.start
			}
			text = text[:from] + text[w.end:]
		}
	}
	if !found {
		return "", sluice.Errorf(sluice.NotFound, "the upstream %s has no server %s", pool, server)
	}
	return text, nil
}

package fleet

import (
	"fmt"
	"strconv"
	"strings"

	"sluice"
)

// SyntaxError says where a glob or target expression is wrong.
type SyntaxError struct {
	Input  string
	Offset int // in bytes, from 0
	Text   string
	Hint   string
}

// Error shows the input with a mark under the place.
func (e *SyntaxError) Error() string { return e.Text + "\n" + caret(e.Input, e.Offset) }

// caret is the line of the text that has the offset, and a mark under it.
func caret(text string, offset int) string {
	offset = min(offset, len(text))
	from := strings.LastIndexByte(text[:offset], '\n') + 1
	line, _, _ := strings.Cut(text[from:], "\n")
	column := len([]rune(text[from:offset]))
	const wide = 60
	if r := []rune(line); len(r) > 2*wide { // an expression of a thousand names
		first := max(0, column-wide)
		line, column = string(r[first:min(len(r), column+wide)]), column-first
	}
	return "  " + strings.ReplaceAll(line, "\t", " ") + "\n  " + strings.Repeat(" ", column) + "^"
}

// Expand lists the hosts that a glob names, each once, in order: names, "web[01-20]" (digits keep their width),
// "[a-c]", "[01-03,07]", "{7,8}", and several of them separated by commas. Errors are [*SyntaxError].
func Expand(pattern string) ([]sluice.Host, error) {
	p := parser{s: pattern, budget: MaxHosts}
	var all []sluice.Host
	for {
		p.space()
		g, err := p.glob()
		if err != nil {
			return nil, err
		}
		if g.wild {
			return nil, p.fail(g.at, "a wildcard needs a fleet to choose from", "write the names, such as web[01-20]")
		}
		hosts, err := p.hosts(g)
		if err != nil {
			return nil, err
		}
		all = append(all, hosts...)
		p.space()
		if p.i == len(p.s) {
			return unique(all), nil
		}
		if p.s[p.i] != ',' {
			return nil, p.fail(p.i, fmt.Sprintf("unexpected %s in a host name", show(p.s[p.i:])), "names are separated by commas")
		}
		p.i++
	}
}

// unique drops hosts that came before. It takes the slice over.
func unique(hosts []sluice.Host) []sluice.Host {
	if len(hosts) < 2 {
		return hosts
	}
	seen := make(map[sluice.Host]struct{}, len(hosts))
	out := hosts[:0]
	for _, h := range hosts {
		if _, again := seen[h]; !again {
			seen[h] = struct{}{}
			out = append(out, h)
		}
	}
	return out
}

// glob is a host name with its ranges and alternatives: the product of its pieces.
type glob struct {
	at     int
	text   string
	pieces [][]string
	wild   bool // has "*" or "?"
}

// glob reads one host name, glob or wildcard.
func (p *parser) glob() (*glob, *SyntaxError) {
	g := &glob{at: p.i}
	count := 1
	for p.i < len(p.s) {
		var choices []string
		var err *SyntaxError
		switch c := p.s[p.i]; {
		case nameByte(c), c == '*', c == '?':
			from := p.i
			for p.i < len(p.s) && (nameByte(p.s[p.i]) || p.s[p.i] == '*' || p.s[p.i] == '?') {
				g.wild = g.wild || !nameByte(p.s[p.i])
				p.i++
			}
			choices = []string{p.s[from:p.i]}
		case c == '[':
			choices, err = p.ranges()
		case c == '{':
			choices, err = p.alternatives()
		default:
			goto done
		}
		if err != nil {
			return nil, err
		}
		if count *= len(choices); count > p.budget {
			return nil, p.fail(g.at, fmt.Sprintf("this names more than %d hosts", MaxHosts), "")
		}
		g.pieces = append(g.pieces, choices)
	}
done:
	if g.text = p.s[g.at:p.i]; g.text == "" {
		if p.i == len(p.s) {
			return nil, p.fail(p.i, "expected a host name here", "")
		}
		return nil, p.fail(p.i, fmt.Sprintf("expected a host name, not %s", show(p.s[p.i:])), "")
	}
	if g.longest() > longestHost {
		return nil, p.fail(g.at, fmt.Sprintf("this names a host of more than %d bytes", longestHost), "")
	}
	p.budget -= count
	return g, nil
}

const longestHost = 253

// longest is the length of the longest name; to know it before the product is made bounds the memory for it.
func (g *glob) longest() int {
	total := 0
	for _, choices := range g.pieces {
		most := 0
		for _, c := range choices {
			most = max(most, len(c))
		}
		total += most
	}
	return total
}

// names is the product of the pieces; the last one varies first.
func (g *glob) names() []string {
	names := []string{""}
	for _, choices := range g.pieces {
		next := make([]string, 0, len(names)*len(choices))
		for _, n := range names {
			for _, c := range choices {
				next = append(next, n+c)
			}
		}
		names = next
	}
	return names
}

func (p *parser) hosts(g *glob) ([]sluice.Host, *SyntaxError) {
	names := g.names()
	hosts := make([]sluice.Host, len(names))
	for i, n := range names {
		if !sluice.ValidHost(n) {
			return nil, p.fail(g.at, fmt.Sprintf("%.80q cannot be the name of a host", n),
				"names are up to 253 letters, digits, '.', '-' and '_', and do not begin with '.' or '-'")
		}
		hosts[i] = sluice.Host(n)
	}
	return hosts, nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' || c == '-' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// ranges reads "[01-03,07]" or "[a-c]".
func (p *parser) ranges() ([]string, *SyntaxError) {
	open := p.i
	p.i++
	var out []string
	for {
		from := p.i
		low, err := p.end()
		if err != nil {
			return nil, err
		}
		high := low
		if p.i < len(p.s) && p.s[p.i] == '-' {
			p.i++
			if high, err = p.end(); err != nil {
				return nil, err
			}
		}
		values, problem := between(low, high, '-', 1, p.budget)
		if problem != "" {
			return nil, p.fail(from, problem, "")
		}
		out = append(out, values...)
		switch {
		case p.i == len(p.s):
			return nil, p.fail(p.i, "expected ]", "")
		case p.s[p.i] == ']':
			p.i++
			return out, nil
		case p.s[p.i] != ',':
			return nil, p.fail(p.i, fmt.Sprintf("expected - or , or ] in a range, not %s", show(p.s[p.i:])), "")
		case len(out) > p.budget:
			return nil, p.fail(open, fmt.Sprintf("this names more than %d hosts", MaxHosts), "")
		}
		p.i++
	}
}

// end reads one end of a range: digits or a letter.
func (p *parser) end() (string, *SyntaxError) {
	from := p.i
	for p.i < len(p.s) && isDigit(p.s[p.i]) {
		p.i++
	}
	if p.i > from {
		return p.s[from:p.i], nil
	}
	if p.i < len(p.s) && isLetter(p.s[p.i]) {
		p.i++
		if p.i < len(p.s) && nameByte(p.s[p.i]) && p.s[p.i] != '-' {
			return "", p.fail(from, "expected a number or a single letter in a range", "words stand in braces: {north,south}")
		}
		return p.s[from:p.i], nil
	}
	if p.i < len(p.s) && p.s[p.i] == ':' {
		return "", p.fail(p.i, "expected a number", "a range is written with a dash: [01-20]")
	}
	return "", p.fail(p.i, "expected a number", "a range is written as [01-20] or [a-c]")
}

// between lists what stands from low to high; problem says what is wrong with them. dash is how the user writes
// a range.
func between(low, high string, dash byte, step, limit int) (values []string, problem string) {
	written := low + string(dash) + high
	if isLetter(low[0]) || isLetter(high[0]) {
		if !isLetter(low[0]) || !isLetter(high[0]) || (low[0] >= 'a') != (high[0] >= 'a') {
			return nil, fmt.Sprintf("the range %s is from one kind of character to another", written)
		}
		if low[0] > high[0] {
			return nil, fmt.Sprintf("the range %s goes backwards", written)
		}
		for c := int(low[0]); c <= int(high[0]); c += step {
			values = append(values, string(rune(c)))
		}
		return values, ""
	}
	if low == high {
		return []string{low}, ""
	}
	a, err1 := strconv.Atoi(low)
	b, err2 := strconv.Atoi(high)
	width := 0
	if low[0] == '0' {
		width = len(low)
	}
	switch {
	case err1 != nil || err2 != nil || len(low) > longestNumber || len(high) > longestNumber:
		return nil, fmt.Sprintf("the range %.60s has a number that is too large", written)
	case a > b:
		return nil, fmt.Sprintf("the range %s goes backwards", written)
	case len(high) > 1 && high[0] == '0' && len(high) != width:
		return nil, fmt.Sprintf("the ends of the range %s have leading zeros, but not the same width", written)
	case (b-a)/step >= limit:
		return nil, fmt.Sprintf("this names more than %d hosts", MaxHosts)
	}
	values = make([]string, 0, (b-a)/step+1)
	for n := a; n <= b; n += step {
		values = append(values, padded(n, width))
	}
	return values, ""
}

// padded writes n with leading zeros up to width.
func padded(n, width int) string {
	s := strconv.Itoa(n)
	if len(s) < width {
		s = strings.Repeat("0", width-len(s)) + s
	}
	return s
}

// alternatives reads "{a,b}".
func (p *parser) alternatives() ([]string, *SyntaxError) {
	open := p.i
	p.i++
	var out []string
	for {
		from := p.i
		for p.i < len(p.s) && nameByte(p.s[p.i]) {
			p.i++
		}
		if i := strings.Index(p.s[from:p.i], ".."); i >= 0 {
			return nil, p.fail(from+i, "expected , or } in braces", "a range is written as [01-20]")
		}
		out = append(out, p.s[from:p.i])
		switch {
		case p.i == len(p.s):
			return nil, p.fail(p.i, "expected }", "")
		case p.s[p.i] == '}':
			if p.i++; p.i == open+2 {
				return nil, p.fail(open, "there is nothing in the braces", "")
			}
			return out, nil
		case p.s[p.i] != ',':
			return nil, p.fail(p.i, fmt.Sprintf("expected , or } in braces, not %s", show(p.s[p.i:])), "")
		case len(out) > p.budget:
			return nil, p.fail(open, fmt.Sprintf("this names more than %d hosts", MaxHosts), "")
		}
		p.i++
	}
}

// show quotes the first character of s.
func show(s string) string {
	for _, r := range s {
		return strconv.QuoteRune(r)
	}
	return "the end"
}

// matches reports whether the name matches a pattern of "*" (any text) and "?" (one character).
func matches(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0 // the last star, and how far it reaches
	for n < len(name) {
		switch {
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

package view

import (
	"regexp"
	"strconv"
	"strings"

	"sluice"
)

// Reasons puts hosts together of which the same is said, but for what is each host's own: its name and the addresses
// at which it was tried. The zero value is empty.
type Reasons struct {
	groups []*Reason
	at     map[string]*Reason
	plain  Plain
}

// Reason is what is said of some hosts.
type Reason struct {
	// Text is as it was said, if it was said of all of them in the same words; else HOST and ADDRESS stand for what
	// is their own.
	Text  string
	Hosts []sluice.Host
}

// Add says something of a host. address is where it is reached; "" if that is its name.
func (r *Reasons) Add(h sluice.Host, address, text string) {
	key := r.plain.Key(h, address, text)
	g := r.at[key]
	if g == nil {
		g = &Reason{Text: text}
		if r.at == nil {
			r.at = map[string]*Reason{}
		}
		r.at[key] = g
		r.groups = append(r.groups, g)
	}
	if g.Text != text {
		g.Text = key
	}
	g.Hosts = append(g.Hosts, h)
}

// All are the reasons, in the order in which they were first given.
func (r *Reasons) All() []*Reason { return r.groups }

// Plain takes out of what is said of hosts what is each host's own. What was said in the same words has the same
// key. The zero value is ready.
type Plain struct {
	address     *regexp.Regexp
	destination *regexp.Regexp
	keys        map[string]string // by text
}

func (p *Plain) Key(h sluice.Host, address, text string) string {
	if key, ok := p.keys[text]; ok {
		return key
	}
	if p.keys == nil {
		p.keys = map[string]string{}
		const v4 = `\b\d{1,3}(?:\.\d{1,3}){3}\b`
		p.address = regexp.MustCompile(`(?: via \S+@)?(?:` + v4 + `|\[` + v4 + `\]|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?\])(?::\d+)?`)
		p.destination = regexp.MustCompile(`^\S+@([^\s:@]+)(?::\d+)?(?: via |: )`)
	}
	key := p.address.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, " via ") {
			return found // a jump host is not the host's own
		}
		return "ADDRESS"
	})
	names := []string{address}
	if m := p.destination.FindStringSubmatch(text); m != nil { // such as "ann@web1.example.com:22: no answer"
		names = append(names, m[1])
	}
	for _, n := range names {
		if n != string(h) {
			key = replaceWord(key, n, "ADDRESS")
		}
	}
	key = replaceWord(key, string(h), "HOST")
	p.keys[text] = key
	return key
}

// replaceWord replaces a word where it is not a part of another one.
func replaceWord(text, word, by string) string {
	if word == "" {
		return text
	}
	inside := func(s string) bool {
		return s != "" && (s[0] == '-' || s[0] == '_' || '0' <= s[0] && s[0] <= '9' || 'a' <= s[0]|0x20 && s[0]|0x20 <= 'z')
	}
	var b strings.Builder
	last := "" // the byte before the rest of text
	for {
		before, after, found := strings.Cut(text, word)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if before != "" {
			last = before[len(before)-1:]
		}
		if inside(last) || inside(after) {
			b.WriteString(word)
		} else {
			b.WriteString(by)
		}
		last, text = word[len(word)-1:], after
	}
}

// Detail says how an attempt ended beside its outcome: "exit 3", or the reason. It is not clean.
func Detail(t *Task) string {
	if code, isExit := strings.CutPrefix(t.Reason, "the command ended with "); isExit {
		return "exit " + code
	}
	if t.Reason == "" && t.ExitCode != nil && *t.ExitCode != 0 {
		return "exit " + strconv.Itoa(*t.ExitCode)
	}
	return t.Reason
}

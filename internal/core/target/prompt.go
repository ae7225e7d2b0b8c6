package target

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
)

// longestPrompt bounds the line that a prompt may be.
const longestPrompt = 1 << 10

// Prompts finds the prompts that a job says its command will make. A prompt is a whole line at the end of the
// output, without a newline, that a pattern matches from its first to its last character. Each pattern is
// good for one answer.
type Prompts struct {
	patterns []*regexp.Regexp
	used     []bool
	line     map[string][]byte // the unfinished line of each stream
	again    bool
}

// NewPrompts compiles the patterns.
func NewPrompts(patterns []string) (*Prompts, error) {
	p := &Prompts{used: make([]bool, len(patterns)), line: map[string][]byte{}}
	for _, text := range patterns {
		re, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("the prompt pattern %q is not a regular expression: %w", text, err)
		}
		p.patterns = append(p.patterns, re)
	}
	return p, nil
}

// Feed takes the next output of a stream.
func (p *Prompts) Feed(stream string, data []byte) {
	if at := bytes.LastIndexAny(data, "\r\n"); at >= 0 {
		p.line[stream] = append([]byte(nil), data[at+1:]...)
	} else {
		p.line[stream] = append(p.line[stream], data...)
	}
	if n := len(p.line[stream]); n > longestPrompt {
		p.line[stream] = p.line[stream][:longestPrompt+1] // longer than any prompt, for ever
	}
}

// Asked looks, when the output has come to rest, whether a stream ends in a prompt. It returns the prompt once
// for each pattern; the line is then used up. A prompt that comes again is only remembered; see Again.
func (p *Prompts) Asked() (prompt string, ok bool) {
	for stream, line := range p.line {
		if len(line) == 0 || len(line) > longestPrompt {
			continue
		}
		for i, re := range p.patterns {
			if !re.Match(line) {
				continue
			}
			if p.used[i] {
				p.again = true
				continue
			}
			p.used[i] = true
			p.line[stream] = nil
			return string(line), true
		}
	}
	return "", false
}

// Again reports whether a prompt came again after it was answered: the answer was wrong.
func (p *Prompts) Again() bool { return p.again }

// Lure looks for a line that is one of the prompts that sudo was told to make. Behind the start nobody has a
// reason to print one but to be given the password. A longer line with it in is harmless: a list of processes
// shows sudo's arguments.
type Lure struct {
	prompts []string
	line    map[string][]byte // the unfinished line of each stream, as far as it may matter
}

// Add makes one more text a lure.
func (l *Lure) Add(prompt string) {
	if prompt != "" {
		l.prompts = append(l.prompts, prompt)
	}
}

// Feed takes the next output of a stream and reports whether a line of it is a lure, finished or not.
func (l *Lure) Feed(stream string, p []byte) bool {
	if len(l.prompts) == 0 {
		return false
	}
	if l.line == nil {
		l.line = map[string][]byte{}
	}
	for {
		at := bytes.IndexAny(p, "\r\n")
		piece := p
		if at >= 0 {
			piece = p[:at]
		}
		line := append(l.line[stream], piece[:min(len(piece), longestPrompt)]...)
		if slices.Contains(l.prompts, string(line)) {
			return true
		}
		if at < 0 {
			l.line[stream] = line[:min(len(line), longestPrompt)]
			return false
		}
		l.line[stream] = line[:0]
		p = p[at+1:]
	}
}

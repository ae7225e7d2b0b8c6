package sshconfig

import (
	"errors"
	"strings"

	"sluice"
)

// Source is one file: its name for messages, and its content.
type Source struct {
	Name string
	Data []byte
}

// Include returns the files that an argument of an Include directive means, in order; none where nothing
// matches. How relative names and "~" are meant is the caller's knowledge.
type Include func(pattern string) ([]Source, error)

// maxDepth is OpenSSH's limit for nested Include directives.
const maxDepth = 16

// File is a parsed file with what it includes.
type File struct{ blocks []block }

// block is a Host or Match section; the settings before the first one have the condition always.
type block struct {
	when  condition
	items []item
}

// item is a setting, or the files of an Include.
type item struct {
	at       sluice.Position
	keyword  string // in lower case
	args     []string
	rest     string // all after the keyword, as written
	included []*File
}

// Parse reads one file. The error is a [*sluice.Error] that names the line.
func Parse(src Source, include Include) (*File, error) { return parse(src, include, 0) }

func parse(src Source, include Include, depth int) (*File, error) {
	f := &File{blocks: []block{{when: always{}}}}
	for n, line := range strings.Split(string(src.Data), "\n") {
		it, ok, err := split(line)
		it.at.File, it.at.Line = src.Name, n+1
		if err != nil {
			return nil, wrong(it.at, "%s", err)
		}
		if !ok {
			continue
		}
		switch it.keyword {
		case "host":
			f.blocks = append(f.blocks, block{when: hostCondition(it.args)})
		case "match":
			when, err := parseMatch(it)
			if err != nil {
				return nil, err
			}
			f.blocks = append(f.blocks, block{when: when})
		case "include":
			if depth >= maxDepth {
				return nil, wrong(it.at, "Include goes deeper than %d files", maxDepth)
			}
			if it.included, err = parseIncluded(it, include, depth); err != nil {
				return nil, err
			}
			fallthrough
		default:
			last := &f.blocks[len(f.blocks)-1]
			last.items = append(last.items, it)
		}
	}
	return f, nil
}

func parseIncluded(it item, include Include, depth int) (files []*File, err error) {
	for _, pattern := range it.args {
		sources, err := include(pattern)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Config, At: it.at, Text: "Include " + pattern, Err: err}
		}
		for _, src := range sources {
			f, err := parse(src, include, depth+1)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

const blanks = " \t\r\f\n"

// split takes a line apart; ok is false for empty lines and comments.
func split(line string) (it item, ok bool, err error) {
	text := strings.TrimLeft(line, blanks)
	it.at.Column = len(line) - len(text) + 1
	text = strings.TrimRight(text, blanks)
	if text == "" || text[0] == '#' {
		return it, false, nil
	}
	var rest string
	if text[0] == '"' {
		var closed bool
		if it.keyword, rest, closed = strings.Cut(text[1:], `"`); !closed {
			return it, false, errors.New("a quote is not closed")
		}
	} else {
		end := strings.IndexAny(text, blanks+`="`)
		if end < 0 {
			end = len(text)
		}
		it.keyword, rest = text[:end], text[end:]
	}
	it.keyword = strings.ToLower(it.keyword)
	rest = strings.TrimLeft(rest, blanks)
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), blanks)
	it.rest = rest
	if it.rest == "" {
		return it, false, errors.New(`no value after "` + it.keyword + `"`)
	}
	if it.args, err = words(rest); err != nil && !rawValue(it.keyword) {
		return it, false, err
	}
	return it, true, nil
}

// rawValue says that a value is a shell command, whose quotes are not ours to judge.
func rawValue(keyword string) bool {
	switch keyword {
	case "proxycommand", "localcommand", "remotecommand", "knownhostscommand":
		return true
	}
	return false
}

// words splits as OpenSSH's argv_split does: quotes of both kinds, a backslash before a quote, a backslash or,
// outside quotes, a blank; '#' at the beginning of a word begins a comment.
func words(s string) (out []string, err error) {
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		var word string
		if word, i, err = oneWord(s, i); err != nil {
			return nil, err
		}
		out = append(out, word)
	}
	return out, nil
}

func oneWord(s string, i int) (word string, end int, err error) {
	var w []byte
	var quote byte
	for ; i < len(s); i++ {
		c := s[i]
		var next byte
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch {
		case c == '\\' && (next == '\'' || next == '"' || next == '\\' || quote == 0 && next == ' '):
			i++
			w = append(w, next)
		case quote == 0 && (c == ' ' || c == '\t'):
			return string(w), i, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			w = append(w, c)
		}
	}
	if quote != 0 {
		return "", i, errors.New("a quote is not closed")
	}
	return string(w), i, nil
}

func wrong(at sluice.Position, format string, args ...any) *sluice.Error {
	e := sluice.Errorf(sluice.Config, format, args...)
	e.At = at
	return e
}

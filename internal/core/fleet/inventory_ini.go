package fleet

import (
	"fmt"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// parseInventoryINI reads the classic form of inventories: hosts below [group], and [group:children], [group:vars].
func parseInventoryINI(file string, text []byte) (*inventory, *sluice.Error) {
	if err := document.CheckText(file, text); err != nil {
		return nil, err
	}
	r := iniReader{inventory: newInventory(file), at: sluice.Position{File: file, Column: 1}}
	for line := range strings.SplitSeq(string(text), "\n") {
		r.at.Line++
		trimmed := strings.TrimSpace(line)
		r.at.Column = 1 + len([]rune(line[:strings.Index(line, trimmed)]))
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		if err := r.line(trimmed); err != nil {
			return nil, err
		}
	}
	return r.inventory, nil
}

type iniReader struct {
	*inventory
	at      sluice.Position
	section *group // nil before the first one
	kind    string // "", "children" or "vars"
}

func (r *iniReader) fail(format string, args ...any) *sluice.Error {
	return document.ErrorAt(r.at, format, args...)
}

func (r *iniReader) line(line string) *sluice.Error {
	switch {
	case line[0] == '[':
		return r.header(line)
	case r.kind == "children":
		r.section.children = append(r.section.children, r.group(strings.Fields(line)[0], r.at))
		return nil
	case r.kind == "vars":
		name, value, found := strings.Cut(line, "=")
		if !found {
			return r.fail("expected name=value, not %.80q", line)
		}
		return r.variable(&r.section.vars, strings.TrimSpace(name), unquoted(strings.TrimSpace(value)))
	}
	return r.host(line)
}

func (r *iniReader) header(line string) *sluice.Error {
	inner, after, closed := strings.Cut(line[1:], "]")
	if after = strings.TrimSpace(after); !closed || after != "" && after[0] != '#' && after[0] != ';' {
		return r.fail("expected a section such as [web], [web:children] or [web:vars], not %.80q", line)
	}
	name, kind, _ := strings.Cut(inner, ":")
	if kind != "" && kind != "children" && kind != "vars" && kind != "hosts" {
		e := r.fail("a section cannot be of the kind %.40q", kind)
		e.Hint = "known are [group], [group:children] and [group:vars]"
		return e
	}
	r.section, r.kind = r.group(name, r.at), strings.TrimPrefix(kind, "hosts")
	return nil
}

func (r *iniReader) host(line string) *sluice.Error {
	words, err := shellWords(line)
	if err != nil {
		return r.fail("%v", err)
	}
	pattern, port, hasPort := words[0], "", false
	if after := strings.LastIndexByte(pattern, ':'); after > strings.LastIndexByte(pattern, ']') {
		pattern, port, hasPort = pattern[:after], pattern[after+1:], true
	}
	hosts, err := inventoryHosts(pattern)
	if err != nil {
		return r.fail("%v", err)
	}
	r.add(r.section, hosts...)
	var vars settings
	if hasPort {
		if err := r.variable(&vars, "ansible_port", port); err != nil {
			return err
		}
	}
	for _, w := range words[1:] {
		name, value, found := strings.Cut(w, "=")
		if !found {
			return r.fail("expected name=value after the host, not %.80q", w)
		}
		if err := r.variable(&vars, name, value); err != nil {
			return err
		}
	}
	if vars != (settings{}) {
		for _, h := range hosts {
			r.variables(h).add(vars)
		}
	}
	return nil
}

func (r *iniReader) variable(s *settings, name, value string) *sluice.Error {
	if problem := s.variable(name, value); problem != "" {
		return r.fail("%s", problem)
	}
	return nil
}

// shellWords splits a line at white space, but not in quotes; a word that begins with "#" begins a comment.
func shellWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != '\'' && c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inWord = true
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\r':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case c == '#' && !inWord:
			return words, nil
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("there is no host on this line")
	}
	return words, nil
}

func unquoted(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

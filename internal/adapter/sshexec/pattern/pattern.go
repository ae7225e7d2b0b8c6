// Package pattern matches names against OpenSSH's patterns. It is pure, and knows nothing of files.
package pattern

import "strings"

// Match reports whether s matches a pattern, in which "*" stands for anything and "?" for one byte. It takes
// at most len(pattern) times len(s) steps.
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// MatchAny reports whether s matches one of the patterns and none of those that begin with "!".
func MatchAny(patterns []string, s string) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if found && !negated || !Match(p, s) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

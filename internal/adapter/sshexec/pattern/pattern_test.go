package pattern

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The quick matcher is the obvious one.
func TestMatchIsTheObviousOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*?]{0,10}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "text")
		if got := Match(p, s); got != obvious(p, s) {
			t.Fatalf("Match(%q, %q) = %v", p, s, got)
		}
	})
}

func obvious(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return obvious(p[1:], s) || s != "" && obvious(p, s[1:])
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && obvious(p[1:], s[1:])
}

func TestMatchAny(t *testing.T) {
	for _, c := range []struct {
		patterns string
		name     string
		want     bool
	}{
		{"a b", "b", true}, {"a b", "c", false}, {"* !b", "b", false}, {"!b *", "b", false}, {"!b *", "a", true},
		{"!b", "a", false}, {"web?", "web1", true}, {"web?", "web", false}, {"", "", true}, {"!", "a", false},
	} {
		if got := MatchAny(strings.Split(c.patterns, " "), c.name); got != c.want {
			t.Errorf("%q for %q: %v", c.patterns, c.name, got)
		}
	}
}

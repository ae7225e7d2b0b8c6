package soak

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/lab/simhosts"
)

// marks makes a trace of words such as "+a" and "-a": a begins, a ends.
func marks(words string) (out []simhosts.Mark) {
	for i, w := range strings.Fields(words) {
		what := map[byte]string{'+': "start", '-': "end"}[w[0]]
		out = append(out, simhosts.Mark{Host: w[1:], Attempt: "j-0-1", What: what, Time: time.Unix(int64(i), 0)})
	}
	return out
}

// The checker finds what it is there for.
func TestTheCheckerBites(t *testing.T) {
	r := rules{hosts: []string{"a", "b1", "b2", "b3"}, first: []string{"a"}, atOnce: 2, group: func(h string) string { return h[:1] }}
	for name, c := range map[string]struct{ trace, says string }{
		"all is well":        {"+a -a +b1 +b2 -b1 +b3 -b2 -b3", ""},
		"twice":              {"+a -a +b1 -b1 +b2 -b2 +b3 -b3 +b1 -b1", "b1 ran it 2 times"},
		"skipped":            {"+a -a +b1 -b1 +b2 -b2", "b3 was skipped"},
		"over the limit":     {"+a -a +b1 +b2 +b3 -b1 -b2 -b3", "3 of b at once"},
		"too early":          {"+a +b1 -a -b1 +b2 -b2 +b3 -b3", "b1 began when 0 of the first 1"},
		"somebody else":      {"+a -a +b1 -b1 +b2 -b2 +b3 -b3 +c -c", "c is no target"},
		"one that never was": {"", "a was skipped"},
	} {
		got := strings.Join(wrong(marks(c.trace), r), "; ")
		if c.says == "" && got != "" || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

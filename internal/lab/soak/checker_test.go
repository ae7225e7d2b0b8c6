package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
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

// The hosts' trace and the log are held against each other.
func TestTheLogAndTheHostsAreCompared(t *testing.T) {
	job, host := sluice.JobID("0123456789ab"), sluice.Host("h")
	a, at := sluice.NewAttemptID(job, 0, 1), time.Unix(100, 0)
	events := []sluice.Event{
		{Seq: 1, Time: at, Job: job, Body: sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Targets: []sluice.Host{host}}}},
		{Seq: 2, Time: at.Add(time.Second), Job: job, Body: sluice.TaskStarted{Host: host, Attempt: a}},
		{Seq: 3, Time: at.Add(4 * time.Second), Job: job, Body: sluice.TaskFinished{Host: host, Attempt: a, Outcome: sluice.Succeeded}},
	}
	mark := func(seconds int, what string, code int) simhosts.Mark {
		return simhosts.Mark{Host: string(host), Attempt: string(a), What: what, Code: code, Time: at.Add(time.Duration(seconds) * time.Second)}
	}
	for name, c := range map[string]struct {
		trace []simhosts.Mark
		says  string
	}{
		"all is well":           {[]simhosts.Mark{mark(2, "start", 0), mark(3, "end", 0)}, ""},
		"before it may":         {[]simhosts.Mark{mark(0, "start", 0), mark(3, "end", 0)}, "I3"},
		"a second time":         {[]simhosts.Mark{mark(2, "start", 0), mark(3, "end", 0), mark(5, "start", 0), mark(6, "end", 0)}, "I3"},
		"an outcome is made up": {[]simhosts.Mark{mark(2, "start", 0), mark(3, "end", 7)}, "I14"},
	} {
		if c.trace[0].Time.Equal(at) {
			c.trace[0].Time = at.Add(-time.Second)
		}
		got := fmt.Sprint(together(events, c.trace))
		if c.says == "" && got != "[]" || !strings.Contains(got, c.says) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

package undo_test

import (
	"testing"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/core/undo"
)

// TestChangedSince: a host is as a deploy left it where that is proved, whoever brought it there again.
func TestChangedSince(t *testing.T) {
	for name, c := range map[string]struct {
		how    func(*live.State)
		origin sluice.JobID
		want   string
	}{
		"as it was":              {func(*live.State) {}, deploy, ""},
		"tried on, and the same": {func(s *live.State) { s.Last = another }, deploy, ""},
		"brought back to that":   {func(s *live.State) { s.Job, s.Last = another, another }, deploy, ""},
		"its own end is unknown": {func(s *live.State) { s.Known, s.Why = false, live.Running }, deploy, ""},
		"another's is":           {func(s *live.State) { s.Known, s.Why, s.Last = false, live.Unclear, another }, deploy, "the outcome of the last attempt is not known (job 000000000002)"},
		"another version":        {func(s *live.State) { s.Job, s.Last, s.By, s.Live.Version = another, another, "bob", "3" }, another, "job 000000000002 of bob made 3 live"},
		"by hand":                {func(s *live.State) { s.Changed, s.Job, s.Live.Version = true, "", "8" }, deploy, "8 was made live by hand"},
		"not on record":          {func(s *live.State) { s.Job = "" }, "", "2 is live, and it is not on record by whom"},
		"nothing":                {func(s *live.State) { s.Changed, s.Job, s.Live = true, "", sluice.Installed{} }, "", "nothing was made live by hand"},
	} {
		s := live.State{Known: true, Live: has("2"), By: "ann", Job: deploy, Last: deploy}
		c.how(&s)
		if got := undo.ChangedSince(deploy, s, c.origin); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

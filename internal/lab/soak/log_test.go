package soak

import (
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
	"sluice/internal/lab/invariant"
	"sluice/internal/lab/simhosts"
)

// againstTheLog holds the log against the rules, and against what the hosts wrote down.
func (h *house) againstTheLog() {
	log, err := sqlitelog.Open(h.t.Context(), sqlitelog.Config{Dir: h.path("data")})
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	var events []sluice.Event
	for more := true; more; {
		page, err := log.Read(h.t.Context(), sluice.DefaultNamespace, uint64(len(events)), 10000)
		if err != nil {
			h.t.Fatal(err)
		}
		events, more = append(events, page...), len(page) > 0
	}
	trace, err := readTrace(h.path("trace"), "")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, v := range check.Log(events) {
		h.t.Errorf("the log breaks a rule: %v", v)
	}
	for _, v := range together(events, trace) {
		h.t.Errorf("the hosts and the log: %v", v)
	}
}

// together has one checker read the log and what truly ran, in the order in which it was.
func together(events []sluice.Event, trace []simhosts.Mark) []invariant.Violation {
	c := invariant.New()
	begin := events[0].Time
	marks := func(before time.Time) {
		for ; len(trace) > 0 && (before.IsZero() || trace[0].Time.Before(before)); trace = trace[1:] {
			m := trace[0]
			kind := invariant.Started
			if m.What == "end" {
				kind = invariant.Ended
			}
			c.Mark(invariant.Mark{Kind: kind, Host: sluice.Host(m.Host), Attempt: sluice.AttemptID(m.Attempt), Code: m.Code, At: m.Time.Sub(begin)})
		}
	}
	for _, e := range events {
		marks(e.Time)
		c.Event(e, e.Time.Sub(begin))
	}
	marks(time.Time{})
	c.Healed(nil, nil)
	return c.Found()
}

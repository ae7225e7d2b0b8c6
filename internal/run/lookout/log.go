package lookout

import (
	"context"

	"sluice"
)

// log lets nothing into a journal while the alarm is raised but what makes it safer.
type log struct {
	Journal
	g *Guard
}

// Log is the journal, for all who act.
func (g *Guard) Log() Journal { return log{g.cfg.Journal, g} }

// Update appends as [sluice.Log] says. While the alarm is raised, whoever would start or change something gets an error
// with the code Contact.
func (l log) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func(tail []sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	return l.Journal.Update(ctx, ns, after, func(tail []sluice.Event) ([]sluice.Event, error) {
		events, err := decide(tail)
		if err != nil {
			return nil, err
		}
		alarm := l.g.Alarm()
		if alarm == nil {
			return events, nil
		}
		for _, e := range events {
			if !safe(e.Body) {
				return nil, alarm
			}
		}
		return events, nil
	})
}

// safe reports whether an event starts nothing and takes no change in: it stops, notes, or says how something ended.
func safe(body sluice.Body) bool {
	switch b := body.(type) {
	case sluice.TaskFinished:
		return b.By == "" // a skip opens stages
	case sluice.TaskStep, sluice.BalancerChanged, sluice.TaskWithdrawn, sluice.JobStarted, sluice.JobHalting, sluice.JobHalted, sluice.JobCancelling,
		sluice.JobFinished, sluice.AccessNoted, sluice.LogRepaired:
		return true
	}
	return false
}

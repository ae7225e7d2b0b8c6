package fold

import (
	"context"
	"slices"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// views is how many jobs of a namespace are kept as people look at them: of ten thousand hosts one takes some megabytes.
const views = 8

// Job calls f with the view of a job at the head of the log; nil if there is no such job. Who asks again costs what has
// happened since, not what the job is long. f must not keep or change it, and must be quick: others wait.
func (l *Live) Job(ctx context.Context, ns sluice.Namespace, id sluice.JobID, f func(*view.Job) error) error {
	sp := l.space(ns)
	var seen uint64
	err := l.Look(ctx, ns, func(s *schedule.State) error {
		if v := sp.view(id); v != nil {
			return f(v)
		}
		seen = s.Seq()
		return errUnseen
	})
	if err != errUnseen {
		return err
	}
	// Not in the turn: a long job takes a while to read, and others need not wait for it.
	events, err := l.log.ReadJob(ctx, ns, id)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return f(nil)
	}
	v := view.Fold(events) // with all up to seen, and perhaps more
	return l.Look(ctx, ns, func(s *schedule.State) error {
		if known := sp.view(id); known != nil {
			return f(known) // somebody was quicker
		}
		if err := l.bridge(ctx, ns, v, max(v.Seq, seen), s.Seq()); err != nil {
			return err
		}
		sp.keep(id, v)
		return f(v)
	})
}

// errUnseen says that the view of a job has to be made.
var errUnseen = &sluice.Error{Text: "the job was not looked at yet"}

// bridge applies to a view what came after one event, up to another.
func (l *Live) bridge(ctx context.Context, ns sluice.Namespace, v *view.Job, from, to uint64) error {
	for at := from; at < to; {
		events, err := l.log.Read(ctx, ns, at, page)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			if at = e.Seq; e.Job == v.ID && e.Seq <= to {
				v.Apply(e)
			}
		}
	}
	return nil
}

// view is what is kept of a job, and makes it the one that was asked for last.
func (sp *space) view(id sluice.JobID) *view.Job {
	at := slices.IndexFunc(sp.views, func(v *view.Job) bool { return v.ID == id })
	if at < 0 {
		return nil
	}
	v := sp.views[at]
	copy(sp.views[1:at+1], sp.views[:at])
	sp.views[0] = v
	return v
}

// keep keeps a view, in place of the one that was not asked for longest.
func (sp *space) keep(id sluice.JobID, v *view.Job) {
	if v.ID != id { // it does not begin as a job does: nobody could find it again
		return
	}
	sp.views = slices.Insert(sp.views, 0, v)
	sp.views = sp.views[:min(len(sp.views), views)]
}

// show applies an event to the views that are kept.
func (sp *space) show(e sluice.Event) {
	for _, v := range sp.views {
		if v.ID == e.Job && e.Seq > v.Seq {
			v.Apply(e)
		}
	}
}

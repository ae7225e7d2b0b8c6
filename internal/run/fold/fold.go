// Package fold reads the log of a namespace into a state to decide on. Where the log keeps snapshots, it begins with the
// newest one that fits, and leaves a new one behind when there was much to read.
//
// It knows ports only. A snapshot changes how long the reading takes and nothing else: one that cannot be used is passed
// over without a word, and so is a place that takes none.
package fold

import (
	"context"
	"slices"

	"sluice"
	"sluice/internal/core/schedule"
)

const (
	page = 10000
	// every is how many events are read again and again before a snapshot spares that: some tens of milliseconds.
	every = 5000
)

// Namespace folds the log of a namespace up to its head.
func Namespace(ctx context.Context, log sluice.Log, ns sluice.Namespace) (*schedule.State, error) {
	state, _, err := Job(ctx, log, ns, "")
	return state, err
}

// Job is Namespace for somebody who needs the events of a job, too: all of them up to the state's, in order. With an
// error it returns what could be read.
func Job(ctx context.Context, log sluice.Log, ns sluice.Namespace, id sluice.JobID) (*schedule.State, []sluice.Event, error) {
	shots, _ := log.(sluice.Snapshots)
	state := begin(ctx, shots, ns)
	from := state.Seq()
	events, err := follow(ctx, log, ns, id, state)
	if err != nil && from > 0 && ctx.Err() == nil { // whatever it is, the log has the last word
		state, from = schedule.New(), 0
		events, err = follow(ctx, log, ns, id, state)
	}
	if err == nil && shots != nil && state.Seq()-from >= every {
		keep(ctx, shots, ns, state)
	}
	return state, events, err
}

// begin returns the state of the newest snapshot that can be used, or that of an empty log.
func begin(ctx context.Context, shots sluice.Snapshots, ns sluice.Namespace) *schedule.State {
	if shots == nil {
		return schedule.New()
	}
	seq, data, err := shots.Snapshot(ctx, ns)
	if err != nil || seq == 0 {
		return schedule.New()
	}
	state, err := schedule.Restore(data)
	if err != nil || state.Seq() != seq {
		return schedule.New()
	}
	return state
}

// keep leaves a snapshot for the next fold. It is no loss if that does not work.
func keep(ctx context.Context, shots sluice.Snapshots, ns sluice.Namespace, state *schedule.State) {
	if data, err := state.Snapshot(); err == nil {
		_ = shots.SaveSnapshot(ctx, ns, state.Seq(), data)
	}
}

// follow reads what comes after a state. It returns the events of the job, from the first on.
func follow(ctx context.Context, log sluice.Log, ns sluice.Namespace, id sluice.JobID, state *schedule.State) (of []sluice.Event, err error) {
	if from := state.Seq(); id != "" && from > 0 {
		if of, err = log.ReadJob(ctx, ns, id); err != nil {
			return nil, err
		}
		of = slices.DeleteFunc(of, func(e sluice.Event) bool { return e.Seq > from })
	}
	for {
		events, err := log.Read(ctx, ns, state.Seq(), page)
		if err != nil || len(events) == 0 {
			return of, err
		}
		for _, e := range events {
			if err := state.Apply(e); err != nil {
				return of, unreadable(err)
			}
			if id != "" && e.Job == id {
				of = append(of, e)
			}
		}
	}
}

func unreadable(err error) error {
	return &sluice.Error{Code: sluice.Contact, Text: "the journal cannot be read", Err: err}
}

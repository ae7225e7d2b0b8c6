package fold

import (
	"context"

	"sluice"
)

// Warm keeps snapshots near the end of a log to which others append, for a process that may have to take over from them: it then reads
// little. It is used by one goroutine.
type Warm struct {
	log  sluice.Log
	upTo map[sluice.Namespace]uint64 // what a snapshot is not worth being made anew for
}

// NewWarm makes a Warm for a log, which keeps snapshots.
func NewWarm(log sluice.Log) *Warm { return &Warm{log, map[sluice.Namespace]uint64{}} }

// Look makes a snapshot of each namespace that has grown enough since the last one.
func (w *Warm) Look(ctx context.Context, ends []sluice.Head) error {
	for _, end := range ends {
		if end.Namespace.Reserved() || end.Seq < w.upTo[end.Namespace]+every {
			continue
		}
		state, err := Namespace(ctx, w.log, end.Namespace)
		if err != nil {
			return err
		}
		w.upTo[end.Namespace] = state.Seq()
	}
	return nil
}

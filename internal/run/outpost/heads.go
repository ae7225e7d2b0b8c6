package outpost

import (
	"context"
	"fmt"
	"slices"

	"sluice"
	"sluice/internal/core/witness"
)

// remember reads the heads that the server has shown to an earlier process.
func (o *Outpost) remember() {
	if o.cfg.Witness == nil {
		return
	}
	var err error
	if o.seen, err = o.cfg.Witness.Seen(); err != nil {
		o.cfg.Notice(fmt.Sprintf("what this worker has seen of the server's log is lost: %v", err))
	}
	o.kept = o.seen
}

// see takes heads in that the server shows. What goes back behind those that it has shown before is no news: those are the
// evidence.
func (o *Outpost) see(heads []sluice.SeenHead) {
	o.mu.Lock()
	bad := witness.Regressed(o.seen, heads)
	if len(bad) == 0 {
		o.seen = witness.Newer(o.seen, heads)
	}
	o.mu.Unlock()
	if len(bad) > 0 {
		o.cfg.Notice(fmt.Sprintf("the server has lost part of its log: it has shown event %d of the namespace %s, and now it does not have it; tell its administrator",
			bad[0].Seq, bad[0].Namespace))
	}
}

// keepHeads writes what was seen to the disk, until ctx ends.
func (o *Outpost) keepHeads(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		o.mu.Lock()
		seen := o.seen
		o.mu.Unlock()
		if o.cfg.Witness == nil || slices.Equal(seen, o.kept) {
			continue
		}
		if err := o.cfg.Witness.SetSeen(seen); err != nil {
			o.cfg.Notice(fmt.Sprintf("what this worker has seen of the server's log cannot be kept: %v", err))
			continue
		}
		o.kept = seen
	}
}

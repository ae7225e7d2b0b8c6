package outpost

import (
	"fmt"
	"time"

	"sluice"
	"sluice/internal/core/crew"
)

// served is by whom a line is served, as far as that was said.
type served struct {
	term  *sluice.SeenTerm // nil: nothing has come yet
	spoke bool             // it knows of terms
}

// serves looks at who says a message, before anything of it is done: whoever does not own the log any more has no say.
func (o *Outpost) serves(by *served, m sluice.ToWorker) error {
	var says *sluice.SeenTerm
	switch {
	case m.Owner != nil:
		says, by.spoke = &m.Owner.Term, true
	case by.term == nil: // a server from before there were terms
	case m.Lease != nil && by.spoke:
		says = &m.Lease.Term
	default:
		return nil
	}
	now, err := crew.Served(o.highest, by.term, says)
	if err != nil {
		return err
	}
	if now != o.highest && o.cfg.Terms != nil {
		if err := o.cfg.Terms.SetTerm(now); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: fmt.Sprintf("that the log is owned in %s cannot be kept, so nothing is done of what its owner says", now), Err: err}
		}
	}
	o.mu.Lock()
	o.highest = now
	o.mu.Unlock()
	by.term = &now
	return nil
}

// hearing is how long a server that is not followed may take to hear so.
const hearing = 200 * time.Millisecond

// hearOut leaves a server that is not followed the time to judge what this worker has seen, which it handed back with its hello: else it
// might not learn that it is the one that is wrong. Nothing is done of what it says.
func hearOut(line Line) {
	t := time.AfterFunc(hearing, line.Close)
	defer t.Stop()
	for {
		if _, err := line.Receive(); err != nil {
			return
		}
	}
}

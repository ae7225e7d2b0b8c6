package crew

import "sluice"

// Served is what a worker makes of what somebody says who serves it, or wants to: highest is the highest term that it has seen anywhere,
// before the one of its line so far, nil where the line begins, and says the one that is said now, nil by a server from before there were
// terms. It returns the highest from now on, which must be durable before anything is done that is said on the line, or why nothing of that
// may be done: somebody else owns the log by now, or may.
func Served(highest sluice.SeenTerm, before, says *sluice.SeenTerm) (sluice.SeenTerm, error) {
	now := sluice.SeenTerm{Epoch: highest.Epoch} // nothing is known of its epoch, and it is in no cluster
	if says != nil {
		now = *says
	}
	if before != nil && now.Term != before.Term {
		return highest, sluice.Errorf(sluice.Contact, "the server began to speak of term %d on a line of term %d", now.Term, before.Term)
	}
	if now.Before(highest) {
		return highest, sluice.Errorf(sluice.Contact, "the server does not own the log any more: it is in %s, and this worker has seen %s", now, highest)
	}
	return now, nil
}

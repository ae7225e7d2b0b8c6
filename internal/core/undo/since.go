package undo

import (
	"cmp"
	"fmt"

	"sluice"
	"sluice/internal/core/live"
)

// ChangedSince says what has made a host another than a deploy left it; "" for nothing, as far as that is on record. origin is the last
// job that deployed what is live there, "" where none on record did. A host that was brought back to what the deploy had left is as it
// was: so one goes back deploy by deploy.
//
// [schedule.State.TouchedSince] is stricter, and is asked where nobody looks: where a later job has tried anything, somebody is at work.
func ChangedSince(id sluice.JobID, s live.State, origin sluice.JobID) string {
	switch version := cmp.Or(s.Live.Version, "nothing"); {
	case s.Known && (s.Job == id || origin == id && !s.Changed): // perhaps it was brought back to that
		return ""
	case !s.Known && s.Last == id: // that its own end is not known is another matter
		return ""
	case !s.Known:
		return fmt.Sprintf("%s (job %s)", s.Why, s.Last)
	case s.Changed:
		return fmt.Sprintf("%s was made live by hand", version)
	case s.Job == "":
		return fmt.Sprintf("%s is live, and it is not on record by whom", version)
	default:
		return fmt.Sprintf("job %s of %s made %s live", s.Job, s.By, version)
	}
}

// Look is the look that the rollback of a deploy is made from. The deploy itself may go on meanwhile: what its hosts had before stays
// the same.
func Look(id sluice.JobID, until uint64) *sluice.Look {
	if until == 0 { // whoever was asked does not say it
		return nil
	}
	return &sluice.Look{Until: until, Own: []sluice.JobID{id}, Again: "sluice rollback " + string(id)}
}

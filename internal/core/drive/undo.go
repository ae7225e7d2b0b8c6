package drive

import (
	"slices"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/undo"
)

// listen keeps what has to be known of a job for it to be undone or validated: what it deployed, who resumed it, what its hosts said.
// Others need none of it.
func (m *Machine) listen(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.JobSubmitted:
		m.undone, m.checked = b.Submitted.Action.UndoneOnFailure(), b.Submitted.Action.Validation() != nil
		if m.undone || m.checked || m.of != "" {
			m.said = append(m.said, e)
		}
	case sluice.JobResumed, sluice.TaskFinished:
		if m.undone || m.checked || m.of != "" {
			m.said = append(m.said, e)
		}
	}
}

// undo makes the job that brings the hosts of a deploy back, in the very step in which the deploy ends badly: whoever reads of the
// end reads of that job, too, whatever is killed in between, and nothing that waits for the lock of the deploy gets it before. One
// that was halted is over by that.
func (t *turn) undo(tail []sluice.Event) {
	ended := func(e sluice.Event) bool {
		switch b := e.Body.(type) {
		case sluice.JobFinished:
			return e.Job == t.cfg.Job && b.Reason == "" // else it started nothing
		case sluice.JobHalted:
			return e.Job == t.cfg.Job
		}
		return false
	}
	if !t.undone || !slices.ContainsFunc(t.out.Events, ended) {
		return
	}
	info, _ := t.state.Job(t.cfg.Job)
	due, why := undo.Due(info)
	var back *sluice.Job
	if due {
		back, why = undo.Make(t.state, info, t.past(tail))
	}
	switch {
	case back == nil && why != "":
		t.notice("job %s is not rolled back: %s", t.cfg.Job, why)
	case back != nil && why != "":
		t.notice("job %s does not bring all hosts back: %s", back.ID, why)
	}
	if back == nil {
		return
	}
	t.close(info, back.ID)
	t.addTo(back.ID, sluice.JobSubmitted{Submitted: *back})
}

// close has the end of the job name the one that undoes it.
func (t *turn) close(info schedule.Info, by sluice.JobID) {
	if info.State == schedule.Halted {
		end, _ := t.state.Cancelled(t.cfg.Job) // nothing of it runs; what has not started never will
		end.Outcome, end.Undo = sluice.Failed, by
		t.add(end)
		return
	}
	t.amend(func(end *sluice.JobFinished) { end.Undo = by })
}

// amend changes the end of the job that is about to be written.
func (t *turn) amend(how func(*sluice.JobFinished)) {
	for i := range t.out.Events {
		if end, is := t.out.Events[i].Body.(sluice.JobFinished); is && t.out.Events[i].Job == t.cfg.Job {
			how(&end)
			t.out.Events[i].Body = end
		}
	}
}

// past is what was kept of the job, to the very end of this step.
func (t *turn) past(tail []sluice.Event) []sluice.Event {
	return slices.Concat(t.said, kept(tail, t.ours), kept(t.out.Events, t.ours))
}

func kept(events []sluice.Event, which func(sluice.Event) bool) (out []sluice.Event) {
	for _, e := range events {
		if which(e) {
			out = append(out, e)
		}
	}
	return out
}

package drive

import (
	"slices"

	"sluice"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/core/undo"
	"sluice/internal/core/validate"
)

// Needs is the job of which a machine must know the events, too: the deploy that a job validates, where its failure takes that back.
// It is "" for all others.
func Needs(s *schedule.State, id sluice.JobID) sluice.JobID {
	i, ok := s.Job(id)
	if !ok || i.Spec.Action.Validates == nil || i.Spec.Action.Validates.OnFailure != sluice.FailureRollsBack {
		return ""
	}
	return i.Spec.Action.Validates.Job
}

// validate makes the job that validates a deploy, in the very step in which the deploy succeeds: so there is one, whatever is killed
// in between, and nothing that waits for the lock of the deploy changes what is validated.
func (t *turn) validate(tail []sluice.Event) {
	if !t.checked || !t.finishes() {
		return
	}
	info, _ := t.state.Job(t.cfg.Job)
	due, why := validate.Due(info)
	if !due {
		t.notice("job %s is not validated: %s", t.cfg.Job, why)
		return
	}
	j := validate.Make(info, resumedBy(t.past(tail)))
	if _, there := t.state.Job(j.ID); there {
		return
	}
	t.amend(func(end *sluice.JobFinished) { end.Validation = j.ID })
	t.addTo(j.ID, sluice.JobSubmitted{Submitted: *j})
}

// undoValidated makes the job that takes a deploy back, in the step in which its validation fails, where the app says so.
func (t *turn) undoValidated(tail []sluice.Event) {
	if t.of == "" || !t.finishes() {
		return
	}
	info, _ := t.state.Job(t.cfg.Job)
	past := t.past(tail)
	if !validate.RollsBack(info, validate.Of(past)) {
		if info.State == schedule.Failed {
			t.notice("job %s is not rolled back: its validation could not be run", t.of)
		}
		return
	}
	deployed := slices.Concat(t.deployed, kept(tail, func(e sluice.Event) bool { return e.Job == t.of }))
	back, why := undoOf(t.state, t.of, deployed)
	switch {
	case back == nil:
		t.notice("job %s is not rolled back: %s", t.of, why)
		return
	case why != "":
		t.notice("job %s does not bring all hosts back: %s", back.ID, why)
	}
	back.By, back.Token = info.Spec.By, info.Spec.Token
	if by := resumedBy(past); by != "" && by != back.By {
		back.By, back.Token = by, ""
	}
	back.Command = release.Told(sluice.RollBack, back.Action.Release) + ", because job " + string(t.cfg.Job) + " failed, which validated job " + string(t.of)
	t.amend(func(end *sluice.JobFinished) { end.Undo = back.ID })
	t.addTo(back.ID, sluice.JobSubmitted{Submitted: *back})
}

// undoOf is the job that takes a deploy back that had succeeded; past are its events.
func undoOf(s *schedule.State, id sluice.JobID, past []sluice.Event) (back *sluice.Job, why string) {
	of, ok := s.Job(id)
	if !ok || of.State != schedule.Succeeded {
		return nil, "it has been opened again"
	}
	if _, there := s.Job(undo.ID(id, of.Generation)); there {
		return nil, "job " + string(undo.ID(id, of.Generation)) + " has done that before"
	}
	for _, e := range past {
		if b, is := e.Body.(sluice.JobSubmitted); is {
			b.Submitted.ID = id
			of.Spec = &b.Submitted // what the state has of a job that is over lacks its plan
		}
	}
	return undo.Make(s, of, past)
}

func (t *turn) ours(e sluice.Event) bool { return e.Job == t.cfg.Job }

// finishes reports whether the job ends in this step.
func (t *turn) finishes() bool {
	return slices.ContainsFunc(t.out.Events, func(e sluice.Event) bool {
		_, is := e.Body.(sluice.JobFinished)
		return is && t.ours(e)
	})
}

// resumedBy is who resumed a job last; "" for nobody.
func resumedBy(events []sluice.Event) (by string) {
	for _, e := range events {
		if b, is := e.Body.(sluice.JobResumed); is {
			by = b.By
		}
	}
	return by
}

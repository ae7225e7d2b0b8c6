// Package undo decides whether what a deploy changed is brought back without being told to (on_failure: rollback), why not, and by
// which job: the same one whoever asks, so that there is never a second one.
//
// It is values in and values out: whoever drives the deploy appends that job in the very step that ends the deploy, so that nothing
// can come between the two.
package undo

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
)

// Due reports whether a job ended in a way after which its hosts are to be brought back, and if it did not, why. The reason is ""
// where nobody asked for it, or where the job goes on or did well.
func Due(i schedule.Info) (due bool, why string) {
	if !i.Spec.Action.UndoneOnFailure() {
		return false, ""
	}
	switch {
	case i.State == schedule.Failed && i.Failures == 0:
		return false, "no host of it has failed: the one was retired that was to run what runs once after all others"
	case i.State == schedule.Failed:
		return true, ""
	case i.State == schedule.Cancelled:
		return false, "it was cancelled, and what becomes of its hosts is for a person to decide"
	case i.State != schedule.Halted || i.Halted == nil:
		return false, ""
	}
	switch i.Halted.Rule {
	case sluice.RuleBudget, sluice.RuleAuth, sluice.RuleJobTimeout:
		return true, ""
	case sluice.RuleOperator:
		return false, "a person halted it, and what becomes of its hosts is for them to decide"
	case sluice.RuleHeld:
		return false, "somebody holds a host of it, and so is at work there"
	case sluice.RuleSecrets:
		return false, "its secrets are gone, and a rollback would need them, too"
	case sluice.RuleRights:
		return false, "who it was carried out for has no right to it any more, and so none to a rollback"
	}
	if i.Failures == 0 {
		return false, "no host of it has failed; it only could not go on"
	}
	return true, ""
}

// Make is the job that brings the hosts of a deploy back, and says which hosts are left out; nil where there is nothing to bring back.
// The state is that of the log in which the deploy has just ended, past are the deploy's own events.
func Make(s *schedule.State, i schedule.Info, past []sluice.Event) (job *sluice.Job, left string) {
	w := WaysBack(past)
	for h := range back(w) {
		if s.TouchedSince(i.Spec.ID, h) { // stricter than ChangedSince: see there
			w.Leave(h)
		}
	}
	slices.Sort(w.Others)
	if len(w.To) == 0 {
		return nil, w.Nothing()
	}
	to := back(w)
	j := *i.Spec
	j.ID = ID(i.Spec.ID, i.Generation)
	j.Look = nil                    // it goes by what that job did, whatever that was made from
	if w.By != "" && w.By != j.By { // whoever resumes a job takes it over
		j.By, j.Token = w.By, ""
	}
	rel := Release(*i.Spec.Action.Release, to)
	j.Action = sluice.Action{Kind: sluice.RollBack, Release: rel, Back: to, Undoes: i.Spec.ID}
	j.Command = release.Told(sluice.RollBack, rel) + ", because job " + string(i.Spec.ID) + " failed"
	in := func(h sluice.Host) bool { _, is := to[h]; return is }
	j.Targets, j.Tracks, j.HostSSH = only(i.Spec.Targets, in), nil, nil
	j.Expression = fleet.Fold(j.Targets)
	for _, t := range i.Spec.Tracks {
		if t.Stages = stages(t.Stages, in); len(t.Stages) > 0 {
			j.Tracks = append(j.Tracks, t)
		}
	}
	for _, h := range j.Targets {
		if ssh, own := i.Spec.HostSSH[h]; own {
			if j.HostSSH == nil {
				j.HostSSH = map[sluice.Host]sluice.SSH{}
			}
			j.HostSSH[h] = ssh
		}
	}
	// The budget and the time limit were those of the change. Constraints, order and widths hold for the way back, too.
	j.Options.MaxFailures, j.Options.JobTimeout, j.Options.Supersede = nil, 0, false
	return &j, strings.Join(w.Left(), "; ")
}

// Why says why hosts of a deploy that ended badly are not brought back, though they were to be; "" where all are, or where nobody has
// asked for it. events are its own.
func Why(i schedule.Info, events []sluice.Event) string {
	due, why := Due(i)
	if !due {
		return why
	}
	w := WaysBack(events)
	if Undone(events) == "" && len(w.To) > 0 {
		return "another job has been at work on its hosts since, or it was known too late what they have"
	}
	if Undone(events) == "" {
		return w.Nothing()
	}
	return strings.Join(w.Left(), "; ")
}

// Undone is the job that brings the hosts of a deploy back, as its events say; "" for none.
func Undone(events []sluice.Event) (by sluice.JobID) {
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.JobFinished:
			by = b.Undo
		case sluice.JobResumed:
			by = ""
		}
	}
	return by
}

// back is what each host goes back to, or is shown to be well with.
func back(w *Ways) map[sluice.Host]sluice.Installed {
	out := maps.Clone(w.Stay)
	maps.Copy(out, w.To)
	return out
}

// stages are those with a host that is meant, in their order. Nobody is waited for: pauses and approvals are for what is new.
func stages(all []sluice.Stage, in func(sluice.Host) bool) (out []sluice.Stage) {
	for _, st := range all {
		st.Hosts, st.Gate = only(st.Hosts, in), sluice.Gate{}
		if len(st.Hosts) > 0 {
			out = append(out, st)
		}
	}
	return out
}

func only(hosts []sluice.Host, in func(sluice.Host) bool) []sluice.Host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h sluice.Host) bool { return !in(h) })
}

// ID is the id of the job that undoes another one, which ended in this generation. It is made of the two alone.
func ID(of sluice.JobID, generation int) sluice.JobID {
	sum := sha256.Sum256(fmt.Appendf(nil, "sluice undo 1\x00%s\x00%d", of, generation))
	id := make([]byte, sluice.JobIDLength)
	for i := range id {
		id[i] = sluice.JobIDAlphabet[int(sum[i])%len(sluice.JobIDAlphabet)]
	}
	return sluice.JobID(id)
}

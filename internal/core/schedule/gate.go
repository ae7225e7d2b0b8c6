package schedule

import (
	"time"

	"sluice"
)

// openStages opens the stages of a job whose turn it is, and their gates.
func (d *decision) openStages(j *job) {
	for i := range j.tracks {
		tr := &j.tracks[i]
		for k := range tr.stages {
			st := &tr.stages[k]
			if st.opened {
				continue
			}
			if !tr.doneBefore(k) || k > 0 && !d.passGate(j, tr, k-1) {
				break
			}
			d.emit(j, sluice.StageOpened{Track: tr.name, Stage: st.name, Index: k})
			d.build(j)
		}
		j.advance(d.State, tr.name)
	}
}

// tryOpen opens, for a while, the stages that the driver of the job is about to open.
func (d *decision) tryOpen(j *job) {
	before := len(d.opened)
	for i := range j.tracks {
		tr := &j.tracks[i]
		for k := range tr.stages {
			st := &tr.stages[k]
			if st.opened {
				continue
			}
			if !tr.doneBefore(k) || k > 0 && !tr.stages[k-1].gatePassed(d.in.Now) {
				break
			}
			st.opened = true
			d.opened = append(d.opened, st)
		}
		j.advance(d.State, tr.name)
	}
	if len(d.opened) > before {
		d.shut = append(d.shut, j)
	}
}

// gatePassed reports whether the gate behind a stage holds nobody back.
func (st *stage) gatePassed(now time.Time) bool {
	pausing := st.gate.Pause > 0 && !st.paused && (st.pauseTill.IsZero() || now.Before(st.pauseTill))
	return !pausing && (!st.gate.Approve || st.approved)
}

// doneBefore reports whether all stages before number k are done: every task has succeeded or was skipped, but
// for as many as their entry lets fail.
func (t *track) doneBefore(k int) bool {
	failed, entry := 0, -1
	for i := range t.stages[:k] {
		st := &t.stages[i]
		if st.entry != entry {
			failed, entry = 0, st.entry
		}
		failed += st.failed
		if st.unsettled > 0 || failed > st.limit {
			return false
		}
	}
	return true
}

// passGate reports whether the gate behind a stage lets the track go on, and records what it waits for.
func (d *decision) passGate(j *job, tr *track, k int) bool {
	st := &tr.stages[k]
	if st.gate.Pause > 0 && !st.paused {
		if st.pauseTill.IsZero() {
			d.emit(j, sluice.GateWaiting{Track: tr.name, Stage: st.name, Index: k, Kind: sluice.GatePause,
				Until: d.in.Now.Add(st.gate.Pause)})
		}
		if d.in.Now.Before(st.pauseTill) {
			return false
		}
		d.emit(j, sluice.GatePassed{Track: tr.name, Stage: st.name, Index: k, Kind: sluice.GatePause})
	}
	if st.gate.Approve && !st.approved {
		if !st.asked {
			d.emit(j, sluice.GateWaiting{Track: tr.name, Stage: st.name, Index: k, Kind: sluice.GateApproval})
		}
		return false
	}
	return true
}

// atGate returns the gate that holds a track back, if one does: the stages before it are done.
func (t *track) atGate() (k int, kind sluice.GateKind, ok bool) {
	for k := 1; k < len(t.stages); k++ {
		if t.stages[k].opened {
			continue
		}
		st := &t.stages[k-1]
		switch {
		case !t.doneBefore(k):
			return 0, "", false
		case st.gate.Pause > 0 && !st.paused:
			return k - 1, sluice.GatePause, true
		case st.gate.Approve && !st.approved:
			return k - 1, sluice.GateApproval, true
		}
		return 0, "", false
	}
	return 0, "", false
}

// advance makes the tasks of stages ready that are open and whose turn it is.
func (j *job) advance(s *State, name string) {
	for i := range j.tracks {
		tr := &j.tracks[i]
		if tr.name != name {
			continue
		}
		for tr.reach < len(tr.stages) && tr.stages[tr.reach].opened && tr.doneBefore(tr.reach) {
			st := &tr.stages[tr.reach]
			tr.reach++
			for _, t := range st.tasks {
				if t.closed--; t.closed == 0 {
					s.enqueue(t)
				}
			}
		}
	}
}

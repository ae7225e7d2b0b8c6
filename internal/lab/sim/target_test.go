package sim

import (
	"time"

	"sluice"
	"sluice/internal/core/target"
	"sluice/internal/lab/invariant"
)

// host is a target that keeps the protocol of internal/core/target: the gate of an attempt is taken once, by a start or by
// who proves that there was none; the record of the end stays until its outcome is durable.
type host struct {
	party
	w    *world
	host sluice.Host
	born int // lives so far
	dirs map[sluice.AttemptID]*dir
	full bool
}

// dir is what an attempt left on the disk.
type dir struct {
	gate   string // "started" or "revoked"
	born   int    // the host's life in which it was started
	alive  bool
	record *target.Record
}

func newHost(w *world, name sluice.Host) *host {
	t := &host{w: w, host: name, dirs: map[sluice.AttemptID]*dir{}}
	t.name = string(name)
	t.boot = func() { t.born++ }
	t.crash = t.powerCut
	return t
}

// powerCut ends what runs; nothing writes a record of that.
func (t *host) powerCut() {
	for _, id := range sortedKeys(t.dirs) {
		d := t.dirs[id]
		t.w.saw("target", d.state(t), "power cut")
		if d.alive {
			d.alive = false
			t.w.mark(t, invariant.Cut, id, 0)
		}
	}
}

// state is where an attempt stands on the host.
func (d *dir) state(t *host) string {
	switch {
	case d == nil:
		return "nothing"
	case d.gate == "revoked":
		return "revoked"
	case d.record != nil:
		return "record"
	case d.alive:
		return "runs"
	case d.born != t.born:
		return "rebooted"
	}
	return "lost"
}

// reply is what a worker gets to see.
type reply struct {
	sight  target.Sight
	runs   bool // no more to see yet
	record target.Record
}

// run starts an attempt, or says how it stands. A worker that is not to start anything takes the gate itself.
func (t *host) run(id sluice.AttemptID, settle bool, kill string) reply {
	w, d := t.w, t.dirs[id]
	ask := "start"
	if settle {
		ask = "settle"
	}
	w.saw("target", d.state(t), ask)
	if d != nil && w.bug == "the gate is not looked at" && !settle && d.gate == "started" && d.record != nil {
		d = nil
	}
	if d == nil {
		switch {
		case settle && w.bug == "settling takes no gate":
			return reply{sight: target.SawRevoked}
		case settle || kill != "":
			t.dirs[id] = &dir{gate: "revoked"}
			return reply{sight: target.SawRevoked}
		case t.full:
			return reply{sight: target.SawRefusal}
		}
		t.start(id)
		return reply{runs: true}
	}
	if kill != "" && d.alive {
		w.saw("target", d.state(t), "kill")
		t.end(id, d, &target.Record{Kill: kill})
	}
	switch d.state(t) {
	case "revoked":
		return reply{sight: target.SawRevoked}
	case "record":
		return reply{sight: target.SawRecord, record: *d.record}
	case "runs":
		return reply{runs: true}
	case "rebooted":
		return reply{sight: target.SawReboot}
	}
	return reply{sight: target.SawLost}
}

func (t *host) start(id sluice.AttemptID) {
	d := &dir{gate: "started", born: t.born, alive: true}
	t.dirs[id] = d
	t.w.mark(t, invariant.Started, id, 0)
	took := t.w.span(2 * time.Minute)
	if t.w.chance(0.4) {
		took = t.w.span(3 * time.Second)
	}
	code := 0
	if t.w.chance(0.2) {
		code = 1
	}
	if t.w.chance(0.02) {
		t.w.after(&t.party, t.w.span(took), "supervisor is killed", func() {
			t.w.saw("target", d.state(t), "orphan")
			if d.alive {
				d.alive = false
				t.w.mark(t, invariant.Orphaned, id, 0)
			}
		})
	}
	t.w.after(&t.party, took, "command ends", func() {
		if d.alive {
			t.w.saw("target", d.state(t), "end")
			t.end(id, d, &target.Record{Code: code, HasCode: true})
		}
	})
}

func (t *host) end(id sluice.AttemptID, d *dir, r *target.Record) {
	d.alive, d.record = false, r
	if r.Kill != "" {
		t.w.mark(t, invariant.Killed, id, 0)
	} else {
		t.w.mark(t, invariant.Ended, id, r.Code)
	}
}

// clean removes what an attempt left, once its outcome is durable.
func (t *host) clean(id sluice.AttemptID) {
	d := t.dirs[id]
	t.w.saw("target", d.state(t), "clean")
	if d != nil && !d.alive {
		delete(t.dirs, id)
	}
}

package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sluice"
)

// A snapshot is a state in bytes, from which a fold goes on instead of beginning anew. It holds what events said and
// leaves out what follows from that: counts and queues are made again.
//
// A job that is over is most of what a long log is about, and the least that anybody asks for. It is a few bytes: what
// is the same for many jobs stands once for all of them, hosts are numbers, and what went the same way on neighbours is
// written once. It stays in this form until somebody asks for its tasks or an event changes it.

// Form is the version of snapshots. It is raised with every change of what is written here, and of what the fold makes
// of events: a snapshot of another form is of no use.
const Form = 3

const magic = "sluice state\n"

// Snapshot returns the state in bytes.
func (s *State) Snapshot() ([]byte, error) {
	var jobs writer
	jobs.uint(len(s.jobs))
	for _, j := range s.jobs { // first, as they fill the tables
		if err := s.writeJob(&jobs, j); err != nil {
			return nil, fmt.Errorf("packing job %s: %w", j.id(), err)
		}
	}
	w := writer{b: make([]byte, 0, len(jobs.b)+64*len(s.hosts)+1<<12)}
	w.b = append(w.b, magic...)
	w.uint(Form)
	w.uint(int(s.seq))
	s.tables.specs.write(&w)
	s.tables.ssh.write(&w)
	s.tables.gates.write(&w)
	w.uint(len(s.hosts))
	for i := range s.hosts {
		w.host(&s.hosts[i])
	}
	w.spans(s.retired)
	digests := slices.Sorted(maps.Keys(s.rules))
	w.uint(len(digests))
	for _, d := range digests {
		w.text(d)
		w.text(s.rules[d].pack())
	}
	w.text(s.InForce())
	return append(w.b, jobs.b...), nil
}

// What there is of a host beside its name, in the order of the bits.
const (
	hasAttempt = 1 << iota
	hasLast
	hasBad
	hasHeld
	hasRetired
	hasSince
	isUnknown
)

func (w *writer) host(h *host) {
	w.text(string(h.name))
	w.flags(h.attempt != nil, h.last.job != nil, h.bad != nil, h.held != nil, h.retired != nil, !h.since.IsZero(), h.unknown)
	if h.attempt != nil {
		w.ref(h.attempt.ref())
	}
	if h.last.job != nil {
		w.ref(h.last)
	}
	if !h.since.IsZero() {
		w.time(h.since)
	}
	for _, m := range []*mark{h.bad, h.held, h.retired} {
		if m != nil {
			w.text(string(m.job))
			w.text(m.why)
			w.text(m.by)
			w.time(m.since)
			w.text(m.reason)
		}
	}
}

func (w *writer) ref(r taskRef) {
	w.uint(r.job.number)
	w.uint(int(r.order))
}

// pack writes the groups of a ruleset. They never change.
func (r *ruleset) pack() string {
	if r.packed == "" {
		var w writer
		w.uint(len(r.groups))
		for _, g := range r.groups {
			w.text(g.constraint)
			w.text(g.name)
			w.text(g.limit.String())
			w.spans(g.hosts)
		}
		r.packed = string(w.b)
	}
	return r.packed
}

// packed is a job in its small form.
type packed struct {
	base       int // number of the spec, but for what follows
	command    string
	expression string
	shell      bool // the action's shell text is the command
	targets    int
	body       string
	tally      tally // of the outcomes
}

// controls are what was done to a job that still holds.
type controls struct {
	Halting    *sluice.JobHalting    `json:",omitzero"`
	Halted     *sluice.JobHalted     `json:",omitzero"`
	Cancelling *sluice.JobCancelling `json:",omitzero"`
	Look       *sluice.Look          `json:",omitzero"` // stands here, as it differs from job to job
}

func (s *State) writeJob(w *writer, j *job) error {
	p := j.packed
	if p == nil {
		var err error
		if p, err = s.pack(j); err != nil {
			return err
		}
	}
	w.text(string(j.name))
	w.uint(p.base)
	w.flags(p.shell, j.everUp)
	w.text(p.command)
	w.text(p.expression)
	w.time(j.submitted)
	w.time(j.started)
	w.time(j.ended)
	w.int(int64(j.budget))
	w.int(int64(j.generation))
	w.uint(j.refused)
	w.uint(int(j.touched))
	w.outcome(j.finished)
	var text []byte
	if c := (controls{j.halting, j.halted, j.cancelling, j.look}); c != (controls{}) {
		var err error
		if text, err = json.Marshal(c); err != nil {
			return err
		}
	}
	w.text(string(text))
	w.text(p.body)
	return nil
}

func (w *writer) flags(bits ...bool) {
	var c byte
	for i, b := range bits {
		if b {
			c |= 1 << i
		}
	}
	w.byte(c)
}

// pack makes the small form of a job.
func (s *State) pack(j *job) (*packed, error) {
	base := *j.spec
	p := &packed{command: base.Command, expression: base.Expression, shell: base.Action.Shell == base.Command, targets: len(base.Targets)}
	ssh, left, err := s.packSSH(j)
	if err != nil {
		return nil, err
	}
	base.ID, base.Command, base.Expression, base.Targets, base.Tracks, base.HostSSH = "", "", "", nil, nil, left
	base.Trace, base.Look = "", nil // it differs from job to job, and what is packed is over
	if p.shell {
		base.Action.Shell = ""
	}
	if p.base, err = s.tables.specs.number(base); err != nil {
		return nil, err
	}
	var w writer
	hosts := make([]int32, len(j.byTarget))
	for i, t := range j.byTarget {
		hosts[i] = t.host
	}
	w.spans(hosts)
	w.runs(len(ssh), func(i, k int) bool { return ssh[i] == ssh[k] }, func(i int) { w.uint(ssh[i]) })
	if err := s.packTracks(&w, j); err != nil {
		return nil, err
	}
	w.runs(len(j.byTarget), func(i, k int) bool { return j.byTarget[i].result() == j.byTarget[k].result() },
		func(i int) { w.result(j.byTarget[i].result()) })
	for _, t := range j.byTarget {
		if t.phase == running {
			w.flags(t.before.job != nil)
			if t.before.job != nil {
				w.ref(t.before)
			}
		}
	}
	p.body = string(w.b)
	return p, nil
}

// packSSH numbers the settings of targets that have their own: 1 and more by target, 0 for none. What it cannot number
// is left.
func (s *State) packSSH(j *job) (numbers []int, left map[sluice.Host]sluice.SSH, err error) {
	numbers = make([]int, len(j.spec.Targets))
	own := 0
	for i, h := range j.spec.Targets {
		ssh, ok := j.spec.HostSSH[h]
		if !ok {
			continue
		}
		own++
		n, err := s.tables.ssh.number(ssh)
		if err != nil {
			return nil, nil, err
		}
		numbers[i] = n + 1
	}
	if own != len(j.spec.HostSSH) { // some are of hosts that are no targets
		return make([]int, len(numbers)), j.spec.HostSSH, nil
	}
	return numbers, nil, nil
}

func (s *State) packTracks(w *writer, j *job) error {
	w.uint(len(j.tracks))
	for i := range j.tracks {
		tr := &j.tracks[i]
		w.text(tr.name)
		w.uint(len(tr.stages))
		for k := range tr.stages {
			st := &tr.stages[k]
			w.text(st.name)
			w.int(int64(st.entry))
			w.int(int64(st.limit))
			gate, err := s.tables.gates.number(st.gate)
			if err != nil {
				return err
			}
			w.uint(gate)
			w.flags(st.opened, st.paused, st.asked, st.approved, !st.pauseTill.IsZero())
			if !st.pauseTill.IsZero() {
				w.time(st.pauseTill)
			}
			targets := make([]int32, len(st.tasks))
			for n, t := range st.tasks {
				targets[n] = t.target
			}
			w.spans(targets)
		}
	}
	return nil
}

// runs writes n values, each once for all that are like it and follow.
func (w *writer) runs(n int, same func(i, k int) bool, value func(i int)) {
	for i := 0; i < n; {
		end := i + 1
		for end < n && same(i, end) {
			end++
		}
		w.uint(end - i)
		value(i)
		i = end
	}
}

// result is what is known of a task beside its place.
type result struct {
	try              int32
	phase            phase
	stopped, givenUp bool
	outcome          sluice.Outcome
}

func (t *task) result() result { return result{t.try, t.phase, t.stopped, t.givenUp, t.outcome} }

func (w *writer) result(r result) {
	w.uint(int(r.try))
	w.uint(int(r.phase))
	w.flags(r.stopped, r.givenUp)
	w.outcome(r.outcome)
}

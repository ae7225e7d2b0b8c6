package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice"
)

var errSnapshot = errors.New("not a snapshot that this version can have made")

// Restore returns the state that a snapshot was made of. Whatever the bytes are, it returns an error or a state that
// can be used.
func Restore(data []byte) (*State, error) {
	r := &reader{s: string(data)}
	rest, ok := strings.CutPrefix(r.s, magic)
	if !ok {
		return nil, errSnapshot
	}
	r.s = rest
	if form := r.uvarint(); form != Form {
		return nil, fmt.Errorf("a snapshot of form %d, not %d", form, Form)
	}
	s := New()
	s.seq = r.uvarint()
	s.tables.specs.read(r)
	s.tables.ssh.read(r)
	s.tables.gates.read(r)
	refs := s.readHosts(r)
	r.spans(len(s.hosts), len(s.hosts), func(h int32) { s.retired = append(s.retired, h) })
	s.readRules(r)
	force := r.text()
	pins := map[int]bool{}
	for _, ref := range refs {
		if ref.attempt.job >= 0 {
			pins[ref.attempt.job] = true
		}
	}
	s.readJobs(r, pins)
	if r.bad || r.s != "" || !s.resolve(refs) {
		return nil, errSnapshot
	}
	for _, j := range s.jobs {
		if j.finished == "" {
			s.open = append(s.open, j)
			s.watch(j)
		}
	}
	if force != "" {
		if s.force = s.rules[force]; s.force == nil {
			return nil, errSnapshot
		}
		s.use(s.force, +1)
	}
	return s, nil
}

// wireRef names a task whose job may not be read yet.
type wireRef struct{ job, order int }

// hostRefs are the tasks that a host names.
type hostRefs struct{ attempt, last wireRef }

func (s *State) readHosts(r *reader) []hostRefs {
	n := r.count()
	s.hosts = make([]host, n)
	refs := make([]hostRefs, n)
	s.index = make(map[sluice.Host]int32, n)
	for i := range n {
		h := &s.hosts[i]
		h.name = sluice.Host(r.text())
		refs[i] = r.host(h)
		if _, twice := s.index[h.name]; twice || r.bad {
			r.fail()
			return nil
		}
		s.index[h.name] = int32(i)
	}
	return refs
}

func (r *reader) host(h *host) hostRefs {
	refs := hostRefs{attempt: wireRef{-1, 0}, last: wireRef{-1, 0}}
	flags := r.byte()
	h.unknown = flags&isUnknown != 0
	if flags&hasAttempt != 0 {
		refs.attempt = r.ref()
	}
	if flags&hasLast != 0 {
		refs.last = r.ref()
	}
	if flags&hasSince != 0 {
		h.since = r.time()
	}
	for _, m := range []struct {
		bit byte
		at  **mark
	}{{hasBad, &h.bad}, {hasHeld, &h.held}, {hasRetired, &h.retired}} {
		if flags&m.bit != 0 {
			*m.at = &mark{job: sluice.JobID(r.text()), why: r.text(), by: r.text(), since: r.time(), reason: r.text()}
		}
	}
	return refs
}

func (r *reader) ref() wireRef { return wireRef{r.uint(1 << 31), r.uint(1<<31 - 1)} }

// find returns what a ref names; ok is false if there is no such job or task.
func (s *State) find(ref wireRef) (taskRef, bool) {
	if ref.job < 0 {
		return taskRef{}, true
	}
	if ref.job >= len(s.jobs) || ref.order >= s.jobs[ref.job].size() {
		return taskRef{}, false
	}
	return taskRef{s.jobs[ref.job], int32(ref.order)}, true
}

// size is the number of a job's targets.
func (j *job) size() int {
	if j.packed != nil {
		return j.packed.targets
	}
	return len(j.byTarget)
}

// resolve leads hosts to their tasks.
func (s *State) resolve(refs []hostRefs) bool {
	for i := range s.hosts {
		h := &s.hosts[i]
		attempt, ok1 := s.find(refs[i].attempt)
		last, ok2 := s.find(refs[i].last)
		if !ok1 || !ok2 {
			return false
		}
		h.last = last
		if attempt.job != nil {
			h.attempt = attempt.job.tasks[attempt.order]
			if h.attempt.host != int32(i) {
				return false
			}
		}
	}
	return true
}

func (s *State) readRules(r *reader) {
	n := r.count()
	for range n {
		rs := &ruleset{digest: r.text(), packed: r.text()}
		groups := reader{s: rs.packed}
		groups.groups(len(s.hosts), nil)
		if groups.bad || groups.s != "" || rs.digest == "" || s.rules[rs.digest] != nil {
			r.fail()
		}
		if r.bad {
			return
		}
		s.rules[rs.digest] = rs
	}
}

// groups takes the groups of a ruleset, and hands them to visit if that is not nil.
func (r *reader) groups(hosts int, visit func(*group)) {
	n := r.count()
	for range n {
		g := &group{constraint: r.text(), name: r.text()}
		limit, err := sluice.ParseAmount(r.text())
		if err != nil {
			r.fail()
		}
		if r.bad {
			return
		}
		g.limit = limit
		r.spans(hosts, hosts, func(h int32) {
			if visit != nil {
				g.hosts = append(g.hosts, h)
			}
		})
		if visit != nil {
			visit(g)
		}
	}
}

// unpackRules makes the groups of a ruleset that comes from a snapshot.
func (s *State) unpackRules(rs *ruleset) {
	if rs.of != nil || rs.packed == "" {
		return
	}
	r := reader{s: rs.packed}
	r.groups(len(s.hosts), func(g *group) { rs.groups = append(rs.groups, g) })
	s.indexGroups(rs)
}

// readJobs reads all jobs. Those that are over stay packed, but for those with a pin: a host needs one of their tasks.
func (s *State) readJobs(r *reader, pins map[int]bool) {
	n := r.count()
	if r.bad {
		return
	}
	all := make([]job, n)
	s.jobs = make([]*job, n)
	for i := range all {
		s.jobs[i] = &all[i]
	}
	s.byID = make(map[sluice.JobID]*job, n)
	var d details
	var open []*job
	for i := range all {
		j := &all[i]
		*j = job{number: i, dirty: true}
		s.readJob(r, j)
		if r.bad || !j.name.Valid() || s.byID[j.name] != nil || !s.readDetails(&d, j) {
			r.fail()
			return
		}
		s.byID[j.name] = j
		if !d.over(j) || pins[i] {
			open = append(open, j)
		}
	}
	for _, j := range open { // now that all are known that their tasks may name
		s.unpack(j)
	}
}

func (s *State) readJob(r *reader, j *job) {
	p := &packed{}
	j.packed = p
	j.name = sluice.JobID(r.text())
	p.base = r.uint(max(0, len(s.tables.specs.values)-1))
	flags := r.byte()
	p.shell, j.everUp = flags&1 != 0, flags&2 != 0
	p.command, p.expression = r.text(), r.text()
	j.submitted, j.started, j.ended = r.time(), r.time(), r.time()
	j.budget, j.generation = int(r.int()), int(r.int())
	j.refused = r.uint(1 << 31)
	j.touched = r.uvarint()
	j.finished = r.outcome()
	if text := r.text(); text != "" {
		var c controls
		if json.Unmarshal([]byte(text), &c) != nil {
			r.fail()
		}
		j.halting, j.halted, j.cancelling, j.look = c.Halting, c.Halted, c.Cancelling, c.Look
	}
	p.body = r.text()
	if p.base >= len(s.tables.specs.values) {
		r.fail()
		return
	}
	if rules := s.tables.specs.values[p.base].Rules; rules != "" {
		if j.frozen = s.rules[rules]; j.frozen == nil {
			r.fail()
		}
	}
}

// details are what the body of a packed job says. They are used again for the next.
type details struct {
	targets []int32 // hosts
	ssh     []int   // by target
	tracks  []trackDetails
	stages  []stageDetails // of all tracks
	placed  []int32        // targets of all stages
	results []result       // by target
	before  []wireRef      // of those that run, in order of the targets
	seen    map[int32]bool
	marks   []bool
	tally   tally
}

type trackDetails struct {
	name   string
	stages int
}

type stageDetails struct {
	stage
	targets int
}

// readDetails reads the body of a job and reports whether it is sound. It counts what the job counts.
func (s *State) readDetails(d *details, j *job) bool {
	r := &reader{s: j.packed.body}
	*d = details{targets: d.targets[:0], ssh: d.ssh[:0], tracks: d.tracks[:0], stages: d.stages[:0], placed: d.placed[:0],
		results: d.results[:0], before: d.before[:0], marks: d.marks[:0], seen: d.seen}
	n := r.spans(len(s.hosts), len(s.hosts), func(h int32) { d.targets = append(d.targets, h) })
	for left := n; left > 0 && !r.bad; {
		run, v := r.uint(left), r.uint(len(s.tables.ssh.values))
		if run == 0 {
			r.fail()
		}
		left -= run
		for range run {
			d.ssh = append(d.ssh, v)
		}
	}
	s.readTracks(r, d, n)
	for left := n; left > 0 && !r.bad; {
		run, v := r.uint(left), r.result()
		if run == 0 {
			r.fail()
		}
		left -= run
		for range run {
			d.results = append(d.results, v)
		}
		d.tally[codeOf(v.outcome)] += run
	}
	for _, res := range d.results {
		if res.phase == running {
			ref := wireRef{-1, 0}
			if r.byte() != 0 {
				ref = r.ref()
			}
			d.before = append(d.before, ref)
		}
	}
	if r.bad || r.s != "" || n == 0 || !d.sound() {
		return false
	}
	j.packed.targets, j.packed.tally = n, d.tally
	j.running, j.unsettled, j.failures = len(d.before), 0, 0
	for _, res := range d.results {
		if res.phase != settled {
			j.unsettled++
		}
		j.failures += failure(res.outcome)
	}
	return true
}

func (s *State) readTracks(r *reader, d *details, targets int) {
	tracks := r.count()
	for range tracks {
		t := trackDetails{r.text(), r.count()}
		left := targets
		for range t.stages {
			st := stageDetails{stage: stage{name: r.text(), entry: int(r.int()), limit: int(r.int())}}
			gate := r.uvarint()
			if gate >= uint64(len(s.tables.gates.values)) {
				r.fail()
			}
			if r.bad {
				return
			}
			st.gate = s.tables.gates.values[gate]
			flags := r.byte()
			st.opened, st.paused, st.asked, st.approved = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
			if flags&16 != 0 {
				st.pauseTill = r.time()
			}
			st.targets = r.spans(targets, left, func(t int32) { d.placed = append(d.placed, t) })
			left -= st.targets
			d.stages = append(d.stages, st)
		}
		d.tracks = append(d.tracks, t)
	}
}

func (r *reader) result() result {
	res := result{try: int32(r.uint(1 << 30)), phase: phase(r.uint(int(settled)))}
	flags := r.byte()
	res.stopped, res.givenUp = flags&1 != 0, flags&2 != 0
	res.outcome = r.outcome()
	return res
}

// sound reports whether every target is named once and stands in a stage.
func (d *details) sound() bool {
	d.marks = slices.Grow(d.marks, len(d.targets))[:len(d.targets)]
	clear(d.marks)
	left := len(d.targets)
	for _, t := range d.placed {
		if !d.marks[t] {
			d.marks[t] = true
			left--
		}
	}
	if left > 0 {
		return false
	}
	ascending := true
	for i := 1; i < len(d.targets) && ascending; i++ {
		ascending = d.targets[i-1] < d.targets[i]
	}
	if ascending {
		return true
	}
	if d.seen == nil {
		d.seen = map[int32]bool{}
	}
	clear(d.seen)
	for _, h := range d.targets {
		d.seen[h] = true
	}
	return len(d.seen) == len(d.targets)
}

// over reports whether nothing of the job is left to do, so that it may stay packed.
func (d *details) over(j *job) bool {
	return j.finished != "" && j.unsettled == 0 && j.halting == nil && j.halted == nil && j.cancelling == nil && d.tally[len(codes)] == 0
}

// unpack makes a job whole that was read from a snapshot.
func (s *State) unpack(j *job) {
	var d details
	if !s.readDetails(&d, j) {
		panic("schedule: a packed job that was sound cannot be read")
	}
	spec := s.packedSpec(j)
	own := map[sluice.Host]sluice.SSH{}
	for i, n := range d.ssh {
		if n > 0 {
			own[spec.Targets[i]] = s.tables.ssh.values[n-1]
		}
	}
	if len(own) > 0 {
		spec.HostSSH = own
	}
	stages, placed := d.stages, d.placed
	for _, t := range d.tracks {
		track := sluice.Track{Name: t.name, Stages: make([]sluice.Stage, t.stages)}
		for k := range track.Stages {
			st := &stages[k]
			track.Stages[k] = sluice.Stage{Name: st.name, Entry: st.entry, MaxFailures: st.limit, Gate: st.gate}
			if st.targets > 0 { // one without hosts is digested as such, by whoever approves it
				track.Stages[k].Hosts = make([]sluice.Host, st.targets)
			}
			for i, target := range placed[:st.targets] {
				track.Stages[k].Hosts[i] = spec.Targets[target]
			}
			placed = placed[st.targets:]
		}
		stages = stages[t.stages:]
		spec.Tracks = append(spec.Tracks, track)
	}
	j.spec, j.packed = &spec, nil
	s.revive(j, &d)
}

// packedSpec is the spec of a packed job without its tracks and the targets' own SSH settings.
func (s *State) packedSpec(j *job) sluice.Job {
	spec := s.tables.specs.values[j.packed.base]
	spec.ID, spec.Command, spec.Expression, spec.Look = j.name, j.packed.command, j.packed.expression, j.look
	if j.packed.shell {
		spec.Action.Shell = spec.Command
	}
	r := reader{s: j.packed.body}
	spec.Targets = make([]sluice.Host, 0, j.packed.targets)
	r.spans(len(s.hosts), len(s.hosts), func(h int32) { spec.Targets = append(spec.Targets, s.hosts[h].name) })
	return spec
}

// revive makes tracks and tasks from the spec of a job, and puts into them what is known of them.
func (s *State) revive(j *job, d *details) {
	n := len(j.spec.Targets)
	j.byTarget, j.byHost = make([]*task, n), make(map[int32]*task, n)
	if err := s.makeTasks(j); err != nil {
		panic("schedule: a packed job that was sound has no plan: " + err.Error())
	}
	if m := j.spec.Options.MaxParallel; m != nil && !j.readOnly() {
		j.limit = newLimit(*m)
	}
	at := 0
	for i := range j.tracks {
		for k := range j.tracks[i].stages {
			st, from := &j.tracks[i].stages[k], &d.stages[at]
			at++
			st.opened, st.paused, st.asked, st.approved, st.pauseTill = from.opened, from.paused, from.asked, from.approved, from.pauseTill
			st.unsettled = 0
			for _, t := range st.tasks {
				switch r := d.results[t.target]; {
				case r.phase != settled:
					st.unsettled++
				case !r.outcome.Passed():
					st.failed++
				}
			}
		}
	}
	before := d.before
	for i, t := range j.byTarget {
		r := d.results[i]
		t.try, t.phase, t.stopped, t.givenUp, t.outcome = r.try, r.phase, r.stopped, r.givenUp, r.outcome
		if t.phase == running {
			t.before, _ = s.find(before[0])
			before = before[1:]
		}
	}
}

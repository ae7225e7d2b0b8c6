package schedule_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/core/schedule"
)

// world is a namespace in which several processes drive jobs on one log, hosts fail as they like, and operators
// do what they like. Nothing in it knows how the schedule decides.
type world struct {
	t       *rapid.T
	log     []sluice.Event
	now     time.Time
	fleet   *sluice.Fleet
	rules   sluice.Rules
	drivers []*driver
	jobs    []sluice.JobID
	running map[sluice.AttemptID]sluice.Host // true state of the hosts
	unknown map[sluice.AttemptID]sluice.Host // ended or not, nobody knows
	locks   bool                             // some jobs want locks; where all did, little would happen at once
}

// driver is a process with a state of its own. It drives the jobs that it owns.
type driver struct {
	state *schedule.State
	owns  map[sluice.JobID]bool
}

func amounts() *rapid.Generator[sluice.Amount] {
	return rapid.OneOf(rapid.Map(rapid.IntRange(0, 5), sluice.Count),
		rapid.Map(rapid.SampledFrom([]int{0, 1, 10, 15, 34, 50, 100}), sluice.Percent))
}

func drawFleet(t *rapid.T) *sluice.Fleet {
	n := rapid.IntRange(1, 14).Draw(t, "hosts")
	f := &sluice.Fleet{Namespace: "test"}
	for i := range n {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("h%02d", i)))
	}
	subset := func(label string) []sluice.Host {
		var out []sluice.Host
		for _, h := range f.Hosts {
			if rapid.Bool().Draw(t, label) {
				out = append(out, h)
			}
		}
		return out
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "sequences") {
		s := sluice.Sequence{Name: fmt.Sprintf("s%d", i)}
		for k := range rapid.IntRange(1, 3).Draw(t, "entries") {
			e := sluice.Entry{Name: fmt.Sprintf("e%d", k), Hosts: subset("in entry")}
			if rapid.IntRange(0, 2).Draw(t, "gated") == 0 {
				e.Gate.MaxFailures = amounts().Draw(t, "max_failures")
				e.Gate.Approve = rapid.Bool().Draw(t, "approve")
				e.Gate.Pause = time.Duration(rapid.IntRange(0, 2).Draw(t, "pause")) * time.Minute
				e.Gate.Ramp = rapid.SliceOfN(amounts(), 0, 2).Draw(t, "ramp")
			}
			s.Entries = append(s.Entries, e)
		}
		f.Sequences = append(f.Sequences, s)
	}
	f.Constraints = drawConstraints(t, subset)
	return f
}

func drawConstraints(t *rapid.T, subset func(string) []sluice.Host) (out []sluice.Constraint) {
	for i := range rapid.IntRange(0, 3).Draw(t, "constraints") {
		c := sluice.Constraint{Name: fmt.Sprintf("$c%d", i)}
		for k := range rapid.IntRange(1, 3).Draw(t, "groups") {
			if members := subset("in group"); len(members) > 0 {
				limit := amounts().Draw(t, "limit")
				if limit.Capacity(len(members)) == 0 && rapid.IntRange(0, 3).Draw(t, "closed") > 0 {
					limit = sluice.Count(1) // closed groups bore
				}
				c.Groups = append(c.Groups, sluice.Group{Name: fmt.Sprintf("$c%d.g%d", i, k), Limit: limit, Members: members})
			}
		}
		if len(c.Groups) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func newWorld(t *rapid.T, drivers int) *world {
	w := &world{t: t, now: time.Unix(1e9, 0).UTC(), fleet: drawFleet(t),
		running: map[sluice.AttemptID]sluice.Host{}, unknown: map[sluice.AttemptID]sluice.Host{}}
	w.locks = rapid.IntRange(0, 4).Draw(t, "locks") == 0
	for range drivers {
		w.drivers = append(w.drivers, &driver{state: schedule.New(), owns: map[sluice.JobID]bool{}})
	}
	w.applyRules(w.fleet.Constraints)
	return w
}

func (w *world) applyRules(c []sluice.Constraint) {
	r, err := sluice.NewRules(w.fleet.Hosts, c)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Digest != w.rules.Digest {
		w.rules = r
		w.append("", sluice.RulesApplied{Rules: r, By: "op"})
	}
}

func (w *world) append(job sluice.JobID, b sluice.Body) {
	w.log = append(w.log, sluice.Event{Seq: uint64(len(w.log) + 1), Time: w.now, Job: job, Body: b})
}

// sync brings a driver up to the head of the log.
func (w *world) sync(d *driver) {
	for _, e := range w.log[d.state.Seq():] {
		if err := d.state.Apply(e); err != nil {
			w.t.Fatalf("the log does not apply: %v", err)
		}
	}
}

func (w *world) driven(id sluice.JobID) bool {
	for _, d := range w.drivers {
		if d.owns[id] {
			return true
		}
	}
	return false
}

// decide lets a driver decide and append.
func (w *world) decide(d *driver) []sluice.Event {
	w.sync(d)
	events := d.state.Decide(schedule.Input{Now: w.now, Owns: func(id sluice.JobID) bool { return d.owns[id] }, Driven: w.driven})
	for _, e := range events {
		w.append(e.Job, e.Body)
		if b, ok := e.Body.(sluice.TaskStarted); ok {
			w.running[b.Attempt] = b.Host
		}
	}
	if int(d.state.Seq()) != len(w.log) {
		w.t.Fatalf("the state is at %d, the log at %d", d.state.Seq(), len(w.log))
	}
	return events
}

func (w *world) submit() {
	targets := rapid.SliceOfNDistinct(rapid.SampledFrom(w.fleet.Hosts), 1, len(w.fleet.Hosts), rapid.ID[sluice.Host]).Draw(w.t, "targets")
	w.fleet.Approval.Start = rapid.IntRange(0, 5).Draw(w.t, "approval before the start") == 0
	p, ordered, err := plan.Make(w.fleet, targets)
	if err != nil {
		return // sequences that wait for each other
	}
	id := sluice.JobID(fmt.Sprintf("%012d", len(w.jobs)+1))
	o := sluice.Options{ReadOnly: rapid.IntRange(0, 6).Draw(w.t, "read only") == 0,
		Concurrency: rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(w.t, "concurrency")}
	if w.locks {
		o.Lock = rapid.SampledFrom([]sluice.Lock{"", "one", "two"}).Draw(w.t, "lock")
	}
	if rapid.IntRange(0, 2).Draw(w.t, "has budget") == 0 {
		m := amounts().Draw(w.t, "budget")
		o.MaxFailures = &m
	}
	if rapid.IntRange(0, 3).Draw(w.t, "has limit") == 0 {
		m := amounts().Draw(w.t, "max parallel")
		o.MaxParallel = &m
	}
	job := sluice.Job{ID: id, Namespace: "test", Targets: ordered, Tracks: p.Tracks, Rules: w.rules.Digest, Options: o}
	dress(&job, len(w.jobs))
	w.append(id, sluice.JobSubmitted{Submitted: job})
	w.jobs = append(w.jobs, id)
	w.append(id, sluice.JobStarted{})
	rapid.SampledFrom(w.drivers).Draw(w.t, "driver").owns[id] = true
}

// dress gives a job what no rule asks for: some of it like other jobs, some of it not.
func dress(j *sluice.Job, n int) {
	j.By, j.Command = "ann@laptop", fmt.Sprintf("deploy %d", n%2)
	j.Action = sluice.Action{Kind: sluice.RunCommand, Shell: j.Command}
	if n%3 == 1 {
		j.Action = sluice.Action{Kind: sluice.RunScript, Script: "sha256:0", Args: []string{"a", "b"}}
		j.Expression = "$web"
		j.Options.Env = map[string]string{"A": "b"}
	}
	j.SSH = sluice.SSH{User: "ann"}
	for i, h := range j.Targets {
		if (i+n)%4 > 1 {
			if j.HostSSH == nil {
				j.HostSSH = map[sluice.Host]sluice.SSH{}
			}
			j.HostSSH[h] = sluice.SSH{Address: fmt.Sprintf("10.0.0.%d", i/3), Jump: []string{"gate"}}
		}
	}
	if n%5 == 4 && j.HostSSH != nil {
		j.HostSSH["elsewhere"] = sluice.SSH{Port: 23}
	}
}

func sorted[V any](m map[sluice.AttemptID]V) []sluice.AttemptID {
	var out []sluice.AttemptID
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// end lets an attempt end, or an unknown one become known.
func (w *world) end(from map[sluice.AttemptID]sluice.Host) {
	ids := sorted(from)
	if len(ids) == 0 {
		return
	}
	id := rapid.SampledFrom(ids).Draw(w.t, "attempt")
	host := from[id]
	job, _, try, _ := id.Parse()
	if _, runs := w.running[id]; !runs { // its host was released and it was tried again: whoever drives the job does not write that any more
		if t, _ := w.fold().Task(job, host); t.Try != try {
			delete(from, id)
			return
		}
	}
	outcomes := []sluice.Outcome{sluice.Succeeded, sluice.Succeeded, sluice.Succeeded, sluice.Failed, sluice.Unreachable,
		sluice.TimedOut, sluice.Cancelled}
	if _, runs := w.running[id]; runs {
		outcomes = append(outcomes, sluice.Unknown)
	}
	b := sluice.TaskFinished{Host: host, Attempt: id, Outcome: rapid.SampledFrom(outcomes).Draw(w.t, "outcome")}
	b.NotStarted = b.Outcome == sluice.Unreachable || b.Outcome == sluice.Cancelled && rapid.Bool().Draw(w.t, "not started")
	b.Refused = b.Outcome == sluice.Failed && rapid.IntRange(0, 2).Draw(w.t, "refused") == 0
	delete(from, id)
	if b.Outcome == sluice.Unknown {
		w.unknown[id] = host
	}
	w.append(job, b)
}

// withdraw lets an attempt end of which it is proved that nothing started.
func (w *world) withdraw() {
	ids := sorted(w.running)
	if len(ids) == 0 || rapid.IntRange(0, 2).Draw(w.t, "really") > 0 {
		return
	}
	id := rapid.SampledFrom(ids).Draw(w.t, "attempt")
	job, _, _, _ := id.Parse()
	w.append(job, sluice.TaskWithdrawn{Host: w.running[id], Attempt: id, Reason: "refused elsewhere"})
	delete(w.running, id)
}

func (w *world) operator() {
	h := rapid.SampledFrom(w.fleet.Hosts).Draw(w.t, "host")
	switch rapid.SampledFrom([]string{"hold", "release", "release", "retire", "return", "rules"}).Draw(w.t, "act") {
	case "hold":
		w.append("", sluice.HostHeld{Host: h, Reason: "r", By: "op"})
	case "release":
		w.append("", sluice.HostReleased{Host: h, Reason: "r", By: "op"})
		for id, x := range w.unknown { // given up; its job may still hear of it later
			if x == h && rapid.Bool().Draw(w.t, "never known") {
				delete(w.unknown, id)
			}
		}
	case "retire":
		w.append("", sluice.HostRetired{Host: h, Reason: "r", By: "op"})
	case "return":
		w.append("", sluice.HostReturned{Host: h, Reason: "r", By: "op"})
	case "rules":
		w.applyRules(drawConstraints(w.t, func(label string) (out []sluice.Host) {
			for _, h := range w.fleet.Hosts {
				if rapid.Bool().Draw(w.t, label) {
					out = append(out, h)
				}
			}
			return out
		}))
	}
}

// control does something to a job that its state allows.
func (w *world) control() {
	if len(w.jobs) == 0 {
		return
	}
	id := rapid.SampledFrom(w.jobs).Draw(w.t, "job")
	s := w.fold()
	info, _ := s.Job(id)
	over := info.State == schedule.Succeeded || info.State == schedule.Failed || info.State == schedule.Cancelled
	switch act := rapid.SampledFrom([]string{"halt", "resume", "resume", "cancel", "retry", "retry", "skip", "approve", "approve", "abandon", "adopt"}).Draw(w.t, "control"); act {
	case "halt":
		if !over && info.State != schedule.Halted && info.State != schedule.Halting {
			w.append(id, sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "r", By: "op"})
		}
	case "resume":
		if info.State == schedule.Halted {
			b := sluice.JobResumed{By: "op", Generation: info.Generation + 1}
			if rapid.Bool().Draw(w.t, "more") {
				m := sluice.Count(len(info.Spec.Targets))
				b.MaxFailures = &m
			}
			w.append(id, b)
		}
	case "cancel":
		if !over && !info.Cancelling && rapid.IntRange(0, 3).Draw(w.t, "really") == 0 {
			w.append(id, sluice.JobCancelling{By: "op"})
		}
	case "retry":
		var hosts []sluice.Host
		for _, t := range s.Tasks(id) {
			if t.Retriable && rapid.Bool().Draw(w.t, "this one") {
				hosts = append(hosts, t.Host)
			}
		}
		if len(hosts) > 0 && (over || info.State == schedule.Halted) {
			w.append(id, sluice.JobResumed{By: "op", Generation: info.Generation + 1})
			w.append(id, sluice.TaskRetried{Hosts: hosts, By: "op"})
		}
	case "skip":
		for _, t := range s.Tasks(id) {
			if !over && !t.Running && !t.Outcome.Passed() && rapid.IntRange(0, 3).Draw(w.t, "this one") == 0 {
				w.append(id, sluice.TaskFinished{Host: t.Host, Outcome: sluice.Skipped, By: "op", Reason: "r"})
				return
			}
		}
	case "approve":
		for _, g := range info.Gates {
			if g.Kind == sluice.GateApproval && !over {
				w.append(id, sluice.GatePassed{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind, By: "op"})
				return
			}
		}
	case "abandon", "adopt":
		for _, d := range w.drivers {
			delete(d.owns, id)
		}
		if act == "adopt" {
			rapid.SampledFrom(w.drivers).Draw(w.t, "driver").owns[id] = true
		}
	}
}

func (w *world) fold() *schedule.State {
	s := schedule.New()
	for _, e := range w.log {
		if err := s.Apply(e); err != nil {
			w.t.Fatalf("the log does not apply: %v", err)
		}
	}
	return s
}

package check_test

import (
	"fmt"
	"slices"
	"time"

	"sluice"
)

const (
	jobA sluice.JobID = "aaaaaaaaaaaa"
	jobB sluice.JobID = "bbbbbbbbbbbb"
	jobC sluice.JobID = "cccccccccccc"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// script is a log written by hand: one event a second.
type script struct {
	events []sluice.Event
	jobs   map[sluice.JobID]sluice.Job
	now    time.Time
	undoes sluice.JobID // by the job that is submitted next; "" for none
}

func newScript() *script {
	return &script{jobs: map[sluice.JobID]sluice.Job{}, now: noon}
}

func (s *script) add(job sluice.JobID, b sluice.Body) {
	s.now = s.now.Add(time.Second)
	s.events = append(s.events, sluice.Event{Seq: uint64(len(s.events) + 1), Time: s.now, Job: job, Body: b})
}

func hosts(n int) []sluice.Host {
	var all []sluice.Host
	for i := range n {
		all = append(all, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	return all
}

func group(limit string, members ...sluice.Host) sluice.Group {
	return sluice.Group{Name: "g" + limit, Limit: amount(limit), Members: members}
}

func amount(s string) sluice.Amount {
	a, err := sluice.ParseAmount(s)
	if err != nil {
		panic(err)
	}
	return a
}

func budget(s string) *sluice.Amount {
	a := amount(s)
	return &a
}

func rulesOf(fleet []sluice.Host, groups ...sluice.Group) sluice.Rules {
	r, err := sluice.NewRules(fleet, []sluice.Constraint{{Name: "$c", Groups: groups}})
	if err != nil {
		panic(err)
	}
	return r
}

// apply puts rules over four hosts in force.
func (s *script) apply(groups ...sluice.Group) string {
	r := rulesOf(hosts(4), groups...)
	s.add("", sluice.RulesApplied{Rules: r, By: "ann"})
	return r.Digest
}

func stage(entry int, members ...sluice.Host) sluice.Stage {
	return sluice.Stage{Name: fmt.Sprintf("e%d", entry), Entry: entry, Hosts: members}
}

func gated(s sluice.Stage, g sluice.Gate) sluice.Stage {
	s.Gate = g
	return s
}

func tolerant(s sluice.Stage, failures int) sluice.Stage {
	s.MaxFailures = failures
	return s
}

// submit enters a job under the rules applied last, with one track of these stages, and opens the first of them.
func (s *script) submit(id sluice.JobID, o sluice.Options, stages ...sluice.Stage) {
	s.submitTracks(id, o, sluice.Track{Name: "t0", Stages: stages})
}

func (s *script) submitTracks(id sluice.JobID, o sluice.Options, tracks ...sluice.Track) {
	j := sluice.Job{ID: id, By: "ann", Options: o, Tracks: tracks, Rules: s.lastRules(), Action: sluice.Action{Undoes: s.undoes}}
	for _, t := range tracks {
		for _, st := range t.Stages {
			for _, h := range st.Hosts {
				if !slices.Contains(j.Targets, h) {
					j.Targets = append(j.Targets, h)
				}
			}
		}
	}
	slices.Sort(j.Targets)
	s.jobs[id] = j
	s.add(id, sluice.JobSubmitted{Submitted: j})
	s.add(id, sluice.JobStarted{Driver: "ann"})
	for i := range tracks {
		s.open(id, i, 0)
	}
}

func (s *script) lastRules() string {
	digest := ""
	for _, e := range s.events {
		if r, ok := e.Body.(sluice.RulesApplied); ok {
			digest = r.Rules.Digest
		}
	}
	return digest
}

func (s *script) open(id sluice.JobID, track, index int) {
	t := s.jobs[id].Tracks[track]
	s.add(id, sluice.StageOpened{Track: t.Name, Stage: t.Stages[index].Name, Index: index})
}

func (s *script) attempt(id sluice.JobID, h sluice.Host, n int) sluice.AttemptID {
	return sluice.NewAttemptID(id, slices.Index(s.jobs[id].Targets, h), n)
}

// start makes try n of a task.
func (s *script) start(id sluice.JobID, h sluice.Host, n int) {
	b := sluice.TaskStarted{Host: h, Attempt: s.attempt(id, h, n)}
	for _, t := range s.jobs[id].Tracks {
		for _, st := range t.Stages {
			if slices.Contains(st.Hosts, h) {
				b.Track, b.Stage = t.Name, st.Name
			}
		}
	}
	s.add(id, b)
}

func (s *script) finish(id sluice.JobID, h sluice.Host, n int, o sluice.Outcome) {
	s.add(id, sluice.TaskFinished{Host: h, Attempt: s.attempt(id, h, n), Outcome: o})
}

// run is a whole first try.
func (s *script) run(id sluice.JobID, h sluice.Host, o sluice.Outcome) {
	s.start(id, h, 1)
	s.finish(id, h, 1, o)
}

func (s *script) skip(id sluice.JobID, h sluice.Host) {
	s.add(id, sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, By: "ann"})
}

func (s *script) refuse(id sluice.JobID, h sluice.Host) {
	s.start(id, h, 1)
	s.add(id, sluice.TaskFinished{
		Host: h, Attempt: s.attempt(id, h, 1), Outcome: sluice.Failed, NotStarted: true, Refused: true,
	})
}

func (s *script) retry(id sluice.JobID, members ...sluice.Host) {
	s.add(id, sluice.TaskRetried{Hosts: members, By: "ann"})
}

func (s *script) release(h sluice.Host) {
	s.add("", sluice.HostReleased{Host: h, Reason: "repaired", By: "ann"})
}

func (s *script) hold(h sluice.Host) {
	s.add("", sluice.HostHeld{Host: h, Reason: "disk", By: "ann"})
}

func (s *script) retire(h sluice.Host) {
	s.add("", sluice.HostRetired{Host: h, Reason: "sold", By: "ann"})
}

func (s *script) halt(id sluice.JobID, generation int) {
	s.add(id, sluice.JobHalting{Rule: sluice.RuleOperator, By: "ann"})
	s.add(id, sluice.JobHalted{Rule: sluice.RuleOperator, Generation: generation})
}

func (s *script) resume(id sluice.JobID, generation int) {
	s.add(id, sluice.JobResumed{By: "ann", Generation: generation})
}

func (s *script) end(id sluice.JobID, o sluice.Outcome, counts map[sluice.Outcome]int) {
	s.add(id, sluice.JobFinished{Outcome: o, Counts: counts})
}

// undo ends a job that failed by another one, which takes back what it did.
func (s *script) undo(id, by sluice.JobID, counts map[sluice.Outcome]int) {
	s.add(id, sluice.JobFinished{Outcome: sluice.Failed, Counts: counts, Undo: by})
	s.undoes = id
	s.submit(by, s.jobs[id].Options, stage(0, s.jobs[id].Targets[0]))
	s.undoes = ""
}

func locked(l sluice.Lock) sluice.Options { return sluice.Options{Lock: l} }

func count(o sluice.Outcome, n int) map[sluice.Outcome]int {
	return map[sluice.Outcome]int{o: n}
}

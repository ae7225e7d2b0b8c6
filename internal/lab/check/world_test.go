package check_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/lab/check"
)

// world is a fleet on which everything happens at random that the rules allow. Its starts are those of Next.
type world struct {
	*script
	fleet   []sluice.Host
	ids     []sluice.JobID
	tries   map[sluice.AttemptID]sluice.TaskStarted // those that run or are unknown
	unknown map[sluice.AttemptID]bool
	halts   map[sluice.JobID]int
	resumes map[sluice.JobID]int
	opened  map[string]bool // stages
	pausing map[string]bool // stages with a gate that waits
}

func newWorld(t *rapid.T) *world {
	w := &world{
		script: newScript(), fleet: hosts(rapid.IntRange(3, 9).Draw(t, "hosts")),
		tries: map[sluice.AttemptID]sluice.TaskStarted{}, unknown: map[sluice.AttemptID]bool{},
		halts: map[sluice.JobID]int{}, resumes: map[sluice.JobID]int{},
		opened: map[string]bool{}, pausing: map[string]bool{},
	}
	w.changeRules(t)
	return w
}

func (w *world) someHosts(t *rapid.T, label string) []sluice.Host {
	var some []sluice.Host
	for _, h := range w.fleet {
		if rapid.Bool().Draw(t, label) {
			some = append(some, h)
		}
	}
	return some
}

func drawAmount(t *rapid.T) sluice.Amount {
	return amount(rapid.SampledFrom([]string{"3", "2", "50%", "1", "15%", "33.33%", "100%", "80%", "0", "0%"}).Draw(t, "amount"))
}

func (w *world) changeRules(t *rapid.T) {
	var groups []sluice.Group
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		groups = append(groups, sluice.Group{Name: "g", Limit: drawAmount(t), Members: w.someHosts(t, "member")})
	}
	w.add("", sluice.RulesApplied{Rules: rulesOf(w.fleet, groups...), By: "ann"})
}

func (w *world) submitSome(t *rapid.T) {
	if len(w.ids) == 4 {
		return
	}
	id := sluice.JobID(fmt.Sprintf("%012d", len(w.ids)))
	o := sluice.Options{
		ReadOnly:    rapid.IntRange(0, 3).Draw(t, "read only") == 0,
		Concurrency: rapid.IntRange(0, 3).Draw(t, "concurrency"),
	}
	if rapid.Bool().Draw(t, "has budget") {
		a := drawAmount(t)
		o.MaxFailures = &a
	}
	if rapid.Bool().Draw(t, "has limit") {
		a := drawAmount(t)
		o.MaxParallel = &a
	}
	var tracks []sluice.Track
	for i := range rapid.IntRange(1, 2).Draw(t, "tracks") {
		tr := sluice.Track{Name: fmt.Sprintf("t%d", i), Stages: []sluice.Stage{stage(0)}}
		for _, h := range w.someHosts(t, "target") {
			if rapid.IntRange(0, 2).Draw(t, "next stage") == 0 {
				s := stage(len(tr.Stages))
				s.MaxFailures = rapid.IntRange(0, 1).Draw(t, "max failures")
				if rapid.IntRange(0, 3).Draw(t, "gate") == 0 {
					s.Gate = sluice.Gate{Pause: time.Minute, Approve: true}
				}
				tr.Stages = append(tr.Stages, s)
			}
			last := &tr.Stages[len(tr.Stages)-1]
			last.Hosts = append(last.Hosts, h)
		}
		tracks = append(tracks, tr)
	}
	if !slices.ContainsFunc(tracks, func(tr sluice.Track) bool {
		return slices.ContainsFunc(tr.Stages, func(s sluice.Stage) bool { return len(s.Hosts) > 0 })
	}) {
		return
	}
	w.ids = append(w.ids, id)
	w.submitTracks(id, o, tracks...)
	for i := range tracks {
		w.opened[fmt.Sprint(id, i, 0)] = true
	}
}

// startSome starts the first few of what may start, each with the stages that it needs open.
func (w *world) startSome(t *rapid.T) {
	starts := check.Next(w.events, everyJob, w.now)
	for _, s := range starts[:len(starts)-rapid.IntRange(0, len(starts)).Draw(t, "left out")] {
		w.startOne(s.Job, s.Host)
	}
}

func (w *world) startOne(id sluice.JobID, h sluice.Host) {
	w.openFor(id, h)
	n := 1
	for _, e := range w.events {
		if b, ok := e.Body.(sluice.TaskStarted); ok && e.Job == id && b.Host == h {
			n++
		}
	}
	w.start(id, h, n)
	last := w.events[len(w.events)-1].Body.(sluice.TaskStarted)
	w.tries[last.Attempt] = last
}

func (w *world) openFor(id sluice.JobID, h sluice.Host) {
	for ti, tr := range w.jobs[id].Tracks {
		for si, s := range tr.Stages {
			key := fmt.Sprint(id, ti, si)
			if !slices.Contains(s.Hosts, h) {
				continue
			}
			for i, before := range tr.Stages[:si] {
				if gate := fmt.Sprint(id, ti, i); w.pausing[gate] {
					w.add(id, sluice.GatePassed{Track: tr.Name, Stage: before.Name, Index: i, Kind: sluice.GatePause})
					w.pausing[gate] = false
				}
			}
			if !w.opened[key] {
				w.open(id, ti, si)
				w.opened[key] = true
			}
		}
	}
}

// gates lets the gates behind everything that is done wait, and approves some.
func (w *world) gates(t *rapid.T) {
	for _, id := range w.ids {
		for ti, tr := range w.jobs[id].Tracks {
			for i, s := range tr.Stages {
				if s.Gate.Pause == 0 || i+1 == len(tr.Stages) {
					continue
				}
				waiting := sluice.GateWaiting{Track: tr.Name, Stage: s.Name, Index: i, Kind: sluice.GatePause, Until: w.now.Add(time.Minute)}
				probe := append(slices.Clone(w.events), sluice.Event{Seq: uint64(len(w.events) + 1), Job: id, Body: waiting})
				if !w.lastIsLawful(probe) {
					continue
				}
				w.add(id, waiting)
				w.pausing[fmt.Sprint(id, ti, i)] = true
				if rapid.Bool().Draw(t, "approve") {
					w.add(id, sluice.GatePassed{Track: tr.Name, Stage: s.Name, Index: i, Kind: sluice.GateApproval, By: "ann"})
				}
			}
		}
	}
}

func (w *world) lastIsLawful(events []sluice.Event) bool {
	found := check.Log(events)
	return len(found) == 0 || found[len(found)-1].Seq != uint64(len(events))
}

func (w *world) anAttempt(t *rapid.T) (b sluice.TaskStarted, id sluice.JobID, ok bool) {
	var ids []sluice.AttemptID
	for a := range w.tries {
		ids = append(ids, a)
	}
	if len(ids) == 0 {
		return b, "", false
	}
	slices.Sort(ids)
	a := rapid.SampledFrom(ids).Draw(t, "attempt")
	id, _, _, _ = a.Parse()
	return w.tries[a], id, true
}

func (w *world) finishOne(t *rapid.T) {
	b, id, ok := w.anAttempt(t)
	if !ok {
		return
	}
	o := rapid.SampledFrom([]sluice.Outcome{sluice.Succeeded, sluice.Succeeded, sluice.Succeeded,
		sluice.Failed, sluice.Unreachable, sluice.TimedOut, sluice.Unknown, sluice.Cancelled}).Draw(t, "outcome")
	if o == sluice.Unknown && w.unknown[b.Attempt] {
		return
	}
	w.unknown[b.Attempt] = o == sluice.Unknown
	if o != sluice.Unknown {
		delete(w.tries, b.Attempt)
	}
	w.add(id, sluice.TaskFinished{
		Host: b.Host, Attempt: b.Attempt, Outcome: o,
		NotStarted: o == sluice.Unreachable || o == sluice.Cancelled && rapid.Bool().Draw(t, "not started"),
		Refused:    o == sluice.Failed && rapid.IntRange(0, 3).Draw(t, "refused") == 0,
	})
}

func (w *world) aJob(t *rapid.T) (sluice.Job, bool) {
	if len(w.ids) == 0 {
		return sluice.Job{}, false
	}
	return w.jobs[rapid.SampledFrom(w.ids).Draw(t, "job")], true
}

func (w *world) runs(id sluice.JobID, h sluice.Host) bool {
	for a, b := range w.tries {
		if job, _, _, _ := a.Parse(); job == id && !w.unknown[a] && (h == "" || b.Host == h) {
			return true
		}
	}
	return false
}

func (w *world) control(t *rapid.T) {
	j, ok := w.aJob(t)
	if !ok {
		return
	}
	switch rapid.SampledFrom([]string{"skip", "retry", "retry", "halt", "cancel", "resume", "resume"}).Draw(t, "control") {
	case "skip":
		if h := rapid.SampledFrom(j.Targets).Draw(t, "host"); !w.runs(j.ID, h) {
			w.skip(j.ID, h)
		}
	case "retry":
		w.retry(j.ID, rapid.SampledFrom(j.Targets).Draw(t, "host"))
	case "halt":
		w.add(j.ID, sluice.JobHalting{Rule: sluice.RuleOperator, By: "ann"})
		if !w.runs(j.ID, "") {
			w.halts[j.ID] = max(w.halts[j.ID], w.resumes[j.ID]) + 1
			w.add(j.ID, sluice.JobHalted{Rule: sluice.RuleOperator, Generation: w.halts[j.ID]})
		}
	case "cancel":
		w.add(j.ID, sluice.JobCancelling{By: "ann"})
	case "resume":
		w.resumes[j.ID] = max(w.halts[j.ID], w.resumes[j.ID]) + 1
		w.resume(j.ID, w.resumes[j.ID])
	}
}

func (w *world) service(t *rapid.T) {
	h := rapid.SampledFrom(w.fleet).Draw(t, "host")
	switch rapid.SampledFrom([]string{"hold", "release", "release", "retire", "return"}).Draw(t, "service") {
	case "hold":
		w.hold(h)
	case "release":
		w.release(h)
	case "retire":
		w.retire(h)
	case "return":
		w.add("", sluice.HostReturned{Host: h, By: "ann"})
	}
}

func (w *world) live(t *rapid.T) {
	steps := []string{"start", "start", "start", "finish", "finish", "finish", "finish", "finish", "submit", "submit",
		"control", "control", "service", "gates", "gates", "rules", "time"}
	w.submitSome(t)
	for range rapid.IntRange(30, 60).Draw(t, "steps") {
		switch rapid.SampledFrom(steps).Draw(t, "step") {
		case "start":
			w.startSome(t)
		case "finish":
			w.finishOne(t)
		case "submit":
			w.submitSome(t)
		case "control":
			w.control(t)
		case "service":
			w.service(t)
		case "gates":
			w.gates(t)
		case "rules":
			w.changeRules(t)
		case "time":
			w.now = w.now.Add(time.Minute)
		}
	}
}

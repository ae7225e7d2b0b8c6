package drive_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/drive"
	"sluice/internal/core/schedule"
	"sluice/internal/core/undo"
)

const (
	first  = sluice.JobID("000000000001")
	second = sluice.JobID("000000000002")
)

// yard is a log, and drivers that take turns on it. What their attempts come to, answer says.
type yard struct {
	t       *testing.T
	log     []sluice.Event
	answer  func(id sluice.JobID, h sluice.Host) sluice.TaskFinished
	notices []string
}

func (y *yard) append(events ...sluice.Event) []sluice.Event {
	for i := range events {
		events[i].Seq = uint64(len(y.log) + 1)
		y.log = append(y.log, events[i])
	}
	return events
}

func (y *yard) submit(id sluice.JobID, action sluice.Action, o sluice.Options, stages ...[]sluice.Host) {
	j := sluice.Job{ID: id, By: "ann", Action: action, Options: o, Tracks: []sluice.Track{{Name: "t"}}}
	for _, hosts := range stages {
		j.Targets = append(j.Targets, hosts...)
		j.Tracks[0].Stages = append(j.Tracks[0].Stages, sluice.Stage{Name: string(hosts[0]), Hosts: hosts})
	}
	y.append(sluice.Event{Job: id, Body: sluice.JobSubmitted{Submitted: j}})
}

// fold is the log as a driver finds it who begins now.
func (y *yard) fold(id sluice.JobID) (*schedule.State, []sluice.Event) {
	y.t.Helper()
	s := schedule.New()
	var of []sluice.Event
	for _, e := range y.log {
		if err := s.Apply(e); err != nil {
			y.t.Fatal(err)
		}
	}
	for _, e := range y.log {
		if needs := drive.Needs(s, id); e.Job == id || needs != "" && e.Job == needs {
			of = append(of, e)
		}
	}
	return s, of
}

// driver drives one job.
type driver struct {
	*yard
	*drive.Machine
	id  sluice.JobID
	has []drive.Launch
}

func (y *yard) drive(id sluice.JobID) *driver {
	y.t.Helper()
	d := &driver{yard: y, Machine: drive.New(drive.Config{Job: id}), id: id}
	d.Load(y.fold(id))
	e, ok := d.Begin(0)
	if !ok {
		y.t.Fatalf("there is no job %s", id)
	}
	d.has = e.Launches
	return d
}

// turn is one step of the log, and then what its attempts come to. It reports whether the job is over.
func (d *driver) turn() bool {
	d.t.Helper()
	for _, l := range d.has {
		if !l.Sweep {
			b := d.answer(d.id, l.Host)
			b.Host, b.Attempt = l.Host, l.Attempt
			d.Report(drive.Report{Body: b}, 0)
		}
		d.Land(l.Attempt, nil, 0)
	}
	tail := slices.Clone(d.log[d.Seq():])
	decision, err := d.Decide(tail, drive.Input{Now: time.Unix(int64(len(d.log)), 0), Driven: func(sluice.JobID) bool { return true }})
	if err != nil {
		d.t.Fatal(err)
	}
	d.notices = append(d.notices, decision.Notices...)
	d.append(decision.Events...)
	d.has = d.Done(tail, decision, 0).Launches
	_, over := d.Over()
	return over
}

func (d *driver) toEnd() sluice.Event {
	d.t.Helper()
	for range 100 {
		if d.turn() {
			last, _ := d.Over()
			return last
		}
	}
	d.t.Fatalf("job %s does not end", d.id)
	return sluice.Event{}
}

func release(on sluice.OnFailure) sluice.Action {
	return sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod", Version: "2", Deploy: sluice.Deploy{OnFailure: on}}}
}

// shop answers as hosts on which the first version is live; the second one fails on those that are bad. No other does.
func shop(bad ...sluice.Host) func(sluice.JobID, sluice.Host) sluice.TaskFinished {
	one, two := sluice.Installed{Version: "1", Manifest: "m1"}, sluice.Installed{Version: "2", Manifest: "m2"}
	live := map[sluice.Host]sluice.Installed{}
	return func(id sluice.JobID, h sluice.Host) sluice.TaskFinished {
		before, out := live[h], sluice.Succeeded
		if before.Version == "" {
			before = one
		}
		live[h] = one
		if id == first {
			live[h] = two
			if slices.Contains(bad, h) {
				out = sluice.Failed
			}
		}
		return sluice.TaskFinished{Outcome: out, Release: &sluice.Activation{App: "shop", Env: "prod", Before: before, Live: live[h]}}
	}
}

// backs are the rollbacks that the log has, and where they stand in it.
func (y *yard) backs() (jobs []sluice.Job, at []int) {
	for i, e := range y.log {
		if b, is := e.Body.(sluice.JobSubmitted); is && b.Submitted.Action.Kind == sluice.RollBack {
			b.Submitted.ID = e.Job
			jobs, at = append(jobs, b.Submitted), append(at, i)
		}
	}
	return jobs, at
}

func finished(t *testing.T, e sluice.Event) sluice.JobFinished {
	t.Helper()
	b, is := e.Body.(sluice.JobFinished)
	if !is {
		t.Fatalf("it ends with %+v", e)
	}
	return b
}

// TestABadDeployIsUndoneInTheStepThatEndsIt, canaries included; nothing that waits for its lock comes between, and what is undone is
// undone once.
func TestABadDeployIsUndoneInTheStepThatEndsIt(t *testing.T) {
	lock, none := sluice.Options{Lock: "shop/prod", Concurrency: 1}, sluice.Amount{}
	budget := lock
	budget.MaxFailures = &none
	for name, o := range map[string]sluice.Options{"halted": budget, "finished": lock} {
		t.Run(name, func(t *testing.T) {
			y := &yard{t: t, answer: shop("h2")}
			y.submit(first, release(sluice.FailureRollsBack), o, []sluice.Host{"h1"}, []sluice.Host{"h2"})
			if name == "halted" {
				y.log = nil
				y.submit(first, release(sluice.FailureRollsBack), o, []sluice.Host{"h1"}, []sluice.Host{"h2"}, []sluice.Host{"h3"})
			}
			y.submit(second, sluice.Action{Kind: sluice.RunCommand}, lock, []sluice.Host{"h9"})
			waiting := y.drive(second)
			if waiting.turn() || len(waiting.has) > 0 {
				t.Fatal("what waits for the lock of the deploy starts")
			}
			end := finished(t, y.drive(first).toEnd())
			jobs, at := y.backs()
			if len(jobs) != 1 || end.Outcome != sluice.Failed || end.Undo != jobs[0].ID || !slices.Equal(jobs[0].Targets, []sluice.Host{"h1", "h2"}) {
				t.Fatalf("it ends with %+v, and is undone by %+v", end, jobs)
			}
			if b, is := y.log[at[0]-1].Body.(sluice.JobFinished); !is || b.Undo != jobs[0].ID {
				t.Errorf("before the rollback stands %+v", y.log[at[0]-1])
			}
			if n := end.Counts[sluice.Cancelled]; name == "halted" && n != 1 {
				t.Errorf("%d never start, want 1", n)
			}
			if waiting.turn() || len(waiting.has) > 0 {
				t.Fatal("what waited for the lock gets it before the rollback")
			}
			back := y.drive(jobs[0].ID)
			if finished(t, back.toEnd()).Outcome != sluice.Succeeded {
				t.Fatalf("the rollback fails: %+v", y.log)
			}
			if !waiting.turn() {
				waiting.toEnd()
			}
			if jobs, _ := y.backs(); len(jobs) != 1 {
				t.Errorf("%d rollbacks, want 1", len(jobs))
			}
		})
	}
}

// TestADriverThatIsKilledUndoesOnce: whenever it is killed, the log has the end of the deploy with its rollback, or neither.
func TestADriverThatIsKilledUndoesOnce(t *testing.T) {
	for after := 1; ; after++ {
		y := &yard{t: t, answer: shop("h2")}
		y.submit(first, release(sluice.FailureRollsBack), sluice.Options{Lock: "shop/prod"}, []sluice.Host{"h1"}, []sluice.Host{"h2"})
		d, over := y.drive(first), false
		for range after {
			over = over || d.turn()
		}
		ended := slices.ContainsFunc(y.log, func(e sluice.Event) bool { return e.Job == first && e.Body.Type() == "job.finished" })
		if jobs, _ := y.backs(); ended != (len(jobs) == 1) {
			t.Fatalf("killed after %d turns: ended %v, and undone by %d", after, ended, len(jobs))
		}
		y.drive(first).toEnd()
		if jobs, _ := y.backs(); len(jobs) != 1 {
			t.Fatalf("killed after %d turns, it is undone by %d jobs", after, len(jobs))
		}
		if over {
			return
		}
	}
}

func TestWhatIsNotUndone(t *testing.T) {
	for name, c := range map[string]struct {
		action sluice.Action
		told   string
	}{
		"nobody asked":     {release(""), ""},
		"halt is asked":    {release(sluice.FailureHalts), ""},
		"a rollback fails": {sluice.Action{Kind: sluice.RollBack, Release: release(sluice.FailureRollsBack).Release}, ""},
	} {
		y := &yard{t: t, answer: shop("h1")}
		y.submit(first, c.action, sluice.Options{}, []sluice.Host{"h1"})
		if end := finished(t, y.drive(first).toEnd()); end.Outcome != sluice.Failed || end.Undo != "" {
			t.Errorf("%s: it ends with %+v", name, end)
		}
		if last := y.log[len(y.log)-1]; last.Body.Type() != "job.finished" {
			t.Errorf("%s: last comes %+v", name, last)
		}
	}
	y := &yard{t: t, answer: func(sluice.JobID, sluice.Host) sluice.TaskFinished {
		return sluice.TaskFinished{Outcome: sluice.Failed, NotStarted: true}
	}}
	y.submit(first, release(sluice.FailureRollsBack), sluice.Options{}, []sluice.Host{"h1"})
	if end := finished(t, y.drive(first).toEnd()); end.Undo != "" || len(y.notices) != 1 || !strings.Contains(y.notices[0], "is not rolled back: it has changed no host") {
		t.Errorf("it ends with %+v, and is told %q", end, y.notices)
	}
}

// TestTheTruthThatComesLateIsUndone: a host of which it was not known what it has is left out; when it is known, it is brought back,
// and the others are not once more.
func TestTheTruthThatComesLateIsUndone(t *testing.T) {
	known, answer := false, shop("h1")
	y := &yard{t: t, answer: func(id sluice.JobID, h sluice.Host) sluice.TaskFinished {
		if h == "h2" && !known {
			return sluice.TaskFinished{Outcome: sluice.Unknown}
		}
		return answer(id, h)
	}}
	y.submit(first, release(sluice.FailureRollsBack), sluice.Options{Lock: "shop/prod"}, []sluice.Host{"h1", "h2"})
	end := finished(t, y.drive(first).toEnd())
	if len(y.notices) != 1 || !strings.Contains(y.notices[0], "it is not known what h2 has now") {
		t.Errorf("told is %q", y.notices)
	}
	y.drive(end.Undo).toEnd()
	known = true
	y.append(sluice.Event{Job: first, Body: sluice.JobResumed{By: "ann", Generation: 1}})
	end = finished(t, y.drive(first).toEnd())
	jobs, _ := y.backs()
	if len(jobs) != 2 || end.Undo != undo.ID(first, 1) || !slices.Equal(jobs[1].Targets, []sluice.Host{"h2"}) {
		t.Fatalf("it ends with %+v, and is undone by %+v", end, jobs)
	}
}

package schedule_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

// drawAct is something that an operator may want, sensible or not.
func (w *world) drawAct() act.Act {
	a := act.Act{By: "op", Reason: "r", Digest: func(*sluice.Job) (string, error) { return "sha256:0", nil }}
	kinds := []act.Kind{act.Hold, act.Release, act.Release, act.Retire, act.Return}
	if len(w.jobs) > 0 {
		kinds = append(kinds, act.Halt, act.Cancel, act.Resume, act.Resume, act.Retry, act.Retry, act.Skip, act.Approve, act.Approve, act.Settle)
	}
	a.Kind = rapid.SampledFrom(kinds).Draw(w.t, "act")
	hosts := rapid.SliceOfNDistinct(rapid.SampledFrom(w.fleet.Hosts), 1, 3, rapid.ID[sluice.Host])
	if a.Kind.OnHosts() {
		a.Hosts = hosts.Draw(w.t, "hosts")
		return a
	}
	a.Job = rapid.SampledFrom(w.jobs).Draw(w.t, "job")
	if a.Kind == act.Skip || a.Kind == act.Retry && rapid.Bool().Draw(w.t, "some") {
		a.Hosts = hosts.Draw(w.t, "hosts")
	}
	if (a.Kind == act.Resume || a.Kind == act.Retry) && rapid.Bool().Draw(w.t, "another budget") {
		m := amounts().Draw(w.t, "budget")
		a.MaxFailures = &m
	}
	return a
}

// rest lets all drivers decide, in any order, until nothing follows any more.
func (w *world) rest(settling func(sluice.JobID) bool) (made []sluice.Event) {
	for before := -1; before != len(w.log); {
		before = len(w.log)
		for _, d := range rapid.Permutation(w.drivers).Draw(w.t, "who first") {
			w.sync(d)
			events := d.state.Decide(schedule.Input{Now: w.now, Owns: func(id sluice.JobID) bool { return d.owns[id] }, Driven: w.driven, Settling: settling})
			for _, e := range events {
				w.append(e.Job, e.Body)
				if b, ok := e.Body.(sluice.TaskStarted); ok {
					w.running[b.Attempt] = b.Host
				}
			}
			made = append(made, events...)
		}
	}
	return made
}

// TestWhatIsForeseenHappens: an act is done, and all who drive jobs decide, one after the other and again, until nothing
// more follows. What was foreseen is what has happened then; and to look changed nothing.
func TestWhatIsForeseenHappens(t *testing.T) {
	kinds := map[act.Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := wander(t, 40)
		if rapid.Bool().Draw(t, "all have decided") {
			w.rest(nil)
		}
		a := w.drawAct()
		now := w.fold()
		before := picture(now)
		data := save(t, now)
		e, err := act.Foresee(restore(t, data), a, schedule.Input{Now: w.now, Driven: w.driven})
		if got := picture(now); got != before {
			t.Fatalf("it was looked at, and is\n%s\nand not\n%s", got, before)
		}
		made, err2 := a.Events(now, w.now)
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("foreseen: %v; done: %v", err, err2)
		}
		if err != nil {
			return
		}
		kinds[a.Kind]++
		for _, ev := range made {
			w.append(ev.Job, ev.Body)
		}
		if len(made) > 0 && a.Job != "" && !w.driven(a.Job) { // the steward has it driven
			rapid.SampledFrom(w.drivers).Draw(t, "driver").owns[a.Job] = true
		}
		var happened []sluice.Event
		if len(made) > 0 {
			happened = w.rest(func(id sluice.JobID) bool { return id == a.Job && len(e.Asks) > 0 })
		}
		w.holds(e, made, happened)
	})
	t.Logf("acts: %v", kinds)
}

// holds compares what was foreseen with what happened.
func (w *world) holds(e act.Effect, made, happened []sluice.Event) {
	fail := func(what string, got, want any) {
		w.t.Helper()
		w.t.Fatalf("%s %+v\n%s: foreseen %v, happened %v\n%s\nlog\n%s", e.Act.Kind, e.Act, what, got, want, strings.Join(e.Says(), "\n"), tell(w.log))
	}
	if got, want := starts(e.Events), starts(happened); !reflect.DeepEqual(got, want) {
		fail("starts of all jobs", got, want)
	}
	if got, want := starts(slices.DeleteFunc(slices.Clone(e.Events), func(ev sluice.Event) bool { return ev.Job != e.Act.Job })), e.Starts; len(got) != len(want) {
		fail("starts of the job", want, got)
	}
	s := w.fold()
	i, _ := s.Job(e.Act.Job)
	if i.State != e.After.State || i.Running != e.After.Running || i.Unsettled != e.After.Unsettled || !reflect.DeepEqual(i.Counts, e.After.Counts) {
		fail("where the job stands", e.After, i)
	}
	if got, want := s.Waits(e.Act.Job), e.Waits; !reflect.DeepEqual(got, want) {
		fail("what its hosts wait for", want, got)
	}
	var halts *sluice.JobHalted
	var ends sluice.Outcome
	for _, ev := range slices.Concat(made, happened) {
		if ev.Job != e.Act.Job {
			continue
		}
		switch b := ev.Body.(type) {
		case sluice.JobHalted:
			halts = &b
		case sluice.JobFinished:
			ends = b.Outcome
		}
	}
	if (halts == nil) != (e.Halts == nil) || halts != nil && (halts.Rule != e.Halts.Rule || halts.Reason != e.Halts.Reason) {
		fail("whether it halts", e.Halts, halts)
	}
	if ends != e.Ends {
		fail("how it ends", e.Ends, ends)
	}
	for _, o := range e.Others {
		if j, _ := s.Job(o.Job.Spec.ID); o.Ends != "" && j.State != schedule.JobState(o.Ends) || o.Halts != nil && j.State != schedule.Halted {
			fail("another job", o, j)
		}
	}
	if got := e.Nothing(); got != (len(made) == 0 && len(e.Asks) == 0) {
		fail("whether anything is done", got, made)
	}
}

func starts(events []sluice.Event) map[sluice.AttemptID]sluice.Host {
	out := map[sluice.AttemptID]sluice.Host{}
	for _, e := range events {
		if b, ok := e.Body.(sluice.TaskStarted); ok {
			out[b.Attempt] = b.Host
		}
	}
	return out
}

// TestWhatAnActRestsOn: an act that rests on what was seen is done if nothing came between that it is about, and else is
// refused.
func TestWhatAnActRestsOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := wander(t, 40)
		w.rest(nil)
		a := w.drawAct()
		now := w.fold()
		e, err := act.Foresee(restore(t, save(t, now)), a, schedule.Input{Now: w.now, Driven: w.driven})
		if err != nil {
			return
		}
		a.Seen = e.Seen
		if _, err := a.Events(now, w.now.Add(time.Hour)); err != nil {
			t.Fatalf("nothing came between, and %s is refused: %v", a.Kind, err)
		}
		info, _ := now.Job(a.Job)
		if a.Job == "" || a.Kind == act.Halt || info.State != schedule.Halted {
			return
		}
		b := act.Act{Kind: act.Cancel, Job: a.Job, By: "another"}
		made, err := b.Events(now, w.now)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, now, made)
		if _, err := a.Events(now, w.now); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "it was halted and is being cancelled") {
			t.Fatalf("it was cancelled in between, and %s says %v", a.Kind, err)
		}
	})
}

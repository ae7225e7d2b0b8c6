package drive_test

import (
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/undo"
	"sluice/internal/core/validate"
)

func checked(after sluice.OnFailure) sluice.Action {
	a := release("")
	a.Release.Deploy.Validate = &sluice.Validate{Run: "check", On: "probe", Timeout: time.Minute, OnFailure: after}
	a.Release.Validating = &sluice.Validating{Hosts: []sluice.Host{"probe"}}
	return a
}

// validations are the jobs that validate something.
func (y *yard) validations() (jobs []sluice.Job) {
	for _, e := range y.log {
		if b, is := e.Body.(sluice.JobSubmitted); is && b.Submitted.Action.Validates != nil {
			b.Submitted.ID = e.Job
			jobs = append(jobs, b.Submitted)
		}
	}
	return jobs
}

// TestADeployIsValidatedInTheStepThatEndsIt, once, whenever its driver is killed; nothing that waits for its lock comes between.
func TestADeployIsValidatedInTheStepThatEndsIt(t *testing.T) {
	lock := sluice.Options{Lock: "shop/prod", Sudo: "root"}
	for after := 1; ; after++ {
		y := &yard{t: t, answer: shop()}
		y.submit(first, checked(""), lock, []sluice.Host{"h1"}, []sluice.Host{"h2"})
		y.submit(second, sluice.Action{Kind: sluice.RunCommand}, lock, []sluice.Host{"h9"})
		d, over := y.drive(first), false
		for range after {
			over = over || d.turn()
		}
		ended := slices.ContainsFunc(y.log, func(e sluice.Event) bool { return e.Job == first && e.Body.Type() == "job.finished" })
		if n := len(y.validations()); ended != (n == 1) {
			t.Fatalf("killed after %d turns: ended %v, and validated by %d", after, ended, n)
		}
		end := finished(t, y.drive(first).toEnd())
		jobs := y.validations()
		if len(jobs) != 1 || end.Validation != jobs[0].ID || jobs[0].ID != validate.ID(first, 0) {
			t.Fatalf("killed after %d turns, it is validated by %+v, and says %q", after, jobs, end.Validation)
		}
		j := jobs[0]
		if !slices.Equal(j.Targets, []sluice.Host{"probe"}) || j.Action.Shell != "check" || !j.Options.ReadOnly || j.Options.Timeout != time.Minute ||
			j.Options.Lock != lock.Lock || j.Options.Sudo != "root" || j.By != "ann" || j.Action.Validates.Job != first {
			t.Errorf("it is %+v", j)
		}
		waiting := y.drive(second)
		if waiting.turn() || len(waiting.has) > 0 {
			t.Fatal("what waited for the lock gets it before the validation")
		}
		y.drive(j.ID).toEnd()
		if !waiting.turn() {
			waiting.toEnd()
		}
		if over {
			return
		}
	}
}

// TestWhatIsNotValidated: no deploy that fails, and none of which no host has anything.
func TestWhatIsNotValidated(t *testing.T) {
	y := &yard{t: t, answer: shop("h1")}
	y.submit(first, checked(""), sluice.Options{}, []sluice.Host{"h1"})
	if end := finished(t, y.drive(first).toEnd()); end.Validation != "" || len(y.validations()) > 0 || !slices.Equal(y.notices, []string{"job 000000000001 is not validated: the deploy failed"}) {
		t.Errorf("%+v, %q", end, y.notices)
	}
	y = &yard{t: t, answer: shop()}
	y.submit(first, checked(""), sluice.Options{}, []sluice.Host{"h1"})
	y.append(sluice.Event{Job: first, Body: sluice.TaskFinished{Host: "h1", Outcome: sluice.Skipped, By: "ann"}})
	if end := finished(t, y.drive(first).toEnd()); end.Outcome != sluice.Succeeded || end.Validation != "" || len(y.validations()) > 0 {
		t.Errorf("%+v", end)
	}
}

// TestAFailedValidationTakesTheDeployBack where the app says so, and where the command itself has failed: once, however often its
// driver is killed.
func TestAFailedValidationTakesTheDeployBack(t *testing.T) {
	three := 3
	for name, c := range map[string]struct {
		after sluice.OnFailure
		word  sluice.TaskFinished
		back  bool
	}{
		"it fails":          {sluice.FailureRollsBack, sluice.TaskFinished{Outcome: sluice.Failed, ExitCode: &three}, true},
		"it takes too long": {sluice.FailureRollsBack, sluice.TaskFinished{Outcome: sluice.TimedOut}, true},
		"no contact":        {sluice.FailureRollsBack, sluice.TaskFinished{Outcome: sluice.Unreachable, NotStarted: true}, false},
		"it cannot be run":  {sluice.FailureRollsBack, sluice.TaskFinished{Outcome: sluice.Failed, NotStarted: true}, false},
		"it is well":        {sluice.FailureRollsBack, sluice.TaskFinished{Outcome: sluice.Succeeded}, false},
		"nobody asked":      {"", sluice.TaskFinished{Outcome: sluice.Failed, ExitCode: &three}, false},
		"only recorded":     {sluice.FailureHalts, sluice.TaskFinished{Outcome: sluice.Failed, ExitCode: &three}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for after := 0; after < 4; after++ {
				onHost := shop()
				y := &yard{t: t}
				y.answer = func(id sluice.JobID, h sluice.Host) sluice.TaskFinished {
					if h == "probe" {
						return c.word
					}
					return onHost(id, h)
				}
				y.submit(first, checked(c.after), sluice.Options{Lock: "shop/prod"}, []sluice.Host{"h1"}, []sluice.Host{"h2"})
				y.drive(first).toEnd()
				v := y.validations()[0].ID
				d, over := y.drive(v), false
				for range after {
					over = over || d.turn()
				}
				end := finished(t, y.drive(v).toEnd())
				jobs, _ := y.backs()
				if !c.back {
					if len(jobs) > 0 || end.Undo != "" {
						t.Fatalf("it is taken back by %+v", jobs)
					}
					continue
				}
				if len(jobs) != 1 || end.Undo != jobs[0].ID || jobs[0].ID != undo.ID(first, 0) || jobs[0].Action.Undoes != first || !slices.Equal(jobs[0].Targets, []sluice.Host{"h1", "h2"}) ||
					jobs[0].Command != "roll shop in prod back to 1, because job "+string(v)+" failed, which validated job "+string(first) || jobs[0].Action.Release.Validating != nil {
					t.Fatalf("it ends with %+v, and is taken back by %+v", end, jobs)
				}
				if end := finished(t, y.drive(jobs[0].ID).toEnd()); end.Outcome != sluice.Succeeded || end.Validation != "" {
					t.Errorf("the rollback: %+v", end)
				}
			}
		})
	}
}

package schedule_test

import (
	"cmp"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestWhatWasLookedAtHasChanged: a job that was made from a look starts nothing where another one has touched that app in that
// environment since, however late it gets its lock, and whoever folds the log in between.
func TestWhatWasLookedAtHasChanged(t *testing.T) {
	const other, late, mine = sluice.JobID("000000000001"), sluice.JobID("000000000002"), sluice.JobID("000000000003")
	shop := func(app, env string) sluice.Action {
		return sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: app, Env: env, Version: "2"}}
	}
	now := time.Unix(1e9, 0).UTC()
	const gone = "job 000000000001 of ann has changed shop in prod since that was looked at"
	for name, c := range map[string]struct {
		action  sluice.Action // of the other job
		started bool          // before the look
		ended   bool          // before the look, too
		retried bool          // after it
		never   bool          // it is cancelled before it started anything
		look    sluice.Look
		want    string
	}{
		"it ended before":         {action: shop("shop", "prod"), started: true, ended: true},
		"it ended since":          {action: shop("shop", "prod"), started: true, want: gone},
		"it was at work since":    {action: shop("shop", "prod"), want: gone},
		"it was tried again":      {action: shop("shop", "prod"), started: true, ended: true, retried: true, want: gone},
		"what to type is said":    {action: shop("shop", "prod"), look: sluice.Look{Again: "sluice converge prod"}, want: gone + "; again: sluice converge prod"},
		"it never started":        {action: shop("shop", "prod"), never: true},
		"another app":             {action: shop("mail", "prod")},
		"another environment":     {action: shop("shop", "test")},
		"a command":               {action: sluice.Action{Kind: sluice.RunCommand}},
		"who looked knows of it":  {action: shop("shop", "prod"), look: sluice.Look{Own: []sluice.JobID{other}}},
		"who looked knows others": {action: shop("shop", "prod"), look: sluice.Look{Own: []sluice.JobID{late}}, want: gone},
	} {
		t.Run(name, func(t *testing.T) {
			s := schedule.New()
			apply := func(job sluice.JobID, bodies ...sluice.Body) {
				t.Helper()
				for _, body := range bodies {
					if err := s.Apply(sluice.Event{Seq: s.Seq() + 1, Time: now, Job: job, Body: body}); err != nil {
						t.Fatal(err)
					}
				}
			}
			submit := func(id sluice.JobID, a sluice.Action, l *sluice.Look) {
				h := []sluice.Host{"h1"}
				apply(id, sluice.JobSubmitted{Submitted: sluice.Job{ID: id, By: "ann", Action: a, Look: l, Targets: h, Options: sluice.Options{Lock: "shop/prod"},
					Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: h}}}}}}, sluice.JobStarted{})
			}
			try := 0
			start := func() {
				try++
				apply(other, sluice.TaskStarted{Host: "h1", Attempt: sluice.NewAttemptID(other, 0, try)})
			}
			end := func() {
				apply(other, sluice.TaskFinished{Host: "h1", Attempt: sluice.NewAttemptID(other, 0, try), Outcome: sluice.Failed}, sluice.JobFinished{Outcome: sluice.Failed})
			}
			submit(other, c.action, nil)
			if c.started {
				start()
			}
			if c.ended {
				end()
			}
			c.look.Until = s.Seq()
			submit(mine, shop("shop", "prod"), &c.look)
			decide := func(driver sluice.JobID) (got sluice.Body) {
				t.Helper()
				b, err := s.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				if s, err = schedule.Restore(b); err != nil {
					t.Fatal(err)
				}
				is := func(id sluice.JobID) bool { return id == driver }
				for _, e := range s.Decide(schedule.Input{Now: now, Owns: is, Driven: is}) {
					if e.Job == mine {
						got = cmp.Or(got, e.Body)
					}
				}
				return got
			}
			switch {
			case c.never:
				apply(other, sluice.JobFinished{Outcome: sluice.Cancelled})
			case c.retried:
				apply(other, sluice.JobResumed{By: "ann", Generation: 1}, sluice.TaskRetried{Hosts: []sluice.Host{"h1"}})
				fallthrough
			case !c.started:
				if got := decide(mine); got != nil {
					t.Errorf("it does not wait for its lock: %+v", got)
				}
				start()
				end()
			case !c.ended:
				end()
			}
			got, why := decide(mine), ""
			end1, over := got.(sluice.JobFinished)
			if over {
				if why = end1.Reason; end1.Outcome != sluice.Cancelled || end1.Counts[sluice.Cancelled] != 1 {
					t.Errorf("it ends with %+v", end1)
				}
			}
			if why != c.want || got == nil {
				t.Errorf("%q follows (%+v), want %q", why, got, c.want)
			}
			if i, _ := s.Job(mine); over && (i.State != schedule.Cancelled || len(s.Locked("shop/prod")) > 0) {
				t.Errorf("it is %s, and has its lock", i.State)
			}
			if !over {
				return
			}
			apply(mine, sluice.JobResumed{By: "ann", Generation: 1}, sluice.TaskRetried{Hosts: []sluice.Host{"h1"}}) // makes it no younger
			if end2, over := decide(mine).(sluice.JobFinished); !over || end2.Reason != c.want {
				t.Errorf("tried again: %+v", end2)
			}
		})
	}
}

// TestWhatHasStartedGoesOn: what others do afterwards does not end a job that has begun.
func TestWhatHasStartedGoesOn(t *testing.T) {
	s, now := schedule.New(), time.Unix(1e9, 0).UTC()
	const a, b = sluice.JobID("000000000001"), sluice.JobID("000000000002")
	for _, id := range []sluice.JobID{a, b} {
		h := []sluice.Host{"h1", "h2"}
		if id == b {
			h = []sluice.Host{"h3"}
		}
		j := sluice.Job{ID: id, Targets: h, Look: &sluice.Look{}, Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod"}},
			Options: sluice.Options{Concurrency: 1}, Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: h}}}}}
		if id == b {
			j.Look = nil
		}
		if err := s.Apply(sluice.Event{Time: now, Job: id, Body: sluice.JobSubmitted{Submitted: j}}); err != nil {
			t.Fatal(err)
		}
	}
	all := func(sluice.JobID) bool { return true }
	started := map[sluice.JobID]int{}
	count := func() {
		for _, e := range s.Decide(schedule.Input{Now: now, Owns: all, Driven: all}) {
			if _, is := e.Body.(sluice.TaskStarted); is {
				started[e.Job]++
			}
		}
	}
	count()
	if err := s.Apply(sluice.Event{Time: now, Job: a, Body: sluice.TaskFinished{Host: "h1", Attempt: sluice.NewAttemptID(a, 0, 1), Outcome: sluice.Succeeded}}); err != nil {
		t.Fatal(err)
	}
	if count(); started[a] != 2 || started[b] != 1 {
		t.Errorf("%v have started", started)
	}
}

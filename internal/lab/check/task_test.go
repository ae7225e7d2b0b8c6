package check_test

import (
	"sluice"
	"sluice/internal/lab/check"
)

var tryStories = []story{
	{"a second try after a retry", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.finish(jobA, "h0", 2, sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"a second try without one", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.start(jobA, "h0", 2)
	}},
	{"a retry is good for one try", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.finish(jobA, "h0", 2, sluice.Failed)
		s.start(jobA, "h0", 3)
	}},
	{"a try after a skip", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.skip(jobA, "h0")
		s.start(jobA, "h0", 1)
	}},
	{"a second try while the first runs", breaks(check.NewTry, check.HostBusy), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"a second try while the first is unknown", breaks(check.NewTry, check.HostBusy), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"also of a job that only reads", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{ReadOnly: true}, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"a retry while unknown is void, also when the truth comes", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.retry(jobA, "h0")
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.start(jobA, "h0", 2)
	}},
	{"a release ends an unknown attempt", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.finish(jobA, "h0", 2, sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"the late outcome of an old try does not change that of a newer one", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.finish(jobA, "h0", 2, sluice.Succeeded)
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"a retry while unknown is void, also after a release", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.retry(jobA, "h0")
		s.release("h0")
		s.start(jobA, "h0", 2)
	}},
	{"the truth makes a retry needless", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.retry(jobA, "h0")
		s.finish(jobA, "h0", 1, sluice.Succeeded)
		s.start(jobA, "h0", 2)
	}},
	{"an attempt id is used again", breaks(check.NewTry), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 1)
	}},
	{"a try is left out", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 2)
	}},
	{"the id of another host", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0", "h1"))
		s.add(jobA, sluice.TaskStarted{Host: "h0", Attempt: s.attempt(jobA, "h1", 1), Track: "t0", Stage: "e0"})
	}},
	{"the id of another job", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.TaskStarted{Host: "h0", Attempt: sluice.NewAttemptID(jobB, 0, 1), Track: "t0", Stage: "e0"})
	}},
	{"no id at all", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.TaskStarted{Host: "h0", Attempt: "first", Track: "t0", Stage: "e0"})
	}},
	{"a stage that the host is not in", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
		s.add(jobA, sluice.TaskStarted{Host: "h0", Attempt: s.attempt(jobA, "h0", 1), Track: "t0", Stage: "e1"})
	}},
	{"a host that is no target", breaks(check.Targets, check.Targets, check.Targets), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.TaskStarted{Host: "h1", Attempt: sluice.NewAttemptID(jobA, 1, 1), Track: "t0", Stage: "e0"})
		s.skip(jobA, "h1")
		s.retry(jobA, "h1")
	}},
	{"an outcome without an attempt", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.TaskFinished{Host: "h0", Outcome: sluice.Succeeded})
	}},
	{"the outcome of an attempt that nobody made", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.finish(jobA, "h0", 1, sluice.Succeeded)
	}},
	{"the outcome of another host's attempt", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0", "h1"))
		s.start(jobA, "h0", 1)
		s.add(jobA, sluice.TaskFinished{Host: "h1", Attempt: s.attempt(jobA, "h0", 1), Outcome: sluice.Succeeded})
	}},
	{"no outcome that there is", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", "fine")
	}},
	{"an attempt is skipped", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Skipped)
	}},
	{"a task is skipped while it runs", breaks(check.Attempts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.skip(jobA, "h0")
	}},
	{"two outcomes", breaks(check.FirstResult), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.finish(jobA, "h0", 1, sluice.Failed)
	}},
	{"unknown twice", breaks(check.FirstResult), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.finish(jobA, "h0", 1, sluice.Unknown)
	}},
}

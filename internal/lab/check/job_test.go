package check_test

import (
	"sluice"
	"sluice/internal/lab/check"
)

var jobStories = []story{
	{"numbers with a hole", breaks(check.Numbering), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.events[len(s.events)-1].Seq++
	}},
	{"an event of a later version", nil, func(s *script) {
		s.apply()
		s.add(jobB, sluice.UnknownBody{TypeName: "task.dreamt", Raw: []byte(`{}`)})
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.UnknownBody{TypeName: "task.dreamt", Raw: []byte(`{}`)})
		s.add(jobA, sluice.TaskStep{Host: "h0", Step: "command"})
	}},
	{"an event of a job that is not there", breaks(check.Submission), func(s *script) {
		s.add(jobA, sluice.JobStarted{Driver: "ann"})
	}},
	{"a job twice", breaks(check.Submission), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.JobSubmitted{Submitted: s.jobs[jobA]})
	}},
	{"a job with a strange id", breaks(check.Submission), func(s *script) {
		s.apply()
		s.submit("job", none, stage(0, "h0"))
	}},
	{"a job without targets", breaks(check.Targets), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0))
	}},
	{"a target twice", breaks(check.Targets), func(s *script) {
		s.add(jobA, sluice.JobSubmitted{Submitted: sluice.Job{
			Targets: []sluice.Host{"h0", "h0"}, Rules: s.apply(),
			Tracks: []sluice.Track{{Name: "t0", Stages: []sluice.Stage{stage(0, "h0")}}},
		}})
	}},
	{"a target in no stage", breaks(check.PlanCovers), func(s *script) {
		s.add(jobA, sluice.JobSubmitted{Submitted: sluice.Job{
			Targets: hosts(2), Rules: s.apply(),
			Tracks: []sluice.Track{{Name: "t0", Stages: []sluice.Stage{stage(0, "h0")}}},
		}})
	}},
	{"a host in a stage that is no target", breaks(check.PlanCovers), func(s *script) {
		s.add(jobA, sluice.JobSubmitted{Submitted: sluice.Job{
			Targets: hosts(1), Rules: s.apply(),
			Tracks: []sluice.Track{{Name: "t0", Stages: []sluice.Stage{stage(0, "h0", "h1")}}},
		}})
	}},
	{"a host twice in a track", breaks(check.PlanCovers), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h0", "h1"))
	}},
	{"rules that nobody knows", breaks(check.RulesKnown), func(s *script) {
		s.submit(jobA, none, stage(0, "h0"))
	}},
	{"as many failures as the budget", nil, func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("50%")}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.start(jobA, "h1", 1)
	}},
	{"one more", breaks(check.Budget), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("50%")}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Unreachable)
		s.run(jobA, "h1", sluice.Unknown)
		s.start(jobA, "h2", 1)
	}},
	{"a share of few is a budget of none", breaks(check.Budget), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("10%"), ReadOnly: true}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.TimedOut)
		s.start(jobA, "h1", 1)
	}},
	{"what is tried again counts until it has another outcome", breaks(check.Budget), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("0")}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"what is cancelled, skipped or mended does not count", nil, func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("0")}, stage(0, hosts(4)...))
		s.run(jobA, "h0", sluice.Cancelled)
		s.run(jobA, "h1", sluice.Failed)
		s.skip(jobA, "h1")
		s.run(jobA, "h2", sluice.Unknown)
		s.finish(jobA, "h2", 1, sluice.Succeeded)
		s.start(jobA, "h3", 1)
	}},
	{"a resume raises the budget", nil, func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxFailures: budget("0")}, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.halt(jobA, 1)
		s.add(jobA, sluice.JobResumed{By: "ann", Generation: 2, MaxFailures: budget("1")})
		s.start(jobA, "h1", 1)
	}},
	{"two refused passwords", breaks(check.Refusals), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.refuse(jobA, "h0")
		s.refuse(jobA, "h1")
		s.start(jobA, "h2", 1)
	}},
	{"one refused password, and two more after a resume", breaks(check.Refusals), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(4)...))
		s.refuse(jobA, "h0")
		s.halt(jobA, 1)
		s.resume(jobA, 2)
		s.refuse(jobA, "h1")
		s.refuse(jobA, "h2")
		s.start(jobA, "h3", 1)
	}},
	{"a start while halting", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.add(jobA, sluice.JobHalting{Rule: sluice.RuleOperator, By: "ann"})
		s.finish(jobA, "h0", 1, sluice.Succeeded)
		s.start(jobA, "h1", 1)
	}},
	{"a start when halted", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.add(jobA, sluice.JobHalted{Rule: sluice.RuleBudget, Generation: 1})
		s.start(jobA, "h1", 1)
	}},
	{"a start while cancelling", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.add(jobA, sluice.JobCancelling{By: "ann"})
		s.start(jobA, "h1", 1)
	}},
	{"a start after the end", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.end(jobA, sluice.Failed, count(sluice.Failed, 1))
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"a finished job is resumed", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.end(jobA, sluice.Failed, count(sluice.Failed, 1))
		s.retry(jobA, "h0")
		s.resume(jobA, 1)
		s.start(jobA, "h0", 2)
		s.finish(jobA, "h0", 2, sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"a stop holds for one job", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.submit(jobB, none, stage(0, "h1"))
		s.halt(jobA, 1)
		s.start(jobB, "h1", 1)
	}},
	{"a resume of an old halt", breaks(check.Halt, check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.halt(jobA, 1)
		s.resume(jobA, 2)
		s.halt(jobA, 2)
		s.resume(jobA, 2)
		s.start(jobA, "h0", 1)
	}},
	{"a job resumes by itself", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.halt(jobA, 1)
		s.add(jobA, sluice.JobResumed{Generation: 2})
	}},
	{"halts are counted", breaks(check.Halt), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.halt(jobA, 1)
		s.resume(jobA, 2)
		s.halt(jobA, 1)
	}},
}

var endStories = []story{
	{"a job of every outcome", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(4)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.skip(jobA, "h1")
		s.run(jobA, "h2", sluice.Unknown)
		s.run(jobA, "h3", sluice.Cancelled)
		s.end(jobA, sluice.Failed, map[sluice.Outcome]int{
			sluice.Succeeded: 1, sluice.Skipped: 1, sluice.Unknown: 1, sluice.Cancelled: 1, sluice.Failed: 0,
		})
	}},
	{"of a cancelled job the rest counts as cancelled", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(4)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.start(jobA, "h1", 1)
		s.run(jobA, "h3", sluice.Failed)
		s.retry(jobA, "h3")
		s.add(jobA, sluice.JobCancelling{By: "ann"})
		s.finish(jobA, "h1", 1, sluice.Cancelled)
		s.end(jobA, sluice.Cancelled, map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Failed: 1, sluice.Cancelled: 2})
	}},
	{"a cancel that keeps tasks from starting may say so", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.JobCancelling{By: "ann"})
		s.add(jobA, sluice.TaskFinished{Host: "h0", Outcome: sluice.Cancelled, NotStarted: true})
		s.end(jobA, sluice.Cancelled, count(sluice.Cancelled, 1))
	}},
	{"halted while something runs", breaks(check.Ended), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.halt(jobA, 1)
	}},
	{"halted while something is unknown", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.halt(jobA, 1)
	}},
	{"finished while something runs", breaks(check.Ended), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"finished twice", breaks(check.Ended), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"finished before the last host", breaks(check.AllCounted), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.end(jobA, sluice.Failed, count(sluice.Succeeded, 1))
	}},
	{"finished before the second try", breaks(check.AllCounted), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.end(jobA, sluice.Failed, count(sluice.Failed, 1))
	}},
	{"a host is not counted", breaks(check.AllCounted), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.run(jobA, "h1", sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
	}},
	{"unknown counts as success", breaks(check.Counts), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.run(jobA, "h1", sluice.Unknown)
		s.end(jobA, sluice.Failed, count(sluice.Succeeded, 2))
	}},
	{"unknown is no success", breaks(check.Success), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.end(jobA, sluice.Succeeded, count(sluice.Unknown, 1))
	}},
	{"a success that is said to have failed", breaks(check.Success), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.end(jobA, sluice.Failed, count(sluice.Succeeded, 1))
	}},
	{"cancelled by nobody", breaks(check.Success), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.end(jobA, sluice.Cancelled, count(sluice.Cancelled, 1))
	}},
	{"cancelled, resumed, and then cancelled by nobody", breaks(check.Success), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.JobCancelling{By: "ann"})
		s.end(jobA, sluice.Cancelled, count(sluice.Cancelled, 1))
		s.resume(jobA, 1)
		s.end(jobA, sluice.Cancelled, count(sluice.Cancelled, 1))
	}},
	{"what was cancelled and is tried again counts as cancelled", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Cancelled)
		s.retry(jobA, "h0")
		s.add(jobA, sluice.JobCancelling{By: "ann"})
		s.end(jobA, sluice.Cancelled, count(sluice.Cancelled, 1))
	}},
	{"no outcome of a job", breaks(check.Success), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Failed)
		s.end(jobA, sluice.TimedOut, count(sluice.Failed, 1))
	}},
}

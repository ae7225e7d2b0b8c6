package check_test

import (
	"time"

	"sluice"
	"sluice/internal/lab/check"
)

var (
	pause   = sluice.Gate{Pause: 10 * time.Minute}
	approve = sluice.Gate{Approve: true}
)

func (s *script) wait(id sluice.JobID, kind sluice.GateKind, until time.Time) {
	s.add(id, sluice.GateWaiting{Track: "t0", Stage: "e0", Kind: kind, Until: until})
}

func (s *script) pass(id sluice.JobID, kind sluice.GateKind, by string) {
	s.add(id, sluice.GatePassed{Track: "t0", Stage: "e0", Kind: kind, By: by})
}

var stageStories = []story{
	{"stages in order", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"), stage(2, "h2"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.open(jobA, 0, 1)
		s.skip(jobA, "h1")
		s.open(jobA, 0, 2)
		s.run(jobA, "h2", sluice.Succeeded)
	}},
	{"a stage opens while the one ahead runs", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
		s.start(jobA, "h0", 1)
		s.open(jobA, 0, 1)
	}},
	{"a bad canary stops there", breaks(check.Sequence, check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Failed)
		s.open(jobA, 0, 1)
		s.start(jobA, "h1", 1)
	}},
	{"a cancelled task opens nothing", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Cancelled)
		s.open(jobA, 0, 1)
	}},
	{"a task starts in a stage that nobody opened", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.start(jobA, "h1", 1)
	}},
	{"a stage is opened twice", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.open(jobA, 0, 0)
	}},
	{"again after a resume", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.halt(jobA, 1)
		s.resume(jobA, 2)
		s.open(jobA, 0, 0)
		s.start(jobA, "h0", 1)
	}},
	{"a stage that is not in the plan", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.StageOpened{Track: "t0", Stage: "e1", Index: 1})
	}},
	{"an entry lets one of its hosts fail", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, tolerant(stage(0, "h0", "h1"), 1), stage(1, "h2"))
		s.run(jobA, "h0", sluice.Unknown)
		s.run(jobA, "h1", sluice.Succeeded)
		s.open(jobA, 0, 1)
		s.start(jobA, "h2", 1)
	}},
	{"and not two", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, tolerant(stage(0, "h0", "h1"), 1), stage(1, "h2"))
		s.run(jobA, "h0", sluice.Unreachable)
		s.run(jobA, "h1", sluice.Cancelled)
		s.open(jobA, 0, 1)
	}},
	{"the steps of a ramp count together", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, tolerant(stage(0, "h0"), 1), tolerant(stage(0, "h1"), 1), stage(1, "h2"))
		s.run(jobA, "h0", sluice.Failed)
		s.open(jobA, 0, 1)
		s.run(jobA, "h1", sluice.Failed)
		s.open(jobA, 0, 2)
	}},
	{"other entries count by themselves", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, tolerant(stage(0, "h0"), 1), tolerant(stage(1, "h1"), 1), stage(2, "h2"))
		s.run(jobA, "h0", sluice.Failed)
		s.open(jobA, 0, 1)
		s.run(jobA, "h1", sluice.Failed)
		s.open(jobA, 0, 2)
	}},
	{"who is tried again is not settled", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, tolerant(stage(0, "h0"), 1), stage(1, "h1", "h2"))
		s.run(jobA, "h0", sluice.Failed)
		s.open(jobA, 0, 1)
		s.run(jobA, "h1", sluice.Succeeded)
		s.retry(jobA, "h0")
		s.start(jobA, "h2", 1)
	}},
	{"a skip needs somebody", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.TaskFinished{Host: "h0", Outcome: sluice.Skipped})
	}},
	{"tracks run side by side", nil, func(s *script) {
		s.apply()
		s.submitTracks(jobA, none,
			sluice.Track{Name: "t0", Stages: []sluice.Stage{stage(0, "h0"), stage(1, "h1")}},
			sluice.Track{Name: "t1", Stages: []sluice.Stage{stage(0, "h2"), stage(1, "h3")}})
		s.run(jobA, "h0", sluice.Failed)
		s.run(jobA, "h2", sluice.Succeeded)
		s.open(jobA, 1, 1)
		s.start(jobA, "h3", 1)
	}},
	{"a host in two tracks waits for both", breaks(check.Sequence), func(s *script) {
		s.apply()
		s.submitTracks(jobA, none,
			sluice.Track{Name: "t0", Stages: []sluice.Stage{stage(0, "h0"), stage(1, "h1")}},
			sluice.Track{Name: "t1", Stages: []sluice.Stage{stage(0, "h2"), stage(1, "h1")}})
		s.run(jobA, "h0", sluice.Succeeded)
		s.open(jobA, 0, 1)
		s.start(jobA, "h1", 1)
	}},
	{"a pause is waited for", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.wait(jobA, sluice.GatePause, s.now.Add(pause.Pause))
		s.now = s.now.Add(pause.Pause)
		s.pass(jobA, sluice.GatePause, "")
		s.open(jobA, 0, 1)
		s.start(jobA, "h1", 1)
	}},
	{"nobody waits for the pause", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.open(jobA, 0, 1)
	}},
	{"a pause ends and never began", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.pass(jobA, sluice.GatePause, "ann")
	}},
	{"a pause ends too early", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.wait(jobA, sluice.GatePause, s.now.Add(pause.Pause))
		s.now = s.now.Add(pause.Pause - 3*time.Second)
		s.pass(jobA, sluice.GatePause, "")
	}},
	{"a pause is too short", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), pause), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.wait(jobA, sluice.GatePause, s.now.Add(pause.Pause-time.Second))
	}},
	{"a gate waits before its stage is done", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1, "h1"))
		s.start(jobA, "h0", 1)
		s.wait(jobA, sluice.GateApproval, time.Time{})
	}},
	{"a gate that is not in the plan", breaks(check.GateKept, check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.add(jobA, sluice.GateWaiting{Track: "t9", Stage: "e0", Kind: sluice.GateApproval})
		s.add(jobA, sluice.GatePassed{Track: "t0", Stage: "e7", Index: 7, Kind: sluice.GateApproval, By: "ann"})
	}},
	{"somebody approves", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.wait(jobA, sluice.GateApproval, time.Time{})
		s.pass(jobA, sluice.GateApproval, "ann")
		s.open(jobA, 0, 1)
		s.start(jobA, "h1", 1)
	}},
	{"nobody approves", breaks(check.GateKept, check.GateKept, check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.pass(jobA, sluice.GateApproval, "")
		s.open(jobA, 0, 1)
		s.start(jobA, "h1", 1)
	}},
	{"who approves does not end the pause", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), sluice.Gate{Pause: pause.Pause, Approve: true}), stage(1, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.pass(jobA, sluice.GateApproval, "ann")
		s.open(jobA, 0, 1)
	}},
	{"a gate holds for all stages behind it", breaks(check.GateKept), func(s *script) {
		s.apply()
		s.submit(jobA, none, gated(stage(0, "h0"), approve), stage(1), stage(2, "h2"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.open(jobA, 0, 2)
	}},
}

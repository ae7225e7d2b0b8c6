package check_test

import (
	"sluice"
	"sluice/internal/lab/check"
)

var capacityStories = []story{
	{"a full group waits for a success", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Succeeded)
		s.run(jobA, "h1", sluice.Succeeded)
		s.run(jobA, "h2", sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 3))
	}},
	{"two at once in a group of one", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
	}},
	{"a second job counts, too", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, "h0"))
		s.submit(jobB, none, stage(0, "h1"))
		s.start(jobA, "h0", 1)
		s.start(jobB, "h1", 1)
	}},
	{"15 percent of four are one, not fifteen", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("15%", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
	}},
	{"a share is rounded down", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("70%", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
		s.start(jobA, "h2", 1)
	}},
	{"0% is closed", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("0%", hosts(4)...))
		s.submit(jobA, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
	}},
	{"a failed host holds its place", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.start(jobA, "h1", 1)
	}},
	{"for the next job, too, and the end of the job releases nothing", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.TimedOut)
		s.end(jobA, sluice.Failed, count(sluice.TimedOut, 1))
		s.submit(jobB, none, stage(0, "h1"))
		s.start(jobB, "h1", 1)
	}},
	{"unreachable holds although nothing started", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.add(jobA, sluice.TaskFinished{Host: "h0", Attempt: s.attempt(jobA, "h0", 1), Outcome: sluice.Unreachable, NotStarted: true})
		s.start(jobA, "h1", 1)
	}},
	{"cancelled after the start holds", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Cancelled)
		s.start(jobA, "h1", 1)
	}},
	{"cancelled before the start does not", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.add(jobA, sluice.TaskFinished{Host: "h0", Attempt: s.attempt(jobA, "h0", 1), Outcome: sluice.Cancelled, NotStarted: true})
		s.start(jobA, "h1", 1)
	}},
	{"cancelled before the start does not mend, either", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.add(jobA, sluice.TaskFinished{Host: "h0", Attempt: s.attempt(jobA, "h0", 2), Outcome: sluice.Cancelled, NotStarted: true})
		s.start(jobA, "h1", 1)
	}},
	{"an unknown outcome stays busy", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Unknown)
		s.start(jobA, "h1", 1)
	}},
	{"until the true one comes", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Unknown)
		s.finish(jobA, "h0", 1, sluice.Succeeded)
		s.start(jobA, "h1", 1)
	}},
	{"or a release", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.start(jobA, "h1", 1)
	}},
	{"a release frees no running attempt", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.release("h0")
		s.start(jobA, "h1", 1)
	}},
	{"a skip releases nothing", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.skip(jobA, "h0")
		s.start(jobA, "h1", 1)
	}},
	{"a failure after a release holds again", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.start(jobA, "h1", 1)
	}},
	{"a late success of an old attempt does not mend what a newer one broke", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.submit(jobB, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.run(jobB, "h0", sluice.Failed)
		s.finish(jobA, "h0", 1, sluice.Succeeded)
		s.start(jobA, "h1", 1)
	}},
	{"nor after the late failure of a still older one", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.submit(jobB, none, stage(0, "h0"))
		s.submit(jobC, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.release("h0")
		s.run(jobB, "h0", sluice.Unknown)
		s.release("h0")
		s.run(jobC, "h0", sluice.Failed)
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.finish(jobB, "h0", 1, sluice.Succeeded)
		s.start(jobA, "h1", 1)
	}},
	{"a bad host takes its own place, also above the limit", nil, func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.run(jobA, "h1", sluice.Failed)
		s.apply(group("1", hosts(4)...))
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"but running ones stay within it", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.run(jobA, "h1", sluice.Failed)
		s.apply(group("1", hosts(4)...))
		s.retry(jobA, "h0", "h1")
		s.start(jobA, "h0", 2)
		s.start(jobA, "h1", 2)
	}},
	{"a bad host that is tried again counts once", nil, func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
		s.start(jobA, "h1", 1)
	}},
	{"a held host counts", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.hold("h3")
		s.start(jobA, "h0", 1)
	}},
	{"a host that is bad and held counts once", nil, func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.hold("h0")
		s.start(jobA, "h1", 1)
	}},
	{"a held host that runs counts once", nil, func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.hold("h0")
		s.start(jobA, "h1", 1)
	}},
	{"a retired host is no holder", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.retire("h0")
		s.start(jobA, "h1", 1)
	}},
	{"until it returns", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.run(jobA, "h0", sluice.Failed)
		s.retire("h0")
		s.add("", sluice.HostReturned{Host: "h0", By: "ann"})
		s.start(jobA, "h1", 1)
	}},
	{"a retired host is no member of a share", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("50%", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.retire("h3")
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
	}},
	{"a lower limit applies at once", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.apply(group("1", hosts(4)...))
		s.start(jobA, "h1", 1)
	}},
	{"a higher one only to new jobs", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.apply(group("3", hosts(4)...))
		s.submit(jobB, none, stage(0, "h2"))
		s.start(jobB, "h2", 1)
		s.start(jobA, "h1", 1)
	}},
	{"a host obeys all of its groups", breaks(check.BusyLimit), func(s *script) {
		s.apply(group("2", hosts(4)...), group("1", "h1", "h2"))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.start(jobA, "h1", 1)
		s.start(jobA, "h2", 1)
	}},
	{"and no others", nil, func(s *script) {
		s.apply(group("1", "h0", "h1"), group("1", "h2", "h3"))
		s.submit(jobA, none, stage(0, hosts(4)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h2", 1)
	}},
	{"the job's own limit of hosts that are out", breaks(check.OutLimit), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{MaxParallel: budget("50%")}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.start(jobA, "h1", 1)
	}},
	{"counts hosts that another job put out", breaks(check.OutLimit), func(s *script) {
		s.apply()
		s.submit(jobB, none, stage(0, hosts(2)...))
		s.run(jobB, "h1", sluice.Failed)
		s.submit(jobA, sluice.Options{MaxParallel: budget("1")}, stage(0, hosts(3)...))
		s.start(jobA, "h0", 1)
	}},
	{"and not those that are none of its targets", nil, func(s *script) {
		s.apply()
		s.submit(jobB, none, stage(0, "h3"))
		s.run(jobB, "h3", sluice.Failed)
		s.submit(jobA, sluice.Options{MaxParallel: budget("1")}, stage(0, hosts(3)...))
		s.start(jobA, "h0", 1)
	}},
	{"no more attempts at once than the job allows", breaks(check.Concurrency), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{Concurrency: 2}, stage(0, hosts(3)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
		s.start(jobA, "h2", 1)
	}},
	{"an earlier job has the lock", breaks(check.Locked), func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"))
		s.submit(jobB, locked("one"), stage(0, "h1"))
		s.start(jobB, "h1", 1)
	}},
	{"until it ends", nil, func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"))
		s.submit(jobB, locked("one"), stage(0, "h1"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.end(jobA, sluice.Succeeded, count(sluice.Succeeded, 1))
		s.start(jobB, "h1", 1)
	}},
	{"a job that runs has the lock, though an earlier one was opened again", breaks(check.Locked), func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"))
		s.submit(jobB, locked("one"), stage(0, "h1"))
		s.run(jobA, "h0", sluice.Failed)
		s.end(jobA, sluice.Failed, count(sluice.Failed, 1))
		s.start(jobB, "h1", 1)
		s.resume(jobA, 1)
		s.retry(jobA, "h0")
		s.start(jobA, "h0", 2)
	}},
	{"who undoes a job has its lock", breaks(check.Locked), func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"))
		s.submit(jobB, locked("one"), stage(0, "h1"))
		s.run(jobA, "h0", sluice.Failed)
		s.undo(jobA, jobC, count(sluice.Failed, 1))
		s.start(jobB, "h1", 1)
	}},
	{"before those that wait for it, and though not all was tried", nil, func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"), stage(1, "h2"))
		s.submit(jobB, locked("one"), stage(0, "h1"))
		s.run(jobA, "h0", sluice.Failed)
		s.undo(jobA, jobC, map[sluice.Outcome]int{sluice.Failed: 1, sluice.Cancelled: 1})
		s.start(jobC, "h0", 1)
	}},
	{"and another lock is none of it", nil, func(s *script) {
		s.apply()
		s.submit(jobA, locked("one"), stage(0, "h0"))
		s.submit(jobB, locked("two"), stage(0, "h1"))
		s.start(jobB, "h1", 1)
	}},
	{"where unknown ones do not count", nil, func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{Concurrency: 1}, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Unknown)
		s.start(jobA, "h1", 1)
	}},
}

var hostStories = []story{
	{"another job runs on the host", breaks(check.HostBusy), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.submit(jobB, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.start(jobB, "h0", 1)
	}},
	{"another job may still run on the host", breaks(check.HostBusy), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.submit(jobB, none, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Unknown)
		s.start(jobB, "h0", 1)
	}},
	{"a held host", breaks(check.Held), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, none, stage(0, "h0"))
		s.hold("h0")
		s.start(jobA, "h0", 1)
	}},
	{"a success does not free a held host", breaks(check.Held), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.submit(jobB, none, stage(0, "h0"))
		s.start(jobA, "h0", 1)
		s.hold("h0")
		s.finish(jobA, "h0", 1, sluice.Succeeded)
		s.start(jobB, "h0", 1)
	}},
	{"a release does", nil, func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.hold("h0")
		s.release("h0")
		s.start(jobA, "h0", 1)
	}},
	{"a held bad host does not take its own place", breaks(check.Held, check.OutLimit), func(s *script) {
		s.apply(group("2", hosts(4)...))
		s.submit(jobA, none, stage(0, hosts(3)...))
		s.run(jobA, "h0", sluice.Failed)
		s.run(jobA, "h1", sluice.Failed)
		s.apply(group("1", hosts(4)...))
		s.retry(jobA, "h0")
		s.hold("h0")
		s.start(jobA, "h0", 2)
	}},
	{"a retired host", breaks(check.Retired), func(s *script) {
		s.apply()
		s.submit(jobA, none, stage(0, "h0"))
		s.retire("h0")
		s.start(jobA, "h0", 1)
	}},
	{"a retired host also to read", breaks(check.Retired), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{ReadOnly: true}, stage(0, "h0"))
		s.retire("h0")
		s.start(jobA, "h0", 1)
	}},
	{"what only reads runs beside everything and takes nothing", nil, func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobA, sluice.Options{ReadOnly: true, MaxParallel: budget("1")}, stage(0, hosts(4)...))
		s.submit(jobB, none, stage(0, "h0", "h2"))
		s.start(jobB, "h0", 1)
		s.hold("h1")
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
		s.finish(jobA, "h0", 1, sluice.Failed)
		s.finish(jobA, "h1", 1, sluice.Unknown)
		s.finish(jobB, "h0", 1, sluice.Succeeded)
		s.release("h1")
		s.start(jobB, "h2", 1)
	}},
	{"what only reads clears nothing", breaks(check.OutLimit), func(s *script) {
		s.apply(group("1", hosts(4)...))
		s.submit(jobB, none, stage(0, hosts(2)...))
		s.run(jobB, "h0", sluice.Failed)
		s.submit(jobA, sluice.Options{ReadOnly: true}, stage(0, "h0"))
		s.run(jobA, "h0", sluice.Succeeded)
		s.start(jobB, "h1", 1)
	}},
	{"what only reads keeps its own limit", breaks(check.Concurrency), func(s *script) {
		s.apply()
		s.submit(jobA, sluice.Options{ReadOnly: true, Concurrency: 1}, stage(0, hosts(2)...))
		s.start(jobA, "h0", 1)
		s.start(jobA, "h1", 1)
	}},
}

// Package schedule decides what may start now, and says why the rest waits.
//
// [State] is the fold of a namespace's log: [State.Apply] takes events in order. [State.Decide] returns the
// events that follow from the rules: attempts that may start, stages and gates that open, jobs that are halted
// or finished. The caller appends them to the log before it acts on them. [State.Why] gives the reasons.
//
// It knows no clock, no goroutine, no file: the same code answers the live run, the rehearsal and the tests.
//
// # The rules
//
// A task may start only if its stage is open in all its tracks, its host runs no other task of the namespace,
// is neither held nor retired, and every constraint on the host has room for it. A constraint counts the hosts
// of a group that are out of service: those with an attempt that runs or whose outcome is not known, those whose
// last outcome was bad and which neither succeeded nor were released since, and those that an operator holds. A
// host that is out because it failed takes its own place when it is tried again, as long as the attempts at once
// stay within the limit. A start needs room under the rules that the job was submitted under and under those in
// force now.
//
// # How it stays fast
//
// Hosts of a job that are under the same constraints are a class: what holds for the first of them holds for
// all, so a decision looks at classes, not at hosts. A class whose way is barred by a full group waits at that
// group; when the group gets room, the first class that waits there is looked at again, and only if it leaves
// room the next one. See class.go.
//
// # Snapshots
//
// [State.Snapshot] puts a state away as bytes, and [Restore] takes it out again, so that a fold can go on where
// another one was. They are good for one version of the fold, which is [Form]. Jobs that are over stay in the few
// bytes that they are there, until somebody asks for their tasks.
package schedule

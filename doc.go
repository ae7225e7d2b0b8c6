// Package sluice holds the nouns of Sluice: controlled change for fleets of Linux hosts.
//
// # Words
//
// One word, one meaning, in code, documents, command line and pages.
//
//   - fleet: the hosts of a namespace with their tags, sequences, constraints and settings.
//   - namespace: the unit in which names, constraints and locks hold together.
//   - tag: "name" or "name.value", carried by hosts.
//   - target expression: which hosts are meant.
//   - sequence: an order in which hosts are changed. constraint: how many of them at once.
//   - job: one request to act on targets; frozen once submitted, but for its controls.
//   - plan: what a job will do: tracks of stages of hosts, with the constraints that each is under.
//   - track: an ordered list of stages; tracks run independently side by side.
//   - stage: the hosts of one sequence entry; the next stage opens when all of them are settled.
//   - task: one job on one host; made of steps (pre hooks, command, post hooks).
//   - attempt: one try of a task; a command runs at most once per attempt.
//   - capacity: what a constraint allows; held by running tasks and by hosts that are out of service.
//   - holder: the host (and job) that holds capacity, and why.
//   - outcome: succeeded, failed, unreachable, timed_out, unknown, cancelled, skipped.
//
// # The flow
//
// Data goes one way. Left of the log everything is a question of rules; right of it everything is a view.
//
//	request -> plan -> schedule -> dispatch -> worker -> transport => events in the log -> views
//
// Planning and scheduling are pure functions: the same code answers "sluice plan", "sluice rehearse", the
// tests and the live run. The log is the truth: a job is the fold of its events.
//
// This package imports only the standard library, does no I/O and reads no clock. What the layers below and
// above need of each other stands in ports.go.
package sluice

// Package sim plays a whole Sluice in one goroutine, from a seed: dispatchers that drive jobs, workers with leases,
// targets, the log, the network between them and the people who operate it. Parties crash, stop for longer than a lease
// and have clocks that jump; messages are late, lost, doubled and out of order; an append may be lost or its answer be.
//
// What decides is the code that ships: internal/core/drive, internal/core/schedule, internal/core/target's conclusions and
// internal/run/control. What is played is what surrounds them. After every event two checkers look at it that know
// neither: internal/lab/check and internal/lab/invariant. A seed plays the same game each time.
//
// All of it is in the tests of this package.
package sim

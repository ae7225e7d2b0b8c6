// Package conform says what callers may rely on: one suite for each port, run on every implementation and on the
// fake, so that a fake cannot drift from the real thing. It knows the ports and none of what is behind them.
//
// A suite takes a function that opens a new, empty one. What has to be closed, the function leaves to t.Cleanup.
package conform

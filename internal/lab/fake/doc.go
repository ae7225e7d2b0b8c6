// Package fake has the ports in memory, with faults that happen when a test says so. Each passes the suite of
// package conform, so what holds on a fake holds on the real thing; it knows no real one.
package fake

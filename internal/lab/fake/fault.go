package fake

import (
	"context"
	"sync"
	"time"
)

// A Fault is what happens at a point that a call passes: it may wait, and if it returns an error, the call fails
// there with that error.
type Fault func(ctx context.Context) error

// The points of the fakes.
const (
	LogUpdate   = "log.update"   // before anything of an append is done
	LogResult   = "log.result"   // after the append is durable: the caller cannot know that
	LogRead     = "log.read"     // Read and ReadJob
	LogWait     = "log.wait"     // before waiting
	OutputWrite = "output.write" // before a piece is kept
	OutputSync  = "output.sync"
	OutputRead  = "output.read" // Size and Open
	BlobPut     = "blob.put"
	BlobOpen    = "blob.open"
	BlobRenew   = "blob.renew" // before it is looked for
	DriverClaim = "driver.claim"
)

// Faults are the faults of a fake. The zero value has none. It is safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	at     map[string]Fault
	passed map[string]int
}

// Set puts a fault at a point, in the place of the one that is there; nil takes it away.
func (f *Faults) Set(point string, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = map[string]Fault{}
	}
	f.at[point] = fault
}

// Fault is the one that is at a point; nil: none.
func (f *Faults) Fault(point string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[point]
}

// Passed says how often a point was passed, with or without fault.
func (f *Faults) Passed(point string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passed[point]
}

func (f *Faults) pass(ctx context.Context, point string) error {
	f.mu.Lock()
	if f.passed == nil {
		f.passed = map[string]int{}
	}
	f.passed[point]++
	fault := f.at[point]
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

// Always fails every time.
func Always(err error) Fault { return func(context.Context) error { return err } }

// Nth fails the nth time, from 1, and no other.
func Nth(n int, err error) Fault { return From(n, Once(err)) }

// Once fails the first time.
func Once(err error) Fault {
	var once sync.Once
	return func(context.Context) (failed error) {
		once.Do(func() { failed = err })
		return failed
	}
}

// From lets n-1 calls pass before the fault begins.
func From(n int, fault Fault) Fault {
	var mu sync.Mutex
	calls := 0
	return func(ctx context.Context) error {
		mu.Lock()
		calls++
		begun := calls >= n
		mu.Unlock()
		if !begun {
			return nil
		}
		return fault(ctx)
	}
}

// Slow takes its time.
func Slow(d time.Duration) Fault {
	return func(ctx context.Context) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Hold waits until the gate is closed.
func Hold(gate <-chan struct{}) Fault {
	return func(ctx context.Context) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

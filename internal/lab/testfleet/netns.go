package testfleet

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetwork calls open in another network namespace. A socket belongs for ever to the namespace in which it was made, so
// what open returns can be used from everywhere.
func inNetwork[T any](target *os.File, open func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	// A goroutine of its own, whose thread can be given up: if the way back fails, it ends without unlocking, and the
	// runtime throws the thread away.
	go func() {
		runtime.LockOSThread()
		var r result
		defer func() { done <- r }()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			r.err = err
			runtime.UnlockOSThread()
			return
		}
		defer func() { _ = home.Close() }()
		if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
			r.err = fmt.Errorf("entering the network of the test fleet: %w", err)
			runtime.UnlockOSThread()
			return
		}
		r.value, r.err = open()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	r := <-done
	return r.value, r.err
}

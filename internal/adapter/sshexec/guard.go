package sshexec

import (
	"context"
	"sync"
	"time"
)

// guard ends a handshake that takes too long, and holds its place among those that may run at once. While it
// is paused the time stands still and the place is free: waiting for a password is not the host's fault.
type guard struct {
	slots chan struct{}
	cut   func() // ends the handshake

	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	since   time.Time
	expired bool
}

// startGuard waits for a place.
func startGuard(ctx context.Context, slots chan struct{}, limit time.Duration, cut func()) (*guard, error) {
	g := &guard{slots: slots, cut: cut, left: limit}
	return g, g.resume(ctx)
}

func (g *guard) resume(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = time.Now()
	g.timer = time.AfterFunc(g.left, func() {
		g.mu.Lock()
		g.expired = true
		g.mu.Unlock()
		g.cut()
	})
	return nil
}

func (g *guard) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		return
	}
	g.timer.Stop()
	g.timer = nil
	g.left -= time.Since(g.since)
	<-g.slots
}

// stop ends the guard and reports whether it had cut the handshake off.
func (g *guard) stop() bool {
	g.pause()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expired
}

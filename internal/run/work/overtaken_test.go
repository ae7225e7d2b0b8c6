package work_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// TestOvertaken: a worker has prepared an attempt on the host, and before it may start it another one comes, which stood
// still and woke up, and prepares it anew. The first one starts nothing then, and makes nothing up: it looks again, and what
// it says is how the one run ended.
func TestOvertaken(t *testing.T) {
	for _, shell := range []string{"dash", "busybox"} {
		for name, c := range map[string]struct{ starts, halted bool }{
			"and the other one waits":                      {},
			"and the other one starts it":                  {starts: true},
			"and is halted, while the other one starts it": {starts: true, halted: true},
		} {
			t.Run(shell+", "+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, newHost(t, shell))
				b.count(1, "sleep 1")
				ctx, end := context.WithTimeout(t.Context(), time.Minute)
				defer end()
				prepared, overtaken, never := make(chan struct{}), make(chan struct{}), make(chan struct{})
				other := &bench{t: t, host: b.host, outputs: newOutputs(), blobs: b.blobs, job: b.job}
				other.restart()
				gone := make(chan struct{})
				stale, drop := context.WithCancel(ctx)
				go func() {
					defer close(gone)
					<-prepared
					until := never
					if c.starts {
						until = overtaken
					}
					_, _ = other.do(stale, work.Assignment{Resumed: true, MayStart: once(overtaken, until),
						Commit: func(ctx context.Context, _ sluice.TaskFinished) error { <-ctx.Done(); return ctx.Err() }})
				}()
				may := once(prepared, overtaken)
				halt, halted := context.WithCancel(ctx)
				defer halted()
				if c.halted {
					go func() { <-overtaken; halted() }()
				}
				r, err := b.do(ctx, work.Assignment{Stop: halt, MayStart: func(ctx context.Context) error {
					if !exists(filepath.Join(b.host.place, string(b.id()), "live")) {
						return nil // nothing is prepared yet
					}
					return may(ctx)
				}})
				if err != nil {
					t.Fatal(err)
				}
				want(t, r, sluice.Succeeded, 0, "")
				b.wantOneRun(1)
				drop()
				<-gone
			})
		}
	}
}

// once is a MayStart that says so when it is first asked, and then waits until it may.
func once(asked, may chan struct{}) func(context.Context) error {
	first := true
	return func(ctx context.Context) error {
		if first {
			first = false
			close(asked)
		}
		select {
		case <-may:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestNothingIsPreparedBefore: what may not start yet is not on the host, where it would be in the way of who may.
func TestNothingIsPreparedBefore(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	_, err := b.do(ctx, work.Assignment{MayStart: func(ctx context.Context) error {
		if exists(filepath.Join(b.host.place, string(b.id()))) {
			t.Error("it is prepared, and may not start")
		}
		end()
		<-ctx.Done()
		return ctx.Err()
	}})
	if err == nil {
		t.Error("it has an outcome, and nobody let it start")
	}
}

package outpost

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
)

// TestReadyIsALease: an open line is not enough, nor is a lease that answers no beat. It is said once.
func TestReadyIsALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line, ready := newTalk(), 0
		o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(string) {}, Ready: func() { ready++ },
			Open: func(context.Context, sluice.WorkerHello) (Line, error) { return line, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		for _, c := range []struct {
			number uint64
			ready  int
		}{{0, 0}, {1, 1}, {2, 1}} {
			synctest.Wait()
			line.in <- sluice.ToWorker{Lease: &sluice.WorkerLease{Number: c.number, For: 3 * time.Second}}
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			if ready != c.ready {
				t.Errorf("after the lease of beat %d it was said %d times that it is ready", c.number, ready)
			}
		}
		stop()
		line.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

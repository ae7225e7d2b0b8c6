package work_test

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"

	"sluice"
	"sluice/internal/run/work"
)

// TestHaltBeforeTheStart: what has not started when the job is halted never does, wherever it waits, and is withdrawn. Where
// another one may have had it, the host itself proves that.
func TestHaltBeforeTheStart(t *testing.T) {
	down := &sluice.ConnectError{Failure: sluice.NoRoute, Err: syscall.ECONNRESET}
	for name, c := range map[string]struct {
		set func(b *bench, a *work.Assignment, halt func())
	}{
		"before it began": {func(_ *bench, _ *work.Assignment, halt func()) { halt() }},
		"while it waits for a lease": {func(_ *bench, a *work.Assignment, halt func()) {
			a.MayStart = func(ctx context.Context) error { halt(); <-ctx.Done(); return ctx.Err() }
		}},
		"resumed, while it waits for a lease": {func(_ *bench, a *work.Assignment, halt func()) {
			a.Resumed = true
			a.MayStart = func(ctx context.Context) error { halt(); <-ctx.Done(); return ctx.Err() }
		}},
		"while the host is not reached": {func(b *bench, _ *work.Assignment, halt func()) {
			b.host.setDown(down)
			halt()
		}},
		"a plain one": {func(b *bench, a *work.Assignment, halt func()) {
			b.job.Options.ReadOnly = true
			a.MayStart = func(ctx context.Context) error { halt(); <-ctx.Done(); return ctx.Err() }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newHost(t, "dash"))
			b.count(1, "true")
			stop, halt := context.WithCancel(context.Background())
			var withdrawn []sluice.TaskWithdrawn
			a := work.Assignment{Stop: stop, Commit: func(_ context.Context, r sluice.TaskFinished) error {
				t.Errorf("it ended as %+v", r)
				return nil
			}, Withdraw: func(_ context.Context, w sluice.TaskWithdrawn) error {
				withdrawn = append(withdrawn, w)
				return nil
			}}
			c.set(b, &a, halt)
			if _, err := b.do(context.Background(), a); err != nil {
				t.Fatal(err)
			}
			if len(withdrawn) != 1 || withdrawn[0].Reason != "the job was halted before it started" || exists(filepath.Join(b.host.home, "runs")) {
				t.Errorf("withdrawn %+v; or it ran", withdrawn)
			}
		})
	}
}

// TestHaltAfterTheStart: it goes on, and has its own end. Without anybody to withdraw to, what did not start is cancelled.
func TestHaltAfterTheStart(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Action.Shell = "echo begin; sleep 0.2; exit 3"
	stop, halt := context.WithCancel(context.Background())
	r, err := b.do(context.Background(), work.Assignment{Stop: stop, Output: func(string, int64, []byte) { halt() },
		Withdraw: func(context.Context, sluice.TaskWithdrawn) error { t.Error("it is withdrawn"); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Failed, 3, "")
	b.wantClean()
	b.job.ID = newJobID()
	r, err = b.do(context.Background(), work.Assignment{Stop: stop})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Cancelled, -1, "halted before it started")
	if !r.NotStarted {
		t.Errorf("%+v", r)
	}
}

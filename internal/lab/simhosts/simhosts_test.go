package simhosts_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/lab/simhosts"
	"sluice/internal/run/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a worker and hosts that it reaches.
type lab struct {
	worker *work.Worker
	job    *sluice.Job

	mu    sync.Mutex
	marks []simhosts.Mark
}

func newLab(t *testing.T, command string, hosts int) *lab {
	l := &lab{job: &sluice.Job{ID: "0123456789ab", Command: command, Action: sluice.Action{Kind: sluice.RunCommand, Shell: command}}}
	for i := range hosts {
		l.job.Targets = append(l.job.Targets, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	address := filepath.Join(t.TempDir(), "hosts")
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	all := simhosts.New(func(m simhosts.Mark) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.marks = append(l.marks, m)
	})
	go func() { served <- all.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	l.worker = work.New(work.Config{Transport: func(sluice.SSH) sluice.Transport {
		return simhosts.Transport{Network: "unix", Address: address}
	}, Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs()})
	return l
}

func (l *lab) started() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.marks {
		if m.What == "start" {
			n++
		}
	}
	return n
}

// do carries one attempt out and returns its outcome.
func (l *lab) do(t *testing.T, ctx context.Context, host int, mode work.Mode) (out sluice.TaskFinished, err error) {
	t.Helper()
	err = l.worker.Do(ctx, work.Assignment{Job: l.job, Host: l.job.Targets[host], Attempt: sluice.NewAttemptID(l.job.ID, host, 1), Mode: mode,
		Resumed: mode == work.Settle,
		Commit:  func(_ context.Context, r sluice.TaskFinished) error { out = r; return nil }})
	return out, err
}

func TestManyHosts(t *testing.T) {
	l := newLab(t, "sim 5ms", 50)
	var all sync.WaitGroup
	for i := range l.job.Targets {
		all.Go(func() {
			if r, err := l.do(t, t.Context(), i, work.Run); err != nil || r.Outcome != sluice.Succeeded {
				t.Errorf("host %d: %+v %v", i, r, err)
			}
		})
	}
	all.Wait()
	if n := l.started(); n != 50 {
		t.Errorf("%d started", n)
	}
}

func TestAFailureAndAPlainRun(t *testing.T) {
	l := newLab(t, "sim 1ms 3", 2)
	if r, err := l.do(t, t.Context(), 0, work.Run); err != nil || r.Outcome != sluice.Failed || *r.ExitCode != 3 {
		t.Errorf("%+v %v", r, err)
	}
	l.job.Options.ReadOnly = true
	if r, err := l.do(t, t.Context(), 1, work.Run); err != nil || r.Outcome != sluice.Failed || *r.ExitCode != 3 {
		t.Errorf("%+v %v", r, err)
	}
}

// Who goes away in the middle leaves the attempt running; whoever comes then joins it, and nothing starts twice.
func TestAnAttemptIsJoined(t *testing.T) {
	l := newLab(t, "sim 2s", 1)
	var leaver sync.WaitGroup
	defer leaver.Wait()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	leaver.Go(func() {
		defer leave()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for l.started() == 0 && ctx.Err() == nil {
			<-tick.C
		}
	})
	if _, err := l.do(t, ctx, 0, work.Run); err == nil {
		t.Fatal("it had time to end")
	}
	if r, err := l.do(t, t.Context(), 0, work.Settle); err != nil || r.Outcome != sluice.Succeeded {
		t.Errorf("%+v %v", r, err)
	}
	if n := l.started(); n != 1 {
		t.Errorf("%d started", n)
	}
}

// What never started is proved not to have, and never does.
func TestWhatNeverStartedIsRevoked(t *testing.T) {
	l := newLab(t, "sim 1ms", 1)
	if r, err := l.do(t, t.Context(), 0, work.Settle); err != nil || !r.NotStarted {
		t.Errorf("%+v %v", r, err)
	}
	if n := l.started(); n != 0 {
		t.Errorf("%d started", n)
	}
}

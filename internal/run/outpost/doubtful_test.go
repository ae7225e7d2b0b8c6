package outpost

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/work"
)

// talk is a line whose other end is the test.
type talk struct {
	in     chan sluice.ToWorker
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	got    []sluice.ToServer
}

func newTalk() *talk { return &talk{in: make(chan sluice.ToWorker, 10), closed: make(chan struct{})} }

func (s *talk) Send(m sluice.ToServer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, m)
	return nil
}

func (s *talk) Receive() (sluice.ToWorker, error) {
	select {
	case m := <-s.in:
		return m, nil
	case <-s.closed:
		return sluice.ToWorker{}, errors.New("closed")
	}
}

func (s *talk) Close() { s.once.Do(func() { close(s.closed) }) }

func (s *talk) told() (outcomes, gone int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if m.Outcome != nil {
			outcomes++
		}
		if m.Gone != nil {
			gone++
		}
	}
	return outcomes, gone
}

type kept struct{ *fake.Outputs }

func (kept) Remove(sluice.JobID) error { return nil }

type unreachable struct{ hold chan struct{} }

// Do finds that the host cannot be reached, when it may.
func (u unreachable) Do(ctx context.Context, a work.Assignment) error {
	if u.hold != nil {
		select {
		case <-u.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return a.Commit(ctx, sluice.TaskFinished{Outcome: sluice.Unreachable, NotStarted: true})
}

// TestNotStartedHereIsNotNotStarted: that this worker sent no start is told for as long as nobody else may have had the
// attempt. After that it counts only if the host was asked.
func TestNotStartedHereIsNotNotStarted(t *testing.T) {
	a := sluice.NewAttemptID("0123456789ab", 0, 1)
	for name, c := range map[string]struct {
		first, again bool // whether somebody else may have had it, as it is assigned
		late         bool // the outcome comes after the second time
		outcomes     int
	}{
		"nobody else had it":        {false, false, false, 1},
		"somebody else had it":      {false, true, false, 0},
		"and it is still trying":    {false, true, true, 0},
		"still trying, alone":       {false, false, true, 1},
		"the host was asked":        {true, true, false, 1},
		"it is being asked already": {true, true, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				worker := unreachable{}
				if c.late {
					worker.hold = make(chan struct{})
				}
				lines := []*talk{newTalk(), newTalk()}
				opened := 0
				o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(string) {},
					Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) { return worker, func() {}, nil },
					Open: func(ctx context.Context, _ sluice.WorkerHello) (Line, error) {
						if opened == len(lines) {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						opened++
						return lines[opened-1], nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- o.Run(ctx) }()
				assign := func(l *talk, resumed bool) {
					l.in <- sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a, Resumed: resumed}}
					synctest.Wait()
				}
				assign(lines[0], c.first)
				lines[0].Close()
				time.Sleep(time.Second) // until it comes again
				synctest.Wait()
				assign(lines[1], c.again)
				if c.late {
					close(worker.hold)
					synctest.Wait()
				}
				outcomes, gone := lines[1].told()
				if outcomes != c.outcomes || gone != 1-c.outcomes {
					t.Errorf("%d outcomes and %d times that it is gone are told", outcomes, gone)
				}
				stop()
				lines[1].Close() // as a line does that was opened with the context
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

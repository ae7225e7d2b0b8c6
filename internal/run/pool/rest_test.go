package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
)

// silent is the line of a worker that says hello and no more.
type silent struct {
	hello  chan sluice.ToServer
	closed chan struct{}
}

func (s *silent) Send(sluice.ToWorker) error { return nil }

func (s *silent) Receive() (sluice.ToServer, error) {
	select {
	case m := <-s.hello:
		return m, nil
	case <-s.closed:
		return sluice.ToServer{}, errors.New("closed")
	}
}

func (s *silent) Close() {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
}

// TestWhatFallsDueWakesNobody: otherwise Run would turn as fast as it can, for as long as the server lives.
func TestWhatFallsDueWakesNobody(t *testing.T) {
	p := New(Config{Embedded: 1})
	if wait := p.due(); wait < time.Minute {
		t.Errorf("without anything to do it looks again after %v", wait)
	}
	select {
	case <-p.wake:
		t.Error("it wakes itself")
	default:
	}
}

// TestRunRestsUntilALeaseEnds: time passes here only while everybody rests, and so only if Run does.
func TestRunRestsUntilALeaseEnds(t *testing.T) {
	if p := New(Config{}); p.due() > 0 && len(p.wake) > 0 {
		t.Fatal("it wakes itself, and would never rest")
	}
	synctest.Test(t, func(t *testing.T) {
		const lease = 10 * time.Second
		p := New(Config{Lease: lease})
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- p.Run(ctx) }()
		line := &silent{hello: make(chan sluice.ToServer, 1), closed: make(chan struct{})}
		line.hello <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: 1}}
		began := time.Now()
		if err := p.Serve(ctx, "w", nil, false, line); err == nil {
			t.Error("the line of a worker that is silent stays open")
		}
		if after := time.Since(began); after != lease {
			t.Errorf("it was cut after %v, not %v", after, lease)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

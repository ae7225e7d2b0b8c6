package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
)

func TestLog(t *testing.T) {
	conform.Log(t, func(*testing.T) sluice.Log { return fake.NewLog() })
	conform.SharedLog(t, func(*testing.T) (a, b sluice.Log) {
		l := fake.NewLog()
		return l, l
	})
}

func TestOutputs(t *testing.T) {
	conform.Outputs(t, func(*testing.T) sluice.Outputs { return fake.NewOutputs() })
}

func TestBlobs(t *testing.T) {
	conform.Blobs(t, func(*testing.T) sluice.Blobs { return fake.NewBlobs() })
}

func TestPeer(t *testing.T) {
	conform.Peer(t, func(*testing.T) (sluice.Peer, func(sluice.Record)) {
		p := fake.NewPeer("other")
		return p, p.Add
	})
}

func TestArtifacts(t *testing.T) {
	conform.Artifacts(t, func(*testing.T) func(*testing.T) sluice.Artifacts {
		a := fake.NewArtifacts()
		return func(*testing.T) sluice.Artifacts { return a }
	})
}

func TestDrivers(t *testing.T) {
	conform.Drivers(t, func(*testing.T) sluice.Drivers { return fake.NewDrivers() })
}

func held(l *fake.Log) (uint64, error) {
	return l.Update(context.Background(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Body: sluice.HostHeld{Host: "h"}}}, nil
	})
}

func TestResultUnknown(t *testing.T) {
	lost := errors.New("connection lost")
	l := fake.NewLog()
	l.Faults.Set(fake.LogResult, fake.Nth(2, lost))
	for n, want := range []error{nil, lost, nil} {
		if _, err := held(l); err != want {
			t.Errorf("append %d: %v, want %v", n+1, err, want)
		}
	}
	if events, err := l.Read(t.Context(), "prod", 0, 9); err != nil || len(events) != 3 {
		t.Errorf("%d events, error %v: an append with an unknown result is in the log", len(events), err)
	}
	if n := l.Faults.Passed(fake.LogResult); n != 3 {
		t.Errorf("the point was passed %d times, not 3", n)
	}
}

func TestFailedAppend(t *testing.T) {
	full := errors.New("disk full")
	l := fake.NewLog()
	l.Faults.Set(fake.LogUpdate, fake.Always(full))
	if _, err := held(l); err != full {
		t.Errorf("error %v", err)
	}
	l.Faults.Set(fake.LogUpdate, nil)
	if head, err := held(l); head != 1 || err != nil {
		t.Errorf("head %d, error %v: the failed append must have left nothing", head, err)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := fake.NewLog()
		l.Faults.Set(fake.LogUpdate, fake.Slow(time.Hour))
		began := time.Now()
		if _, err := held(l); err != nil || time.Since(began) != time.Hour {
			t.Errorf("took %v, error %v", time.Since(began), err)
		}
	})
}

func TestHold(t *testing.T) {
	gate := make(chan struct{})
	l := fake.NewLog()
	l.Faults.Set(fake.LogUpdate, fake.Hold(gate))
	ended := make(chan error)
	go func() {
		_, err := held(l)
		ended <- err
	}()
	select {
	case <-ended:
		t.Error("the append did not wait at the gate")
	default:
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDeadDriver(t *testing.T) {
	d := fake.NewDrivers()
	const job = "aaaa00000000"
	if _, err := d.Claim(job); err != nil {
		t.Fatal(err)
	}
	d.End(job)
	if d.Driven(job) {
		t.Error("the claim outlives its process")
	}
}

func TestBalancer(t *testing.T) {
	up := sluice.BalancedServer{State: sluice.ServerUp, Weight: 1}
	a, b, c := up, up, up
	a.Name, b.Name, c.Name = "a", "b", "c"
	conform.Balancer(t, fake.NewBalancer("app", a, b, c), "app")
}

func TestEngine(t *testing.T) {
	conform.Engine(t, func(*testing.T) (a, b sluice.Engine) {
		e := fake.NewEngine()
		return e, e
	})
}

package app_test

import (
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/trouble"
)

// jumps are what happens to a wall clock.
var jumps = map[string]time.Duration{"an hour on": time.Hour, "an hour back": -time.Hour, "ten years on": tenYears}

const tenYears = 10 * 365 * 24 * time.Hour

// TestClockOfAServer sets a server's wall clock in the middle of a job, and back: what runs ends as it did, the limit
// holds, nothing runs twice. Workers whose certificates are old by that clock get no line, and have one again when it is
// set right.
func TestClockOfAServer(t *testing.T) {
	for name, jump := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, 3)
			clock := &trouble.Trouble{Clock: true}
			s.wrong = clock
			s.rises()
			s.apply(s.all(1))
			w := s.joins("w1", nil)
			s.clockJumps(clock, jump, 0)
			if jump == tenYears {
				clock.SetClock(jump)
				w.signal(syscall.SIGKILL)
				w.start()
				w.says.(*told).wait(t, "no line to the server")
				clock.SetClock(0)
				s.health("w1", "connected")
				s.clockJumps(clock, 0)
			}
			s.closes()
		})
	}
}

// TestClockOfAWorker is the same with a worker's. It waits for a new lease, since its clock says that the one it has may be
// over.
func TestClockOfAWorker(t *testing.T) {
	for name, jump := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if jump == time.Hour {
				slow(t)
			}
			s := newStation(t, 3)
			s.rises()
			s.apply(s.all(1))
			clock := &trouble.Trouble{Clock: true}
			w := s.joins("w1", clock)
			s.clockJumps(clock, jump)
			if jump == tenYears {
				w.signal(syscall.SIGKILL)
				w.wrong = &trouble.Trouble{Clock: true}
				w.wrong.SetClock(jump)
				w.start()
				w.says.(*told).wait(t, "the worker's certificate ended")
				_ = w.cmd.Wait()
				w.wrong = nil
				w.start()
				s.health("w1", "connected")
				s.clockJumps(clock, 0)
			}
			s.closes()
		})
	}
}

func (s *station) clockJumps(clock *trouble.Trouble, jumps ...time.Duration) {
	s.t.Helper()
	for _, ahead := range jumps {
		marks := s.t.TempDir()
		began := time.Now()
		id := s.submit("$web", held(marks))
		await(s.t, marks+"/host1", 1)
		clock.SetClock(ahead)
		letGo(s.t, marks)
		s.succeeded(id, 3)
		s.once(marks, 3)
		s.t.Logf("clock set ahead by %v: 1 run, 3 starts, over after %v", ahead, time.Since(began).Round(time.Millisecond))
	}
}

// TestClocksDiffer: a worker whose clock is so far ahead that every certificate is old to it does not fill the journal with
// new ones.
func TestClocksDiffer(t *testing.T) {
	s := newServed(t)
	w := s.worker("w1")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	says := newTold()
	w.ahead, w.log = 20*time.Hour, slog.NewTextHandler(says, nil)
	w.start("")
	says.wait(t, "is old already")
	marks := t.TempDir()
	s.succeeded(s.submit("$web", "echo >>"+marks+"/$SLUICE_HOST"), 4)
	ranOnce(t, marks, 4)
	if err := errors.Join(w.stop(), s.stop()); err != nil {
		t.Fatal(err)
	}
	renewed := 0
	for _, e := range journalOf(t, s.data, sluice.AccessNamespace) {
		if _, is := e.Body.(sluice.WorkerRenewed); is {
			renewed++
		}
	}
	if renewed != 1 {
		t.Errorf("%d new certificates", renewed)
	}
}

package pool

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/run/work"
	"sluice/sealed"
)

// told is what somebody was told who keeps secrets.
type told struct {
	mu  sync.Mutex
	all []string
}

func (c *told) say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, text)
}

func (c *told) Lost(_ sluice.JobID, e sealed.Envelope, why string, spent bool) {
	c.say(fmt.Sprintf("%s lost, spent %v: %s", []byte(e), spent, why))
}
func (c *told) Approvals(sluice.JobID) [][]byte           { return [][]byte{[]byte("signed")} }
func (c *told) Refused(_ sluice.JobID, e sealed.Envelope) { c.say(string(e) + " refused") }

// hall is a pool with workers elsewhere, whose lines are held by the test.
type hall struct {
	t       *testing.T
	p       *Pool
	ctx     context.Context
	all     sync.WaitGroup
	told    told
	stopped atomic.Bool // nothing of the job may start any more
	mu      sync.Mutex
	ends    []sluice.Body // of attempts
	lines   []*talk
}

const hallLease = 10 * time.Second

func inHall(t *testing.T, f func(*hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := &hall{t: t, ctx: ctx}
		h.p = New(Config{Lease: hallLease, Outputs: sizes{}, Custody: &h.told, Trouble: func(string) {},
			Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil }})
		h.all.Go(func() { _ = h.p.Run(ctx) })
		f(h)
		stop()
		for _, l := range h.lines {
			l.Close()
		}
		h.all.Wait()
	})
}

func (h *hall) comes(name sluice.WorkerName, has ...sluice.WorkerOpened) *talk {
	l := &talk{in: make(chan sluice.ToServer, 100), closed: make(chan struct{})}
	l.in <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: 9, Opened: has}}
	h.lines = append(h.lines, l)
	h.all.Go(func() { _ = h.p.Serve(h.ctx, name, []sluice.Pool{sluice.DefaultPool}, false, l) })
	synctest.Wait()
	return l
}

func (h *hall) job() *sluice.Job {
	return &sluice.Job{ID: "0123456789ab", Targets: []sluice.Host{"web1", "web2"}, Options: sluice.Options{AskPassword: true, Reconnect: time.Minute}}
}

func (h *hall) do(index int, mode work.Mode, resumed bool) {
	j := h.job()
	end := func(b sluice.Body) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ends = append(h.ends, b)
		return nil
	}
	h.all.Go(func() {
		_ = h.p.Job(nil).Do(h.ctx, work.Assignment{Job: j, Host: j.Targets[index], Attempt: sluice.NewAttemptID(j.ID, index, 1), Mode: mode, Resumed: resumed,
			Stopped:  h.stopped.Load,
			Commit:   func(_ context.Context, r sluice.TaskFinished) error { return end(r) },
			Withdraw: func(_ context.Context, b sluice.TaskWithdrawn) error { return end(b) }})
	})
	synctest.Wait()
}

func (h *hall) entrust(worker sluice.WorkerName, what string) {
	h.p.Entrust(h.job(), worker, sealed.Envelope(what))
	synctest.Wait()
}

func opened(what, why string) sluice.WorkerOpened {
	return sluice.WorkerOpened{Job: "0123456789ab", Digest: sha256.Sum256([]byte(what)), Error: why}
}

func says(l *talk, o sluice.WorkerOpened) {
	l.in <- sluice.ToServer{Opened: &o}
	synctest.Wait()
}

// beats keeps workers alive for a time.
func beats(d time.Duration, lines ...*talk) {
	for range int(d / (2 * time.Second)) {
		time.Sleep(2 * time.Second)
		for _, l := range lines {
			l.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 1}}
		}
		synctest.Wait()
	}
}

// got says what a worker was sent of secrets and attempts. Attempts are told side by side, in any order.
func (h *hall) got(what string, l *talk, want ...string) {
	h.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var is []string
	for _, m := range l.got {
		switch {
		case m.Secrets != nil:
			is = append(is, "secrets "+string(m.Secrets.Sealed))
		case m.Wipe != "":
			is = append(is, "wipe")
		case m.Assign != nil && m.Assign.Settle:
			is = append(is, "ask "+string(m.Assign.Host))
		case m.Assign != nil:
			is = append(is, "run "+string(m.Assign.Host))
		}
	}
	slices.Sort(is)
	if slices.Sort(want); !slices.Equal(is, want) {
		h.t.Errorf("%s: it was sent %q, want %q", what, is, want)
	}
}

func (h *hall) hears(what string, want ...string) {
	h.t.Helper()
	h.told.mu.Lock()
	defer h.told.mu.Unlock()
	if !slices.Equal(h.told.all, want) {
		h.t.Errorf("%s: %q is told, want %q", what, h.told.all, want)
	}
}

// TestOneWorkerAlone: secrets go to one worker, and attempts with them; nothing starts before it has opened them.
func TestOneWorkerAlone(t *testing.T) {
	inHall(t, func(h *hall) {
		w1, w2 := h.comes("w1"), h.comes("w2")
		h.do(0, work.Run, false)
		h.got("before there are any", w1)
		if why := h.p.Waits(sluice.NewAttemptID("0123456789ab", 0, 1)); why != "no worker has the secrets of the job; it is given to one as soon as one has them" {
			t.Errorf("it waits because %q", why)
		}
		h.entrust("w2", "one")
		h.do(1, work.Run, false)
		h.got("before they are opened", w2, "secrets one")
		says(w2, opened("another", ""))
		says(w1, opened("one", ""))
		h.got("when others say so", w2, "secrets one")
		says(w2, opened("one", ""))
		h.got("then", w2, "secrets one", "run web1", "run web2")
		h.got("the other one", w1)
		h.p.Release("0123456789ab")
		synctest.Wait()
		h.got("at the end", w2, "secrets one", "run web1", "run web2", "wipe")
		h.hears("all the while")
	})
}

// TestTheyDoNotOpen: nothing starts, and why not is told.
func TestTheyDoNotOpen(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		h.comes("w2")
		h.entrust("w1", "one")
		h.do(0, work.Run, false)
		says(w1, opened("one", "who is ann?"))
		h.hears("then", "one lost, spent false: who is ann?")
		h.got("the worker", w1, "secrets one", "wipe")
		h.stopped.Store(true)
		time.Sleep(2 * glance)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.ends) != 1 || h.ends[0].Type() != "task.withdrawn" {
			t.Errorf("it ended with %+v", h.ends)
		}
	})
}

// TestAWorkerThatComesBack: with its secrets it goes on; without them they are spent; and what it never said to have opened it
// is sent again.
func TestAWorkerThatComesBack(t *testing.T) {
	t.Run("with them", func(t *testing.T) {
		inHall(t, func(h *hall) {
			w1 := h.comes("w1")
			h.entrust("w1", "one")
			says(w1, opened("one", ""))
			w1.Close()
			w1 = h.comes("w1", opened("one", ""))
			h.do(0, work.Run, false)
			h.got("it", w1, "run web1")
			h.hears("nothing")
		})
	})
	t.Run("without them", func(t *testing.T) {
		inHall(t, func(h *hall) {
			w1 := h.comes("w1")
			h.entrust("w1", "one")
			says(w1, opened("one", ""))
			h.do(0, work.Run, false)
			w1.Close()
			w1 = h.comes("w1")
			h.do(1, work.Run, false)
			h.got("it", w1, "wipe")
			h.hears("then", "one lost, spent true: the worker w1 was started anew, and has them no more")
		})
	})
	t.Run("before it said so", func(t *testing.T) {
		inHall(t, func(h *hall) {
			h.entrust("w1", "one")
			w1 := h.comes("w1")
			h.got("when it comes", w1, "secrets one")
			w1.Close()
			w1 = h.comes("w1")
			h.got("when it comes again", w1, "secrets one")
			h.hears("nothing")
		})
	})
	t.Run("with those of nobody", func(t *testing.T) {
		inHall(t, func(h *hall) {
			h.entrust("w2", "one")
			h.got("it", h.comes("w1", opened("one", "")), "wipe")
		})
	})
}

// TestAWorkerThatStaysAway: for as long as a lost link is tried again it is waited for; then they are lost, and whoever has
// them next may go on.
func TestAWorkerThatStaysAway(t *testing.T) {
	inHall(t, func(h *hall) {
		w1, w2 := h.comes("w1"), h.comes("w2")
		h.entrust("w1", "one")
		says(w1, opened("one", ""))
		h.do(0, work.Run, false)
		h.got("the first", w1, "secrets one", "run web1")
		beats(hallLease+50*time.Second, w2)
		h.hears("too early")
		h.got("the other one", w2)
		beats(hallLease+4*time.Second, w2)
		h.hears("then", "one lost, spent true: the worker w1, which alone had them, is gone")
		h.got("the other one", w2)
		h.entrust("w2", "two")
		says(w2, opened("two", ""))
		h.do(1, work.Run, false)
		h.got("the other one, in the end", w2, "secrets two", "run web2")
	})
}

func TestAWorkerThatIsRemoved(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		h.entrust("w1", "one")
		says(w1, opened("one", ""))
		h.p.Remove("w1")
		synctest.Wait()
		h.hears("then", "one lost, spent true: the worker w1, which alone had them, was removed")
	})
}

func TestRefusedSecrets(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		h.entrust("w1", "one")
		o := opened("one", "")
		says(w1, o)
		o.Refused = true
		says(w1, o)
		h.hears("then", "one refused")
		h.do(0, work.Run, false)
		h.got("it says itself that nothing is tried any more", w1, "secrets one", "run web1")
	})
}

// TestWithoutSecretsItOnlyAsks: secrets may go after it was decided who gets an attempt, and before that one is told of it.
func TestWithoutSecretsItOnlyAsks(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		f := &flight{p: h.p, secret: true, given: true, news: make(chan struct{}, 1),
			a: work.Assignment{Job: h.job(), Host: "web1", Attempt: sluice.NewAttemptID("0123456789ab", 0, 1)}}
		h.p.mu.Lock()
		h.p.crew.Add(crew.Task{Attempt: f.a.Attempt, Job: "0123456789ab", Reconnect: time.Minute}, h.p.now()) // which gives it to w1
		h.p.mu.Unlock()
		if err := f.give(h.ctx, message{give: true, worker: "w1", resumed: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.got("it", w1, "ask web1")
		h.entrust("w1", "one")
		says(w1, opened("one", ""))
		if err := f.give(h.ctx, message{give: true, worker: "w1", resumed: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.got("with them", w1, "ask web1", "secrets one", "run web1")
	})
}

// TestWhatWasNotBegunWaitsAgain: where they go in that moment, and nobody had the attempt before, it waits as one that was
// never given.
func TestWhatWasNotBegunWaitsAgain(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		a := sluice.NewAttemptID("0123456789ab", 0, 1)
		f := &flight{p: h.p, secret: true, news: make(chan struct{}, 1), task: crew.Task{Attempt: a, Job: "0123456789ab", Reconnect: time.Minute},
			a: work.Assignment{Job: h.job(), Host: "web1", Attempt: a}}
		h.p.mu.Lock()
		h.p.flight[a] = f
		h.p.crew.Add(f.task, h.p.now()) // it is the worker's now
		h.p.mu.Unlock()
		if err := f.give(h.ctx, message{give: true, worker: "w1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.got("it", w1)
		if h.p.Waits(a) == "" {
			t.Error("it does not wait")
		}
		h.entrust("w1", "one")
		says(w1, opened("one", ""))
		if err := f.read(h.ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.got("with them", w1, "secrets one", "run web1")
		w1.mu.Lock()
		defer w1.mu.Unlock()
		for _, m := range w1.got {
			if m.Assign != nil && m.Assign.Resumed {
				t.Error("it is told that somebody else may have had it")
			}
		}
	})
}

// TestAfterARestartOfTheServer: without secrets, what may run is asked for by anybody, once nothing may start any more; and
// what was not begun stays so.
func TestAfterARestartOfTheServer(t *testing.T) {
	inHall(t, func(h *hall) {
		w1 := h.comes("w1")
		h.do(0, work.Run, true)
		h.do(1, work.Settle, true)
		h.got("before the job is stopped", w1, "ask web2")
		h.stopped.Store(true)
		beats(2*glance, w1)
		h.got("then", w1, "ask web2", "ask web1")
	})
}

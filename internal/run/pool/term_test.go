package pool

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/outpost"
	"sluice/internal/run/work"
)

// TestWhoServesIsSaidFirst: before all else on a line, with every lease, and anew when other servers are there. A lease is given only by
// who owns the log when the beat was here. A worker that has seen a later owner is given nothing, but heard.
func TestWhoServesIsSaidFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers, epoch, judged := []string{"a:1", "b:1"}, 3, 0
		var lost error
		p := New(Config{Lease: 15 * time.Second, Outputs: sizes{}, Trouble: func(string) {}, Term: 7, Epoch: func() int { return epoch },
			Servers: func() []string { return servers }, Owns: func(context.Context) error { return lost },
			Witness: func(_ context.Context, _ string, heads []sluice.SeenHead) error { judged += len(heads); return nil },
			Settled: func(context.Context, sluice.AttemptID) (bool, error) { return false, nil }})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = p.Run(ctx) })
		a := sluice.NewAttemptID("0123456789ab", 0, 1)
		all.Go(func() {
			_ = p.Job(nil).Do(ctx, work.Assignment{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: a})
		})
		w := newTalk()
		all.Go(func() { _ = p.Serve(ctx, "w1", []sluice.Pool{sluice.DefaultPool}, true, w) })
		synctest.Wait()
		w.mu.Lock()
		if first := w.got[0].Owner; first == nil || first.Term != (sluice.SeenTerm{Epoch: 3, Term: 7}) || !slices.Equal(first.Servers, servers) {
			t.Errorf("first it is told %+v", w.got[0])
		}
		w.mu.Unlock()
		p.Drain("w1", false)
		beat := func() sluice.ToWorker {
			w.mu.Lock()
			w.got = nil
			w.mu.Unlock()
			w.in <- sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 1}}
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			var out sluice.ToWorker
			for _, m := range w.got {
				if m.Lease != nil {
					out.Lease = m.Lease
				}
				if m.Owner != nil {
					out.Owner = m.Owner
				}
			}
			return out
		}
		synctest.Wait()
		if m := beat(); m.Lease == nil || m.Lease.Term != (sluice.SeenTerm{Epoch: 3, Term: 7}) || m.Owner != nil {
			t.Errorf("a beat is answered with %+v, %+v", m.Lease, m.Owner)
		}
		servers, epoch = []string{"a:1", "b:1", "c:1"}, 4
		if m := beat(); m.Lease == nil || m.Lease.Term.Epoch != 4 || m.Owner == nil || len(m.Owner.Servers) != 3 {
			t.Errorf("a beat is answered with %+v, %+v when other servers are there", m.Lease, m.Owner)
		}
		lost = errors.New("another one owns it")
		if m := beat(); m.Lease != nil {
			t.Errorf("who does not own the log gives the lease %+v", m.Lease)
		}
		later := &talk{in: make(chan sluice.ToServer, 100), closed: make(chan struct{})}
		later.in <- sluice.ToServer{Hello: &sluice.WorkerHello{Limit: 9, Seen: sluice.SeenTerm{Epoch: 4, Term: 8}, Heads: []sluice.SeenHead{seen("prod", 9)}}}
		err := p.Serve(ctx, "w2", []sluice.Pool{sluice.DefaultPool}, false, later)
		if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "has seen term 8 of epoch 4") || len(later.got) > 0 || judged != 1 {
			t.Errorf("one that has seen a later owner: %v; it is told %+v, and %d heads were judged", err, later.got, judged)
		}
		stop()
		w.Close()
		all.Wait()
	})
}

// What follows is a cluster: one log, servers that own it in turn, and a real worker with hosts that start an attempt once.

// sharedLog has the outcomes of attempts, which only the owner of now may append.
type sharedLog struct {
	mu    sync.Mutex
	term  uint64
	ends  map[sluice.AttemptID]sluice.TaskFinished
	twice []sluice.AttemptID
}

func (l *sharedLog) append(term uint64, r sluice.TaskFinished) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term != l.term {
		return errors.New("the term is over")
	}
	if _, is := l.ends[r.Attempt]; is {
		l.twice = append(l.twice, r.Attempt)
	}
	l.ends[r.Attempt] = r
	return nil
}

func (l *sharedLog) end(a sluice.AttemptID) sluice.TaskFinished {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends[a]
}

// ownerOf is a server in its term.
type ownerOf struct {
	p       *Pool
	term    uint64
	log     *sharedLog
	outputs *fake.Outputs
	ctx     context.Context
	stop    func()
	all     sync.WaitGroup
}

func newOwner(t *testing.T, log *sharedLog, term uint64) *ownerOf {
	o := &ownerOf{term: term, log: log, outputs: fake.NewOutputs()}
	o.ctx, o.stop = context.WithCancel(t.Context())
	o.p = New(Config{Lease: worldLease, Outputs: o.outputs, Trouble: func(string) {}, Others: term > 1, Term: term,
		Servers: func() []string { return []string{"a:1", "b:1"} },
		Settled: func(_ context.Context, a sluice.AttemptID) (bool, error) { return log.end(a).Outcome != "", nil }})
	o.all.Go(func() { _ = o.p.Run(o.ctx) })
	return o
}

// drive has an attempt carried out, as the log has it.
func (o *ownerOf) drive(a sluice.AttemptID, resumed bool) {
	o.all.Go(func() {
		j := &sluice.Job{ID: "0123456789ab"}
		j.Options.Reconnect = time.Hour
		_ = o.p.Job(nil).Do(o.ctx, work.Assignment{Job: j, Host: "h", Attempt: a, Resumed: resumed,
			Commit: func(_ context.Context, r sluice.TaskFinished) error { return o.log.append(o.term, r) }})
	})
	synctest.Wait()
}

// pipe is a line between a worker and a server, in memory. deaf hides from the server what the worker has seen, as one from before does.
type pipe struct {
	up     chan sluice.ToServer
	down   chan sluice.ToWorker
	closed chan struct{}
	once   sync.Once
	deaf   bool
	mu     sync.Mutex
	gave   []sluice.AttemptID // to the worker
}

func newPipe(deaf bool) *pipe {
	return &pipe{up: make(chan sluice.ToServer, 1000), down: make(chan sluice.ToWorker, 1000), closed: make(chan struct{}), deaf: deaf}
}

func (p *pipe) cut() { p.once.Do(func() { close(p.closed) }) }

type workerEnd struct{ *pipe }

func (e workerEnd) Close() { e.cut() }

func (e workerEnd) Send(m sluice.ToServer) error {
	if m.Hello != nil && e.deaf {
		m.Hello.Seen = sluice.SeenTerm{}
	}
	return over(e.up, m, e.closed)
}

func (e workerEnd) Receive() (sluice.ToWorker, error) { return next(e.down, e.closed) }

type serverEnd struct{ *pipe }

func (e serverEnd) Close() { e.cut() }

func (e serverEnd) Send(m sluice.ToWorker) error {
	if m.Assign != nil {
		e.mu.Lock()
		e.gave = append(e.gave, m.Assign.Attempt)
		e.mu.Unlock()
	}
	return over(e.down, m, e.closed)
}

func (e serverEnd) Receive() (sluice.ToServer, error) { return next(e.up, e.closed) }

func over[T any](c chan T, m T, closed chan struct{}) error {
	select {
	case <-closed:
		return errors.New("cut")
	case c <- m:
		return nil
	}
}

func next[T any](c chan T, closed chan struct{}) (m T, err error) {
	select {
	case m = <-c:
		return m, nil
	case <-closed:
		return m, errors.New("cut")
	}
}

// site is the worker with its hosts.
type site struct {
	outputs ownOutputs
	to      chan *pipe // where it comes next
	mu      sync.Mutex
	starts  map[sluice.AttemptID]int
	more    map[sluice.AttemptID]chan string // what a command prints; closed when it ends
}

type ownOutputs struct{ *fake.Outputs }

func (ownOutputs) Remove(sluice.JobID) error { return nil }

// Do runs a command: it is started once, whoever asks.
func (s *site) Do(ctx context.Context, a work.Assignment) error {
	if err := a.MayStart(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.starts[a.Attempt]++
	more := s.more[a.Attempt]
	s.mu.Unlock()
	at := int64(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case text, goesOn := <-more:
			if !goesOn {
				return a.Commit(ctx, sluice.TaskFinished{Host: a.Host, Attempt: a.Attempt, Outcome: sluice.Succeeded})
			}
			if err := s.outputs.Write(a.Job.ID, a.Attempt, "stdout", at, []byte(text)); err != nil {
				return err
			}
			a.Output("stdout", at, []byte(text))
			at += int64(len(text))
		}
	}
}

// prints has a command that runs print something.
func (s *site) prints(t *testing.T, a sluice.AttemptID, text string) {
	t.Helper()
	select {
	case s.more[a] <- text:
	case <-time.After(time.Minute):
		panic("it does not run") // nothing else would end what plays on
	}
}

func (s *site) started(a sluice.AttemptID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts[a]
}

// TestAnotherServerBecomesTheOwner: while a worker carries attempts out. What runs is joined and not started anew, what ended in between is
// not lost, what it prints goes on where the new owner has it, and what the old one still sends is not followed.
func TestAnotherServerBecomesTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &sharedLog{term: 1, ends: map[sluice.AttemptID]sluice.TaskFinished{}}
		runs, ends, waits, stray := sluice.NewAttemptID("0123456789ab", 0, 1), sluice.NewAttemptID("0123456789ab", 1, 1),
			sluice.NewAttemptID("0123456789ab", 2, 1), sluice.NewAttemptID("0123456789ab", 3, 1)
		s := &site{outputs: ownOutputs{fake.NewOutputs()}, to: make(chan *pipe), starts: map[sluice.AttemptID]int{}, more: map[sluice.AttemptID]chan string{}}
		for _, a := range []sluice.AttemptID{runs, ends, waits, stray} {
			s.more[a] = make(chan string)
		}
		var told []string
		w, err := outpost.New(outpost.Config{Outputs: s.outputs, Dir: t.TempDir(), Limit: 5, Notice: func(text string) { told = append(told, text) },
			Worker: func(*sluice.Job, sluice.Credentials) (outpost.Worker, func(), error) { return s, func() {}, nil },
			Open: func(ctx context.Context, hello sluice.WorkerHello) (outpost.Line, error) {
				select {
				case l := <-s.to:
					return workerEnd{l}, workerEnd{l}.Send(sluice.ToServer{Hello: &hello})
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		goTo := func(o *ownerOf, deaf bool) *pipe {
			l := newPipe(deaf)
			s.to <- l
			o.all.Go(func() { _ = o.p.Serve(o.ctx, "w1", []sluice.Pool{sluice.DefaultPool}, false, serverEnd{l}) })
			time.Sleep(2 * time.Second)
			synctest.Wait()
			return l
		}
		printed := func(o *ownerOf, a sluice.AttemptID) string {
			r, err := o.outputs.Open("0123456789ab", a, "stdout")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(r)
			return string(b)
		}

		first := newOwner(t, log, 1)
		first.drive(runs, false)
		first.drive(ends, false)
		line := goTo(first, false)
		s.prints(t, runs, "abc")
		synctest.Wait()
		had := printed(first, runs)
		s.prints(t, runs, "def")
		synctest.Wait()
		if had != "abc" || printed(first, runs) != "abcdef" || s.started(runs) != 1 || s.started(ends) != 1 {
			t.Fatalf("under the first owner: %q, %q, started %v", had, printed(first, runs), s.starts)
		}

		// Another server owns the log. The first one does not know so; an attempt ends, and its outcome is appended nowhere.
		log.mu.Lock()
		log.term = 2
		log.mu.Unlock()
		close(s.more[ends])
		synctest.Wait()
		line.cut()
		s.prints(t, runs, "ghi")
		second := newOwner(t, log, 2)
		_ = second.outputs.Write("0123456789ab", runs, "stdout", 0, []byte("abcd")) // as much as came to it before
		second.drive(runs, true)
		second.drive(ends, true)
		second.drive(waits, false)
		line = goTo(second, false)
		time.Sleep(worldLease)
		synctest.Wait()
		if got := log.end(ends); got.Outcome != sluice.Succeeded {
			t.Errorf("what ended in between has ended as %+v", got)
		}
		if got := printed(second, runs); got != "abcdefghi" {
			t.Errorf("the new owner has %q of what was printed", got)
		}
		if s.started(runs) != 1 || s.started(ends) != 1 || s.started(waits) != 1 {
			t.Errorf("started: %v", s.starts)
		}

		// The worker comes to the first one again, which has kept its attempts and has a further one to give.
		line.cut()
		first.drive(stray, false)
		stale := goTo(first, true)
		stale.mu.Lock()
		gave := slices.Clone(stale.gave)
		stale.mu.Unlock()
		if !slices.Contains(gave, stray) || !slices.Contains(gave, runs) {
			t.Fatalf("the test is none: the old owner sends only %v", gave)
		}
		if n := s.started(stray); n != 0 {
			t.Errorf("the old owner has %d started", n)
		}
		if !slices.ContainsFunc(told, func(text string) bool { return strings.Contains(text, "does not own the log any more") }) {
			t.Errorf("people are told %q", told)
		}
		stale.cut()

		line = goTo(second, false)
		s.prints(t, runs, "jkl")
		close(s.more[runs])
		close(s.more[waits])
		time.Sleep(worldLease)
		synctest.Wait()
		for _, a := range []sluice.AttemptID{runs, ends, waits} {
			if got := log.end(a); got.Outcome != sluice.Succeeded || s.started(a) != 1 {
				t.Errorf("%s was started %d times and has ended as %+v", a, s.started(a), got)
			}
		}
		if got := printed(second, runs); got != "abcdefghijkl" || len(log.twice) > 0 || s.started(stray) != 0 {
			t.Errorf("in the end %q, ended twice %v, started %v", got, log.twice, s.starts)
		}
		first.stop()
		second.stop()
		line.cut()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		first.all.Wait()
		second.all.Wait()
	})
}

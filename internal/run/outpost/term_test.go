package outpost

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
)

// terms keeps a term as a disk does.
type terms struct {
	mu   sync.Mutex
	is   sluice.SeenTerm
	fail error
}

func (k *terms) Term() (sluice.SeenTerm, error) { return k.is, nil }

func (k *terms) SetTerm(t sluice.SeenTerm) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail == nil {
		k.is = t
	}
	return k.fail
}

// servedBy is a worker in a world of servers that the test plays.
type servedBy struct {
	t       *testing.T
	o       *Outpost
	disk    *terms
	lines   chan *talk
	hellos  []sluice.WorkerHello
	told    []string
	servers []string
	leased  int
	started chan struct{}
	end     func()
}

func newServedBy(t *testing.T, disk *terms) *servedBy {
	w := &servedBy{t: t, disk: disk, lines: make(chan *talk), started: make(chan struct{}, 10)}
	var err error
	w.o, err = New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Terms: disk, Notice: func(text string) { w.told = append(w.told, text) },
		Servers: func(s []string) { w.servers = s }, Leased: func() { w.leased++ },
		Worker: func(*sluice.Job, sluice.Credentials) (Worker, func(), error) {
			return starter{w.started}, func() {}, nil
		},
		Open: func(ctx context.Context, hello sluice.WorkerHello) (Line, error) {
			w.hellos = append(w.hellos, hello)
			select {
			case l := <-w.lines:
				return l, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.o.Run(ctx) }()
	w.end = func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return w
}

// line is the next one; says is what its server says first.
func (w *servedBy) line(says ...sluice.ToWorker) *talk {
	l := newTalk()
	w.lines <- l
	synctest.Wait() // its beat was sent
	for _, m := range says {
		l.in <- m
	}
	synctest.Wait()
	return l
}

func owner(epoch int, term uint64, servers ...string) sluice.ToWorker {
	return sluice.ToWorker{Owner: &sluice.WorkerOwner{Term: sluice.SeenTerm{Epoch: epoch, Term: term}, Servers: servers}}
}

func leaseIn(epoch int, term uint64) sluice.ToWorker {
	return sluice.ToWorker{Lease: &sluice.WorkerLease{Number: 1, For: 15 * time.Second, Term: sluice.SeenTerm{Epoch: epoch, Term: term}}}
}

func give(i int) sluice.ToWorker {
	return sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab"}, Host: "h", Attempt: sluice.NewAttemptID("0123456789ab", i, 1)}}
}

func (l *talk) over() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// TestAStaleOwnerHasNoSay: once a later owner was seen, nothing is done of what an earlier one says, by the next process neither: it starts
// nothing, drops nothing, kills nothing and gives no lease. It hears what this worker has seen, and people hear why.
func TestAStaleOwnerHasNoSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &terms{}
		w := newServedBy(t, disk)
		// A lease lets nothing start that waits, for it has no room: an attempt that is held.
		newer := w.line(owner(0, 7, "a:1", "b:1"), give(0))
		if held := w.o.Held(); held != 1 || disk.is != (sluice.SeenTerm{Term: 7}) || !slices.Equal(w.servers, []string{"a:1", "b:1"}) {
			t.Fatalf("it holds %d, keeps %v and knows %v", held, disk.is, w.servers)
		}
		newer.Close()
		for _, process := range []string{"the same", "the next"} {
			id := sluice.NewAttemptID("0123456789ab", 0, 1)
			held := w.o.Held()
			for _, says := range [][]sluice.ToWorker{
				{owner(0, 6, "evil:1"), leaseIn(0, 6), give(1), {Drop: id}, {Kill: &sluice.WorkerKill{Attempt: id}}, {Committed: id}},
				{leaseIn(0, 0), give(1), {Drop: id}}, // a server from before
				{give(1), leaseIn(0, 0), {Drop: id}}, // so is this
			} {
				time.Sleep(20 * time.Second)
				stale := w.line(says...)
				time.Sleep(time.Second)
				synctest.Wait()
				if !stale.over() {
					t.Error("the line goes on")
				}
				if got := w.o.Held(); got != held || len(w.started) > 0 || w.leased > 0 || slices.Contains(w.servers, "evil:1") {
					t.Errorf("%s process, %+v: it holds %d, has started %d, has %d leases and knows %v", process, says[0], got, len(w.started), w.leased, w.servers)
				}
			}
			if got := w.hellos[len(w.hellos)-1].Seen; got.Term != 7 {
				t.Errorf("it hands back %v", got)
			}
			if !slices.ContainsFunc(w.told, func(s string) bool {
				return strings.Contains(s, "term 6 of epoch 0, and this worker has seen term 7 of epoch 0")
			}) {
				t.Errorf("people are told %q", w.told)
			}
			w.end()
			if process == "the same" {
				w = newServedBy(t, disk)
			}
		}
		w = newServedBy(t, disk)
		next := w.line(owner(1, 2), give(0), leaseIn(1, 2))
		if len(w.started) != 1 || w.leased != 1 {
			t.Errorf("under the next owner it has started %d, with %d leases", len(w.started), w.leased)
		}
		next.Close()
		w.end()
	})
}

// TestATermIsKeptFirst: what cannot be kept is not acted on; when it can, it is.
func TestATermIsKeptFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &terms{fail: errors.New("the disk is full")}
		w := newServedBy(t, disk)
		w.line(owner(0, 1), give(0), leaseIn(0, 1))
		if w.o.Held() > 0 || w.leased > 0 {
			t.Errorf("it holds %d, with %d leases", w.o.Held(), w.leased)
		}
		time.Sleep(10 * time.Second)
		disk.mu.Lock()
		disk.fail = nil
		disk.mu.Unlock()
		l := w.line(owner(0, 1), give(0), leaseIn(0, 1))
		if len(w.started) != 1 || disk.is.Term != 1 {
			t.Errorf("it has started %d and keeps %v", len(w.started), disk.is)
		}
		l.Close()
		w.end()
	})
}

// TestOneLineOneTerm: an epoch may begin on a line, with a repair, and another term may not.
func TestOneLineOneTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &terms{}
		w := newServedBy(t, disk)
		l := w.line(owner(0, 3), leaseIn(0, 3), leaseIn(5, 3))
		if l.over() || disk.is != (sluice.SeenTerm{Epoch: 5, Term: 3}) {
			t.Fatalf("it keeps %v", disk.is)
		}
		l.in <- leaseIn(5, 4)
		l.in <- give(0)
		time.Sleep(time.Second)
		synctest.Wait()
		if !l.over() || w.o.Held() > 0 || disk.is.Term != 3 {
			t.Errorf("another term on the same line: it holds %d and keeps %v", w.o.Held(), disk.is)
		}
		w.end()
	})
}

// TestASilentServerIsLeft: where there is another one to go to, long before the lease is over; where there is none, it is waited for.
func TestASilentServerIsLeft(t *testing.T) {
	for _, c := range []struct {
		servers     []string
		least, most time.Duration
	}{{[]string{"a:1", "b:1"}, 5 * time.Second, 8 * time.Second}, {nil, 15 * time.Second, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			w := newServedBy(t, &terms{})
			l := w.line(owner(0, 0, c.servers...), leaseIn(0, 0)) // the next beat is 5 s away
			began := time.Now()
			<-l.closed
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("of %v: it is left after %v, want %v to %v", c.servers, took, c.least, c.most)
			}
			w.end()
		})
	}
}

// TestItTriesOftenAfterAGoodLine: for as long as another server may need to own the log, a worker whose line was good tries often.
func TestItTriesOftenAfterAGoodLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		line := newTalk()
		o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(string) {},
			Open: func(context.Context, sluice.WorkerHello) (Line, error) {
				if tries = append(tries, time.Now()); len(tries) == 1 {
					return line, nil
				}
				return nil, sluice.Errorf(sluice.Contact, "nobody")
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		for n := range uint64(20) {
			synctest.Wait()
			line.in <- sluice.ToWorker{Lease: &sluice.WorkerLease{Number: n + 1, For: 3 * time.Second}}
			time.Sleep(time.Second)
		}
		broke := time.Now()
		line.Close()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		last := broke
		for _, at := range tries[1:] {
			went := at.Sub(last)
			if at.Sub(broke) < quickFor && went > quickWait || went > lastWait {
				t.Errorf("%v after the line broke, it has waited for %v", at.Sub(broke), went)
			}
			last = at
		}
		if n := len(tries); n < 60 || n > 200 {
			t.Errorf("%d tries in 10 minutes", n)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

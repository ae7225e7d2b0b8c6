package fold_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

func seqOf(t *testing.T, l *fold.Live, in sluice.Namespace) (seq uint64, jobs int) {
	t.Helper()
	err := l.Look(t.Context(), in, func(s *schedule.State) error {
		seq, jobs = s.Seq(), len(s.Jobs())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq, jobs
}

// What is kept at hand is at every moment what the log says.
func TestLiveIsWhatTheLogSays(t *testing.T) {
	log := fake.NewLog()
	live := fold.NewLive(log)
	if seq, _ := seqOf(t, live, ns); seq != 0 {
		t.Fatalf("an empty log is at %d", seq)
	}
	for n := range 5 {
		appendTo(t, log, job(n, 30, n%2 == 0))
		want, err := fold.Namespace(t.Context(), log, ns)
		if err != nil {
			t.Fatal(err)
		}
		err = live.Look(t.Context(), ns, func(s *schedule.State) error {
			a, err := s.Snapshot()
			b, err2 := want.Snapshot()
			if string(a) != string(b) {
				t.Errorf("after %d jobs the states differ", n+1)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An update decides on the head, whoever appended before, and looks see it.
func TestLiveUpdatesDecideOnTheHead(t *testing.T) {
	log := fake.NewLog()
	live, other := fold.NewLive(log), fold.NewLive(log)
	var all sync.WaitGroup
	for _, l := range []*fold.Live{live, other} {
		for range 4 {
			all.Go(func() {
				for range 20 {
					err := l.Update(t.Context(), ns, func(s *schedule.State) ([]sluice.Event, error) {
						// The number of those that are held is the number of the next host: a decision on old news makes two of one.
						h := sluice.Host("h" + time.Duration(len(s.Out())).String())
						return []sluice.Event{{Time: time.Unix(1e9, 0), Body: sluice.HostHeld{Host: h, Reason: "test", By: "me"}}}, nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	for _, l := range []*fold.Live{live, other} {
		err := l.Look(t.Context(), ns, func(s *schedule.State) error {
			if n := len(s.Out()); n != 160 {
				t.Errorf("%d hosts of 160 are held", n)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A namespace that is empty is forgotten. Who changes it, and came before that, changes it all the same.
func TestLiveUpdateOfWhatIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := fake.NewLog()
		live := fold.NewLive(log)
		reads, looks := make(chan struct{}), make(chan struct{})
		log.Faults.Set(fake.LogRead, func(context.Context) error { <-reads; return nil })
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() {
			if err := live.Look(t.Context(), ns, func(*schedule.State) error { <-looks; return nil }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // it has its turn, and reads
		all.Go(func() {
			err := live.Update(t.Context(), ns, func(*schedule.State) ([]sluice.Event, error) {
				return []sluice.Event{{Time: time.Unix(1e9, 0), Body: sluice.HostHeld{Host: "a", Reason: "test", By: "me"}}}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // it waits for its turn
		close(reads)
		synctest.Wait() // nothing was read, and so it is forgotten
		appendTo(t, log, job(1, 3, false))
		close(looks)
	})
}

func TestLiveRefusedUpdateChangesNothing(t *testing.T) {
	log := fake.NewLog()
	live := fold.NewLive(log)
	appendTo(t, log, job(1, 3, false))
	no := errors.New("no")
	if err := live.Update(t.Context(), ns, func(*schedule.State) ([]sluice.Event, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	log.Faults.Set(fake.LogUpdate, func(context.Context) error { return no })
	if err := live.Update(t.Context(), ns, func(*schedule.State) ([]sluice.Event, error) { return nil, nil }); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	log.Faults.Set(fake.LogUpdate, nil)
	before, jobs := seqOf(t, live, ns)
	if want, err := fold.Namespace(t.Context(), log, ns); err != nil || want.Seq() != before || jobs != 1 {
		t.Errorf("at %d with %d jobs, error %v", before, jobs, err)
	}
}

// A log that fails, and then answers again, is read again; and who waits does so no longer than the context.
func TestLiveGoesOnAfterTrouble(t *testing.T) {
	log := fake.NewLog()
	live := fold.NewLive(log)
	appendTo(t, log, job(1, 3, false))
	broken := errors.New("broken")
	log.Faults.Set(fake.LogRead, func(context.Context) error { return broken })
	if err := live.Look(t.Context(), ns, func(*schedule.State) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	gate, inside := make(chan struct{}), make(chan struct{})
	log.Faults.Set(fake.LogRead, func(ctx context.Context) error {
		close(inside)
		return fake.Hold(gate)(ctx)
	})
	ended := make(chan error, 1)
	go func() { ended <- live.Look(t.Context(), ns, func(*schedule.State) error { return nil }) }()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := live.Look(ctx, ns, func(*schedule.State) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("behind a slow log: %v", err)
	}
	log.Faults.Set(fake.LogRead, nil)
	close(gate)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, jobs := seqOf(t, live, ns); jobs != 1 {
		t.Errorf("%d jobs", jobs)
	}
}

// All who follow get every event after their number, in order and once, however late they come.
func TestTailGivesEverybodyEverything(t *testing.T) {
	log := fake.NewLog()
	tail := fold.NewTail(log)
	appendTo(t, log, job(1, 50, false))
	over := errors.New("over")
	const jobs = 20
	head := uint64(jobs * len(job(1, 50, false)))
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			after := uint64(n)
			err := tail.Follow(t.Context(), ns, after, func(events []sluice.Event) error {
				for _, e := range events {
					if e.Seq != after+1 {
						t.Errorf("event %d follows event %d", e.Seq, after)
					}
					after = e.Seq
				}
				if after == head {
					return over
				}
				return nil
			})
			if !errors.Is(err, over) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
	for n := 2; n <= jobs; n++ {
		appendTo(t, log, job(n, 50, false))
	}
	all.Wait()

	// And a log that fails ends those who follow; whoever comes then begins anew.
	broken := errors.New("broken")
	log.Faults.Set(fake.LogRead, func(context.Context) error { return broken })
	if err := tail.Follow(t.Context(), ns, 0, func([]sluice.Event) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
	log.Faults.Set(fake.LogRead, nil)
	if err := tail.Follow(t.Context(), ns, 0, func([]sluice.Event) error { return over }); !errors.Is(err, over) {
		t.Errorf("it ended with %v", err)
	}
}

// countedLog counts how often a job is read.
type countedLog struct {
	sluice.Log
	jobs atomic.Int32
}

func (l *countedLog) ReadJob(ctx context.Context, ns sluice.Namespace, id sluice.JobID) ([]sluice.Event, error) {
	l.jobs.Add(1)
	return l.Log.ReadJob(ctx, ns, id)
}

// While a namespace is followed, the past of a job is read once for all who come, and together with what follows they get
// every event once. Where too much has come since, it is read anew.
func TestTailSharesThePast(t *testing.T) {
	log := &countedLog{Log: fake.NewLog()}
	tail := fold.NewTail(log)
	appendTo(t, log, job(1, 50, false))
	id := sluice.JobID(fmt.Sprintf("%012d", 1))
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer leave()
	inside := make(chan struct{})
	var once sync.Once
	all.Go(func() { // somebody follows all the while
		_ = tail.Follow(ctx, ns, 0, func([]sluice.Event) error { once.Do(func() { close(inside) }); return nil })
	})
	<-inside
	read := int32(-1)
	for n := log.jobs.Load(); n != read; n = log.jobs.Load() { // until the one who reads for all has kept what it read
		read = n
		if _, err := tail.Past(t.Context(), ns, id); err != nil {
			t.Fatal(err)
		}
	}
	var come sync.WaitGroup
	for range 20 {
		come.Go(func() {
			past, err := tail.Past(t.Context(), ns, id)
			if err != nil || len(past) != len(job(1, 50, false)) || past[0].Seq != 1 {
				t.Errorf("%d events, error %v", len(past), err)
			}
		})
	}
	come.Wait()
	if n := log.jobs.Load(); n != read {
		t.Errorf("it was read %d times more", n-read)
	}
	for n := 2; n < 10; n++ { // more than is kept
		appendTo(t, log, job(n, 1000, false))
	}
	for log.jobs.Load() == read { // until the follower has read all of that
		if past, err := tail.Past(t.Context(), ns, id); err != nil || len(past) != len(job(1, 50, false)) {
			t.Fatalf("%d events, error %v", len(past), err)
		}
		runtime.Gosched()
	}
}

// Much that was read on is packed, and means the same.
func TestLivePacks(t *testing.T) {
	l := &shelf{Log: fake.NewLog()}
	live := fold.NewLive(l)
	appendTo(t, l, job(0, 3, false))
	head, _ := seqOf(t, live, ns)
	for n := 1; n <= 35; n++ {
		if _, err := l.Log.Update(t.Context(), ns, head, func([]sluice.Event) ([]sluice.Event, error) { return job(n, 1000, false), nil }); err != nil {
			t.Fatal(err)
		}
		head, _ = seqOf(t, live, ns)
	}
	if l.saves != 1 {
		t.Errorf("%d snapshots were left", l.saves)
	}
	want := state(t, l)
	err := live.Look(t.Context(), ns, func(s *schedule.State) error {
		got, err := s.Snapshot()
		if string(got) != string(want) {
			t.Error("the states differ")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

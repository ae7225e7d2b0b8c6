package replica_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
	"sluice/internal/run/replica"
)

const prod sluice.Namespace = "prod"

// server is a server's copy, which follows the engine until the end of the test.
type server struct {
	*replica.Journal
	t       testing.TB
	file    *sqlitelog.Log
	stop    func()
	ended   chan error
	mu      sync.Mutex
	trouble []string
}

func open(t testing.TB, e sluice.Engine, dir string) *server {
	t.Helper()
	return openWith(t, e, dir, func() error { return nil })
}

// openWith has the copy fail to commit, where commit says so: what it appends is in the engine then.
func openWith(t testing.TB, e sluice.Engine, dir string, commit func() error) *server {
	t.Helper()
	s := &server{t: t, ended: make(chan error, 1)}
	cfg := replica.Config{Engine: e, Retry: time.Millisecond, Trouble: func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trouble = append(s.trouble, text)
	}}
	var err error
	s.Journal, err = replica.New(cfg, func(first func(context.Context, sluice.Record) error) (_ replica.Copy, err error) {
		s.file, err = sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir, First: func(ctx context.Context, r sluice.Record) error {
			if err := first(ctx, r); err != nil {
				return err
			}
			return commit()
		}})
		return s.file, err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			stop()
			<-s.ended
			if err := s.file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	go func() {
		s.ended <- s.Run(ctx)
		close(s.ended)
	}()
	t.Cleanup(s.stop)
	return s
}

// owning is a server that owns the log.
func owning(t testing.TB, e sluice.Engine, dir string) (*server, sluice.Term) {
	t.Helper()
	s := open(t, e, dir)
	term, err := e.Own(t.Context(), sluice.Owner{Name: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Own(term)
	return s, term
}

func hold(s *server, host string) (uint64, error) {
	return s.Update(s.t.Context(), prod, 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: time.Unix(1e9, 0).UTC(), Body: sluice.HostHeld{Host: sluice.Host(host), Reason: "r", By: "ann"}}}, nil
	})
}

func holds(t testing.TB, s *server, host string) {
	t.Helper()
	if _, err := hold(s, host); err != nil {
		t.Fatal(err)
	}
}

// held are the hosts that a server reads, once it has n events.
func held(t testing.TB, s *server, n int) (out []string) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	if n > 0 {
		if err := s.Wait(ctx, prod, uint64(n-1)); err != nil {
			t.Fatal(err)
		}
	}
	events, err := s.Read(ctx, prod, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		out = append(out, string(e.Body.(sluice.HostHeld).Host))
	}
	return out
}

func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestLog: the log of a cluster keeps the contract of every log, on the side of its owner.
func TestLog(t *testing.T) {
	conform.Log(t, func(t *testing.T) sluice.Log {
		s, _ := owning(t, fake.NewEngine(), t.TempDir())
		return s
	})
}

// TestOthersFollow: what the owner appends is with all others, under the same numbers, with the same hashes; they append nothing.
func TestOthersFollow(t *testing.T) {
	e := fake.NewEngine()
	a, term := owning(t, e, t.TempDir())
	b := open(t, e, t.TempDir())
	holds(t, a, "h1")
	holds(t, a, "h2")
	same(t, held(t, b, 2), "h1", "h2")
	if _, err := hold(b, "h3"); !errors.Is(err, replica.NotOwner) {
		t.Errorf("one that does not own the log appends: %v", err)
	}
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := hold(a, "h3"); !errors.Is(err, replica.NotOwner) {
		t.Errorf("one whose term is over appends: %v", err)
	}
	next, err := e.Own(t.Context(), sluice.Owner{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b.Own(next)
	holds(t, b, "h4")
	same(t, held(t, a, 3), "h1", "h2", "h4")
	for _, seq := range []uint64{1, 2, 3} {
		x, _, err := a.HashAt(t.Context(), prod, seq)
		y, ok, err2 := b.HashAt(t.Context(), prod, seq)
		if errors.Join(err, err2) != nil || x != y || !ok {
			t.Errorf("event %d: %v and %v, %v", seq, x, y, errors.Join(err, err2))
		}
	}
}

// TestAPausedOwnerAppendsNothing, although it has not heard that its term is over.
func TestAPausedOwnerAppendsNothing(t *testing.T) {
	e := fake.NewEngine()
	a, _ := owning(t, e, t.TempDir())
	b := open(t, e, t.TempDir())
	holds(t, a, "h1")
	e.Expire(true)
	next, err := e.Own(t.Context(), sluice.Owner{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b.Own(next)
	if _, err := hold(a, "stale"); !errors.Is(err, replica.NotOwner) {
		t.Errorf("a paused owner appends: %v", err)
	}
	holds(t, b, "h2")
	if _, err := hold(a, "stale, too"); !errors.Is(err, replica.NotOwner) {
		t.Errorf("a paused owner appends: %v", err)
	}
	same(t, held(t, a, 2), "h1", "h2")
	same(t, held(t, b, 2), "h1", "h2")
}

// TestLostAnswers: an append whose answer was lost is there or not, nobody appends before that is known, and nothing is there twice.
func TestLostAnswers(t *testing.T) {
	lost := sluice.Errorf(sluice.Contact, "the answer was lost")
	for point, want := range map[string][]string{fake.EngineResult: {"h1", "h2", "h3"}, fake.EngineAppend: {"h1", "h3"}} {
		t.Run(point, func(t *testing.T) {
			e := fake.NewEngine()
			a, _ := owning(t, e, t.TempDir())
			holds(t, a, "h1")
			e.Faults.Set(point, fake.Once(lost))
			if _, err := hold(a, "h2"); sluice.CodeOf(err) != sluice.Contact || errors.Is(err, replica.NotOwner) {
				t.Errorf("the append ended with %v", err)
			}
			n, err := a.Update(t.Context(), prod, 0, func(tail []sluice.Event) ([]sluice.Event, error) {
				if len(tail) != len(want)-1 {
					t.Errorf("decided on %d events of %d", len(tail), len(want)-1)
				}
				return []sluice.Event{{Time: time.Unix(1e9, 0).UTC(), Body: sluice.HostHeld{Host: "h3", Reason: "r", By: "ann"}}}, nil
			})
			if err != nil || n != uint64(len(want)) {
				t.Errorf("%d, %v", n, err)
			}
			same(t, held(t, a, len(want)), want...)
			same(t, held(t, open(t, e, t.TempDir()), len(want)), want...)
		})
	}
}

// TestTheCopyDoesNotCommit what the engine has: it comes back from there before anything else is decided, and the numbers go on.
func TestTheCopyDoesNotCommit(t *testing.T) {
	e, dir := fake.NewEngine(), t.TempDir()
	full := errors.New("the disk is full")
	var fails atomic.Int64
	a := openWith(t, e, dir, func() error {
		if fails.Add(-1) >= 0 {
			return full
		}
		return nil
	})
	b := open(t, e, t.TempDir())
	term, err := e.Own(t.Context(), sluice.Owner{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	a.Own(term)
	holds(t, a, "h1")
	for i := range 3 {
		fails.Store(1)
		if _, err := hold(a, fmt.Sprint("failed", i)); !errors.Is(err, full) || errors.Is(err, replica.NotOwner) {
			t.Errorf("it ended with %v", err)
		}
		after, err := a.Update(t.Context(), prod, 0, func(tail []sluice.Event) ([]sluice.Event, error) {
			if len(tail) != 2*i+2 || tail[2*i+1].Seq != uint64(2*i+2) {
				t.Errorf("decided on %d events, want %d", len(tail), 2*i+2)
			}
			return []sluice.Event{{Time: time.Unix(1e9, 0).UTC(), Body: sluice.HostHeld{Host: sluice.Host(fmt.Sprint("next", i)), Reason: "r", By: "ann"}}}, nil
		})
		if err != nil || after != uint64(2*i+3) {
			t.Fatalf("%d, %v", after, err)
		}
	}
	want := []string{"h1", "failed0", "next0", "failed1", "next1", "failed2", "next2"}
	same(t, held(t, a, len(want)), want...)
	same(t, held(t, b, len(want)), want...)
	fails.Store(1)
	if _, err := hold(a, "last"); !errors.Is(err, full) {
		t.Errorf("it ended with %v", err)
	}
	a.stop() // before it has come back
	same(t, held(t, open(t, e, dir), len(want)+1), append(want, "last")...)
}

// TestAnOwnerThatCannotKeep what it appends says so, and so once for a term. What others refuse is nothing of its own.
func TestAnOwnerThatCannotKeep(t *testing.T) {
	failed := func(s *server) bool {
		select {
		case <-s.Failed():
			return true
		default:
			return false
		}
	}
	e := fake.NewEngine()
	full := sluice.Errorf(sluice.Contact, "no room left")
	var fails atomic.Bool
	a := openWith(t, e, t.TempDir(), func() error {
		if fails.Load() {
			return full
		}
		return nil
	})
	own := func() sluice.Term {
		t.Helper()
		term, err := e.Own(t.Context(), sluice.Owner{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		a.Own(term)
		return term
	}
	term := own()
	holds(t, a, "h1")
	for _, why := range []error{sluice.Errorf(sluice.Contact, "no"), sluice.Errorf(sluice.Conflict, "no")} {
		if _, err := a.Update(t.Context(), prod, 0, func([]sluice.Event) ([]sluice.Event, error) { return nil, why }); err == nil {
			t.Error("it was refused")
		}
	}
	if failed(a) {
		t.Errorf("nothing is wrong with it: %v", a.Failure())
	}
	fails.Store(true)
	if _, err := hold(a, "h2"); !errors.Is(err, full) || !failed(a) || !errors.Is(a.Failure(), full) {
		t.Errorf("it ended with %v; failed: %v, %v", err, failed(a), a.Failure())
	}
	fails.Store(false)
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	own()
	if failed(a) {
		t.Errorf("of another term: %v", a.Failure())
	}
	e.Expire(false)
	if _, err := hold(a, "h3"); err == nil || failed(a) {
		t.Errorf("the engine refuses: %v, failed: %v, %v", err, failed(a), a.Failure())
	}
	own()
	fails.Store(false)
	holds(t, a, "h4")
	same(t, held(t, a, 3), "h1", "h2", "h4")
}

// TestAChangedCopy is found by who proves it; from then on nothing is appended there.
func TestAChangedCopy(t *testing.T) {
	e, dir := fake.NewEngine(), t.TempDir()
	a, _ := owning(t, e, dir)
	holds(t, a, "h1")
	holds(t, a, "h2")
	if err := a.Prove(t.Context()); err != nil || a.Broken() != nil {
		t.Fatalf("it is whole: %v, %v", err, a.Broken())
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("UPDATE record SET payload = zeroblob(length(payload)) WHERE first = 1")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := a.Prove(t.Context()); !sluice.IsLasting(err) || !errors.Is(a.Broken(), err) {
		t.Errorf("it was changed: %v, %v", err, a.Broken())
	}
	select {
	case <-a.Over():
	default:
		t.Error("it goes on")
	}
	if _, err := hold(a, "h3"); !errors.Is(err, a.Broken()) {
		t.Errorf("it appends: %v", err)
	}
	if err := a.Prove(t.Context()); err == nil {
		t.Error("it is whole again")
	}
}

// TestAwayAndBack: a server that was away has all when it is back, also of what came while it was killed between engine and copy.
func TestAwayAndBack(t *testing.T) {
	e, dir := fake.NewEngine(), t.TempDir()
	a, _ := owning(t, e, t.TempDir())
	b := open(t, e, dir)
	holds(t, a, "h1")
	same(t, held(t, b, 1), "h1")
	b.stop()
	holds(t, a, "h2")
	holds(t, a, "h3")
	same(t, held(t, open(t, e, dir), 3), "h1", "h2", "h3")
}

// TestAnEngineThatWentBack: a server that has seen more than the engine has now says so, and appends nothing any more.
func TestAnEngineThatWentBack(t *testing.T) {
	e, dir := fake.NewEngine(), t.TempDir()
	a, _ := owning(t, e, dir)
	holds(t, a, "h1")
	holds(t, a, "h2")
	a.stop()
	e.Lose(prod, 1)
	e.Expire(false)
	s := open(t, e, dir)
	select {
	case err := <-s.ended:
		if !sluice.IsLasting(err) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing was noticed")
	}
	term, err := e.Own(t.Context(), sluice.Owner{Name: "again"})
	if err != nil {
		t.Fatal(err)
	}
	s.Own(term)
	if _, err := hold(s, "h3"); !sluice.IsLasting(err) {
		t.Errorf("appended: %v", err)
	}
	same(t, held(t, s, 2), "h1", "h2") // it can be read
}

// TestNotKeptAnyMore: what the engine has forgotten is fetched elsewhere.
func TestNotKeptAnyMore(t *testing.T) {
	e := fake.NewEngine()
	a, _ := owning(t, e, t.TempDir())
	for i := range 5 {
		holds(t, a, fmt.Sprint("h", i))
	}
	heads, err := e.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	heads[0].Seq = 3
	if err := e.Trim(t.Context(), heads); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	asked := 0
	j, err := replica.New(replica.Config{Engine: e, Retry: time.Millisecond, Trouble: func(string) {}, Missing: func(ctx context.Context, upTo []sluice.Head) error {
		asked++
		var all []sluice.Record
		if err := a.Records(ctx, nil, func(r sluice.Record) error {
			if r.Last <= 4 {
				all = append(all, r)
			}
			return nil
		}); err != nil {
			return err
		}
		return file.Append(ctx, all)
	}}, func(func(context.Context, sluice.Record) error) (replica.Copy, error) { return file, nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	if err := file.Wait(ctx, prod, 4); err != nil {
		t.Error(err)
	}
	stop()
	<-ended
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// TestDecidedInATerm: what was decided after the term had ended is not taken for a decision, also where it appends nothing.
func TestDecidedInATerm(t *testing.T) {
	e := fake.NewEngine()
	a, _ := owning(t, e, t.TempDir())
	holds(t, a, "h1")
	_, err := a.Update(t.Context(), prod, 1, func([]sluice.Event) ([]sluice.Event, error) {
		e.Expire(false)
		return nil, nil
	})
	if !errors.Is(err, replica.NotOwner) {
		t.Errorf("it ended with %v", err)
	}
}

// TestNobodyWaitsForever for a copy that does not get what is missing: the wait ends with the term.
func TestNobodyWaitsForever(t *testing.T) {
	e := fake.NewEngine()
	a, term := owning(t, e, t.TempDir())
	holds(t, a, "h1")
	heads, err := e.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Trim(t.Context(), heads), term.Resign(t.Context())); err != nil {
		t.Fatal(err)
	}
	b, _ := owning(t, e, t.TempDir()) // it cannot get event 1
	ended := make(chan error, 1)
	go func() {
		_, err := hold(b, "h2")
		ended <- err
	}()
	e.Expire(false)
	select {
	case err := <-ended:
		if !errors.Is(err, replica.NotOwner) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits")
	}
}

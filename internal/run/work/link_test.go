package work_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/work"
)

// count is a command that leaves one line per run in a file, prints, and ends with a status of its own.
func (b *bench) count(lines int, end string) {
	b.job.Action.Shell = fmt.Sprintf(`echo ran >>"$HOME/runs"; i=0; while [ $i -lt %d ]; do i=$((i+1)); echo "line $i"; echo "err $i" >&2; done; %s`, lines, end)
}

func (b *bench) wantOneRun(lines int) {
	b.t.Helper()
	runs, err := os.ReadFile(filepath.Join(b.host.home, "runs"))
	if err != nil || string(runs) != "ran\n" {
		b.t.Errorf("runs: %q, %v; want one", runs, err)
	}
	var out, errs strings.Builder
	for i := range lines {
		fmt.Fprintf(&out, "line %d\n", i+1)
		fmt.Fprintf(&errs, "err %d\n", i+1)
	}
	if b.stdout() != out.String() || b.stderr() != errs.String() {
		b.t.Errorf("stdout has %d of %d bytes, stderr %d of %d", len(b.stdout()), out.Len(), len(b.stderr()), errs.Len())
	}
}

func TestALostLinkLosesNothing(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.count(200, `while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo last; exit 7`)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 8 {
				select {
				case <-time.After(time.Duration(20+10*i) * time.Millisecond):
					b.host.cut()
				case <-stop:
				}
			}
			_ = os.WriteFile(filepath.Join(b.host.home, "go"), nil, 0o644)
		})
		r := b.run()
		close(stop)
		wg.Wait()
		want(t, r, sluice.Failed, 7, "the command ended with 7")
		if !strings.HasSuffix(b.stdout(), "line 200\nlast\n") || strings.Count(b.stdout(), "\n") != 201 {
			t.Errorf("stdout has %d lines", strings.Count(b.stdout(), "\n"))
		}
		runs, _ := os.ReadFile(filepath.Join(b.host.home, "runs"))
		if string(runs) != "ran\n" {
			t.Errorf("runs %q", runs)
		}
		b.wantClean()
	})
}

func TestBinaryOutputOverLostLinks(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	if err := os.WriteFile(filepath.Join(b.host.home, "data"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	b.job.Action.Shell = `for i in 1 2 3; do cat data; sleep 0.1; done`
	next := int64(500 << 10)
	r, err := b.do(context.Background(), work.Assignment{Output: func(_ string, offset int64, _ []byte) {
		if offset > next {
			next += 1 << 20
			b.host.cut()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Succeeded, 0, "")
	if b.stdout() != strings.Repeat(string(data), 3) {
		t.Errorf("the output is damaged, %d bytes of %d", len(b.stdout()), 3*len(data))
	}
}

func TestTwoClientsOneRun(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for range 20 {
				h := newHost(t, shell)
				one, two := newBench(t, h), newBench(t, h)
				two.job = one.job
				one.count(50, "exit 5")
				// The record may go when the log has the outcome, which is one log for both.
				var wg, both sync.WaitGroup
				both.Add(2)
				for _, b := range []*bench{one, two} {
					wg.Go(func() {
						err := b.worker.Do(context.Background(), work.Assignment{Job: b.job, Host: "web1", Attempt: b.id(), Commit: func(_ context.Context, r sluice.TaskFinished) error {
							want(t, r, sluice.Failed, 5, "the command ended with 5")
							both.Done()
							both.Wait()
							return nil
						}})
						if err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				one.wantOneRun(50)
				two.wantOneRun(50)
				runs, _ := os.ReadFile(filepath.Join(h.home, "runs"))
				if string(runs) != "ran\n" {
					t.Fatalf("runs: %q", runs)
				}
			}
		})
	}
}

// A client that dies at any moment, and its successor: the command runs once and its true end is known.
func TestAnotherClientGoesOn(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for round := range 12 {
				b := newBench(t, newHost(t, shell))
				b.count(100, "sleep 0.1; exit 6")
				ctx, cancel := context.WithCancel(context.Background())
				timer := time.AfterFunc(time.Duration(round*5)*time.Millisecond, func() {
					b.host.cut()
					cancel()
				})
				if _, err := b.do(ctx, work.Assignment{}); !errors.Is(err, context.Canceled) {
					t.Fatalf("the first client: %v", err)
				}
				timer.Stop()
				b.restart()
				r, err := b.do(context.Background(), work.Assignment{Resumed: true})
				if err != nil {
					t.Fatal(err)
				}
				want(t, r, sluice.Failed, 6, "the command ended with 6")
				b.wantOneRun(100)
				b.wantClean()
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	refused := &sluice.ConnectError{Host: "web1", Failure: sluice.NoRoute, Err: errors.New("connection refused")}
	b.host.setDown(refused)
	r := b.run()
	want(t, r, sluice.Unreachable, -1, "connection refused")
	if !r.NotStarted || b.host.links != 1 {
		t.Errorf("not started %v, after %d tries; want true, 1", r.NotStarted, b.host.links)
	}
}

func TestLoginRefused(t *testing.T) {
	for _, c := range []struct {
		err     *sluice.ConnectError
		outcome sluice.Outcome
		refused bool
	}{
		{&sluice.ConnectError{Failure: sluice.AuthRefused, Password: true, Err: errors.New("permission denied")}, sluice.Failed, true},
		{&sluice.ConnectError{Failure: sluice.AuthRefused, Err: errors.New("permission denied")}, sluice.Failed, false},
		{&sluice.ConnectError{Failure: sluice.NeedSecret, Err: errors.New("a password is needed")}, sluice.Failed, false},
		{&sluice.ConnectError{Failure: sluice.HostKeyBad, Err: errors.New("the host key changed")}, sluice.Unreachable, false},
	} {
		b := newBench(t, newHost(t, "dash"))
		b.host.setDown(c.err)
		r := b.run()
		want(t, r, c.outcome, -1, c.err.Error())
		if !r.NotStarted || r.Refused != c.refused || b.host.links != 1 {
			t.Errorf("%v: %+v after %d tries", c.err, r, b.host.links)
		}
	}
}

// Lost for good: unknown, then the truth.
func TestUnknownThenTheTruth(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.Reconnect = 300 * time.Millisecond
	b.job.Action.Shell = `echo before; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo after; exit 9`
	seen := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		<-seen
		b.host.setDown(&sluice.ConnectError{Failure: sluice.NoRoute, Err: errors.New("no route to host")})
		b.host.cut()
	})
	r, err := b.do(context.Background(), work.Assignment{Output: func(string, int64, []byte) { once.Do(func() { close(seen) }) }})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Unknown, -1, "no route to host")
	if r.NotStarted {
		t.Error("it is said not to have started")
	}
	b.host.setDown(nil)
	if err := os.WriteFile(filepath.Join(b.host.home, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err = b.do(context.Background(), work.Assignment{Mode: work.Settle})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, sluice.Failed, 9, "the command ended with 9")
	if b.stdout() != "before\nafter\n" {
		t.Errorf("stdout %q", b.stdout())
	}
	b.wantClean()
}

func TestSettleProvesThatNothingStarted(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.count(1, "true")
		committed := func(context.Context, sluice.TaskFinished) error { return errors.New("the log is gone") }
		if _, err := b.do(context.Background(), work.Assignment{Mode: work.Settle, Commit: committed}); err == nil || err.Error() != "the log is gone" {
			t.Fatalf("the error of the commit is lost: %v", err)
		}
		// The proof stands: whoever comes later with a start is refused.
		r, err := b.do(context.Background(), work.Assignment{Mode: work.Run})
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Unreachable, -1, "never started")
		if !r.NotStarted || exists(filepath.Join(b.host.home, "runs")) {
			t.Errorf("%+v; or it ran", r)
		}
		b.wantClean()
	})
}

func TestSettleUnreachableIsUnknown(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Options.Reconnect = 100 * time.Millisecond
	b.host.setDown(&sluice.ConnectError{Failure: sluice.NoRoute, Err: errors.New("no route")})
	for _, a := range []work.Assignment{{Mode: work.Settle}, {Resumed: true}} {
		r, err := b.do(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		want(t, r, sluice.Unknown, -1, "no route")
	}
}

// What the controller does when it goes away: the command goes on, and is found again.
func TestTheControllerGoesAway(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Action.Shell = `echo first; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo second`
	ctx, cancel := context.WithCancel(context.Background())
	_, err := b.do(ctx, work.Assignment{Output: func(string, int64, []byte) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_ = os.WriteFile(filepath.Join(b.host.home, "go"), nil, 0o644)
	want(t, b.run(), sluice.Succeeded, 0, "")
	if b.stdout() != "first\nsecond\n" {
		t.Errorf("stdout %q", b.stdout())
	}
	b.wantClean()
}

// The link is lost between the end and the last word: the record goes all the same.
func TestALinkLostAtTheEnd(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Action.Shell = "echo out"
	var got []sluice.TaskFinished
	_, err := b.do(context.Background(), work.Assignment{Commit: func(_ context.Context, r sluice.TaskFinished) error {
		got = append(got, r)
		b.host.cut()
		return nil
	}})
	if err != nil || len(got) != 1 {
		t.Fatal(err, got)
	}
	want(t, got[0], sluice.Succeeded, 0, "")
	b.wantClean()
}

// Attempts of many jobs that begin on one host at the same moment share the place, and the last one removes it.
func TestManyAttemptsOnAHost(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			b := newBench(t, newHost(t, shell))
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					job := *b.job
					job.ID = newJobID()
					err := b.worker.Do(context.Background(), work.Assignment{Job: &job, Host: "web1", Attempt: sluice.NewAttemptID(job.ID, 0, 1), Commit: func(_ context.Context, r sluice.TaskFinished) error {
						want(t, r, sluice.Succeeded, 0, "")
						return nil
					}})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			b.wantClean()
		})
	}
}

// A gate that is empty is one whose taker died before the start, but only if the taker is dead.
func TestAnEmptyGate(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, newHost(t, shell))
			dir := filepath.Join(b.host.place, string(b.id()))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			live := filepath.Join(dir, "live")
			if err := syscall.Mkfifo(live, 0o600); err != nil {
				t.Fatal(err)
			}
			taker, err := os.OpenFile(live, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(12*time.Second, func() { _ = taker.Close() })
			defer timer.Stop()
			r, err := b.do(context.Background(), work.Assignment{Mode: work.Settle})
			if err != nil {
				t.Fatal(err)
			}
			want(t, r, sluice.Unreachable, -1, "never started")
			if !timer.Stop() {
				b.wantClean()
				return
			}
			t.Error("it is said not to have started while its starter was there")
			_ = taker.Close()
		})
	}
}

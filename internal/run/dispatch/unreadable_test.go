package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/dispatch"
)

// torn is a log with an event that cannot be read any more, once there is one.
type torn struct {
	*fake.Log
	bad    atomic.Uint64 // its number; 0: all can be read
	silent atomic.Bool   // there is no contact at all
}

func (l *torn) String() string { return "journal in /state" }

func (l *torn) check(events []sluice.Event) error {
	if l.silent.Load() {
		return sluice.Errorf(sluice.Contact, "no answer")
	}
	for _, e := range events {
		if e.Seq == l.bad.Load() {
			return sluice.Errorf(sluice.Contact, "event %d is not what was written", e.Seq)
		}
	}
	return nil
}

func (l *torn) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	events, err := l.Log.Read(ctx, ns, after, limit)
	if err = errors.Join(err, l.check(events)); err != nil {
		return nil, err
	}
	return events, nil
}

func (l *torn) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if l.bad.Load() > 0 || l.silent.Load() {
		return 0, sluice.Errorf(sluice.Contact, "no append without a proof of what is there")
	}
	return l.Log.Update(ctx, ns, after, decide)
}

func (l *torn) Namespaces(ctx context.Context) ([]sluice.Namespace, error) {
	if err := l.check(nil); err != nil {
		return nil, err
	}
	return l.Log.Namespaces(ctx)
}

func (w *world) driveOn(ctx context.Context, log sluice.Log, worker dispatch.Worker) (sluice.Event, error) {
	return dispatch.Drive(ctx, dispatch.Config{Log: log, Namespace: ns, Drivers: w.drivers, Outputs: w.outputs, Worker: worker,
		Clock: time.Now, Driver: "test", Observe: func(e sluice.Event) { w.seen = append(w.seen, e) },
		Notice: func(s string) { w.notices = append(w.notices, s) }}, w.job)
}

// TestAJournalThatCannotBeReadEndsTheDriver: nobody waits for what does not come back by itself.
func TestAJournalThatCannotBeReadEndsTheDriver(t *testing.T) {
	for _, bad := range []uint64{1, 3, 5} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6, nil)
				log := &torn{Log: w.log}
				time.AfterFunc(30*time.Second, func() { log.bad.Store(bad) }) // three run
				hosts := takes(time.Minute)
				_, err := w.driveOn(t.Context(), log, hosts)
				if sluice.CodeOf(err) != sluice.Contact {
					t.Fatalf("ends with %v", err)
				}
				for _, text := range []string{"journal in /state", fmt.Sprintf("after event %d of the namespace %s", bad-1, ns),
					fmt.Sprintf("event %d is not what was written", bad)} {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%q does not say %q", err, text)
					}
				}
				var e *sluice.Error
				if !errors.As(err, &e) || !strings.Contains(e.Hint, "sluice journal verify") || !strings.Contains(e.Hint, "sluice resume "+string(w.job)) {
					t.Errorf("the hint is %q", e.Hint)
				}
				if len(w.notices) != 1 || len(hosts.started) != 3 {
					t.Errorf("%d notices, %d started", len(w.notices), len(hosts.started))
				}
				log.bad.Store(0) // it is put back
				last, err := w.driveOn(t.Context(), log, hosts)
				if o := outcome(t, last, err); o != sluice.Succeeded {
					t.Errorf("the job %s", o)
				}
				for h, n := range hosts.started {
					if n != 1 {
						t.Errorf("%s was started %d times", h, n)
					}
				}
				w.seen = nil // the first driver's view ends early
				w.sound()
			})
		})
	}
}

// TestAnEventThatDoesNotFitEndsTheDriver: it is in the log and stays there, so every other try ends in the same way.
func TestAnEventThatDoesNotFitEndsTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		var at uint64
		time.AfterFunc(30*time.Second, func() {
			w.add("000000000009", sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "a job that nobody submitted"})
			events := w.events()
			at = events[len(events)-1].Seq
		})
		_, err := w.drive(t.Context(), takes(time.Minute))
		if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), fmt.Sprintf("after event %d of", at-1)) {
			t.Errorf("with event %d it ends with %v", at, err)
		}
		for i := 1; i < len(w.seen); i++ {
			if w.seen[i].Seq <= w.seen[i-1].Seq {
				t.Errorf("event %d was shown after %d", w.seen[i].Seq, w.seen[i-1].Seq)
			}
		}
	})
}

// TestALogThatDoesNotAnswerIsWaitedFor: contact comes back by itself, however long that takes.
func TestALogThatDoesNotAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		log := &torn{Log: w.log}
		time.AfterFunc(30*time.Second, func() { log.silent.Store(true) })
		time.AfterFunc(2*time.Hour, func() { log.silent.Store(false) })
		hosts := takes(time.Minute)
		last, err := w.driveOn(t.Context(), log, hosts)
		if o := outcome(t, last, err); o != sluice.Succeeded {
			t.Errorf("the job %s", o)
		}
		if len(w.notices) != 1 {
			t.Errorf("%d notices of one trouble", len(w.notices))
		}
		w.sound()
	})
}

// spoiled is a log that says, from some time on, that only a person can help.
type spoiled struct {
	*fake.Log
	now     atomic.Bool
	refused atomic.Int32
}

func (l *spoiled) Update(ctx context.Context, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if l.now.Load() {
		l.refused.Add(1)
		return 0, sluice.Errorf(sluice.Contact, "the journal lost records").Lasts()
	}
	return l.Log.Update(ctx, ns, after, decide)
}

// TestALastingErrorEndsTheDriver: what only a person can mend is not tried again.
func TestALastingErrorEndsTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, nil)
		log := &spoiled{Log: w.log}
		time.AfterFunc(30*time.Second, func() { log.now.Store(true) })
		_, err := w.driveOn(t.Context(), log, takes(time.Minute))
		if !sluice.IsLasting(err) || log.refused.Load() != 1 {
			t.Fatalf("ends with %v after %d tries", err, log.refused.Load())
		}
	})
}

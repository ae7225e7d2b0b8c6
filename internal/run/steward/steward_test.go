package steward_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
	"sluice/internal/run/steward"
)

const retry = 5 * time.Second

func jobID(n int) sluice.JobID { return sluice.JobID(fmt.Sprintf("%012d", n)) }

// yard is a log with a steward on it, whose drives the test ends. It lives in a bubble of synctest.
type yard struct {
	*fake.Log
	look chan struct{}
	end  context.CancelFunc
	over chan error // what Run returned

	mu      sync.Mutex
	running map[sluice.JobID]chan error // what a drive is to return
	drives  map[sluice.JobID]int        // how often it was begun
	twice   []sluice.JobID              // driven by two at once
	told    []string
	slow    time.Duration                                        // how long a drive takes to end with its context
	bad     func(ctx context.Context, ns sluice.Namespace) error // why a namespace cannot be read, if it is set
	read    func()                                               // called after each reading of the log, if it is set
}

// Read reads what the steward sees.
func (y *yard) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if y.bad != nil {
		if err := y.bad(ctx, ns); err != nil {
			return nil, err
		}
	}
	out, err := y.Log.Read(ctx, ns, after, limit)
	if y.read != nil {
		y.read()
	}
	return out, err
}

func newYard() *yard {
	return &yard{Log: fake.NewLog(), look: make(chan struct{}), over: make(chan error, 1),
		running: map[sluice.JobID]chan error{}, drives: map[sluice.JobID]int{}}
}

func (y *yard) open(ctx context.Context) *yard {
	ctx, y.end = context.WithCancel(ctx)
	go func() {
		y.over <- steward.Run(ctx, steward.Config{Log: y, Carry: y.carry, Retry: retry, Look: y.look, Trouble: func(text string) {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.told = append(y.told, text)
		}})
	}()
	synctest.Wait()
	return y
}

// close ends the steward, and returns what it said.
func (y *yard) close() error {
	y.end()
	return <-y.over
}

func (y *yard) carry(ctx context.Context, _ sluice.Namespace, id sluice.JobID) error {
	ends := make(chan error)
	y.mu.Lock()
	y.drives[id]++
	if y.running[id] != nil {
		y.twice = append(y.twice, id)
	}
	y.running[id] = ends
	y.mu.Unlock()
	defer func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		delete(y.running, id)
	}()
	select {
	case err := <-ends:
		return err
	case <-ctx.Done():
		time.Sleep(y.slow)
		return ctx.Err()
	}
}

// ends has the drive of a job return err.
func (y *yard) ends(id sluice.JobID, err error) {
	y.mu.Lock()
	c := y.running[id]
	y.mu.Unlock()
	c <- err
	synctest.Wait()
}

func (y *yard) driven() []sluice.JobID {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Sorted(maps.Keys(y.running))
}

func (y *yard) times(id sluice.JobID) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.drives[id]
}

func (y *yard) trouble() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return strings.Join(y.told, "\n")
}

func add(t testing.TB, l sluice.Log, ns sluice.Namespace, id sluice.JobID, bodies ...sluice.Body) {
	t.Helper()
	_, err := l.Update(context.Background(), ns, 0, func([]sluice.Event) (out []sluice.Event, err error) {
		for _, b := range bodies {
			out = append(out, sluice.Event{Time: time.Now(), Job: id, Body: b})
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func submitted(ns sluice.Namespace, id sluice.JobID) sluice.Body {
	hosts := []sluice.Host{"h1"}
	return sluice.JobSubmitted{Submitted: sluice.Job{ID: id, Namespace: ns, Command: "true", Targets: hosts,
		Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: hosts}}}}}}
}

func (y *yard) submit(t testing.TB, ns sluice.Namespace, id sluice.JobID) {
	t.Helper()
	add(t, y.Log, ns, id, submitted(ns, id))
	synctest.Wait()
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

var (
	halted   = sluice.JobHalted{Rule: sluice.RuleOperator, Generation: 1}
	resumed  = sluice.JobResumed{Generation: 2}
	finished = sluice.JobFinished{Outcome: sluice.Cancelled}
)

// TestAHaltedJobThatIsCancelledIsDriven: else it would never be over.
func TestAHaltedJobThatIsCancelledIsDriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.submit(t, "prod", jobID(1))
		add(t, y.Log, "prod", jobID(1), halted)
		y.open(t.Context())
		same(t, "while it is halted", y.driven(), []sluice.JobID{})
		add(t, y.Log, "prod", jobID(1), sluice.JobCancelling{By: "ann"})
		synctest.Wait()
		same(t, "when it is cancelled", y.driven(), []sluice.JobID{jobID(1)})
		if err := y.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsLeftAndWhatComesIsDriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.submit(t, "prod", jobID(1))
		y.submit(t, "prod", jobID(2))
		add(t, y.Log, "prod", jobID(2), halted)
		y.submit(t, "prod", jobID(3))
		add(t, y.Log, "prod", jobID(3), finished)
		y.submit(t, "prod", jobID(4))
		add(t, y.Log, "prod", jobID(4), sluice.JobCancelling{})
		y.submit(t, "lab", jobID(5))
		add(t, y.Log, sluice.AccessNamespace, "", sluice.PrincipalAdded{Principal: "ann"})
		begin := time.Now()
		y.open(t.Context())
		same(t, "left behind", y.driven(), []sluice.JobID{jobID(1), jobID(4), jobID(5)})
		y.submit(t, "prod", jobID(6))
		same(t, "with a new one", y.driven(), []sluice.JobID{jobID(1), jobID(4), jobID(5), jobID(6)})
		add(t, y.Log, "prod", jobID(2), resumed)
		synctest.Wait()
		same(t, "with a resumed one", y.driven(), []sluice.JobID{jobID(1), jobID(2), jobID(4), jobID(5), jobID(6)})
		add(t, y.Log, "prod", jobID(6), finished)
		y.ends(jobID(6), nil)
		add(t, y.Log, "prod", jobID(1), halted)
		y.ends(jobID(1), nil)
		same(t, "without those that ended", y.driven(), []sluice.JobID{jobID(2), jobID(4), jobID(5)})
		add(t, y.Log, "prod", jobID(1), resumed)
		synctest.Wait()
		same(t, "with the one again", y.driven(), []sluice.JobID{jobID(1), jobID(2), jobID(4), jobID(5)})
		if d := time.Since(begin); d != 0 {
			t.Errorf("it took %v", d)
		}
		time.Sleep(10 * retry)
		same(t, "the finished one was driven", y.times(jobID(6)), 1)
		if err := y.close(); err != nil {
			t.Error(err)
		}
		same(t, "trouble", y.trouble(), "")
	})
}

// A job that somebody resumes in the moment in which its drive lets go of it is driven on at once; nobody else sees to it.
func TestResumedBeforeTheDriveHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.submit(t, "prod", jobID(1))
		y.open(t.Context())
		add(t, y.Log, "prod", jobID(1), halted, resumed)
		y.ends(jobID(1), nil)
		same(t, "drives", y.times(jobID(1)), 2)
		same(t, "driven", y.driven(), []sluice.JobID{jobID(1)})
		if err := y.close(); err != nil {
			t.Error(err)
		}
	})
}

// A job that is finished between a look at the log and the end of its drive is over, although the look did not show it.
func TestFinishedSinceTheLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.submit(t, "prod", jobID(1))
		y.open(t.Context())
		y.read = func() {
			y.read = nil
			add(t, y.Log, "prod", jobID(1), finished)
			y.ends(jobID(1), nil)
		}
		add(t, y.Log, "prod", jobID(1), sluice.JobStarted{})
		time.Sleep(time.Second)
		same(t, "drives", y.times(jobID(1)), 1)
		same(t, "driven", y.driven(), []sluice.JobID{})
		if err := y.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFailedDrivesAreTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		told string
	}{
		{"another process has it", sluice.Errorf(sluice.Conflict, "pid 7 has it"), ""},
		{"an ordinary error", errors.New("no room"), "job 000000000001: no room"},
		{"nothing was done", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard()
				y.submit(t, "prod", jobID(1))
				y.open(t.Context())
				y.ends(jobID(1), c.err)
				y.submit(t, "prod", jobID(2)) // wakes it up
				time.Sleep(retry - 1)
				synctest.Wait()
				same(t, "before the time", y.driven(), []sluice.JobID{jobID(2)})
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				same(t, "then", y.driven(), []sluice.JobID{jobID(1), jobID(2)})
				same(t, "drives", y.times(jobID(1)), 2)
				same(t, "told", y.trouble(), c.told)

				// What another process finished meanwhile is not tried again.
				y.ends(jobID(1), c.err)
				add(t, y.Log, "prod", jobID(1), finished)
				time.Sleep(3 * retry)
				synctest.Wait()
				same(t, "drives of a finished job", y.times(jobID(1)), 2)
				if err := y.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestALastingErrorEndsEverything(t *testing.T) {
	lasting := sluice.Errorf(sluice.Contact, "the disk failed").Lasts()
	wrapped := fmt.Errorf("appending: %w", lasting)
	for name, happens := range map[string]func(y *yard){
		"a drive":        func(y *yard) { y.ends(jobID(1), wrapped) },
		"the reading":    func(y *yard) { y.Faults.Set(fake.LogRead, fake.Always(wrapped)); y.ends(jobID(1), nil) },
		"a cause beside": func(y *yard) { y.ends(jobID(1), &sluice.Error{Lasting: true, Err: context.Canceled}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard()
				y.slow = time.Minute
				y.submit(t, "prod", jobID(1))
				y.submit(t, "prod", jobID(2))
				y.submit(t, "lab", jobID(3))
				y.open(t.Context())
				begin := time.Now()
				happens(y)
				err := <-y.over
				if !sluice.IsLasting(err) {
					t.Errorf("Run returned %v", err)
				}
				same(t, "still driven", y.driven(), []sluice.JobID{})
				// All ended at once, not one namespace after the other.
				same(t, "it took", time.Since(begin), time.Minute)
				same(t, "told", y.trouble(), "")
			})
		})
	}
}

func TestRunReturnsWhenAllDrivesHave(t *testing.T) {
	for name, ctx := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": context.WithCancel,
		"with a cause": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, stop := context.WithCancelCause(ctx)
			return ctx, func() { stop(errors.New("SIGTERM")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := newYard()
				y.slow = time.Hour
				y.submit(t, "prod", jobID(1))
				parent, end := ctx(t.Context())
				y.open(parent)
				end()
				time.Sleep(time.Hour - 1)
				synctest.Wait()
				select {
				case err := <-y.over:
					t.Fatalf("Run returned %v while something is driven", err)
				default:
				}
				if err := <-y.over; err != nil {
					t.Errorf("Run returned %v", err)
				}
				y.end()
				same(t, "drives", y.times(jobID(1)), 1)
				same(t, "told", y.trouble(), "")
			})
		})
	}
}

func TestNewNamespacesAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard().open(t.Context())
		y.submit(t, "prod", jobID(1))
		same(t, "unseen", y.driven(), []sluice.JobID{})
		time.Sleep(retry)
		synctest.Wait()
		same(t, "seen in time", y.driven(), []sluice.JobID{jobID(1)})
		y.submit(t, "lab", jobID(2))
		y.look <- struct{}{}
		synctest.Wait()
		same(t, "seen at once", y.driven(), []sluice.JobID{jobID(1), jobID(2)})
		close(y.look)
		y.submit(t, "edge", jobID(3))
		time.Sleep(retry)
		synctest.Wait()
		same(t, "after Look was closed", y.driven(), []sluice.JobID{jobID(1), jobID(2), jobID(3)})
		if err := y.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestALogThatCannotBeReadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard()
		y.submit(t, "prod", jobID(1))
		y.Faults.Set(fake.LogRead, fake.Always(errors.New("busy")))
		y.open(t.Context())
		same(t, "unread", y.driven(), []sluice.JobID{})
		y.Faults.Set(fake.LogRead, nil)
		time.Sleep(retry)
		synctest.Wait()
		same(t, "read", y.driven(), []sluice.JobID{jobID(1)})

		// A drive that ends while nothing can be read is not forgotten, and none is begun beside it.
		y.Faults.Set(fake.LogRead, fake.Always(errors.New("busy")))
		add(t, y.Log, "prod", jobID(1), halted, resumed)
		synctest.Wait()
		y.ends(jobID(1), nil)
		time.Sleep(3 * retry)
		y.Faults.Set(fake.LogRead, nil)
		time.Sleep(2 * retry)
		synctest.Wait()
		same(t, "driven again", y.driven(), []sluice.JobID{jobID(1)})
		same(t, "drives", y.times(jobID(1)), 2)

		// Nor is one whose end is what the log is read for.
		y.Faults.Set(fake.LogRead, fake.Once(errors.New("busy")))
		y.ends(jobID(1), nil)
		time.Sleep(3 * retry)
		synctest.Wait()
		same(t, "drives", y.times(jobID(1)), 3)
		if !strings.Contains(y.trouble(), "namespace prod: busy") {
			t.Errorf("told: %s", y.trouble())
		}
		if err := y.close(); err != nil {
			t.Error(err)
		}
		same(t, "two at once", y.twice, []sluice.JobID{})
	})
}

// TestRandomHistories: whatever happens to jobs and drives, none is ever driven by two at once, none that is over is
// begun, and in the end exactly those are driven that want it.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			y := newYard().open(t.Context())
			spaces := []sluice.Namespace{"prod", "lab"}
			begun := map[sluice.JobID]sluice.Namespace{}
			jobs := func() []sluice.JobID { return slices.Sorted(maps.Keys(begun)) }
			steps := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 60).Draw(rt, "steps")
			for i, n := range steps {
				ns := spaces[n%2]
				id := jobID(i)
				if len(begun) > 0 {
					id = jobs()[n%len(begun)]
				}
				if driven := y.driven(); n < 40 && len(driven) > 0 {
					id = driven[n%len(driven)]
				}
				var state schedule.JobState
				if at, ok := begun[id]; ok {
					ns = at
					state = stateOf(t, y.Log, ns, id)
				}
				before := y.times(id)
				switch {
				case n >= 90 || state == "":
					id, ns = jobID(i), spaces[n%2]
					begun[id] = ns
					y.submit(t, ns, id)
				case n >= 85:
					time.Sleep(retry)
				case state == schedule.Halted || state == schedule.Cancelled:
					if n%3 == 0 {
						add(t, y.Log, ns, id, resumed)
					}
				case n%5 < 2:
					add(t, y.Log, ns, id, finished)
				case n%5 == 2:
					add(t, y.Log, ns, id, halted)
				}
				if n%4 < 2 && slices.Contains(y.driven(), id) {
					y.ends(id, []error{nil, sluice.Errorf(sluice.Conflict, "busy"), errors.New("ordinary")}[n%3])
				}
				synctest.Wait()
				if after := stateOf(t, y.Log, ns, id); y.times(id) > before && (after == schedule.Halted || after == schedule.Cancelled) && n < 85 {
					rt.Errorf("%s was taken up although it is %s", id, after)
				}
			}
			time.Sleep(3 * retry)
			synctest.Wait()
			wanted := map[sluice.JobID]bool{}
			for id, ns := range begun {
				if s := stateOf(t, y.Log, ns, id); s != schedule.Halted && s != schedule.Cancelled {
					wanted[id] = true
				} else if slices.Contains(y.driven(), id) {
					wanted[id] = true // a drive that has not noticed yet
				}
			}
			if got, want := y.driven(), slices.Sorted(maps.Keys(wanted)); !slices.Equal(got, want) {
				rt.Errorf("driven are %v, want %v", got, want)
			}
			if err := y.close(); err != nil {
				rt.Error(err)
			}
			if len(y.twice) > 0 {
				rt.Errorf("driven by two at once: %v", y.twice)
			}
		})
	})
}

func stateOf(t testing.TB, l sluice.Log, ns sluice.Namespace, id sluice.JobID) schedule.JobState {
	t.Helper()
	s, err := fold.Namespace(context.Background(), l, ns)
	if err != nil {
		t.Fatal(err)
	}
	j, ok := s.Job(id)
	if !ok {
		return ""
	}
	return j.State
}

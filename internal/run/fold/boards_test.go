package fold_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

// boardAt looks at a board: how many of its hosts have an outcome, by the schedule and by the events.
func boardAt(t *testing.T, b *fold.Boards, id sluice.JobID) (seq uint64, schedules, events int) {
	t.Helper()
	err := b.Look(t.Context(), ns, id, func(s *schedule.State) error {
		seq = s.Seq()
		for _, task := range s.Tasks(id) {
			if !task.Pending && !task.Running {
				schedules++
			}
		}
		return nil
	}, func(b *view.Board) error { events = b.Settled(); return nil })
	if err != nil {
		t.Error(err)
	}
	return seq, schedules, events
}

// What a board shows of the schedule and what it shows of the events are of the same moment, whoever appends meanwhile and
// however many look; and it is in the end what a new one is.
func TestBoardsAreOfOneMoment(t *testing.T) {
	log := fake.NewLog()
	boards := fold.NewBoards(log, fold.NewLive(log))
	mine := job(1, 400, true) // a halted job: what never ran still waits
	mine = mine[:len(mine)-1]
	add := appender(t, log)
	add(mine[:1])
	id := mine[0].Job
	over := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			last := uint64(0)
			for {
				seq, schedules, events := boardAt(t, boards, id)
				if schedules != events || seq < last {
					t.Errorf("at %d after %d: %d by the schedule, %d by the events", seq, last, schedules, events)
					return
				}
				last = seq
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	others := slices.Concat(job(2, 100, false), job(3, 100, false))
	for part := range slices.Chunk(mine[1:], 7) {
		n := min(len(others), 5)
		add(part, others[:n])
		others = others[n:]
	}
	close(over)
	all.Wait()
	if _, _, events := boardAt(t, boards, id); events != 400 {
		t.Errorf("%d outcomes in the end", events)
	}
}

// appender appends at the head, that nobody else moves.
func appender(t *testing.T, l sluice.Log) func(...[]sluice.Event) {
	head := uint64(0)
	return func(parts ...[]sluice.Event) {
		t.Helper()
		for _, part := range parts {
			var err error
			if head, err = l.Update(t.Context(), ns, head, func([]sluice.Event) ([]sluice.Event, error) { return part, nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What is kept of jobs is read on; where too much has come since, or where it was dropped for others, it is made anew. It is
// the same either way.
func TestBoardsReadOn(t *testing.T) {
	log := &countedLog{Log: fake.NewLog()}
	boards := fold.NewBoards(log, fold.NewLive(log))
	first := job(1, 30, true)
	add := appender(t, log)
	add(first[:40])
	id := first[0].Job
	boardAt(t, boards, id)
	add(first[40:])
	if _, schedules, events := boardAt(t, boards, id); schedules != 30 || events != 30 {
		t.Errorf("%d and %d outcomes", schedules, events)
	}
	if n := log.jobs.Load(); n != 1 {
		t.Errorf("the job was read %d times", n)
	}
	for n := range 8 { // more events than are read on
		add(job(10+n, 1000, false))
	}
	if _, schedules, events := boardAt(t, boards, id); schedules != 30 || events != 30 {
		t.Errorf("%d and %d outcomes", schedules, events)
	}
	if n := log.jobs.Load(); n != 2 {
		t.Errorf("the job was read %d times", n)
	}
	broken := errors.New("broken")
	err := boards.Look(t.Context(), ns, id, func(*schedule.State) error { return broken }, func(*view.Board) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
}

// The memory of boards is bounded by the hosts in them, and who was dropped comes back.
func TestBoardsDropTheOldest(t *testing.T) {
	log := &countedLog{Log: fake.NewLog()}
	boards := fold.NewBoards(log, fold.NewLive(log))
	boards.Keep(250)
	add := appender(t, log)
	var ids []sluice.JobID
	for n := range 3 { // two of them are what is kept
		spec := sluice.Job{ID: sluice.JobID(fmt.Sprintf("%012d", n)), Namespace: ns}
		for i := range 120 {
			spec.Targets = append(spec.Targets, sluice.Host(fmt.Sprintf("h%d", i)))
		}
		spec.Tracks = []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: spec.Targets}}}}
		ids = append(ids, spec.ID)
		add([]sluice.Event{{Job: spec.ID, Body: sluice.JobSubmitted{Submitted: spec}}})
	}
	var reads []int32
	for _, k := range []int{0, 1, 0, 2, 0, 1} {
		boardAt(t, boards, ids[k])
		reads = append(reads, log.jobs.Load())
	}
	if want := []int32{1, 2, 2, 3, 3, 4}; !reflect.DeepEqual(reads, want) {
		t.Errorf("read %v times, want %v", reads, want)
	}
}

package recent_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
	"sluice/internal/run/recent"
)

func TestConforms(t *testing.T) {
	conform.Log(t, func(*testing.T) sluice.Log { return recent.Log(fake.NewLog()) })
}

// Two processes on one log: what the other one appends makes a gap in what is at hand.
func TestConformsWithAnother(t *testing.T) {
	conform.SharedLog(t, func(*testing.T) (a, b sluice.Log) {
		l := fake.NewLog()
		return recent.Log(l), recent.Log(l)
	})
}

// counted is a log that counts what is read of it.
type counted struct {
	sluice.Log
	events int
}

func (c *counted) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	out, err := c.Log.Read(ctx, ns, after, limit)
	c.events += len(out)
	return out, err
}

// What is at hand is what the log on disk gives, for every kind of event of a task, and the log is not asked for it.
func TestIsWhatTheLogGives(t *testing.T) {
	disk, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	under := &counted{Log: disk}
	l := recent.Log(under)
	job, code := sluice.JobID("0123456789ab"), 3
	a := sluice.NewAttemptID(job, 0, 1)
	bodies := []sluice.Body{
		sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", Command: "true", Targets: []sluice.Host{"h"},
			Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: []sluice.Host{"h"}}}}}}},
		sluice.TaskStarted{Host: "h", Attempt: a, Track: "all", Stage: "all"},
		sluice.TaskStep{Host: "h", Attempt: a, Step: "command", ExitCode: 3, DurationMS: 4},
		sluice.TaskFinished{Host: "h", Attempt: a, Outcome: sluice.Failed, ExitCode: &code, Reason: "exit 3", Truncated: []string{"stdout"}, Leftovers: []int{7}},
		sluice.TaskFinished{Host: "h", Attempt: a, Outcome: sluice.Unknown, Truncated: []string{}, Leftovers: []int{}},
		sluice.JobFinished{Outcome: sluice.Failed, Counts: map[sluice.Outcome]int{sluice.Failed: 1}},
	}
	var events []sluice.Event
	for _, b := range bodies {
		events = append(events, sluice.Event{Time: time.Now(), Job: job, Body: b})
	}
	if _, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) { return events, nil }); err != nil {
		t.Fatal(err)
	}
	got, err := l.Read(t.Context(), "prod", 0, 100)
	if err != nil || under.events != 0 {
		t.Fatalf("%d events were read from the log; error %v", under.events, err)
	}
	want, err := disk.Read(t.Context(), "prod", 0, 100)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d events, %d in the log; error %v", len(got), len(want), err)
	}
	for i := range want {
		if g, w := fmt.Sprintf("%#v", got[i].Body), fmt.Sprintf("%#v", want[i].Body); got[i].Seq != want[i].Seq || got[i].Time != want[i].Time || i != 3 && i != 4 && g != w {
			t.Errorf("at hand: %d %v %s; in the log: %d %v %s", got[i].Seq, got[i].Time, g, want[i].Seq, want[i].Time, w)
		}
	}
	if !reflect.DeepEqual(got[3], want[3]) {
		t.Errorf("at hand: %+v; in the log: %+v", got[3], want[3])
	}
}

// More than is kept is read from the log, and nothing is missing.
func TestNothingIsMissing(t *testing.T) {
	l := recent.Log(fake.NewLog())
	head := uint64(0)
	for range 50 {
		var err error
		head, err = l.Update(t.Context(), "prod", head, func([]sluice.Event) ([]sluice.Event, error) {
			out := make([]sluice.Event, 700)
			for i := range out {
				out[i] = sluice.Event{Time: time.Unix(1e9, 0), Body: sluice.HostHeld{Host: "h", Reason: "r", By: "b"}}
			}
			return out, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []uint64{0, 100, head - 10_001, head - 9_999, head - 1, head} {
		for after := from; ; {
			events, err := l.Read(t.Context(), "prod", after, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if after++; e.Seq != after {
					t.Fatalf("event %d where %d should be", e.Seq, after)
				}
			}
			if len(events) == 0 {
				if after != head {
					t.Errorf("from %d on the end is %d, not %d", from, after, head)
				}
				break
			}
		}
	}
}

// TestWhatWasReadIsNotReadAgain: also where what is kept began in the middle of what everybody folds, as after a start.
func TestWhatWasReadIsNotReadAgain(t *testing.T) {
	disk := fake.NewLog()
	under := &counted{Log: disk}
	l := recent.Log(under)
	add := func(to sluice.Log, after uint64, n int) {
		t.Helper()
		if _, err := to.Update(t.Context(), "prod", after, func([]sluice.Event) ([]sluice.Event, error) {
			out := make([]sluice.Event, n)
			for i := range out {
				out[i] = sluice.Event{Time: time.Unix(1e9, 0), Body: sluice.HostHeld{Host: "h", Reason: "r", By: "b"}}
			}
			return out, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(what string, want, fromLog int) {
		t.Helper()
		under.events = 0
		got, err := l.Read(t.Context(), "prod", 0, 1000)
		if err != nil || len(got) != want || under.events != fromLog {
			t.Errorf("%s: %d events, %d of them from the log, error %v; want %d and %d", what, len(got), under.events, err, want, fromLog)
		}
		for i, e := range got {
			if e.Seq != uint64(i+1) {
				t.Fatalf("%s: event %d where %d should be", what, e.Seq, i+1)
			}
		}
	}
	add(disk, 0, 50) // before this process
	add(l, 50, 10)   // what is kept begins here
	read("first", 60, 60)
	read("again", 60, 0)
	add(disk, 60, 5) // another process
	read("what another appended", 65, 5)
	read("the same again", 65, 0)
	add(disk, 65, 5)
	add(l, 70, 5) // whoever did that had read the five elsewhere
	read("over a gap", 75, 75)
	read("over a gap, again", 75, 0)
}

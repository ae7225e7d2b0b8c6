package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice"
)

// when is the time of all events: no rule looks at it.
var when = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func held(host any) sluice.Event {
	return sluice.Event{Time: when, Body: sluice.HostHeld{Host: sluice.Host(fmt.Sprint(host)), Reason: "<é\n&>", By: "ann"}}
}

func started(job sluice.JobID) sluice.Event {
	return sluice.Event{Time: when, Job: job, Body: sluice.JobStarted{Driver: "ann@laptop pid 1"}}
}

func at(seq uint64, e sluice.Event) sluice.Event {
	e.Seq = seq
	return e
}

func appendTo(t *testing.T, l sluice.Log, ns sluice.Namespace, events ...sluice.Event) uint64 {
	t.Helper()
	return update(t, l, ns, 0, func([]sluice.Event) ([]sluice.Event, error) { return slices.Clone(events), nil })
}

func update(t *testing.T, l sluice.Log, ns sluice.Namespace, after uint64, decide func([]sluice.Event) ([]sluice.Event, error)) uint64 {
	t.Helper()
	head, err := l.Update(t.Context(), ns, after, decide)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func read(t *testing.T, l sluice.Log, ns sluice.Namespace, after uint64) []sluice.Event {
	t.Helper()
	events, err := l.Read(t.Context(), ns, after, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func readJob(t *testing.T, l sluice.Log, ns sluice.Namespace, job sluice.JobID) []sluice.Event {
	t.Helper()
	events, err := l.ReadJob(t.Context(), ns, job)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// sameEvents compares events as they are written: that is what others get to see.
func sameEvents(t *testing.T, got, want []sluice.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
		return
	}
	for i := range got {
		g, w := text(t, got[i]), text(t, want[i])
		if got[i].Seq != want[i].Seq || got[i].Job != want[i].Job || !got[i].Time.Equal(want[i].Time) || g != w {
			t.Errorf("event %d is %s\nwant %s", i, g, w)
			return
		}
	}
}

func text(t *testing.T, e sluice.Event) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// within waits for an end that must come soon. The time is there for the test to fail rather than to hang.
func within(t *testing.T, ended <-chan error, want error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Errorf("ended with %v, want %v", err, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("did not end")
	}
}

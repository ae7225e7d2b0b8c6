package measure_test

import (
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/measure"
)

func TestSamples(t *testing.T) {
	const job, old sluice.JobID = "000000000001", "000000000002"
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int, id sluice.JobID, b sluice.Body) sluice.Event {
		return sluice.Event{Time: zero.Add(time.Duration(s) * time.Second), Job: id, Body: b}
	}
	is := func(k measure.Kind, s int) measure.Sample {
		return measure.Sample{Kind: k, Took: time.Duration(s) * time.Second}
	}
	var m measure.Meter
	m.Waiting(old, zero.Add(-time.Minute))
	for i, c := range []struct {
		event sluice.Event
		want  []measure.Sample
	}{
		{at(0, "", sluice.HostHeld{}), nil},
		{at(0, job, sluice.JobSubmitted{}), nil},
		{at(1, job, sluice.JobStarted{}), nil},
		{at(2, job, sluice.TaskStarted{}), []measure.Sample{is(measure.FirstStart, 2)}},
		{at(3, job, sluice.TaskStarted{}), nil},
		{at(4, old, sluice.TaskStarted{}), []measure.Sample{is(measure.FirstStart, 64)}},
		{at(5, job, sluice.JobHalting{}), nil},
		{at(6, job, sluice.JobCancelling{}), nil}, // the first wish counts
		{at(9, job, sluice.JobHalted{}), []measure.Sample{is(measure.LastStart, 0), is(measure.Rest, 4)}},
		{at(20, job, sluice.JobResumed{}), nil},
		{at(21, job, sluice.TaskStarted{}), nil},
		{at(22, job, sluice.JobFinished{}), nil}, // nobody asked for it
		{at(30, old, sluice.JobHalting{}), nil},
		{at(31, old, sluice.TaskStarted{}), nil}, // which must not be, and would show
		{at(33, old, sluice.JobHalted{}), []measure.Sample{is(measure.LastStart, 1), is(measure.Rest, 3)}},
		{at(40, "000000000003", sluice.JobHalted{}), nil}, // begun before we looked
	} {
		if got := m.Take(c.event); !slices.Equal(got, c.want) {
			t.Errorf("%d: %s gives %v, want %v", i, c.event.Body.Type(), got, c.want)
		}
	}
}

func TestClocksGoBack(t *testing.T) {
	var m measure.Meter
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m.Waiting("000000000001", now)
	if got := m.Take(sluice.Event{Time: now.Add(-time.Hour), Job: "000000000001", Body: sluice.TaskStarted{}}); len(got) != 1 || got[0].Took != 0 {
		t.Errorf("%v", got)
	}
}

package fold_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

// hello is a deploy on a host that is over, ten minutes after another.
func hello(n int, version string) []sluice.Event {
	at := time.Date(2026, 1, 1, 0, 10*n, 0, 0, time.UTC)
	id, a := jobID(n), sluice.NewAttemptID(jobID(n), 0, 1)
	j := sluice.Job{ID: id, Namespace: ns, Targets: []sluice.Host{"h"}, Action: sluice.Action{Kind: sluice.DeployTo,
		Release: &sluice.Release{App: "hello", Env: "prod", Version: version}}}
	return []sluice.Event{{Time: at, Job: id, Body: sluice.JobSubmitted{Submitted: j}}, {Time: at, Job: id, Body: sluice.TaskStarted{Host: "h", Attempt: a}},
		{Time: at, Job: id, Body: sluice.TaskFinished{Host: "h", Attempt: a, Outcome: sluice.Succeeded,
			Release: &sluice.Activation{App: "hello", Env: "prod", Live: sluice.Installed{Version: version}}}}}
}

func version(m *live.Map) string {
	for _, s := range m.States(func(live.Place) bool { return true }) {
		return s.Live.Version
	}
	return ""
}

// What is live is that of the head of the log, whenever it is asked; the past is what it was.
func TestPlacesAreWhatTheLogSays(t *testing.T) {
	log := fake.NewLog()
	places := fold.NewPlaces(log)
	want := ""
	is := func(m *live.Map) error {
		if got := version(m); got != want {
			t.Errorf("%q is live, want %q", got, want)
		}
		return nil
	}
	for n, v := range []string{"", "1", "2", "3"} {
		if v != "" {
			appendTo(t, log, hello(n, v))
		}
		want = v
		if err := places.Look(t.Context(), ns, is); err != nil {
			t.Fatal(err)
		}
	}
	for minutes, v := range map[int]string{9: "", 10: "1", 19: "1", 20: "2", 31: "3"} {
		want = v
		if err := places.Past(t.Context(), ns, time.Date(2026, 1, 1, 0, minutes, 0, 0, time.UTC), is); err != nil {
			t.Fatal(err)
		}
	}
}

// Many ask while others append; what one was told is never taken back.
func TestPlacesWhileOthersAppend(t *testing.T) {
	log := fake.NewLog()
	places := fold.NewPlaces(log)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			last := 0
			for last < 50 {
				if err := places.Look(t.Context(), ns, func(m *live.Map) error {
					now := len(m.Releases("", ""))
					if now < last {
						return errors.New("a release is gone")
					}
					last = now
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 50 {
		appendTo(t, log, hello(n, "1"))
	}
	all.Wait()
}

package live_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/live"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

func inst(v string) sluice.Installed { return sluice.Installed{Version: v} }

func submit(n int, job sluice.JobID, version string) sluice.Event {
	j := sluice.Job{By: "ann", Action: sluice.Action{Kind: sluice.DeployTo,
		Release: &sluice.Release{App: "hello", Env: "prod", Version: version, Commit: &sluice.Commit{ID: "c", Time: t0}}}}
	return sluice.Event{Time: at(n), Job: job, Body: sluice.JobSubmitted{Submitted: j}}
}

func start(n int, job sluice.JobID, h sluice.Host, a sluice.AttemptID) sluice.Event {
	return sluice.Event{Time: at(n), Job: job, Body: sluice.TaskStarted{Host: h, Attempt: a}}
}

func end(n int, job sluice.JobID, h sluice.Host, a sluice.AttemptID, o sluice.Outcome, before, now string) sluice.Event {
	f := sluice.TaskFinished{Host: h, Attempt: a, Outcome: o}
	if now != "" {
		f.Release = &sluice.Activation{App: "hello", Env: "prod", Before: inst(before), Live: inst(now)}
	}
	return sluice.Event{Time: at(n), Job: job, Body: f}
}

func TestWhatIsLive(t *testing.T) {
	one := []sluice.Event{submit(0, "j1", "1"), start(1, "j1", "a", "x1"), end(2, "j1", "a", "x1", sluice.Succeeded, "0", "1"),
		submit(3, "j2", "2"), start(4, "j2", "a", "x2")}
	nothing := end(5, "j2", "a", "x2", sluice.Unreachable, "", "")
	f := nothing.Body.(sluice.TaskFinished)
	f.NotStarted = true
	nothing.Body = f
	for name, c := range map[string]struct {
		more  []sluice.Event
		at    int
		known bool
		why   live.Why
		live  string
		since int
		job   sluice.JobID
	}{
		"runs":                  {nil, 9, false, live.Running, "1", 2, "j1"},
		"before it":             {nil, 3, true, "", "1", 2, "j1"},
		"succeeds":              {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 9, true, "", "2", 5, "j2"},
		"nothing ran":           {[]sluice.Event{nothing}, 9, true, "", "1", 2, "j1"},
		"fails before swing":    {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Failed, "1", "1")}, 9, true, "", "1", 2, "j1"},
		"fails after swing":     {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Failed, "1", "2")}, 9, false, live.Broken, "1", 2, "j1"},
		"says nothing":          {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Succeeded, "", "")}, 9, false, live.Silent, "1", 2, "j1"},
		"withdrawn":             {[]sluice.Event{{Time: at(5), Job: "j2", Body: sluice.TaskWithdrawn{Host: "a", Attempt: "x2"}}}, 9, true, "", "1", 2, "j1"},
		"unknown":               {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Unknown, "1", "2")}, 9, false, live.Unclear, "1", 2, "j1"},
		"late truth":            {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Unknown, "", ""), end(7, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 9, true, "", "2", 7, "j2"},
		"before the late truth": {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Unknown, "", ""), end(7, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 6, false, live.Unclear, "1", 2, "j1"},
		"broken, then fails early": {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Failed, "1", "2"), start(6, "j2", "a", "x3"),
			end(7, "j2", "a", "x3", sluice.Failed, "2", "2")}, 9, false, live.Broken, "1", 2, "j1"},
		"broken, then back": {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Failed, "1", "2"), start(6, "j2", "a", "x3"),
			end(7, "j2", "a", "x3", sluice.Succeeded, "2", "1")}, 9, true, "", "1", 7, "j2"},
		"late truth of an older one": {[]sluice.Event{end(5, "j2", "a", "x2", sluice.Unknown, "", ""), start(6, "j2", "a", "x3"),
			end(7, "j2", "a", "x3", sluice.Succeeded, "1", "3"), end(8, "j2", "a", "x2", sluice.Succeeded, "1", "2")}, 9, true, "", "3", 7, "j2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := live.At(append(append([]sluice.Event{}, one...), c.more...), at(c.at)).States(func(live.Place) bool { return true })
			if len(got) != 1 {
				t.Fatalf("%d places, want 1", len(got))
			}
			s := got[0]
			if s.Known != c.known || s.Why != c.why || s.Live.Version != c.live || !s.Since.Equal(at(c.since)) || s.Job != c.job {
				t.Errorf("got %+v, want %+v", s, c)
			}
		})
	}
}

// Where hosts only succeed or fall silent, what is live is what the last event of the host said: read without the package.
func TestLastWordCounts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var es []sluice.Event
		last := map[sluice.Host]string{}
		for n := range 40 {
			j, h, v := sluice.JobID(fmt.Sprint("j", n)), sluice.Host(fmt.Sprint("h", r.IntN(4))), fmt.Sprint(r.IntN(3)+1)
			es = append(es, submit(n, j, v), start(n, j, h, "x"))
			switch r.IntN(3) {
			case 0:
				es, last[h] = append(es, end(n, j, h, "x", sluice.Succeeded, "0", v)), v
			case 1:
				es, last[h] = append(es, end(n, j, h, "x", sluice.Unknown, "", "")), ""
			default:
				es, last[h] = append(es, end(n, j, h, "x", sluice.Failed, "0", v)), ""
			}
		}
		for _, s := range live.At(es, at(99)).States(func(live.Place) bool { return true }) {
			if want := last[s.Host]; s.Known != (want != "") || s.Known && s.Live.Version != want {
				t.Fatalf("seed %d: %+v, want %q", seed, s, want)
			}
		}
	}
}

func TestLatencyAndMost(t *testing.T) {
	es := []sluice.Event{submit(0, "j", "1")}
	for n := 1; n <= 201; n++ {
		h := sluice.Host(fmt.Sprint("h", n))
		es = append(es, start(n, "j", h, "x"), end(n, "j", h, "x", sluice.Succeeded, "0", "1"))
	}
	m := live.At(es, at(999))
	if got := m.Latency("hello", "prod", "1"); got != (live.Latency{Hosts: 201, P50: 101 * time.Minute, P99: 199 * time.Minute}) {
		t.Errorf("got %+v", got)
	}
	if v, ok := live.Most(m.States(func(live.Place) bool { return true })); !ok || v != inst("1") {
		t.Errorf("got %v %v", v, ok)
	}
}

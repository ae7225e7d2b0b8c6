package rehearse

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sluice"
)

// TestPoints: there are few of them, in order, and they lose no peak.
func TestPoints(t *testing.T) {
	f := fleet(2000)
	j, rules := jobOn(t, f, nil)
	events, r := rehearse(t, f, j, rules, Options{Seed: 3, Jitter: 0.5, Fail: Chance{Share: 0.01}})
	if n := len(r.Points); n < MaxPoints/2 || n > MaxPoints || r.Most != 100 { // 5 % of all
		t.Fatalf("%d points, at most %d hosts out", n, r.Most)
	}
	running, most, ended := 0, 0, 0
	for _, e := range events {
		switch e.Body.(type) {
		case sluice.TaskStarted:
			running++
			most = max(most, running)
		case sluice.TaskFinished:
			running--
			ended++
		}
	}
	peak, out := 0, 0
	for i, p := range r.Points {
		peak, out = max(peak, p.Running), max(out, p.Out)
		if i > 0 && p.At <= r.Points[i-1].At || p.Out < p.Running || p.Failed > p.Ended {
			t.Errorf("point %d: %+v after %+v", i, p, r.Points[max(i-1, 0)])
		}
	}
	last := r.Points[len(r.Points)-1]
	if peak != most || out != r.Most || last.Ended != ended || last.Running != 0 {
		t.Errorf("%d running and %d out at most, %d and %d in the events; the last is %+v of %d", peak, out, most, r.Most, last, ended)
	}
}

// TestOutBefore: hosts that are out already take up room, as they do in a run.
func TestOutBefore(t *testing.T) {
	f := fleet(40) // one rack: 4 may be out; of all 2
	j, rules := jobOn(t, f, nil)
	for _, c := range []struct {
		name      string
		out, held []sluice.Host
		end       string
		succeeded int
		total     time.Duration
	}{
		{"nothing", nil, nil, "succeeds", 40, 20 * DefaultDuration},
		{"one that failed has its own place", f.Hosts[:1], nil, "succeeds", 40, 20 * DefaultDuration},
		{"one that is held", nil, f.Hosts[:1], "halts", 39, 0},
		{"all the room there is", f.Hosts[:2], nil, "succeeds", 40, 20 * DefaultDuration},
		{"all the room, held", nil, f.Hosts[:2], "halts", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, r := rehearse(t, f, j, rules, Options{Out: c.out, Held: c.held})
			if r.End() != c.end || c.total > 0 && r.Total != c.total || r.Counts[sluice.Succeeded] != c.succeeded && c.end == "succeeds" {
				t.Errorf("%s after %v: %v", r.End(), r.Total, r.Counts)
			}
			if n := len(c.out) + len(c.held); r.Points[0].Out < n || r.Most > max(2, n) {
				t.Errorf("%d hosts are out at once, %d at first", r.Most, r.Points[0].Out)
			}
			for _, e := range events {
				if e.Job != "" && e.Job != j.ID {
					t.Errorf("what was before is shown: %+v", e)
				}
			}
		})
	}
}

func TestStop(t *testing.T) {
	f := fleet(200)
	j, rules := jobOn(t, f, nil)
	n := 0
	o := Options{Start: time.Unix(0, 0).UTC(), Duration: DefaultDuration, PatienceFor: DefaultPatience, Stop: func() bool { n++; return n > 3 }}
	if _, err := Run(f, rules, j, o, func(sluice.Event) {}); !errors.Is(err, ErrStopped) || n != 4 {
		t.Errorf("asked %d times, error %v", n, err)
	}
}

func TestParseChance(t *testing.T) {
	resolve := func(text string) ([]sluice.Host, error) {
		if text == "none" {
			return nil, sluice.Errorf(sluice.Usage, "there is no host none")
		}
		return []sluice.Host{sluice.Host(text)}, nil
	}
	for text, says := range map[string]string{"": "", "10%": "", "web1": "", "x%": "share", "200%": "share", "none": "no host none"} {
		c, err := ParseChance(text, resolve)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want %q", text, err, says)
		}
		if text == "10%" && c.Share != 0.1 || text == "web1" && !c.Hosts["web1"] {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// TestBounded: a peak of a moment is there, however many points were merged around it.
func TestBounded(t *testing.T) {
	var all []Point
	for i := range 10_000 {
		p := Point{At: time.Duration(i) * time.Second, Running: 1, Out: 2, Ended: i}
		if i == 4300 {
			p.Running, p.Out = 70, 90
		}
		all = append(all, p)
	}
	out := bounded(all, 9_999*time.Second)
	running, away := 0, 0
	for _, p := range out {
		running, away = max(running, p.Running), max(away, p.Out)
	}
	if len(out) > MaxPoints || running != 70 || away != 90 || out[len(out)-1].Ended != 9_999 {
		t.Errorf("%d points, at most %d and %d, the last %+v", len(out), running, away, out[len(out)-1])
	}
}

package balance

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func pool(states ...sluice.ServerState) sluice.BalancedPool {
	p := sluice.BalancedPool{Name: "app"}
	for i, s := range states {
		p.Servers = append(p.Servers, sluice.BalancedServer{Name: fmt.Sprintf("s%d", i+1), State: s, Weight: 1})
	}
	return p
}

const (
	up   = sluice.ServerUp
	down = sluice.ServerDown
	dr   = sluice.ServerDraining
	mt   = sluice.ServerMaintenance
	unk  = sluice.ServerUnknown
)

func TestMayTakeOut(t *testing.T) {
	weightless := pool(up, up)
	weightless.Servers[1].Weight = 0
	backup := pool(up, up)
	backup.Servers[1].Backup = true
	for _, c := range []struct {
		pool   sluice.BalancedPool
		server string
		least  string
		ok     bool
		text   string
	}{
		{pool(up, up, up), "s1", "2", true, "s1 may go out of app: 3 of 3 servers are up, and 2 must be"},
		{pool(up, up, up), "s1", "3", false, "s1 stays in app: 3 of 3 servers are up, and 3 must be"},
		{pool(up, up, dr), "s1", "2", false, "s1 stays in app: 2 of 3 servers are up, and 2 must be; s3 is draining"},
		{pool(up, down, mt), "s1", "1", false, "s1 stays in app: 1 of 3 servers is up, and 1 must be; s2 is down, s3 is in maintenance"},
		{pool(up, down, mt), "s2", "1", true, "s2 gets no requests in app anyway"},
		{pool(up, unk), "s1", "1", false, "s2 is unknown"},
		{pool(up, up, up), "s1", "67%", false, "and 3 must be"},
		{pool(up, up, up), "s1", "66%", true, "and 2 must be"},
		{pool(up), "s1", "0", true, "and 0 must be"},
		{pool(up, up), "s9", "0", false, "the pool app has no server s9"},
		{weightless, "s1", "1", false, "s2 is up with weight 0"},
		{backup, "s1", "1", false, "1 of 1 servers is up"},
		{pool(up, down, down, down, down, down, down), "s1", "1", false, "s2 is down, s3 is down, s4 is down, and 3 more"},
	} {
		least, err := sluice.ParseAmount(c.least)
		if err != nil {
			t.Fatal(err)
		}
		if p := MayTakeOut(c.pool, c.server, least); p.OK != c.ok || !strings.Contains(p.Text(), c.text) {
			t.Errorf("%v, %s, least %s: %v, %s", c.pool.Servers, c.server, c.least, p.OK, p.Text())
		}
	}
	if p := NotRead("app", "s1", errors.New("no socket")); p.OK || p.Text() != "nobody knows how the pool app is, so s1 stays: no socket" {
		t.Errorf("%v, %s", p.OK, p.Text())
	}
}

// drawPool is any pool.
func drawPool(t *rapid.T) sluice.BalancedPool {
	p := pool(rapid.SliceOfN(rapid.SampledFrom([]sluice.ServerState{up, up, up, down, dr, mt, unk}), 1, 12).Draw(t, "states")...)
	for i := range p.Servers {
		p.Servers[i].Weight = rapid.SampledFrom([]int{0, 1, 1, 1, 100}).Draw(t, "weight")
		p.Servers[i].Backup = rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "backup")
		p.Servers[i].InFlight = rapid.IntRange(-1, 3).Draw(t, "in flight")
	}
	return p
}

func drawLeast(t *rapid.T) sluice.Amount {
	if rapid.Bool().Draw(t, "share") {
		return sluice.Percent(rapid.IntRange(0, 100).Draw(t, "percent"))
	}
	return sluice.Count(rapid.IntRange(0, 14).Draw(t, "count"))
}

// serving counts plainly, by another hand.
func serving(p sluice.BalancedPool) (serve, of int) {
	for _, s := range p.Servers {
		if !s.Backup {
			of++
			if s.State == "up" && s.Weight > 0 {
				serve++
			}
		}
	}
	return serve, of
}

// However servers are taken out one after the other, by permission, the pool never falls under its minimum by it.
func TestTakingOutKeepsTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, least := drawPool(t), drawLeast(t)
		for range 20 {
			i := rapid.IntRange(0, len(p.Servers)-1).Draw(t, "server")
			before, of := serving(p)
			answer := MayTakeOut(p, p.Servers[i].Name, least)
			served := p.Servers[i].Serves()
			after := p
			after.Servers = slices.Clone(p.Servers)
			after.Servers[i].State = dr
			left, _ := serving(after)
			enough := left*10000 >= leastOf(least, of)
			switch {
			case answer.Up != before || answer.Of != of:
				t.Fatalf("counted %d of %d, not %d of %d", answer.Up, answer.Of, before, of)
			case answer.OK && served && !enough:
				t.Fatalf("%s: %d would be left", answer.Text(), left)
			case !answer.OK && enough:
				t.Fatalf("there is room, but: %s", answer.Text())
			case !answer.OK && !served:
				t.Fatalf("nothing is lost, but: %s", answer.Text())
			}
			if answer.OK {
				p = after
				if served && !StillHolds(p, p.Servers[i].Name, least).OK {
					t.Fatal("allowed before, and then it does not hold")
				}
			}
		}
	})
}

// leastOf is the minimum in ten thousandths of a server.
func leastOf(a sluice.Amount, of int) int {
	if !a.IsPercent() {
		return a.Floor(of) * 10000
	}
	return a.Floor(10000) * of
}

func TestDrained(t *testing.T) {
	at := func(state sluice.ServerState, inFlight int) sluice.BalancedPool {
		p := pool(state)
		p.Servers[0].InFlight = inFlight
		return p
	}
	const limit = 10 * time.Second
	for _, c := range []struct {
		pool          sluice.BalancedPool
		waited        time.Duration
		done, slipped bool
		cut           int
		text          string
	}{
		{at(dr, 0), time.Second, true, false, 0, "s1 in app is drained after 1s, nothing was cut"},
		{at(mt, 0), 0, true, false, 0, "drained"},
		{at(dr, 2), time.Second, false, false, 0, "s1 in app is out for 1s, 2 in flight"},
		{at(dr, 2), limit, true, false, 2, "s1 in app is out after 10s, 2 in flight were cut"},
		{at(dr, -1), time.Second, false, false, 0, "not known"},
		{at(dr, -1), limit, true, false, -1, "how many requests were cut is not known"},
		{at(up, 0), limit, false, true, 0, "s1 in app was out and is up"},
		{at(down, 0), limit, false, true, 0, "s1 in app was out and is down"},
		{at(unk, 0), limit, false, true, 0, "unknown"},
		{sluice.BalancedPool{Name: "app"}, limit, false, true, 0, "unknown"},
	} {
		if p := Drained(c.pool, "s1", c.waited, limit); p.Done != c.done || p.Slipped != c.slipped || p.Cut != c.cut || !strings.Contains(p.Text(), c.text) {
			t.Errorf("%v after %s: %+v, %s", c.pool.Servers, c.waited, p, p.Text())
		}
	}
	for state, want := range map[sluice.ServerState]bool{up: true, down: false, dr: false, mt: false, unk: false} {
		if p := IsBack(pool(state), "s1", time.Second); p.Done != want {
			t.Errorf("%s: %s", state, p.Text())
		}
	}
}

func TestHealth(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	rule := Rule{Passes: 3, For: 4 * time.Second, Deadline: 20 * time.Second}
	for _, c := range []struct {
		seen string // one look a second: w, i, u; "." none
		now  int
		want State
		text string
	}{
		{"", 1, Waiting, "not healthy yet"},
		{"www", 3, Waiting, "well 3 times in a row of 3, for 2s of 4s"},
		{"wwwww", 5, Healthy, "healthy: well 5 times in a row, for 4s"},
		{"w...w", 5, Waiting, "2 times"},
		{"wwwiwww", 7, Waiting, ""},
		{"wwuwww", 6, Waiting, ""},
		{"iiiiiiiiiiiiiiiiiiii", 20, Unhealthy, "not healthy after 20s: saw i"},
		{"iiiiiiiiiiiiiiiiiiiu", 20, Unknown, "nobody knows whether it is healthy after 20s: saw u"},
		{"iiiiiiiiiiiiiiiiiiww", 20, Unhealthy, "well 2 times"},
		{"", 20, Unknown, ""},
	} {
		var h Health
		for i, k := range c.seen {
			if f, looked := map[rune]Finding{'w': Well, 'i': Ill, 'u': Unseen}[k]; looked {
				h = h.See(Seen{At: at(i), Finding: f, Text: "saw " + string(k)})
			}
		}
		if v := h.Judge(rule, start, at(c.now)); v.State != c.want || !strings.Contains(v.Text(), c.text) {
			t.Errorf("%q: %s, %s", c.seen, v.State, v.Text())
		}
	}
}

// Healthy is only who was found well so often and so long, with nothing else in between, by a plain reading of the rule.
func TestHealthyIsEarned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rule{Passes: rapid.IntRange(0, 4).Draw(t, "passes"), For: time.Duration(rapid.IntRange(0, 5).Draw(t, "for")), Deadline: 12}
		start := time.Unix(0, 0)
		var h Health
		var seen []Seen
		for i := range rapid.IntRange(0, 15).Draw(t, "looks") {
			s := Seen{At: start.Add(time.Duration(i)), Finding: rapid.SampledFrom([]Finding{Well, Well, Well, Ill, Unseen}).Draw(t, "finding")}
			h, seen = h.See(s), append(seen, s)
			first := len(seen)
			for first > 0 && seen[first-1].Finding == Well {
				first--
			}
			row := seen[first:]
			earned := len(row) >= max(1, r.Passes) && row[len(row)-1].At.Sub(row[0].At) >= r.For
			v := h.Judge(r, start, s.At)
			if (v.State == Healthy) != earned {
				t.Fatalf("%v: %s", seen, v.State)
			}
			if late := s.At.Sub(start) >= r.Deadline; late == (v.State == Waiting) && !earned {
				t.Fatalf("%v: %s", seen, v.State)
			}
			if v.State == Unhealthy && s.Finding == Unseen {
				t.Fatalf("%v: nobody looked, but it is called unhealthy", seen)
			}
		}
	})
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		answer Answer
		status int
		body   string
		want   Finding
	}{
		{Answer{}, 200, "", Well}, {Answer{}, 204, "", Well}, {Answer{}, 301, "", Ill}, {Answer{}, 503, "", Ill},
		{Answer{Status: []int{401}}, 401, "", Well}, {Answer{Status: []int{401}}, 200, "", Ill},
		{Answer{Body: regexp.MustCompile(`"ok": *true`)}, 200, `{"ok": true}`, Well}, {Answer{Body: regexp.MustCompile(`^ok$`)}, 200, "no", Ill},
	} {
		if got, text := c.answer.Find(c.status, []byte(c.body)); got != c.want || text == "" {
			t.Errorf("%+v, %d %q: %s, %s", c.answer, c.status, c.body, got, text)
		}
	}
	for printed, want := range map[string]Finding{
		"LoadState=loaded\nActiveState=active\nSubState=running\n":   Well,
		"LoadState=loaded\nActiveState=activating\nSubState=start\n": Ill,
		"LoadState=loaded\nActiveState=failed\nSubState=failed\n":    Ill,
		"LoadState=not-found\nActiveState=inactive\nSubState=dead\n": Ill,
		"": Unseen, "System has not been booted with systemd": Unseen,
	} {
		if got, text := Unit("app.service", printed); got != want || text == "" {
			t.Errorf("%q: %s, %s", printed, got, text)
		}
	}
	now := time.Unix(1, 0)
	for _, c := range []struct {
		all  []Finding
		want Finding
	}{{nil, Unseen}, {[]Finding{Well, Well}, Well}, {[]Finding{Well, Unseen}, Unseen}, {[]Finding{Unseen, Ill, Well}, Ill}} {
		var all []Seen
		for _, f := range c.all {
			all = append(all, Seen{Finding: f, Text: "x"})
		}
		if got := Together(now, all...); got.Finding != c.want || got.At != now {
			t.Errorf("%v: %+v", c.all, got)
		}
	}
}

func TestTold(t *testing.T) {
	at := sluice.BalancerChanged{Balancer: "web", Pool: "shop", Server: "s1", Wanted: dr, Before: up, State: dr, WaitedMS: 1200}
	cut, back, not := at, at, at
	cut.Cut, cut.WaitedMS = 3, 30_000
	back.Wanted, back.State = up, up
	not.Wanted, not.State, not.Error = mt, up, "no socket"
	unread, down, slipped := back, back, at
	unread.State, down.State, slipped.State = unk, sluice.ServerDown, up
	for want, b := range map[string]sluice.BalancerChanged{
		"web: s1 in shop is drained after 1.2s, nothing was cut":         at,
		"web: s1 in shop is out after 30s, 3 in flight were cut":         cut,
		"web: s1 in shop is up":                                          back,
		"web: s1 in shop is to be in maintenance, and is not: no socket": not,
		"web: s1 in shop was told to be up, not read back":               unread,
		"web: s1 in shop was told to be up, and is down":                 down,
		"web: s1 in shop was told to be draining, and is up":             slipped,
	} {
		if got := Told(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	asked := sluice.BalancerAsked{Wanted: mt}
	for i := range 8 {
		asked.Seats = append(asked.Seats, sluice.BalancerSeat{Balancer: "web", Pool: "shop", Server: fmt.Sprint("s", i)})
	}
	if got := Wanted(asked); got != "s0 in shop of web, s1 in shop of web, s2 in shop of web, s3 in shop of web, s4 in shop of web, 3 more to be in maintenance" {
		t.Error(got)
	}
}

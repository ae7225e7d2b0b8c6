package converge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/converge"
	"sluice/internal/core/schedule"
)

const every = 5 * time.Minute

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// deploy is one of a person that succeeded.
func deploy(id sluice.JobID) converge.Job {
	return converge.Job{ID: id, By: "ann", Kind: sluice.DeployTo, Version: "2", Config: "c", State: schedule.Succeeded, Began: true, Submitted: noon.Add(-2 * time.Hour), Ended: noon.Add(-time.Hour)}
}

// own is one that converged by itself, and what came of it.
func own(id sluice.JobID, state schedule.JobState, ended time.Time, tried map[sluice.Host]bool) converge.Job {
	j := deploy(id)
	j.Itself, j.State, j.Ended, j.Tried = true, state, ended, tried
	return j
}

func with(j converge.Job, change func(*converge.Job)) converge.Job {
	change(&j)
	return j
}

func TestDecide(t *testing.T) {
	failed := func(id sluice.JobID, ago time.Duration) converge.Job {
		return own(id, schedule.Failed, noon.Add(-ago), map[sluice.Host]bool{"web1": false})
	}
	for _, c := range []struct {
		name   string
		change func(*converge.App)
		ask    int
		hosts  string // that are brought there
		left   string
	}{
		{"a host lacks it", nil, 0, "web1 web2", ""},
		{"none lacks it", func(a *converge.App) { a.Hosts = nil }, 0, "", ""},
		{"none lacks it, and a deploy runs", func(a *converge.App) { a.Hosts, a.Jobs[0].State = nil, schedule.Running }, 0, "", ""},
		{"a host is out of service", func(a *converge.App) { a.Hosts[0].Why = "out of service: failed" }, 0, "web2", "web1: out of service: failed"},
		{"both are", func(a *converge.App) { a.Hosts[0].Why, a.Hosts[1].Why = "held", "held" }, 0, "", "web1,web2: held"},
		{"a deploy runs", func(a *converge.App) { a.Jobs[0].State = schedule.Running }, 0, "", ": job d changes it now"},
		{"a deploy waits", func(a *converge.App) { a.Jobs[0].State = schedule.Waiting }, 0, "", ": job d changes it now"},
		{"an older deploy is paused", func(a *converge.App) {
			a.Jobs = append(a.Jobs, with(deploy("c"), func(j *converge.Job) { j.State = schedule.Paused }))
		}, 0, "", ": job c changes it now"},
		{"a deploy is halted", func(a *converge.App) { a.Jobs[0].State = schedule.Halted }, 0, "", ": job d is halted, and people decide about it"},
		{"its own job runs", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, own("e", schedule.Running, time.Time{}, map[sluice.Host]bool{"web1": false}))
		}, 0, "", ": job e changes it now"},
		{"its own job is halted", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, own("e", schedule.Halted, noon, nil))
		}, 0, "", ": job e is halted, and people decide about it"},
		{"the last deploy failed", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("e"), func(j *converge.Job) { j.State, j.Version = schedule.Failed, "3" }))
		}, 0, "", ": job e of ann did not succeed, and nothing was deployed since"},
		{"it was cancelled", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("e"), func(j *converge.Job) { j.State = schedule.Cancelled }))
		}, 0, "", ": job e of ann did not succeed, and nothing was deployed since"},
		{"it was cancelled before it began", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("e"), func(j *converge.Job) { j.State, j.Began = schedule.Cancelled, false }))
		}, 0, "web1 web2", ""},
		{"it failed before it began", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("e"), func(j *converge.Job) { j.State, j.Began = schedule.Failed, false }))
		}, 0, "", ": job e of ann did not succeed, and nothing was deployed since"},
		{"the server was restored since", func(a *converge.App) {
			a.Turned = noon.Add(-90 * time.Minute)
			a.Jobs = slices.Insert(a.Jobs, 0, with(own("e", schedule.Succeeded, noon, nil), func(j *converge.Job) { j.Submitted = noon.Add(-time.Minute) }))
		}, 0, "", ": the server's log was restored or repaired at 2026-11-29T10:30:00Z, and nothing was deployed since"},
		{"the server was restored before", func(a *converge.App) { a.Turned = noon.Add(-3 * time.Hour) }, 0, "web1 web2", ""},
		{"it was not validated", func(a *converge.App) { a.Jobs[0].Doubt = "failed" }, 0, "", ": what job d of ann deployed was not validated: failed"},
		{"it was rolled back", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("e"), func(j *converge.Job) { j.Kind = sluice.RollBack }))
		}, 0, "", ": job e of ann was a rollback, and nothing was deployed since"},
		{"its own job was taken back", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(deploy("f"), func(j *converge.Job) { j.Kind = sluice.RollBack }), own("e", schedule.Failed, noon, nil))
		}, 0, "", ": job f of ann was a rollback, and nothing was deployed since"},
		{"an older one failed", func(a *converge.App) {
			a.Jobs = append(a.Jobs, with(deploy("c"), func(j *converge.Job) { j.State = schedule.Failed }))
		}, 0, "web1 web2", ""},
		{"nobody knows what is current", func(a *converge.App) { a.Why, a.Hosts = "nothing has succeeded", nil }, 0, "", ": nothing has succeeded"},
		{"a person's password", func(a *converge.App) { a.Secrets = true }, 0, "", ": job d, whose release is current, took passwords or keys of a person, and they are not kept"},
		{"more than people are asked for", nil, 1, "", "web1,web2: 2 hosts are more than 1, above which this fleet asks people"},
		{"no more than that", nil, 2, "web1 web2", ""},
		{"it failed there", func(a *converge.App) { a.Jobs = slices.Insert(a.Jobs, 0, failed("e", 9*time.Minute)) }, 0, "web2",
			"web1: job e did not bring it there; again not before 2026-11-29T12:01:00Z"},
		{"long enough ago", func(a *converge.App) { a.Jobs = slices.Insert(a.Jobs, 0, failed("e", 10*time.Minute)) }, 0, "web1 web2", ""},
		{"it failed there twice", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, failed("f", 19*time.Minute), failed("e", time.Hour))
		}, 0, "web2", "web1: job f did not bring it there, nor did 1 before it; again not before 2026-11-29T12:01:00Z"},
		{"it succeeded in between", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, failed("f", 11*time.Minute), own("e", schedule.Succeeded, noon, map[sluice.Host]bool{"web1": true}), failed("b", time.Hour))
		}, 0, "web1 web2", ""},
		{"another release failed there", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, with(failed("e", time.Minute), func(j *converge.Job) { j.Version = "1" }), with(failed("f", time.Minute), func(j *converge.Job) { j.Config = "b" }))
		}, 0, "web1 web2", ""},
		{"it was cancelled there", func(a *converge.App) {
			a.Jobs = slices.Insert(a.Jobs, 0, own("e", schedule.Cancelled, noon, map[sluice.Host]bool{"web1": false, "web2": false}))
		}, 0, "", "web1,web2: job e did not bring it there; again not before 2026-11-29T12:10:00Z"},
		{"it failed very often", func(a *converge.App) {
			for i := range 100 {
				a.Jobs = slices.Insert(a.Jobs, 0, failed(sluice.JobID(fmt.Sprint("f", i)), 23*time.Hour))
			}
		}, 0, "web2", "web1: job f99 did not bring it there, nor did 99 before it; again not before 2026-11-29T13:00:00Z"},
	} {
		a := converge.App{Name: "shop", Env: "production", Version: "2", Config: "c", Origin: "d", Jobs: []converge.Job{deploy("d")}, Hosts: []converge.Host{{Name: "web1"}, {Name: "web2"}}}
		if c.change != nil {
			c.change(&a)
		}
		wanted, left := converge.Decide([]converge.App{a}, converge.Limits{Every: every, Ask: c.ask}, noon)
		var hosts, why []string
		for _, w := range wanted {
			for _, h := range w.Hosts {
				hosts = append(hosts, string(h))
			}
		}
		for _, l := range left {
			why = append(why, strings.ReplaceAll(strings.Trim(fmt.Sprint(l.Hosts), "[]"), " ", ",")+": "+l.Why)
		}
		if got := strings.Join(hosts, " "); got != c.hosts || len(wanted) > 1 {
			t.Errorf("%s: submitted for %q, want %q", c.name, got, c.hosts)
		}
		if got := strings.Join(why, "; "); got != c.left {
			t.Errorf("%s: left is %q, want %q", c.name, got, c.left)
		}
	}
}

// TestSeldomMoreThanADayBetween: where the fleet has it look less often than the longest pause, it does not look more often for a failure.
func TestSeldomMoreThanADayBetween(t *testing.T) {
	a := converge.App{Name: "shop", Env: "production", Version: "2", Config: "c", Hosts: []converge.Host{{Name: "web1"}},
		Jobs: []converge.Job{own("e", schedule.Failed, noon, map[sluice.Host]bool{"web1": false}), deploy("d")}}
	for after, want := range map[time.Duration]int{47 * time.Hour: 0, 48 * time.Hour: 1} {
		if wanted, _ := converge.Decide([]converge.App{a}, converge.Limits{Every: 48 * time.Hour}, noon.Add(after)); len(wanted) != want {
			t.Errorf("after %s: %+v", after, wanted)
		}
	}
}

// TestWhateverHappens plays days with hosts that fail, are held and come back, and with deploys of people: nothing is submitted while a
// job is open or halted, for a host that is held, twice, or sooner after failures than their pauses allow; and what is left alone has a
// reason.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := converge.App{Name: "shop", Env: "production", Version: "2", Config: "c", Origin: "d0", Jobs: []converge.Job{deploy("d0")}}
		held, has := map[sluice.Host]bool{}, map[sluice.Host]bool{}
		var all []sluice.Host
		for i := range rapid.IntRange(1, 4).Draw(rt, "hosts") {
			all = append(all, sluice.Host(fmt.Sprint("web", i)))
		}
		failures, since := map[sluice.Host]int{}, map[sluice.Host]time.Time{}
		forget := func() { clear(has); clear(failures); clear(since) }
		now := noon
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 120).Draw(rt, "minutes")) * time.Minute)
			host := rapid.SampledFrom(all).Draw(rt, "host")
			open := slices.IndexFunc(a.Jobs, func(j converge.Job) bool { return !j.State.Over() })
			switch what := rapid.IntRange(0, 8).Draw(rt, "what"); {
			case what == 0:
				held[host] = !held[host]
			case what == 1:
				has[host] = false
			case what == 2 && open < 0: // a person deploys
				j := deploy(sluice.JobID(fmt.Sprint("d", i)))
				j.State = rapid.SampledFrom([]schedule.JobState{schedule.Waiting, schedule.Running, schedule.Succeeded, schedule.Failed, schedule.Halted}).Draw(rt, "state")
				j.Version, j.Ended = fmt.Sprint("v", i), now
				a.Jobs, a.Version, a.Origin = slices.Insert(a.Jobs, 0, j), j.Version, j.ID
				forget()
			case what > 2 && open >= 0: // what goes on ends
				j := &a.Jobs[open]
				j.State, j.Ended = schedule.Succeeded, now
				for h := range j.Tried {
					if rapid.Bool().Draw(rt, "fails") {
						j.State = schedule.Failed
						failures[h], since[h] = failures[h]+1, now
						continue
					}
					j.Tried[h], has[h], failures[h] = true, true, 0
				}
			}
			a.Hosts = nil
			for _, h := range all {
				if has[h] {
					continue
				}
				one := converge.Host{Name: h}
				if held[h] {
					one.Why = "held"
				}
				a.Hosts = append(a.Hosts, one)
			}
			wanted, left := converge.Decide([]converge.App{a}, converge.Limits{Every: every}, now)
			told := map[sluice.Host]int{}
			whole := false
			for _, l := range left {
				if l.Why == "" {
					rt.Fatalf("%v are left alone for no reason", l.Hosts)
				}
				whole = whole || len(l.Hosts) == 0
				for _, h := range l.Hosts {
					told[h]++
				}
			}
			for _, w := range wanted {
				if slices.ContainsFunc(a.Jobs, func(j converge.Job) bool { return !j.State.Over() }) {
					rt.Fatalf("%v are brought there while a job is open: %+v", w.Hosts, a.Jobs)
				}
				if !a.Jobs[0].Itself && a.Jobs[0].State != schedule.Succeeded {
					rt.Fatalf("%v are brought there after %+v", w.Hosts, a.Jobs[0])
				}
				tried := map[sluice.Host]bool{}
				for _, h := range w.Hosts {
					told[h]++
					tried[h] = false
					if held[h] || has[h] {
						rt.Fatalf("%s is brought there: held %v, has it %v", h, held[h], has[h])
					}
					if n := failures[h]; n > 0 && now.Sub(since[h]) < min(every<<min(n, 20), converge.Longest) {
						rt.Fatalf("%s is tried again %s after failure %d", h, now.Sub(since[h]), n)
					}
				}
				j := own(sluice.JobID(fmt.Sprint("o", i)), schedule.Waiting, time.Time{}, tried)
				j.Version = a.Version
				a.Jobs = slices.Insert(a.Jobs, 0, j)
			}
			for _, h := range a.Hosts {
				if n := told[h.Name]; n != 1 && (n != 0 || !whole) {
					rt.Fatalf("%s is told of %d times: %+v %+v", h.Name, n, wanted, left)
				}
			}
			if len(wanted) > 0 {
				if twice, _ := converge.Decide([]converge.App{a}, converge.Limits{Every: every}, now); len(twice) > 0 {
					rt.Fatalf("twice: %+v", twice)
				}
			}
		}
	})
}

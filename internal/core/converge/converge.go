// Package converge decides which hosts a server brings to what is current without anybody asking, and says of all that it leaves alone
// why. Where a person might want something else, it does nothing.
//
// It must not know where jobs and hosts are on record, nor what time it is.
package converge

import (
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Reason is what a job says of why it exists.
const Reason = "converges by itself: the fleet says so"

// Longest is the longest time that a host on which it failed is left alone, unless the fleet has it look less often than that.
const Longest = 24 * time.Hour

// App is what is known of an app in an environment.
type App struct {
	Name, Env string
	// Version and Config are those of the release that is current, and Origin is the deploy of it that went last.
	Version, Config string
	Origin          sluice.JobID
	// Jobs are its deploys and rollbacks, the newest first.
	Jobs []Job
	// Turned is when the log was restored or repaired last; zero: never. What was so then may be so no more.
	Turned time.Time
	// Why says why it is not known what is current; "" where it is.
	Why string
	// Secrets says that Origin took passwords or keys of a person, which are not kept.
	Secrets bool
	// Hosts do not have what is current.
	Hosts []Host
}

// Job is a deploy or a rollback.
type Job struct {
	ID              sluice.JobID
	By              string
	Kind            sluice.ActionKind
	Version, Config string
	State           schedule.JobState
	// Began says that something of it was started.
	Began bool
	// Itself says that nobody asked for it: it converges by itself.
	Itself    bool
	Submitted time.Time
	Ended     time.Time
	// Doubt says why it is not known whether it does what it should, where somebody wanted that validated; "" where it does.
	Doubt string
	// Tried are, of those, the hosts that it meant; true where it brought there what it meant.
	Tried map[sluice.Host]bool
}

// Host is one that does not have what is current.
type Host struct {
	Name sluice.Host
	// Why says why it is left out whatever else there is; "": it is not.
	Why string
}

// Limits are what the fleet says of it.
type Limits struct {
	Every time.Duration
	// Ask is the number of hosts above which people are asked; 0: they are not.
	Ask int
}

// Wanted is a job that is to be submitted.
type Wanted struct {
	*App
	Hosts []sluice.Host
}

// Left is what is left alone.
type Left struct {
	App, Env string
	Hosts    []sluice.Host // none: all of the app
	Why      string
}

// Decide says what is to be submitted at a time, and what is left alone. Apps that lack nothing are in neither.
func Decide(apps []App, l Limits, now time.Time) (wanted []Wanted, left []Left) {
	for i := range apps {
		a := &apps[i]
		if a.Why == "" && len(a.Hosts) == 0 {
			continue
		}
		if why := a.waits(); why != "" {
			left = append(left, Left{App: a.Name, Env: a.Env, Why: why})
			continue
		}
		w := Wanted{App: a}
		begin := len(left)
		for _, h := range a.Hosts {
			why := h.Why
			if why == "" {
				why = a.backsOff(h.Name, l.Every, now)
			}
			if why == "" {
				w.Hosts = append(w.Hosts, h.Name)
				continue
			}
			if at := slices.IndexFunc(left[begin:], func(o Left) bool { return o.Why == why }); at >= 0 {
				left[begin+at].Hosts = append(left[begin+at].Hosts, h.Name)
			} else {
				left = append(left, Left{a.Name, a.Env, []sluice.Host{h.Name}, why})
			}
		}
		switch n := len(w.Hosts); {
		case n == 0:
		case l.Ask > 0 && n > l.Ask:
			left = append(left, Left{a.Name, a.Env, w.Hosts, fmt.Sprintf("%d hosts are more than %d, above which this fleet asks people", n, l.Ask)})
		default:
			wanted = append(wanted, w)
		}
	}
	return wanted, left
}

// waits says why nothing is done for an app; "" where something may be.
func (a *App) waits() string {
	for i := range a.Jobs {
		switch j := &a.Jobs[i]; {
		case j.State == schedule.Halted:
			return fmt.Sprintf("job %s is halted, and people decide about it", j.ID)
		case !j.State.Over():
			return fmt.Sprintf("job %s changes it now", j.ID)
		}
	}
	last := slices.IndexFunc(a.Jobs, func(j Job) bool { return !j.Itself && (j.Began || j.State != schedule.Cancelled) })
	if last >= 0 {
		switch j := &a.Jobs[last]; {
		case !a.Turned.IsZero() && !j.Submitted.After(a.Turned):
			return fmt.Sprintf("the server's log was restored or repaired at %s, and nothing was deployed since", a.Turned.UTC().Format(time.RFC3339))
		case j.Kind == sluice.RollBack:
			return fmt.Sprintf("job %s of %s was a rollback, and nothing was deployed since", j.ID, j.By)
		case j.State != schedule.Succeeded:
			return fmt.Sprintf("job %s of %s did not succeed, and nothing was deployed since", j.ID, j.By)
		case j.Doubt != "":
			return fmt.Sprintf("what job %s of %s deployed was not validated: %s", j.ID, j.By, j.Doubt)
		}
	}
	switch {
	case a.Why != "":
		return a.Why
	case a.Secrets:
		return fmt.Sprintf("job %s, whose release is current, took passwords or keys of a person, and they are not kept", a.Origin)
	}
	return ""
}

// backsOff says why a host is not tried again yet; "" where it may be. The pause begins with twice the time between two looks, and
// doubles with every time that it failed since it succeeded last. Another release begins anew.
func (a *App) backsOff(h sluice.Host, every time.Duration, now time.Time) string {
	failed := 0
	var last *Job
	for i := range a.Jobs {
		j := &a.Jobs[i]
		if !j.Itself || j.Version != a.Version || j.Config != a.Config {
			continue
		}
		done, tried := j.Tried[h]
		if done {
			break
		}
		if tried {
			if failed++; last == nil {
				last = j
			}
		}
	}
	if last == nil {
		return ""
	}
	until := last.Ended.Add(pause(every, failed))
	if !now.Before(until) {
		return ""
	}
	times := ""
	if failed > 1 {
		times = fmt.Sprintf(", nor did %d before it", failed-1)
	}
	return fmt.Sprintf("job %s did not bring it there%s; again not before %s", last.ID, times, until.UTC().Format(time.RFC3339))
}

func pause(every time.Duration, failed int) time.Duration {
	most := max(Longest, every)
	for range failed {
		if every *= 2; every >= most {
			return most
		}
	}
	return every
}

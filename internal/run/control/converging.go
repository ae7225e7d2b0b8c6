package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/converge"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
)

// Converging is an app in an environment, as whoever decides what converges by itself looks at it.
type Converging struct {
	converge.App
	Aim   *Aim          // nil where it is not known what is current
	Of    *sluice.Job   // the deploy that is current
	Meant []sluice.Host // all hosts that its deploys mean
}

// mostTried bounds how many jobs that converged by themselves are looked at, of one release. The pauses do not get longer by more.
const mostTried = 100

// Convergence is how it stands in a namespace with what converges by itself.
type Convergence struct {
	// By applied the fleet that says how often to look and for which apps; Every is 0 where none says so.
	By   sluice.Principal
	Apps []Converging // by environment and app
	converge.Limits
	// Until is the number of the last event that is in what the fleet says: what comes after it may be a reason to look again.
	Until uint64
}

// Convergence looks how it stands in a namespace.
func (s *Service) Convergence(ctx context.Context, ns sluice.Namespace) (c Convergence, err error) {
	if c.Until, err = s.fleetUntil(ctx, ns); err != nil {
		return c, err
	}
	loaded, applied, err := s.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	f := loaded.Fleet()
	c.By, c.Every, c.Ask = sluice.Principal(applied.By), f.Converge.Every, f.ConfirmAbove
	if c.Every > 0 {
		c.Apps, err = s.convergingIn(ctx, ns, loaded)
	}
	if turned := s.first().Turned; err == nil && turned != nil {
		at, err := turned(ctx)
		if err != nil {
			return c, err
		}
		for i := range c.Apps {
			c.Apps[i].Turned = at
		}
	}
	return c, err
}

// Decide says what is to be submitted at a time, and what is left alone.
func (c *Convergence) Decide(now time.Time) ([]converge.Wanted, []converge.Left) {
	if c.Every <= 0 {
		return nil, nil
	}
	apps := make([]converge.App, len(c.Apps))
	for i := range c.Apps {
		apps[i] = c.Apps[i].App
	}
	return converge.Decide(apps, c.Limits, now)
}

// Of is what is known of an app in an environment; nil where nothing is.
func (c *Convergence) Of(app, env string) *Converging {
	for i := range c.Apps {
		if a := &c.Apps[i]; a.Name == app && a.Env == env {
			return a
		}
	}
	return nil
}

// Refused says that whoever applied the fleet may not have a job submitted.
func (c *Convergence) Refused(err error) string {
	return fmt.Sprintf("%s applied the fleet, and may not: %v", c.By, err)
}

// fleetUntil is the number of the last event that is in what [Service.Fleet] says from now on.
func (s *Service) fleetUntil(ctx context.Context, ns sluice.Namespace) (uint64, error) {
	sp := s.read().space(ns)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	err := s.catchUp(ctx, ns, sp)
	return sp.seq, err
}

// convergingIn looks at all that may converge by itself in a namespace, as its fleet says.
func (s *Service) convergingIn(ctx context.Context, ns sluice.Namespace, loaded *fleet.Loaded) ([]Converging, error) {
	spaces, q := []Space{{Namespace: ns}}, LiveQuery{Namespace: ns}
	list, lost, err := s.ReleasesIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	now, gone, err := s.LiveIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	if len(lost)+len(gone) > 0 {
		return nil, sluice.Errorf(sluice.Contact, "namespace %s cannot be read now, so it is not known what is current there", ns)
	}
	c := loaded.Fleet().Converge
	list = slices.DeleteFunc(list, func(r Released) bool { return !c.Means(r.App, r.Env) })
	slices.SortStableFunc(list, func(a, b Released) int { return cmp.Or(cmp.Compare(a.Env, b.Env), cmp.Compare(a.App, b.App)) })
	var out []Converging
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(r Released) bool { return r.App != list[0].App || r.Env != list[0].Env })
		if n < 0 {
			n = len(list)
		}
		one, err := s.converging(ctx, ns, loaded, list[:n], now)
		if err != nil {
			return nil, err
		}
		out, list = append(out, *one), list[n:]
	}
	return out, nil
}

// converging looks at one app in an environment, of which list has the deploys and rollbacks, the newest first.
func (s *Service) converging(ctx context.Context, ns sluice.Namespace, loaded *fleet.Loaded, list []Released, now []Live) (*Converging, error) {
	c := &Converging{App: converge.App{Name: list[0].App, Env: list[0].Env}}
	for _, r := range list {
		doubt := ""
		if v := r.Validated; v != nil && v.State != validate.Validated {
			doubt = string(v.State)
			if v.Reason != "" {
				doubt += ": " + v.Reason
			}
		}
		c.Jobs = append(c.Jobs, converge.Job{ID: r.Job, By: r.By, Kind: r.Kind, Version: r.Version, Config: r.Config, State: r.State, Began: r.Began, Itself: r.Reason != "", Submitted: r.Submitted, Ended: r.Ended, Doubt: doubt})
	}
	there := slices.DeleteFunc(slices.Clone(now), func(l Live) bool { return l.App != c.Name || l.Env != c.Env })
	aims, err := AimsOf(list, there, c.Env, []string{c.Name})
	if err != nil {
		return c, c.unclear(err)
	}
	c.Aim = aims[0]
	c.Version, c.Config, c.Origin = c.Aim.Release.Version, c.Aim.Release.Config, c.Aim.Release.Job
	hosts, known, err := c.Aim.Meant(func(id sluice.JobID) (*sluice.Job, error) {
		i, err := s.info(ctx, ns, id)
		if err == nil && id == c.Origin {
			c.Of = i.Spec
		}
		return i.Spec, err
	}, func(j *sluice.Job) ([]sluice.Host, error) { return loaded.Resolve(j.Expression) })
	if err != nil {
		return c, c.unclear(err)
	}
	c.Meant, c.Secrets = hosts, c.Of.Options.NeedsSecrets()
	return c, s.look(ctx, ns, func(state *schedule.State) error {
		c.missing(state, c.Aim.GapOf(hosts, known, there, false), there, loaded.Fleet().Hosts)
		return nil
	})
}

// unclear notes why it is not known what is current. What would end everything else, too, is returned.
func (c *Converging) unclear(err error) error {
	switch sluice.CodeOf(err) {
	case sluice.Conflict, sluice.NotFound, sluice.Usage, sluice.Config:
		c.Why = err.Error()
		return nil
	}
	return err
}

// missing notes which hosts lack what is current, why some of them are left out, and what was tried there.
func (c *Converging) missing(state *schedule.State, g Gap, now []Live, fleet []sluice.Host) {
	retired := state.Retired()
	out := map[sluice.Host]string{}
	for _, i := range state.Out() {
		out[i.Host] = told(&i)
	}
	for _, l := range now {
		if l.Known && l.Changed {
			out[l.Host] = cmp.Or(out[l.Host], "it was changed by hand, to "+cmp.Or(l.Live.Version, "nothing"))
		}
	}
	add := func(h sluice.Host, why string) {
		if _, is := slices.BinarySearch(retired, h); is {
			return // it is gone for good, and lacks nothing
		}
		if why == "" && !slices.Contains(fleet, h) {
			why = "the fleet does not have it"
		}
		c.Hosts = append(c.Hosts, converge.Host{Name: h, Why: why})
	}
	for _, h := range g.Hosts {
		add(h, out[h])
	}
	for _, l := range g.Unknown {
		add(l.Host, "it is not known what it has: "+string(l.Why))
	}
	for _, h := range g.Fresh {
		add(h, cmp.Or(out[h], "its configuration was not frozen, which a deploy does"))
	}
	looked := 0
	for i := range c.Jobs {
		j := &c.Jobs[i]
		if !j.Itself || j.Version != c.Version || j.Config != c.Config {
			continue
		}
		if looked++; looked > mostTried {
			break
		}
		j.Tried = map[sluice.Host]bool{}
		for _, h := range c.Hosts {
			if t, is := state.Task(j.ID, h.Name); is {
				j.Tried[h.Name] = t.Outcome == sluice.Succeeded
			}
		}
	}
}

// told says why a host is out of service.
func told(i *schedule.HostInfo) string {
	why := "it is out of service: " + i.Holder.Why
	switch {
	case i.Held:
		why = "it is held"
		if i.By != "" {
			why += " by " + i.By
		}
		if i.Reason != "" {
			why += ": " + i.Reason
		}
	case i.Job != "":
		why += " in job " + string(i.Job)
	}
	return why
}

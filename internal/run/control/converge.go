package control

import (
	"cmp"
	"slices"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/core/target"
)

// Aim is what an app shall be in an environment.
type Aim struct {
	Namespace sluice.Namespace
	App       string
	Release   Released   // a deploy of it, the last one that succeeded
	Deploys   []Released // all of that release, which say on which hosts it is to be
	Until     uint64     // number of the last event that was looked at
}

// Look is the look that a job towards the aim is made from.
func (m *Aim) Look() sluice.Look {
	return sluice.Look{Until: m.Until, Again: target.Quote("sluice", "converge", m.Release.Env, m.App)}
}

// AimsOf are the current releases of the apps that are named, or of all. list has the deploys and rollbacks of the environment, the
// newest first; now is what is live there, and was asked for after them.
func AimsOf(list []Released, now []Live, env string, apps []string) (out []*Aim, err error) {
	if len(apps) == 0 {
		for _, r := range list {
			apps = append(apps, r.App)
		}
		slices.Sort(apps)
		apps = slices.Compact(apps)
	}
	for _, app := range apps {
		of := slices.DeleteFunc(slices.Clone(list), func(r Released) bool { return r.App != app })
		m, err := aimOf(app, of, now)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, sluice.Errorf(sluice.NotFound, "no deploy of %s in %s has succeeded", app, env).WithHint("sluice releases %s lists what there is", env)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, sluice.Errorf(sluice.NotFound, "no deploy in %s is on record", env).WithHint("sluice deploy APP --env %s", env)
	}
	return out, nil
}

// aimOf is the current release of an app, of whose deploys and rollbacks list has the newest first; nil if none succeeded. What
// goes on, or ended badly and is live somewhere, is for people to decide about.
func aimOf(app string, list []Released, now []Live) (*Aim, error) {
	var bad *Released // the newest that ended badly and that a host has
	for i, r := range list {
		switch {
		case r.Namespace != list[0].Namespace:
			return nil, sluice.Errorf(sluice.Usage, "%s is in such an environment in several namespaces: %s, %s", app, list[0].Namespace, r.Namespace).WithHint("--namespace NAME")
		case !r.State.Over() && r.State != schedule.Halted:
			return nil, sluice.Errorf(sluice.Conflict, "job %s changes %s there now", r.Job, app).WithHint("sluice watch %s; then again", r.Job)
		case r.State != schedule.Succeeded:
			if bad == nil && r.On > 0 {
				bad = &list[i]
			}
			continue
		}
		version, config := r.Version, r.Config
		var err error
		if r.Kind == sluice.RollBack {
			version, config, err = broughtBack(r, now)
		}
		m := &Aim{Namespace: r.Namespace, App: app, Until: slices.MinFunc(list, func(a, b Released) int { return cmp.Compare(a.Until, b.Until) }).Until}
		for _, d := range list {
			if d.Kind == sluice.DeployTo && d.Version == version && d.Config == config {
				m.Deploys = append(m.Deploys, d)
				if m.Release.Job == "" {
					m.Release = d
				}
			}
		}
		switch {
		case bad != nil && (err != nil || bad.Version != version || bad.Config != config):
			return nil, sluice.Errorf(sluice.Conflict, "job %s (%s %s) ended badly, and is live on %d hosts", bad.Job, app, cmp.Or(bad.Version, "rollback"), bad.On).
				WithHint("sluice retry %s, or sluice rollback %s; then again", bad.Job, bad.Job)
		case err != nil:
			return nil, err
		case m.Release.Job == "":
			return nil, sluice.Errorf(sluice.Conflict, "nothing on record has deployed what job %s brought %s back to", r.Job, app).WithHint("sluice deploy %s@VERSION --env %s", app, r.Env)
		}
		return m, nil
	}
	return nil, nil
}

// broughtBack is the release that a rollback has left.
func broughtBack(r Released, now []Live) (version, config string, err error) {
	found := map[[2]string]bool{}
	for _, l := range now {
		if l.App == r.App && l.Known && l.Job == r.Job {
			version, config = l.Live.Version, l.Config
			found[[2]string{version, config}] = true
		}
	}
	if len(found) != 1 {
		return "", "", sluice.Errorf(sluice.Conflict, "job %s has brought the hosts of %s back to %d releases, so none is the current one", r.Job, r.App, len(found)).
			WithHint("sluice deploy %s@VERSION --env %s makes one", r.App, r.Env)
	}
	return version, config, nil
}

// Meant are the hosts that the deploys of a release mean, in the order of the fleet: those of their expressions, by what the fleet says
// now, or those that they named. known are the ones that were targets of them, whose configuration is frozen.
func (m *Aim) Meant(jobs func(sluice.JobID) (*sluice.Job, error), resolve func(*sluice.Job) ([]sluice.Host, error)) (hosts, known []sluice.Host, err error) {
	for _, d := range m.Deploys {
		j, err := jobs(d.Job)
		if err != nil {
			return nil, nil, err
		}
		known = append(known, j.Targets...)
		if j.Reason != "" { // nobody named its hosts: they are those that others mean, or did when it was made
			continue
		}
		more := j.Targets
		if !namesHosts(j) {
			if more, err = resolve(j); err != nil {
				return nil, nil, err
			}
		}
		for _, h := range more {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts, known, nil
}

// namesHosts reports whether a job said which hosts it means one by one: then these are they, whatever the fleet says.
func namesHosts(j *sluice.Job) bool {
	named, err := fleet.Adhoc(j.Expression)
	if err != nil {
		return false
	}
	hosts, err := named.Resolve(j.Expression)
	return err == nil && len(hosts) == len(j.Targets) && !slices.ContainsFunc(hosts, func(h sluice.Host) bool { return !slices.Contains(j.Targets, h) })
}

// Gap is what is missing.
type Gap struct {
	Hosts   []sluice.Host
	Unknown []Live        // left out: it is not known what they have
	Fresh   []sluice.Host // left out: their configuration was not frozen
}

// GapOf are the hosts that do not have the release. common says that new ones get the configuration that most have.
func (m *Aim) GapOf(hosts, known []sluice.Host, now []Live, common bool) (g Gap) {
	has := map[sluice.Host]Live{}
	for _, l := range now {
		if l.App == m.App && l.Namespace == m.Namespace {
			has[l.Host] = l
		}
	}
	for _, h := range hosts {
		l, there := has[h]
		switch {
		case there && !l.Known:
			g.Unknown = append(g.Unknown, l)
		case there && !l.Failed && l.Live.Version == m.Release.Version && l.Config == m.Release.Config:
		case m.Release.Config != "" && !common && !slices.Contains(known, h):
			g.Fresh = append(g.Fresh, h)
		default:
			g.Hosts = append(g.Hosts, h)
		}
	}
	return g
}

// Again is a release that was deployed, for hosts that are to have it as well. What had to run once has run then, and so has what
// validates it, or a person has said otherwise.
func Again(was sluice.Release) *sluice.Release {
	was.Once, was.Deploy.Once, was.After, was.Deploy.After = "", "", "", ""
	was.Validating, was.Deploy.Validate = nil, nil
	return &was
}

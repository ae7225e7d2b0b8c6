package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/core/target"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) convergeCommand() *cobra.Command {
	var f jobFlags
	var common bool
	c := &cobra.Command{
		Use:   "converge ENV [APP]...",
		Short: "Bring late, repaired and new hosts to the release that is current",
		Long: `Bring the hosts of an environment that do not have the current release of an app
to it, under the fleet's rules: hosts that were away, that were repaired, that a
hand has changed, and that are new. The current release is what the last deploy
or rollback that succeeded has left; its hosts are those that its deploys meant,
by what the fleet says now. Hosts that have it are left alone.

Where a newer deploy has ended badly, or goes on, nothing is done. A new host
whose configuration was not frozen is left out; with --common it gets the one
that most hosts have. The exit status is 1 where hosts were left out.`,
		Example: `  sluice converge production -f fleet.yaml --sudo
  sluice converge production shop -w web7`,
		Args: args(1, -1, "an environment and perhaps apps"),
		RunE: func(c *cobra.Command, words []string) error {
			return a.onJournal(c.Context(), func(svc control.Desk) error {
				return a.converge(c.Context(), svc, &f, words[0], words[1:], common)
			})
		},
	}
	f.addCarrying(a, c)
	c.Flags().BoolVar(&common, "common", false, "new hosts get the configuration that most hosts have")
	return c
}

// aim is what an app shall be in an environment.
type aim struct {
	namespace sluice.Namespace
	app       string
	release   control.Released   // a deploy of it, the last one that succeeded
	deploys   []control.Released // all of that release, which say on which hosts it is to be
	until     uint64             // number of the last event that was looked at
}

func (a *app) converge(ctx context.Context, svc control.Desk, f *jobFlags, env string, apps []string, common bool) error {
	q := control.LiveQuery{Namespace: sluice.Namespace(f.namespace), Env: env}
	list, err := svc.Releases(ctx, q)
	if err != nil {
		return err
	}
	now, err := svc.Live(ctx, q)
	if err != nil {
		return err
	}
	aims, err := aimsOf(list, now, env, apps)
	if err != nil {
		return err
	}
	var todo []*likeness
	leftOut := false
	for _, m := range aims {
		hosts, known, err := a.meantBy(ctx, svc, f, m)
		if err != nil {
			return err
		}
		g := m.gapOf(hosts, known, now, common)
		for _, text := range g.left {
			leftOut = true
			fmt.Fprintf(a.Stderr, "sluice: left out: %s\n", text)
		}
		if len(g.hosts) > 0 {
			todo = append(todo, &likeness{namespace: m.namespace, app: m.app, origin: m.release.Job, hosts: g.hosts, version: m.release.Version,
				look: sluice.Look{Until: m.until, Again: target.Quote("sluice", "converge", env, m.app)}})
		}
	}
	if leftOut && len(todo) == 0 {
		return exitError(exitFailures)
	}
	if err := a.deployEach(ctx, svc, f, todo, "is to be", "All of them have what is current."); err != nil || !leftOut {
		return err
	}
	return exitError(exitFailures)
}

// aimsOf are the current releases of the apps that are named, or of all.
func aimsOf(list []control.Released, now []control.Live, env string, apps []string) (out []*aim, err error) {
	if len(apps) == 0 {
		for _, r := range list {
			apps = append(apps, r.App)
		}
		slices.Sort(apps)
		apps = slices.Compact(apps)
	}
	for _, app := range apps {
		of := slices.DeleteFunc(slices.Clone(list), func(r control.Released) bool { return r.App != app })
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
func aimOf(app string, list []control.Released, now []control.Live) (*aim, error) {
	var bad *control.Released // the newest that ended badly and that a host has
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
		m := &aim{namespace: r.Namespace, app: app, until: slices.MinFunc(list, func(a, b control.Released) int { return cmp.Compare(a.Until, b.Until) }).Until}
		for _, d := range list {
			if d.Kind == sluice.DeployTo && d.Version == version && d.Config == config {
				m.deploys = append(m.deploys, d)
				if m.release.Job == "" {
					m.release = d
				}
			}
		}
		switch {
		case bad != nil && (err != nil || bad.Version != version || bad.Config != config):
			return nil, sluice.Errorf(sluice.Conflict, "job %s (%s %s) ended badly, and is live on %d hosts", bad.Job, app, cmp.Or(bad.Version, "rollback"), bad.On).
				WithHint("sluice retry %s, or sluice rollback %s; then again", bad.Job, bad.Job)
		case err != nil:
			return nil, err
		case m.release.Job == "":
			return nil, sluice.Errorf(sluice.Conflict, "nothing on record has deployed what job %s brought %s back to", r.Job, app).WithHint("sluice deploy %s@VERSION --env %s", app, r.Env)
		}
		return m, nil
	}
	return nil, nil
}

// broughtBack is the release that a rollback has left.
func broughtBack(r control.Released, now []control.Live) (version, config string, err error) {
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

// meantBy are the hosts that the deploys of a release mean, in the order of the fleet: those of their expressions, by what the fleet
// says now, or those that they named. known are the ones that were targets of them, whose configuration is frozen.
func (a *app) meantBy(ctx context.Context, svc control.Desk, f *jobFlags, m *aim) (hosts, known []sluice.Host, err error) {
	add := func(more []sluice.Host) {
		for _, h := range more {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	for _, d := range m.deploys {
		j, _, err := svc.Job(ctx, string(d.Job))
		if err != nil {
			return nil, nil, err
		}
		known = append(known, j.Spec.Targets...)
		if f.expression != "" || f.hosts != "" {
			continue
		}
		if namesHosts(j.Spec) {
			add(j.Spec.Targets)
			continue
		}
		t := targetFlags{file: cmp.Or(f.file, a.fileOf(j.Spec)), namespace: cmp.Or(f.namespace, string(m.namespace)), expression: j.Spec.Expression}
		l, err := a.load(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		add(l.targets)
	}
	if f.expression != "" || f.hosts != "" {
		l, err := a.load(ctx, f.targetFlags)
		if err != nil {
			return nil, nil, err
		}
		hosts = l.targets
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

// fileOf is the fleet file that a job went by, where that is a file of this machine.
func (a *app) fileOf(j *sluice.Job) string {
	if a.elsewhere() {
		return ""
	}
	return j.Fleet
}

// gap is what is missing.
type gap struct {
	hosts []sluice.Host
	left  []string // hosts that are left out, and why
}

// gapOf are the hosts that do not have the release.
func (m *aim) gapOf(hosts, known []sluice.Host, now []control.Live, common bool) (g gap) {
	has := map[sluice.Host]control.Live{}
	for _, l := range now {
		if l.App == m.app && l.Namespace == m.namespace {
			has[l.Host] = l
		}
	}
	var fresh []sluice.Host
	for _, h := range hosts {
		l, there := has[h]
		switch {
		case there && !l.Known:
			g.left = append(g.left, fmt.Sprintf("it is not known what %s has of %s: %s (sluice status %s --refresh asks it)", h, clean.Line(m.app), l.Why, l.Last))
		case there && !l.Failed && l.Live.Version == m.release.Version && l.Config == m.release.Config:
		case m.release.Config != "" && !common && !slices.Contains(known, h):
			fresh = append(fresh, h)
		default:
			g.hosts = append(g.hosts, h)
		}
	}
	if len(fresh) > 0 {
		list := fleet.Fold(fresh)
		g.left = append(g.left, fmt.Sprintf("the configuration of %s for %s was not frozen: --common gives the one that most hosts have; or sluice deploy %s@%s --env %s -w %s",
			clean.Line(m.app), list, clean.Line(m.app), clean.Line(m.release.Version), clean.Line(m.release.Env), list))
	}
	return g
}

package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
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
	aims, err := control.AimsOf(list, now, env, apps)
	if err != nil {
		return err
	}
	var todo []*likeness
	some := false
	for _, m := range aims {
		hosts, known, err := a.meantBy(ctx, svc, f, m)
		if err != nil {
			return err
		}
		g := m.GapOf(hosts, known, now, common)
		for _, text := range leftOut(m, g) {
			some = true
			fmt.Fprintf(a.Stderr, "sluice: left out: %s\n", text)
		}
		if len(g.Hosts) > 0 {
			todo = append(todo, &likeness{namespace: m.Namespace, app: m.App, origin: m.Release.Job, hosts: g.Hosts, version: m.Release.Version, look: m.Look()})
		}
	}
	if some && len(todo) == 0 {
		return exitError(exitFailures)
	}
	if err := a.deployEach(ctx, svc, f, todo, "is to be", "All of them have what is current."); err != nil || !some {
		return err
	}
	return exitError(exitFailures)
}

// meantBy are the hosts that the deploys of a release mean, or those that are named here.
func (a *app) meantBy(ctx context.Context, svc control.Desk, f *jobFlags, m *control.Aim) (hosts, known []sluice.Host, err error) {
	named := f.expression != "" || f.hosts != ""
	hosts, known, err = m.Meant(func(id sluice.JobID) (*sluice.Job, error) {
		j, _, err := svc.Job(ctx, string(id))
		if err != nil {
			return nil, err
		}
		return j.Spec, nil
	}, func(j *sluice.Job) ([]sluice.Host, error) {
		if named {
			return nil, nil
		}
		l, err := a.load(ctx, targetFlags{file: cmp.Or(f.file, a.fileOf(j)), namespace: cmp.Or(f.namespace, string(m.Namespace)), expression: j.Expression})
		if err != nil {
			return nil, err
		}
		return l.targets, nil
	})
	if err == nil && named {
		var l *loaded
		if l, err = a.load(ctx, f.targetFlags); err == nil {
			hosts = l.targets
		}
	}
	return hosts, known, err
}

// fileOf is the fleet file that a job went by, where that is a file of this machine.
func (a *app) fileOf(j *sluice.Job) string {
	if a.elsewhere() {
		return ""
	}
	return j.Fleet
}

// leftOut says which hosts are left out of a gap, and why, in a line for each reason.
func leftOut(m *control.Aim, g control.Gap) (out []string) {
	for _, l := range g.Unknown {
		out = append(out, fmt.Sprintf("it is not known what %s has of %s: %s (sluice status %s --refresh asks it)", l.Host, clean.Line(m.App), l.Why, l.Last))
	}
	if len(g.Fresh) > 0 {
		list := fleet.Fold(g.Fresh)
		out = append(out, fmt.Sprintf("the configuration of %s for %s was not frozen: --common gives the one that most hosts have; or sluice deploy %s@%s --env %s -w %s",
			clean.Line(m.App), list, clean.Line(m.App), clean.Line(m.Release.Version), clean.Line(m.Release.Env), list))
	}
	return out
}

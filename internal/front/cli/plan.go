package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/plan"
	"sluice/internal/core/release"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
	"sluice/internal/run/control"
)

// planJSON is the machine form of a plan.
type planJSON struct {
	Tracks      []planTrack      `json:"tracks"`
	Constraints []planConstraint `json:"constraints"`
	Worst       []planWorst      `json:"worst"`
}

type planTrack struct {
	Name   string      `json:"name"`
	Stages []planStage `json:"stages"`
}

type planStage struct {
	Name        string        `json:"name"`
	Hosts       []sluice.Host `json:"hosts"`
	MaxFailures int           `json:"max_failures,omitzero"`
	Pause       string        `json:"pause,omitzero"`
	Approve     bool          `json:"approve,omitzero"`
}

type planConstraint struct {
	Name     string        `json:"name"`
	Group    string        `json:"group"`
	Limit    sluice.Amount `json:"limit"`
	Capacity int           `json:"capacity"`
	Members  int           `json:"members"`
}

type planWorst struct {
	Tag     sluice.Tag `json:"tag"`
	Members int        `json:"members"`
	Targets int        `json:"targets"`
	Out     int        `json:"out"`
}

func planForm(f *sluice.Fleet, p sluice.Plan) planJSON {
	out := planJSON{Tracks: []planTrack{}, Constraints: []planConstraint{}, Worst: []planWorst{}}
	for _, t := range p.Tracks {
		pt := planTrack{Name: t.Name}
		for _, s := range t.Stages {
			ps := planStage{Name: s.Name, Hosts: s.Hosts, MaxFailures: s.MaxFailures, Approve: s.Gate.Approve}
			if s.Gate.Pause > 0 {
				ps.Pause = s.Gate.Pause.String()
			}
			pt.Stages = append(pt.Stages, ps)
		}
		out.Tracks = append(out.Tracks, pt)
	}
	for _, c := range p.Constraints {
		for _, g := range c.Groups {
			out.Constraints = append(out.Constraints, planConstraint{c.Name, g.Name, g.Limit, g.Limit.Capacity(len(g.Members)), len(g.Members)})
		}
	}
	for _, w := range plan.WorstCase(f, p) {
		out.Worst = append(out.Worst, planWorst{w.Tag, w.Members, w.Targets, w.Out})
	}
	return out
}

func (a *app) planCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "plan -f FLEET -t EXPR",
		Short: "Show what a job would do: stages, constraints, the worst case",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			fl, p, _, err := a.draft(c.Context(), &f)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(planForm(fl, p))
			}
			return a.showPlan(a.Stdout, fl, p)
		},
	}
	f.addRules(c)
	return c
}

// planned shows what a job would do, and does nothing: of a deploy also what changes in the files that are made for hosts.
func (a *app) planned(ctx context.Context, svc control.Desk, r control.Request) error {
	d, err := svc.Prepare(ctx, r)
	if err != nil {
		return err
	}
	changes, err := fileChanges(ctx, svc, d)
	if err != nil {
		return err
	}
	p := d.Plan
	p.Constraints = append(slices.Clip(p.Constraints), ownLimit(r.Options.MaxParallel, d.Job.Targets)...)
	if a.json() {
		return a.printJSON(struct {
			planJSON
			Rendered release.Changes `json:"rendered"`
		}{planForm(d.Fleet, p), changes})
	}
	if len(d.Retired) > 0 {
		fmt.Fprintf(a.Stderr, "sluice: left out, because retired: %s\n", fleet.Fold(d.Retired))
	}
	fmt.Fprintf(a.Stdout, "%s\n", clean.Line(d.Job.Command))
	if err := a.showPlan(a.Stdout, d.Fleet, p); err != nil {
		return err
	}
	return live.Changes(a.Stdout, changes, a.screen())
}

// fileChanges is what a deploy changes in the files that are made for hosts. That a server does not tell is no reason not to deploy.
func fileChanges(ctx context.Context, svc control.Desk, d *control.Draft) (release.Changes, error) {
	changes, err := svc.FileChanges(ctx, d)
	reason := ""
	switch {
	case !svc.Elsewhere():
	case sluice.CodeOf(err) == sluice.Denied:
		reason = "the server does not show it: " + err.Error()
	case sluice.CodeOf(err) == sluice.NotFound:
		reason = "the server cannot say it: " + err.Error()
	}
	if reason != "" {
		return notCompared(d, reason), nil
	}
	return changes, err
}

func notCompared(d *control.Draft, reason string) release.Changes {
	return release.Changes{Files: []release.FileChange{}, Unknown: []release.NotCompared{{Hosts: d.Job.Targets, Reason: reason}}}
}

// ownLimit is the constraint that --max-parallel adds, as it is shown.
func ownLimit(limit *sluice.Amount, targets []sluice.Host) []sluice.Constraint {
	if limit == nil {
		return nil
	}
	return []sluice.Constraint{{Name: "max-parallel", Groups: []sluice.Group{{Name: "max-parallel", Limit: *limit, Members: targets}}}}
}

func (a *app) showPlan(w io.Writer, f *sluice.Fleet, p sluice.Plan) error {
	return live.Plan(w, f, p, plan.WorstCase(f, p), a.screen())
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

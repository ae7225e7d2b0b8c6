package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
	"sluice/internal/core/plan"
	"sluice/internal/core/schedule"
	"sluice/internal/front/spell"
	"sluice/internal/run/control"
)

type toPlan struct {
	Names int `query:"names" minimum:"0" maximum:"100000" default:"100000" doc:"at most so many names in each list; a picture of ten thousand hosts does without"`
	Body  api.Submit
}

type onePlan struct{ Body api.Plan }

func (a *API) addPlan() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "plan-job", Method: http.MethodPost, Path: "/api/v1/plan", Tags: []string{jobTag},
		Summary: "What a job would do", Description: "It takes what submitting takes, and does nothing. What is to run need not be said.",
		MaxBodyBytes: maxSubmit}, planJob)
}

// drafted plans what is asked for, for somebody who may look at it. It returns what works out expressions, too.
func (c caller) drafted(ctx context.Context, s api.Submit) (*control.Draft, *fleet.Loaded, error) {
	desk := c.desk()
	loaded, version, given, err := c.loaded(ctx, desk, s)
	if err != nil {
		return nil, nil, err
	}
	r, err := requestIn(loaded, version, given, s)
	if err != nil {
		return nil, nil, err
	}
	if err := c.may(ctx, r.Fleet.Namespace, r.Targets); err != nil {
		return nil, nil, err
	}
	if err := sameFleet(s.FleetDigest, r); err != nil {
		return nil, nil, err
	}
	d, err := desk.Prepare(ctx, r)
	return d, loaded, err
}

func planJob(ctx context.Context, c caller, in *toPlan) (*onePlan, error) {
	d, _, err := c.drafted(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	out, err := c.planOf(ctx, d, in.Names)
	if err != nil {
		return nil, err
	}
	out.CommandLine, out.Curl = spell.CommandLine(in.Body, d.Request.Sent.Digest != ""), spell.Curl(in.Body)
	return &onePlan{out}, nil
}

// many is how many groups and tags are told of at most where names are left out.
const many = 200

func (c caller) planOf(ctx context.Context, d *control.Draft, names int) (api.Plan, error) {
	out := api.Plan{Namespace: d.Job.Namespace, Targets: first(d.Job.Targets, names), Tracks: []api.Track{}, Constraints: []api.Constraint{},
		Retired: first(d.Retired, names), Gone: first(d.Gone, names), Count: len(d.Job.Targets), RetiredCount: len(d.Retired),
		ClearsCount: len(d.Clears), Asks: d.Asks(), FleetDigest: d.Request.Sent.Digest}
	for _, t := range d.Plan.Tracks {
		track := api.Track{Name: t.Name, Stages: []api.Stage{}}
		for _, s := range t.Stages {
			stage := api.Stage{Name: s.Name, Hosts: first(s.Hosts, names), Count: len(s.Hosts), Entry: s.Entry, MaxFailures: s.MaxFailures,
				Approve: s.Gate.Approve}
			if s.Gate.Pause > 0 {
				stage.Pause = s.Gate.Pause.String()
			}
			track.Stages = append(track.Stages, stage)
		}
		out.Tracks = append(out.Tracks, track)
	}
	for _, h := range d.Clears[:min(len(d.Clears), names)] {
		out.Clears = append(out.Clears, holderOf(h))
	}
	hosts, err := c.desk().Out(ctx, d.Job.Namespace)
	if err != nil {
		return out, err
	}
	own := d.Plan
	own.Constraints = withOwn(d)
	out.Constraints = limitsOf(own.Constraints, d.Job.Targets, hosts)
	for _, w := range plan.WorstCase(d.Fleet, own) {
		out.Worst = append(out.Worst, api.WorstCase{Tag: w.Tag, Members: w.Members, Targets: w.Targets, Out: w.Out})
	}
	if names < fleet.MaxHosts {
		out.Constraints, out.MoreConstraints = tightest(out.Constraints)
		out.Worst, out.MoreWorst = first(out.Worst, many), max(0, len(out.Worst)-many)
	}
	if d.Request.Sent.Digest != "" {
		_, v, err := c.desk().Fleet(ctx, d.Job.Namespace)
		if err == nil && v.Bundle == d.Request.Sent.Digest {
			out.FleetVersion = v.Version
		}
	}
	return out, nil
}

// withOwn are the constraints of a plan, and the one that the job brings along itself.
func withOwn(d *control.Draft) []sluice.Constraint {
	limit := d.Job.Options.MaxParallel
	if limit == nil {
		return d.Plan.Constraints
	}
	return append(slices.Clip(d.Plan.Constraints), sluice.Constraint{Name: "max-parallel",
		Groups: []sluice.Group{{Name: "max-parallel", Limit: *limit, Members: d.Job.Targets}}})
}

func limitsOf(constraints []sluice.Constraint, targets []sluice.Host, hosts []schedule.HostInfo) []api.Constraint {
	is, out := setOf(targets), outOfService(hosts)
	list := []api.Constraint{}
	for _, c := range constraints {
		for _, g := range c.Groups {
			l := api.Constraint{Name: c.Name, Group: g.Name, Limit: g.Limit.String(), Capacity: g.Limit.Capacity(len(g.Members)), Members: len(g.Members)}
			for _, h := range g.Members {
				if is[h] {
					l.Targets++
				}
				if out[h] {
					l.Out++
				}
			}
			list = append(list, l)
		}
	}
	return list
}

// tightest are those that hold a job back most: that let fewest of its hosts go at once.
func tightest(list []api.Constraint) ([]api.Constraint, int) {
	if len(list) <= many {
		return list, 0
	}
	turns := func(c api.Constraint) int { return c.Targets * 1000 / max(c.Capacity-c.Out, 1) }
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(turns(list[b]), turns(list[a])) })
	kept := order[:many]
	slices.Sort(kept)
	out := make([]api.Constraint, many)
	for i, k := range kept {
		out[i] = list[k]
	}
	return out, len(list) - many
}

// first are the first n of a list, never nil.
func first[T any](list []T, n int) []T {
	if len(list) == 0 {
		return []T{}
	}
	return list[:min(n, len(list))]
}

func setOf(hosts []sluice.Host) map[sluice.Host]bool {
	is := make(map[sluice.Host]bool, len(hosts))
	for _, h := range hosts {
		is[h] = true
	}
	return is
}

// outOfService are the hosts that take up capacity.
func outOfService(hosts []schedule.HostInfo) map[sluice.Host]bool {
	out := map[sluice.Host]bool{}
	for _, h := range hosts {
		if !h.Retired {
			out[h.Host] = true
		}
	}
	return out
}

// some tells of hosts in few words.
func some(hosts []sluice.Host) api.Some {
	const within = 300
	text, more := fleet.FoldSome(hosts, within)
	return api.Some{Count: len(hosts), Text: text, More: more}
}

package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
	"sluice/internal/run/control"
)

type toPlan struct{ Body api.Submit }

type onePlan struct{ Body api.Plan }

func (a *API) addPlan() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "plan-job", Method: http.MethodPost, Path: "/api/v1/plan", Tags: []string{jobTag},
		Summary: "What a job would do", Description: "It takes what submitting takes, and does nothing. What is to run need not be said.",
		MaxBodyBytes: fleet.MaxBundle + maxBody}, planJob)
}

func planJob(ctx context.Context, c caller, in *toPlan) (*onePlan, error) {
	desk := c.desk()
	r, _, err := c.request(ctx, desk, in.Body)
	if err != nil {
		return nil, err
	}
	if err := c.may(ctx, r.Fleet.Namespace, r.Targets); err != nil {
		return nil, err
	}
	if err := sameFleet(in.Body.FleetDigest, r); err != nil {
		return nil, err
	}
	d, err := desk.Prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	return &onePlan{planOf(d)}, nil
}

func planOf(d *control.Draft) api.Plan {
	out := api.Plan{Namespace: d.Job.Namespace, Targets: d.Job.Targets, Tracks: []api.Track{}, Constraints: []api.Constraint{},
		Retired: d.Retired, Gone: d.Gone}
	for _, t := range d.Plan.Tracks {
		track := api.Track{Name: t.Name, Stages: []api.Stage{}}
		for _, s := range t.Stages {
			stage := api.Stage{Name: s.Name, Hosts: s.Hosts, MaxFailures: s.MaxFailures, Approve: s.Gate.Approve}
			if s.Gate.Pause > 0 {
				stage.Pause = s.Gate.Pause.String()
			}
			track.Stages = append(track.Stages, stage)
		}
		out.Tracks = append(out.Tracks, track)
	}
	for _, c := range d.Plan.Constraints {
		for _, g := range c.Groups {
			out.Constraints = append(out.Constraints, api.Constraint{Name: c.Name, Group: g.Name, Limit: g.Limit.String(),
				Capacity: g.Limit.Capacity(len(g.Members)), Members: len(g.Members)})
		}
	}
	for _, h := range d.Clears {
		out.Clears = append(out.Clears, holderOf(h))
	}
	return out
}

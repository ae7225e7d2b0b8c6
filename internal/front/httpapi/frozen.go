package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/live"
	"sluice/internal/front/spell"
	"sluice/internal/run/control"
)

type oneFrozen struct{ Body api.Frozen }

func (a *API) addFrozen() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job-release", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/release", Tags: []string{jobTag},
		Summary: "What a job deploys, or brings hosts back to", Errors: []int{http.StatusNotFound},
		Description: "As it was frozen when the job was submitted, and which pieces of it the server keeps: a deploy of the same takes all of them."}, getFrozen)
}

func getFrozen(ctx context.Context, c caller, in *ByID) (*oneFrozen, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, err := deploying(ctx, desk, id)
	if err != nil {
		return nil, err
	}
	validation, err := c.validation(ctx, desk, j)
	if err != nil {
		return nil, err
	}
	out := &oneFrozen{api.Frozen{Job: id, Namespace: j.Namespace, Kind: string(j.Action.Kind), Release: shownRelease(j.Action.Release), Validation: validation}}
	if j.Action.Kind == sluice.RollBack {
		out.Body.Back = goesBack(j.Action.Back)
		return out, nil
	}
	if out.Body.Pieces, err = piecesOf(ctx, desk, j.Action.Release); err != nil {
		return nil, err
	}
	if j.Action.Release.Config != "" {
		out.Body.Rendered = j.Targets
	}
	_, _, err = desk.Fleet(ctx, j.Namespace)
	out.Body.CommandLine = spell.CommandLine(wantOf(j), err == nil)
	return out, nil
}

// validation is what is said of a release in the list of releases.
func (c caller) validation(ctx context.Context, desk *control.Service, j *sluice.Job) (*api.Validation, error) {
	if j.Action.Validation() == nil {
		return nil, nil
	}
	f := ReleaseFilter{Namespace: string(j.Namespace), App: j.Action.Release.App, Env: j.Action.Release.Env}
	spaces, q, err := c.lookFor(ctx, &f)
	if err != nil {
		return nil, err
	}
	list, _, err := desk.ReleasesIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Job == j.ID {
			return validationOf(r.Validated), nil
		}
	}
	return nil, nil
}

// deploying is the job, if it is one of a release.
func deploying(ctx context.Context, desk control.Desk, id sluice.JobID) (*sluice.Job, error) {
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	if !live.Deploys(i.Spec) {
		return nil, sluice.Errorf(sluice.NotFound, "job %s deploys nothing", id).WithHint("sluice jobs")
	}
	return i.Spec, nil
}

// shownRelease leaves out how hosts of balancers, and those that validate it, are reached: that is the fleet's, and takes the right to see it.
func shownRelease(r *sluice.Release) sluice.Release {
	out := *r
	out.Deploy.Balancers = slices.Clone(out.Deploy.Balancers)
	for i := range out.Deploy.Balancers {
		out.Deploy.Balancers[i].SSH = sluice.SSH{}
	}
	if out.Validating != nil {
		out.Validating = &sluice.Validating{Hosts: out.Validating.Hosts}
	}
	return out
}

func goesBack(back map[sluice.Host]sluice.Installed) []api.GoesBack {
	by := map[sluice.Installed][]sluice.Host{}
	for h, to := range back {
		by[to] = append(by[to], h)
	}
	out := make([]api.GoesBack, 0, len(by))
	for to, hosts := range by {
		slices.Sort(hosts)
		out = append(out, api.GoesBack{Installed: to, Hosts: hosts})
	}
	slices.SortFunc(out, func(a, b api.GoesBack) int {
		return cmp.Or(cmp.Compare(len(b.Hosts), len(a.Hosts)), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Manifest, b.Manifest), cmp.Compare(a.Config, b.Config))
	})
	return out
}

// piecesOf says which pieces of a release are kept. Only of a job that one may see: whether something of a digest is kept is not
// told to whoever guesses one. And only looked at: who may see a job decides nothing about what is kept, nor for how long.
func piecesOf(ctx context.Context, desk *control.Service, r *sluice.Release) ([]api.Piece, error) {
	out := []api.Piece{{What: "archive", Digest: r.Artifact}, {What: "manifest", Digest: r.Manifest}}
	if r.Config != "" {
		out = append(out, api.Piece{What: "configuration", Digest: r.Config})
	}
	for i := range out {
		size, err := desk.KeptSize(ctx, out[i].Digest)
		switch {
		case err == nil:
			out[i].Kept, out[i].Size = true, size
		case sluice.CodeOf(err) != sluice.NotFound:
			return nil, err
		}
	}
	return out, nil
}

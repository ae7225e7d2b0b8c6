package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
)

type toCompare struct{ Body api.Submit }

type fileChanges struct{ Body api.RenderedChanges }

func (a *API) addFileChanges() {
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "plan-files", Method: http.MethodPost, Path: "/api/v1/plan/files", Tags: []string{jobTag},
		Summary: "What a deploy would change in the files of its hosts", Errors: []int{http.StatusNotFound}, MaxBodyBytes: maxSubmit,
		Description: "It takes what submitting a deploy takes, and does nothing. Rendered templates and the configuration are compared with those of what is live on each " +
			"host, as jobs on record deployed it: no host is asked, and nothing is opened that is sealed. The same change is told once, with its hosts. " +
			"It takes the right to see output of the hosts, too, and the read is noted in the audit, once in five minutes."}, planFiles)
}

// planFiles takes the rights of who deploys: who names a configuration by its digest sees what is in it.
func planFiles(ctx context.Context, c caller, in *toCompare) (*fileChanges, error) {
	desk := c.desk()
	r, _, err := c.wanted(ctx, desk, in.Body)
	if err != nil {
		return nil, err
	}
	if err := sameFleet(in.Body.FleetDigest, r); err != nil {
		return nil, err
	}
	c.right = sluice.SeeOutput
	if err := c.may(ctx, r.Fleet.Namespace, r.Targets); err != nil {
		return nil, err
	}
	d, err := desk.Prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	found, err := desk.FileChanges(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := c.reads(ctx, r.Fleet.Namespace); err != nil {
		return nil, err
	}
	out := &fileChanges{api.RenderedChanges{Files: []api.RenderedChange{}, Same: found.Same}}
	for _, f := range found.Files {
		out.Body.Files = append(out.Body.Files, api.RenderedChange(f))
	}
	for _, m := range found.More {
		out.Body.More = append(out.Body.More, api.MoreRendered(m))
	}
	for _, u := range found.Unknown {
		out.Body.Unknown = append(out.Body.Unknown, api.NotCompared(u))
	}
	return out, nil
}

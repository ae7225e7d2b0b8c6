package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/validate"
	"sluice/internal/run/control"
)

const releaseTag = "releases"

// ReleaseFilter says of what. It is exported for huma, which cannot fill in an embedded type that is not.
type ReleaseFilter struct {
	Namespace string `query:"namespace" maxLength:"64"`
	App       string `query:"app" maxLength:"128"`
	Env       string `query:"env" maxLength:"128" doc:"the environment"`
}

type liveQuery struct {
	ReleaseFilter
	At time.Time `query:"at" doc:"what was live then, as far as it was known then; now, if it is not there"`
}

type releaseList struct {
	ReleaseFilter
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"64" doc:"what the last page gave as next"`
}

type liveHosts struct {
	Body struct {
		Live       []api.Live         `json:"live" doc:"by app, environment, namespace and host"`
		Unreadable []sluice.Namespace `json:"unreadable,omitempty" doc:"namespaces that cannot be read now"`
	}
}

type releasePage struct {
	Body struct {
		Releases   []api.Released     `json:"releases" doc:"newest first"`
		Next       string             `json:"next,omitempty" doc:"the cursor of the next page; there is none after the last"`
		Unreadable []sluice.Namespace `json:"unreadable,omitempty" doc:"namespaces that cannot be read now"`
	}
}

type latencyQuery struct {
	ReleaseFilter
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"days or weeks of each app"`
}

type latencyList struct {
	Body struct {
		Latencies  []api.Latency      `json:"latencies" doc:"by app, environment and namespace, newest first; without the days or weeks in which nothing was released"`
		Unreadable []sluice.Namespace `json:"unreadable,omitempty" doc:"namespaces that cannot be read now"`
	}
}

func (a *API) addReleases() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-live", Method: http.MethodGet, Path: "/api/v1/live", Tags: []string{releaseTag},
		Summary: "What is live on which host", Description: "As hosts proved it at the end of attempts; nobody is asked now. Hosts that are retired are left out."}, listLive)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-releases", Method: http.MethodGet, Path: "/api/v1/releases", Tags: []string{releaseTag},
		Summary: "List deploys and rollbacks, newest first"}, listReleases)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-latencies", Method: http.MethodGet, Path: "/api/v1/latencies", Tags: []string{releaseTag},
		Summary: "How long it took from commit to live, over time", Description: "By day, where all releases of an app in an environment are of 14 days, else by week."}, listLatencies)
}

// lookFor is where the caller may look, and what for.
func (c caller) lookFor(ctx context.Context, f *ReleaseFilter) ([]control.Space, control.LiveQuery, error) {
	q := control.LiveQuery{Namespace: sluice.Namespace(f.Namespace), App: f.App, Env: f.Env}
	list, err := c.visible(ctx, q.Namespace)
	if err != nil {
		return nil, q, err
	}
	spaces, err := c.spaces(ctx, &JobFilter{}, list)
	return spaces, q, err
}

func listLive(ctx context.Context, c caller, in *liveQuery) (*liveHosts, error) {
	spaces, q, err := c.lookFor(ctx, &in.ReleaseFilter)
	if err != nil {
		return nil, err
	}
	q.At = in.At
	list, lost, err := c.api.cfg.Lists.LiveIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	out := &liveHosts{}
	out.Body.Live, out.Body.Unreadable = make([]api.Live, len(list)), lost
	for i, l := range list {
		out.Body.Live[i] = liveOf(l)
	}
	return out, nil
}

func liveOf(l control.Live) api.Live {
	word, reason := l.Told()
	return api.Live{Namespace: l.Namespace, App: l.App, Env: l.Env, Host: l.Host, State: word, Reason: reason, Failed: l.Failed,
		Version: l.Live.Version, Config: l.Config, Manifest: l.Live.Manifest, Commit: l.Commit, Job: l.Job, By: l.By, Since: moment(l.Since),
		Before: l.Before.Version, Origin: l.Origin, Last: l.Last, Until: l.Until}
}

func listReleases(ctx context.Context, c caller, in *releaseList) (*releasePage, error) {
	spaces, q, err := c.lookFor(ctx, &in.ReleaseFilter)
	if err != nil {
		return nil, err
	}
	list, lost, err := c.api.cfg.Lists.ReleasesIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	if in.Cursor != "" {
		at := slices.IndexFunc(list, func(r control.Released) bool { return string(r.Job) == in.Cursor })
		if at < 0 {
			return nil, sluice.Errorf(sluice.Usage, "cursor: there is no page that begins at %q", in.Cursor)
		}
		list = list[at+1:]
	}
	out := &releasePage{}
	out.Body.Releases, out.Body.Unreadable = []api.Released{}, lost
	for i, r := range list {
		if i == in.Limit {
			out.Body.Next = string(list[i-1].Job)
			break
		}
		out.Body.Releases = append(out.Body.Releases, releasedOf(r))
	}
	return out, nil
}

func listLatencies(ctx context.Context, c caller, in *latencyQuery) (*latencyList, error) {
	spaces, q, err := c.lookFor(ctx, &in.ReleaseFilter)
	if err != nil {
		return nil, err
	}
	list, lost, err := c.api.cfg.Lists.LatenciesIn(ctx, spaces, q, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &latencyList{}
	out.Body.Latencies, out.Body.Unreadable = make([]api.Latency, len(list)), lost
	for i, l := range list {
		out.Body.Latencies[i] = api.Latency{Namespace: l.Namespace, App: l.App, Env: l.Env, From: l.From, Days: l.Days, Releases: l.Releases,
			Hosts: l.Hosts, LatencyMS: l.P50.Milliseconds(), LatencyP99MS: l.P99.Milliseconds()}
	}
	return out, nil
}

func releasedOf(r control.Released) api.Released {
	state := string(r.State)
	if r.State == "halting" {
		state = "running"
	}
	return api.Released{Namespace: r.Namespace, Job: r.Job, Kind: r.Kind, App: r.App, Env: r.Env, Version: r.Version, Config: r.Config, Commit: r.Commit,
		By: r.By, Submitted: r.Submitted, Ended: moment(r.Ended), State: state, Hosts: r.Targets, Changed: r.Changed, Failed: r.Failed, Live: r.On, Until: r.Until,
		Validation: validationOf(r.Validated), Measured: r.Hosts, LatencyMS: r.P50.Milliseconds(), LatencyP99MS: r.P99.Milliseconds()}
}

func validationOf(r *validate.Result) *api.Validation {
	if r == nil {
		return nil
	}
	return &api.Validation{State: string(r.State), Job: r.Job, Reason: r.Reason}
}

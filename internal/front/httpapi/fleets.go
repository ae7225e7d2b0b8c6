package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/fleet"
	"sluice/internal/run/control"
)

const fleetTag = "fleets"

type toApply struct {
	InNamespace
	Body struct {
		Fleet any    `json:"fleet" doc:"all that it is loaded from: the form that sluice fleet show -o json prints"`
		Note  string `json:"note,omitempty" maxLength:"1000" doc:"what has changed, and why"`
		Base  *int   `json:"base,omitempty" minimum:"0" doc:"the version that the change was made from: another one that is current by now is a conflict. Without it, whatever is there is replaced"`
	}
}

type oneFleet struct{ Body api.Fleet }

type fleetList struct {
	Body struct {
		Fleets []api.Fleet `json:"fleets" doc:"oldest first"`
	}
}

type fleetQuery struct {
	InNamespace
	Version int       `query:"version" minimum:"0" doc:"0: the current one, or that of at"`
	At      time.Time `query:"at" doc:"the version that was current then"`
}

func (a *API) addFleets() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/namespaces/{namespace}" + path, Tags: []string{fleetTag},
			Summary: summary, Errors: errors}
	}
	apply := op("apply-fleet", http.MethodPut, "/fleet", "Make a fleet the current one of its namespace", http.StatusConflict)
	apply.MaxBodyBytes = fleet.MaxBundle + maxBody
	route(a, sluice.ApplyFleet, apply, applyFleet)
	route(a, sluice.SeeFleet, op("get-fleet", http.MethodGet, "/fleet", "A version of the fleet of a namespace", http.StatusNotFound), getFleet)
	route(a, sluice.SeeFleet, huma.Operation{OperationID: "list-namespaces", Method: http.MethodGet, Path: "/api/v1/namespaces", Tags: []string{fleetTag},
		Summary: "The namespaces whose fleets one may see", Description: "Those that have a fleet or jobs, or that a grant of one's own names."}, listNamespaces)
	route(a, sluice.SeeFleet, op("list-fleets", http.MethodGet, "/fleet/versions", "All versions of the fleet of a namespace"), listFleets)
}

func fleetOf(v control.Applied) api.Fleet {
	return api.Fleet{Namespace: v.Namespace, Version: v.Version, Digest: v.Bundle, Rules: v.Rules, Hosts: v.Hosts, By: v.By, Time: v.Time,
		Note: v.Note, Unchanged: v.Same}
}

type namespaceList struct {
	Body struct {
		Namespaces []sluice.Namespace `json:"namespaces" doc:"by name"`
	}
}

// listNamespaces has those, too, in which nothing was done yet, where a grant names them: a first job can be made there.
func listNamespaces(ctx context.Context, c caller, _ *struct{}) (*namespaceList, error) {
	list, err := c.visible(ctx, "")
	if err != nil {
		return nil, err
	}
	_, named, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right)
	if err != nil {
		return nil, err
	}
	out := &namespaceList{}
	out.Body.Namespaces = slices.Compact(slices.Sorted(slices.Values(slices.Concat([]sluice.Namespace{}, list, named))))
	if out.Body.Namespaces == nil {
		out.Body.Namespaces = []sluice.Namespace{}
	}
	return out, nil
}

// applyFleet needs the right for the whole namespace: rules are for all its hosts.
func applyFleet(ctx context.Context, c caller, in *toApply) (*oneFleet, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.ask(ctx, access.Ask{Right: c.right, Namespace: ns}); err != nil {
		return nil, err
	}
	data, err := json.Marshal(in.Body.Fleet)
	if err != nil {
		return nil, err
	}
	b, err := fleet.DecodeBundle(data)
	if err != nil {
		return nil, err
	}
	loaded, err := b.Load()
	if err != nil {
		return nil, err
	}
	if is := loaded.Fleet().Namespace; is != ns {
		return nil, sluice.Errorf(sluice.Usage, "the fleet is for the namespace %s, not for %s", is, ns)
	}
	base := -1
	if in.Body.Base != nil {
		base = *in.Body.Base
	}
	v, err := c.desk().ApplyFleet(ctx, b, in.Body.Note, base)
	if err != nil {
		return nil, err
	}
	return &oneFleet{fleetOf(v)}, nil
}

func getFleet(ctx context.Context, c caller, in *fleetQuery) (*oneFleet, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	b, v, err := c.desk().FleetAt(ctx, ns, control.FleetAt{Version: in.Version, Time: in.At})
	if err != nil {
		return nil, err
	}
	out := fleetOf(v)
	out.Fleet = b
	return &oneFleet{out}, nil
}

func listFleets(ctx context.Context, c caller, in *InNamespace) (*fleetList, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	list, err := c.desk().Fleets(ctx, ns)
	if err != nil {
		return nil, err
	}
	out := &fleetList{}
	out.Body.Fleets = make([]api.Fleet, len(list))
	for i, v := range list {
		out.Body.Fleets[i] = fleetOf(v)
	}
	return out, nil
}

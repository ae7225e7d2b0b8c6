package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

// Workers are those of the server.
type Workers interface {
	List(ctx context.Context) ([]api.Worker, error)
	Invite(ctx context.Context, by sluice.Principal, name sluice.WorkerName, pools []sluice.Pool) (api.Invitation, error)
	Drain(ctx context.Context, by sluice.Principal, name sluice.WorkerName, off bool) error
	Remove(ctx context.Context, by sluice.Principal, name sluice.WorkerName) error
}

const workerTag = "workers"

type workerList struct {
	Body struct {
		Workers []api.Worker `json:"workers"`
	}
}

// ByWorker names a worker.
type ByWorker struct {
	Name string `path:"name" maxLength:"63" doc:"name of a worker"`
}

type toInvite struct {
	ByWorker
	Body struct {
		Pools []sluice.Pool `json:"pools,omitempty" maxItems:"100" doc:"to which it belongs; none: default"`
	}
}

type invitation struct{ Body api.Invitation }

func (a *API) addWorkers() {
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/api/v1/workers" + path, Tags: []string{workerTag}, Summary: summary, Errors: errors}
	}
	route(a, sluice.SeeServer, op("list-workers", http.MethodGet, "", "All workers, with load and health"), listWorkers)
	route(a, sluice.RunServer, op("invite-worker", http.MethodPost, "/{name}/invite", "Let a worker enrol, once"), inviteWorker)
	act := func(do func(context.Context, Workers, sluice.Principal, sluice.WorkerName) error) func(context.Context, caller, *ByWorker) (*done, error) {
		return func(ctx context.Context, c caller, in *ByWorker) (*done, error) { return actOnWorker(ctx, c, in, do) }
	}
	route(a, sluice.RunServer, op("drain-worker", http.MethodPost, "/{name}/drain", "Give a worker nothing new", http.StatusNotFound),
		act(func(ctx context.Context, w Workers, by sluice.Principal, name sluice.WorkerName) error {
			return w.Drain(ctx, by, name, false)
		}))
	route(a, sluice.RunServer, op("undrain-worker", http.MethodPost, "/{name}/undrain", "Give a worker attempts again", http.StatusNotFound),
		act(func(ctx context.Context, w Workers, by sluice.Principal, name sluice.WorkerName) error {
			return w.Drain(ctx, by, name, true)
		}))
	route(a, sluice.RunServer, op("remove-worker", http.MethodDelete, "/{name}", "Refuse a worker from now on", http.StatusNotFound),
		act(func(ctx context.Context, w Workers, by sluice.Principal, name sluice.WorkerName) error {
			return w.Remove(ctx, by, name)
		}))
}

// workers asks for the route's right, which is one for the server as a whole.
func (c caller) workers(ctx context.Context) (Workers, error) {
	if err := c.ask(ctx, access.Ask{Right: c.right}); err != nil {
		return nil, err
	}
	if c.api.cfg.Workers == nil {
		return nil, sluice.Errorf(sluice.Config, "this server has no workers")
	}
	return c.api.cfg.Workers, nil
}

func listWorkers(ctx context.Context, c caller, _ *struct{}) (*workerList, error) {
	w, err := c.workers(ctx)
	if err != nil {
		return nil, err
	}
	list, err := w.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &workerList{}
	out.Body.Workers = append([]api.Worker{}, list...)
	return out, nil
}

func inviteWorker(ctx context.Context, c caller, in *toInvite) (*invitation, error) {
	w, err := c.workers(ctx)
	if err != nil {
		return nil, err
	}
	name, err := sluice.ParseWorkerName(in.Name)
	if err != nil {
		return nil, err
	}
	i, err := w.Invite(ctx, c.Principal, name, in.Body.Pools)
	if err != nil {
		return nil, err
	}
	return &invitation{i}, nil
}

func actOnWorker(ctx context.Context, c caller, in *ByWorker, do func(context.Context, Workers, sluice.Principal, sluice.WorkerName) error) (*done, error) {
	w, err := c.workers(ctx)
	if err != nil {
		return nil, err
	}
	if err := do(ctx, w, c.Principal, sluice.WorkerName(in.Name)); err != nil {
		return nil, err
	}
	return isDone(), nil
}

package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/balance"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
)

type hostQuery struct {
	InNamespace
	Host   string `path:"host" maxLength:"255"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"20" doc:"at most so many jobs"`
	Cursor string `query:"cursor" maxLength:"64" doc:"what the last page gave as next"`
}

type (
	oneHost  struct{ Body api.Host }
	oneTask  struct{ Body api.HostTask }
	taskPath struct {
		ByID
		Host string `path:"host" maxLength:"255"`
	}
)

func (a *API) addOnHost() {
	// Not at hosts/{host}: beside hosts/out and hosts/complete, hosts of these names could not be seen.
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-host", Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/hosts/{host}/now",
		Tags: []string{"hosts"}, Summary: "What is known of a host, and the jobs on it", Errors: []int{http.StatusNotFound},
		Description: "What the fleet says of it is there for those who have the right fleet.see, too."}, getHost)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-host-task", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}",
		Tags: []string{jobTag}, Summary: "All attempts of a job on a host", Errors: []int{http.StatusNotFound}}, getHostTask)
}

func getHost(ctx context.Context, c caller, in *hostQuery) (*oneHost, error) {
	ns, h := sluice.Namespace(in.Namespace), sluice.Host(in.Host)
	if err := c.may(ctx, ns, []sluice.Host{h}); err != nil {
		return nil, err
	}
	now, err := c.api.cfg.Lists.Host(ctx, ns, h, sluice.JobID(in.Cursor), in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &oneHost{api.Host{Namespace: ns, Host: h, Limits: []api.HostLimit{}, Jobs: []api.HostJob{}}}
	if err := c.fleetSays(ctx, &out.Body); err != nil {
		return nil, err
	}
	if !now.Known && !out.Body.InFleet {
		return nil, sluice.Errorf(sluice.NotFound, "there is no host %.80q in the namespace %s", h, ns).WithHint("sluice hosts -t all")
	}
	if o := now.Out; o != nil {
		out.Body.Out = &api.HostOut{Holder: holderOf(o.Holder), Held: o.Held, Retired: o.Retired, By: o.By, Reason: o.Reason, Unknown: o.Unknown, Running: o.Running}
	}
	for _, g := range now.Groups {
		l := api.HostLimit{Constraint: g.Constraint, Group: g.Name, Limit: g.Limit.String(), Capacity: g.Capacity, Members: g.Members, Running: g.Running, Out: g.Out, Holders: []api.Holder{}}
		for _, holder := range g.Holders {
			l.Holders = append(l.Holders, holderOf(holder))
		}
		out.Body.Limits = append(out.Body.Limits, l)
	}
	if len(now.Visits) > in.Limit {
		now.Visits = now.Visits[:in.Limit]
		out.Body.Next = now.Visits[in.Limit-1].Job
	}
	for _, v := range now.Visits {
		out.Body.Jobs = append(out.Body.Jobs, api.HostJob{Job: v.Job, Command: v.Command, By: v.By, Submitted: v.Submitted, ReadOnly: v.ReadOnly,
			JobState: string(v.State), State: standsAt(v.Task), Attempts: v.Try})
	}
	return out, nil
}

// standsAt is where a task stands, in one word.
func standsAt(t schedule.Task) string {
	switch {
	case t.Running:
		return "running"
	case t.Pending || t.Outcome == "":
		return "waiting"
	}
	return string(t.Outcome)
}

// fleetSays fills in what the fleet says of a host, for those who may know.
func (c caller) fleetSays(ctx context.Context, h *api.Host) error {
	m, err := c.would(ctx, "", access.Ask{Right: sluice.SeeFleet, Namespace: h.Namespace, Hosts: []sluice.Host{h.Host}})
	if err != nil {
		return err
	}
	if !m.May {
		h.NoFleet = m.Why
		return nil
	}
	loaded, _, err := c.desk().Fleet(ctx, h.Namespace)
	if sluice.CodeOf(err) == sluice.NotFound {
		h.NoFleet = "no fleet was applied to the namespace"
		return nil
	}
	if err != nil {
		return err
	}
	f := loaded.Fleet()
	if h.InFleet = slices.Contains(f.Hosts, h.Host); !h.InFleet {
		return nil
	}
	for _, s := range fleet.Stand(f, []sluice.Host{h.Host}) {
		h.Tags, h.Address, h.Port, h.User, h.Pool = s.Tags, s.SSH.Address, s.SSH.Port, s.SSH.User, string(s.SSH.Pool)
	}
	return nil
}

func getHostTask(ctx context.Context, c caller, in *taskPath) (*oneTask, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	t, stage, removed, err := c.api.cfg.Lists.Task(ctx, string(id), sluice.Host(in.Host))
	if err != nil {
		return nil, err
	}
	out := &oneTask{api.HostTask{Job: id, Namespace: i.Spec.Namespace, Command: i.Spec.Command, Host: t.Host, Attempts: []api.Attempt{}, Track: stage.Track, Stage: stage.Name}}
	switch {
	case t.Running:
		out.Body.State = "running"
	case t.Outcome == "":
		out.Body.State = "waiting"
	default:
		out.Body.State = string(t.Outcome)
	}
	if removed != nil {
		out.Body.Removed = removed.Reason
	}
	for _, a := range t.Attempts() {
		one := attemptOf(&a)
		for stream, to := range map[string]*int64{"stdout": &one.Stdout, "stderr": &one.Stderr} {
			if *to, err = c.api.cfg.Lists.Outputs.Size(id, a.ID, stream); err != nil {
				return nil, err
			}
		}
		out.Body.Attempts = append(out.Body.Attempts, one)
	}
	return out, nil
}

func attemptOf(a *view.Attempt) api.Attempt {
	out := api.Attempt{ID: a.ID, Number: a.Number(), Began: a.Began, Ended: moment(a.Ended), Running: a.Running, Outcome: a.Outcome, Exit: a.ExitCode, DurationMS: a.Took.Milliseconds(),
		Reason: clean.Line(a.Reason), NotStarted: a.NotStarted, Truncated: a.Truncated, Leftovers: a.Leftovers}
	if a.Running { // it may have ended before, and be tried again
		out.Ended, out.Outcome, out.Exit, out.DurationMS, out.Reason = nil, "", nil, 0, ""
	}
	for _, s := range a.Steps {
		out.Steps = append(out.Steps, api.Step{Name: clean.Line(s.Step), Exit: s.ExitCode, DurationMS: s.DurationMS})
	}
	for _, b := range a.Balanced {
		out.Balancers = append(out.Balancers, api.Balanced{Balancer: clean.Line(b.Balancer), Pool: clean.Line(b.Pool), Server: clean.Line(b.Server), Wanted: b.Wanted, State: b.State,
			Cut: b.Cut, WaitedMS: b.WaitedMS, Error: clean.Line(b.Error), Text: clean.Line(balance.Told(b))})
	}
	return out
}

package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/act"
)

type mayQuery struct {
	Namespace string   `query:"namespace" maxLength:"64" doc:"where; the server as a whole, if it is not there"`
	Hosts     []string `query:"host,explode" maxItems:"100" doc:"the hosts that it is about; all of the namespace, if it is not there"`
}

type mayList struct {
	Body struct {
		May []api.May `json:"may"`
	}
}

// controlsOfJob are what one can do to a job, with the right that the route of each takes.
var controlsOfJob = []struct {
	do    string
	right sluice.Right
}{{"halt", sluice.HaltJob}, {"cancel", sluice.ControlJob}, {"resume", sluice.ControlJob}, {"retry", sluice.ControlJob}, {"settle", sluice.ControlJob},
	{"skip", sluice.ControlJob}, {"approve", sluice.ApproveJob}, {"output", sluice.SeeOutput}}

func (a *API) addMay() {
	const looks = " Asking is no attempt: what one may not do is not noted as a refusal."
	route(a, "", huma.Operation{OperationID: "ask-rights", Method: http.MethodGet, Path: "/api/v1/may", Tags: []string{accessTag},
		Summary: "Which rights one has somewhere, and why not the others", Description: "By the same rules as when it is done." + looks}, mayThere)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "ask-controls", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/may", Tags: []string{jobTag},
		Summary: "What one may do to a job, and why not the rest", Errors: []int{http.StatusNotFound},
		Description: "By the same rules as when it is done. Whether there is anything to do, such as something to resume, is another question." + looks}, mayJob)
}

func mayThere(ctx context.Context, c caller, in *mayQuery) (*mayList, error) {
	ask := access.Ask{Namespace: sluice.Namespace(in.Namespace)}
	for _, h := range in.Hosts {
		ask.Hosts = append(ask.Hosts, sluice.Host(h))
	}
	out := &mayList{}
	for _, r := range sluice.Rights() {
		ask.Right = r
		m, err := c.would(ctx, string(r), ask)
		if err != nil {
			return nil, err
		}
		out.Body.May = append(out.Body.May, m)
	}
	return out, nil
}

func mayJob(ctx context.Context, c caller, in *ByID) (*mayList, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	known := map[sluice.Right]api.May{} // several take the same one
	out := &mayList{}
	for _, one := range controlsOfJob {
		m, asked := known[one.right]
		if !asked {
			if m, err = c.would(ctx, one.do, access.Ask{Right: one.right, Namespace: i.Spec.Namespace, Hosts: i.Spec.Targets}); err != nil {
				return nil, err
			}
			known[one.right] = m
		}
		m.Do = one.do
		if one.do == "approve" && m.May {
			if err := act.Approves(string(c.Principal), i.Spec); err != nil {
				m.May, m.Why = false, err.Error()
			}
		}
		out.Body.May = append(out.Body.May, m)
	}
	return out, nil
}

// would says whether something would be allowed.
func (c caller) would(ctx context.Context, do string, ask access.Ask) (api.May, error) {
	m := api.May{Do: do, Right: ask.Right, May: true}
	if len(ask.Hosts) > 0 {
		members, err := c.api.cfg.Members(ctx, ask.Namespace)
		if err != nil {
			return m, err
		}
		ask.Members = members
	}
	err := c.api.cfg.Rights.Allow(ctx, c.Bearer, ask)
	switch {
	case sluice.CodeOf(err) == sluice.Denied:
		m.May, m.Why = false, err.Error()
		if c.api.cfg.Rights.Allow(ctx, access.As(c.Principal), ask) == nil {
			return m, nil // it is the token that does not go so far
		}
		roles, err := c.api.cfg.Keeping.Roles(ctx)
		if err != nil {
			return m, err
		}
		m.Roles = access.RolesWith(roles, ask.Right)
		m.Why += ". " + takes(m.Roles, ask.Namespace)
	case err != nil:
		return m, err
	}
	return m, nil
}

// takes says which roles have it.
func takes(roles []sluice.Role, ns sluice.Namespace) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	where := "everywhere"
	if ns != "" {
		where = "in " + string(ns)
	}
	return "It takes the role " + strings.Join(names, " or ") + " " + where + "."
}

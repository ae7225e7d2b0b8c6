package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
)

type hostsQuery struct {
	InNamespace
	Targets string `query:"targets" minLength:"1" maxLength:"100000" default:"all" doc:"an expression"`
	Limit   int    `query:"limit" minimum:"0" maximum:"100000" default:"100000" doc:"at most so many names; the count is whole"`
	After   string `query:"after" maxLength:"255" doc:"begin behind this host, which is the last of the page before"`
	Details bool   `query:"details" doc:"say where each host stands: its tags, groups and sequences"`
}

type hostList struct {
	Body struct {
		Hosts   []sluice.Host      `json:"hosts"`
		Count   int                `json:"count" doc:"how many hosts the expression means"`
		More    bool               `json:"more,omitempty" doc:"there are others behind the last"`
		Folded  api.Some           `json:"folded" doc:"all of them in few words"`
		Details []api.HostStanding `json:"details,omitempty" doc:"where the hosts stand, in their order"`
	}
}

type completeQuery struct {
	InNamespace
	Text  string `query:"text" maxLength:"100000" doc:"an expression up to where it is to go on"`
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type wordList struct {
	Body struct {
		Words   []api.Word `json:"words" doc:"those that begin as the text does come first"`
		Instead string     `json:"instead" doc:"the end of the text, which each of the words takes the place of"`
		More    bool       `json:"more,omitempty" doc:"there are others"`
	}
}

func (a *API) addFleetHosts() {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/hosts" + path, Tags: []string{fleetTag},
			Summary: summary, Errors: []int{http.StatusNotFound}}
	}
	list := op("list-hosts", "", "The hosts that an expression means")
	list.Description = "Where the expression is wrong, the problem says at which column, and what was expected there."
	route(a, sluice.SeeFleet, list, listHosts)
	route(a, sluice.SeeFleet, op("complete-expression", "/complete", "What an expression could go on with"), completeExpression)
}

func listHosts(ctx context.Context, c caller, in *hostsQuery) (*hostList, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	loaded, _, err := c.desk().Fleet(ctx, ns)
	if err != nil {
		return nil, err
	}
	hosts, err := loaded.Resolve(in.Targets)
	if err != nil {
		return nil, err
	}
	out := &hostList{}
	out.Body.Count, out.Body.Folded = len(hosts), some(hosts)
	if in.After != "" {
		i := slices.Index(hosts, sluice.Host(in.After))
		if i < 0 {
			return nil, sluice.Errorf(sluice.Usage, "after: the expression does not mean the host %.80q", in.After)
		}
		hosts = hosts[i+1:]
	}
	out.Body.Hosts = first(hosts, in.Limit)
	out.Body.More = len(hosts) > in.Limit
	if in.Details {
		for _, s := range fleet.Stand(loaded.Fleet(), out.Body.Hosts) {
			out.Body.Details = append(out.Body.Details, api.HostStanding{Host: s.Host, Tags: s.Tags, Groups: s.Groups, Sequences: s.Sequences, SSH: s.SSH})
		}
	}
	return out, nil
}

func completeExpression(ctx context.Context, c caller, in *completeQuery) (*wordList, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	loaded, _, err := c.desk().Fleet(ctx, ns)
	if err != nil {
		return nil, err
	}
	words, instead, more := loaded.Complete(in.Text, in.Limit)
	out := &wordList{}
	out.Body.Words, out.Body.Instead, out.Body.More = []api.Word{}, instead, more
	for _, w := range words {
		kind := "host"
		if w.Tag {
			kind = "tag"
		}
		out.Body.Words = append(out.Body.Words, api.Word{Text: w.Text, Kind: kind, Hosts: w.Hosts})
	}
	return out, nil
}

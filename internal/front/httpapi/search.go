package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/schedule"
)

type searchQuery struct {
	Text  string `query:"text" maxLength:"200" doc:"what stands in a job's id, command or reason, in a host's name, or in the name of somebody who submitted jobs"`
	Limit int    `query:"limit" minimum:"1" maximum:"50" default:"6" doc:"how many of each kind"`
}

type found struct{ Body api.Found }

func (a *API) addSearch() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "search", Method: http.MethodGet, Path: "/api/v1/search", Tags: []string{jobTag},
		Summary: "Jobs, hosts and people by a piece of their names, of all that one may see"}, search)
}

func search(ctx context.Context, c caller, in *searchQuery) (*found, error) {
	list, err := c.visible(ctx, "")
	if err != nil {
		return nil, err
	}
	spaces, err := c.spaces(ctx, &JobFilter{Text: in.Text}, list)
	if err != nil {
		return nil, err
	}
	page, err := c.page(ctx, spaces, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &found{api.Found{Jobs: page.Jobs, Hosts: []api.FoundHost{}, Users: []string{}}}
	for _, sp := range spaces {
		hosts, users, err := c.api.cfg.Lists.Names(ctx, sp.Namespace, schedule.Query{Text: in.Text, May: sp.May, Most: in.Limit})
		if ctx.Err() != nil {
			return nil, err
		}
		for _, h := range hosts { // of a namespace that cannot be read there are none
			out.Body.Hosts = append(out.Body.Hosts, api.FoundHost{Namespace: sp.Namespace, Host: h})
		}
		out.Body.Users = append(out.Body.Users, users...)
	}
	slices.SortStableFunc(out.Body.Hosts, func(a, b api.FoundHost) int { return better(in.Text, string(a.Host), string(b.Host)) })
	slices.SortStableFunc(out.Body.Users, func(a, b string) int { return better(in.Text, a, b) })
	out.Body.Users = slices.Compact(out.Body.Users)
	out.Body.Hosts = out.Body.Hosts[:min(in.Limit, len(out.Body.Hosts))]
	out.Body.Users = out.Body.Users[:min(in.Limit, len(out.Body.Users))]
	return out, nil
}

// better puts names first that begin with the text, and else goes by the alphabet.
func better(text, a, b string) int {
	first := func(s string) int {
		if strings.HasPrefix(strings.ToLower(s), strings.ToLower(text)) {
			return 0
		}
		return 1
	}
	if d := first(a) - first(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

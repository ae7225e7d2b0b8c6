package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// JobFilter says which jobs. It is exported for huma, which cannot fill in an embedded type that is not.
type JobFilter struct {
	Namespace string    `query:"namespace" maxLength:"64"`
	State     []string  `query:"state" maxItems:"7" enum:"waiting,running,paused,halted,succeeded,failed,cancelled" doc:"several with commas between them"`
	By        string    `query:"by" maxLength:"200" doc:"who submitted it"`
	Tag       string    `query:"tag" maxLength:"200" doc:"jobs with a host of this tag among their targets, as the fleet says now: app.web, or $app.web"`
	Text      string    `query:"text" maxLength:"200" doc:"what stands in the command, in the id, or in why it is halted"`
	Since     time.Time `query:"since" doc:"submitted then or later"`
	Until     time.Time `query:"until" doc:"submitted before"`
}

type jobList struct {
	JobFilter
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"64" doc:"what the last page gave as next"`
}

type jobPage struct{ Body api.JobPage }

func (a *API) addLists() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-jobs", Method: http.MethodGet, Path: "/api/v1/jobs", Tags: []string{jobTag},
		Summary: "List jobs, newest first"}, listJobs)
	a.addFeed()
	a.addSearch()
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-all-hosts-out", Method: http.MethodGet, Path: "/api/v1/hosts/out", Tags: []string{"hosts"},
		Summary: "Hosts of all namespaces that are out of service or retired"}, listAllOut)
}

// visible are the namespaces in which the caller may see something; named is one that they ask for, which must be among them.
func (c caller) visible(ctx context.Context, named sluice.Namespace) ([]sluice.Namespace, error) {
	if named != "" {
		if err := c.mayLook(ctx, named); err != nil {
			return nil, err
		}
		return []sluice.Namespace{named}, nil
	}
	all, some, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right)
	if err != nil {
		return nil, err
	}
	if !all && len(some) == 0 {
		return nil, c.mayLook(ctx, "")
	}
	list, err := c.api.cfg.Lists.Spaces(ctx)
	if err != nil || all {
		return list, err
	}
	return slices.DeleteFunc(list, func(ns sluice.Namespace) bool { return !slices.Contains(some, ns) }), nil
}

// seen are the hosts of a namespace that the caller may see; nil for all. What one may not see is no attempt to see it: that
// is not noted.
func (c caller) seen(ctx context.Context, ns sluice.Namespace) (func(sluice.Host) bool, error) {
	members, err := c.api.cfg.Members(ctx, ns)
	if err != nil {
		members = nil // of a fleet that cannot be read, nobody has hosts with a tag
	}
	all, some, err := c.api.cfg.Rights.Hosts(ctx, c.Bearer, access.Ask{Right: c.right, Namespace: ns, Members: members})
	if err != nil || all {
		return nil, err
	}
	return func(h sluice.Host) bool { return some[h] }, nil
}

// spaces are where to look for jobs that fit, and that the caller may see.
func (c caller) spaces(ctx context.Context, f *JobFilter, list []sluice.Namespace) ([]control.Space, error) {
	q := schedule.Query{By: f.By, Text: f.Text, Since: f.Since, Until: f.Until}
	for _, s := range f.State {
		q.States = append(q.States, schedule.JobState(s))
	}
	out := make([]control.Space, 0, len(list))
	for _, ns := range list {
		one := control.Space{Namespace: ns, Query: q}
		var err error
		if one.May, err = c.seen(ctx, ns); err != nil {
			return nil, err
		}
		if f.Tag != "" {
			if one.Hosts, err = c.tagged(ctx, ns, f.Tag); err != nil {
				return nil, err
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// tagged are the hosts of a tag, as the fleet of the namespace says now.
func (c caller) tagged(ctx context.Context, ns sluice.Namespace, tag string) (map[sluice.Host]bool, error) {
	if tag[0] == '$' {
		tag = tag[1:]
	}
	members, err := c.api.cfg.Members(ctx, ns)
	if err != nil {
		return nil, err
	}
	out := map[sluice.Host]bool{}
	for _, h := range members(sluice.Tag(tag)) {
		out[h] = true
	}
	return out, nil
}

func listJobs(ctx context.Context, c caller, in *jobList) (*jobPage, error) {
	list, err := c.visible(ctx, sluice.Namespace(in.Namespace))
	if err != nil {
		return nil, err
	}
	spaces, err := c.spaces(ctx, &in.JobFilter, list)
	if err != nil {
		return nil, err
	}
	if in.Cursor != "" {
		mark, err := c.api.cfg.Lists.MarkOf(ctx, sluice.JobID(in.Cursor))
		if err != nil {
			return nil, sluice.Errorf(sluice.Usage, "there is no page that begins at %s", strconv.Quote(in.Cursor))
		}
		for i := range spaces {
			spaces[i].After = mark
		}
	}
	out := &jobPage{}
	out.Body, err = c.page(ctx, spaces, in.Limit)
	return out, err
}

// page is a page of jobs.
func (c caller) page(ctx context.Context, spaces []control.Space, most int) (out api.JobPage, err error) {
	list, more, lost, err := c.api.cfg.Lists.List(ctx, spaces, most)
	if err != nil {
		return out, err
	}
	out.Jobs, out.Unreadable = make([]api.Job, len(list)), lost
	for k, i := range list {
		out.Jobs[k] = c.listed(i)
	}
	if more {
		out.Next = string(list[most-1].Spec.ID)
	}
	return out, nil
}

// listed is what goes out of a job in a list. Of one that is over, nobody asks whether somebody drives it.
func (c caller) listed(i schedule.Info) api.Job {
	return jobOf(i, i.Ended.IsZero() && c.api.cfg.Lists.Driven(i.Spec.ID))
}

type outQuery struct {
	Namespace string `query:"namespace" maxLength:"64"`
	Retired   bool   `query:"retired" doc:"with those that are retired"`
	Running   bool   `query:"running" doc:"with those that are out only because something runs on them"`
	Limit     int    `query:"limit" minimum:"1" maximum:"100000" default:"1000"`
}

type allOut struct {
	Body struct {
		Hosts      []api.HostOut      `json:"hosts" doc:"those that have been out the longest first"`
		Total      int                `json:"total" doc:"how many there are, also beyond the limit"`
		Unknown    int                `json:"unknown" doc:"how many of them may have run, or may still run, something of which the outcome is not known"`
		Unreadable []sluice.Namespace `json:"unreadable,omitempty" doc:"namespaces that cannot be read now"`
	}
}

func listAllOut(ctx context.Context, c caller, in *outQuery) (*allOut, error) {
	list, err := c.visible(ctx, sluice.Namespace(in.Namespace))
	if err != nil {
		return nil, err
	}
	may := map[sluice.Namespace]func(sluice.Host) bool{}
	for _, ns := range list {
		if may[ns], err = c.seen(ctx, ns); err != nil {
			return nil, err
		}
	}
	out := &allOut{}
	out.Body.Hosts = []api.HostOut{}
	out.Body.Unreadable, err = c.api.cfg.Lists.OutIn(ctx, list, func(ns sluice.Namespace, hosts []schedule.HostInfo) {
		for _, h := range hosts {
			if may[ns] != nil && !may[ns](h.Host) || h.Retired && !in.Retired || h.Running && !h.Held && !in.Running {
				continue
			}
			one := outOf(h)
			one.Namespace = ns
			out.Body.Hosts = append(out.Body.Hosts, one)
			if h.Unknown {
				out.Body.Unknown++
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out.Body.Hosts, func(a, b api.HostOut) int { return a.Since.Compare(b.Since) })
	out.Body.Total = len(out.Body.Hosts)
	out.Body.Hosts = out.Body.Hosts[:min(in.Limit, len(out.Body.Hosts))]
	return out, nil
}

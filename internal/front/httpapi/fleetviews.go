package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
	"sluice/internal/core/linediff"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

type oneMeaning struct{ Body api.Meaning }

type diffQuery struct {
	InNamespace
	From int `query:"from" minimum:"0" doc:"the older version; 0: the one before the newer"`
	To   int `query:"to" minimum:"0" doc:"the newer version; 0: the current one"`
}

type oneDiff struct{ Body api.FleetDiff }

func (a *API) addFleetViews() {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/fleet" + path, Tags: []string{fleetTag},
			Summary: summary, Errors: []int{http.StatusNotFound}}
	}
	route(a, sluice.SeeFleet, op("get-fleet-meaning", "/meaning", "What the rules of a fleet work out to"), getMeaning)
	route(a, sluice.SeeFleet, op("get-fleet-diff", "/diff", "What is different between two versions of a fleet"), getFleetDiff)
	a.addFleetHosts()
}

// most bounds lists of tags, groups and changes.
const most = 2000

func getMeaning(ctx context.Context, c caller, in *fleetQuery) (*oneMeaning, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	_, current, err := c.desk().Fleet(ctx, ns)
	if err != nil {
		return nil, err
	}
	f, v, err := c.version(ctx, ns, control.FleetAt{Version: in.Version, Time: in.At})
	if err != nil {
		return nil, err
	}
	hosts, err := c.desk().Out(ctx, ns)
	if err != nil {
		return nil, err
	}
	out := meaningOf(f, hosts, v.Bundle == current.Bundle)
	out.Fleet = fleetOf(v)
	return &oneMeaning{out}, nil
}

// version is a version of a fleet; the current one is at hand.
func (c caller) version(ctx context.Context, ns sluice.Namespace, at control.FleetAt) (*sluice.Fleet, control.Applied, error) {
	if at == (control.FleetAt{}) {
		loaded, v, err := c.desk().Fleet(ctx, ns)
		if err != nil {
			return nil, v, err
		}
		return loaded.Fleet(), v, nil
	}
	b, v, err := c.desk().FleetAt(ctx, ns, at)
	if err != nil {
		return nil, v, err
	}
	loaded, err := b.Load()
	if err != nil {
		return nil, v, err
	}
	return loaded.Fleet(), v, nil
}

func meaningOf(f *sluice.Fleet, hosts []schedule.HostInfo, current bool) api.Meaning {
	out := api.Meaning{ConfirmAbove: f.ConfirmAbove, Approval: f.Approval, Tags: []api.TagMeaning{}, Groups: []api.GroupMeaning{}, Sequences: []api.SequenceMeaning{}}
	retired, isOut := map[sluice.Host]bool{}, outOfService(hosts)
	for _, h := range hosts {
		retired[h.Host] = h.Retired
	}
	for _, t := range first(f.TagOrder, most) {
		out.Tags = append(out.Tags, api.TagMeaning{Name: "$" + string(t), Hosts: some(f.Tags[t])})
	}
	out.MoreTags = max(0, len(f.TagOrder)-most)
	for _, c := range f.Constraints {
		for _, g := range c.Groups {
			if len(out.Groups) == most {
				out.MoreGroups++
				continue
			}
			members, away := g.Members, []sluice.Host(nil)
			if current {
				members = slices.DeleteFunc(slices.Clone(g.Members), func(h sluice.Host) bool { return retired[h] })
				away = slices.DeleteFunc(slices.Clone(members), func(h sluice.Host) bool { return !isOut[h] })
			}
			out.Groups = append(out.Groups, api.GroupMeaning{Constraint: c.Name, Group: g.Name, Limit: g.Limit.String(),
				Capacity: g.Limit.Capacity(len(members)), Members: some(members), Out: some(away)})
		}
	}
	for _, q := range f.Sequences {
		s := api.SequenceMeaning{Name: q.Name, Entries: []api.EntryMeaning{}}
		for _, e := range q.Entries {
			s.Entries = append(s.Entries, entryOf(e))
		}
		out.Sequences = append(out.Sequences, s)
	}
	return out
}

func entryOf(e sluice.Entry) api.EntryMeaning {
	out := api.EntryMeaning{Name: e.Name, Hosts: some(e.Hosts), Approve: e.Gate.Approve}
	if e.Gate.MaxFailures != (sluice.Amount{}) {
		out.MaxFailures = e.Gate.MaxFailures.String()
	}
	if e.Gate.Pause > 0 {
		out.Pause = e.Gate.Pause.String()
	}
	for _, a := range e.Gate.Ramp {
		out.Ramp = append(out.Ramp, a.String())
	}
	return out
}

func getFleetDiff(ctx context.Context, c caller, in *diffQuery) (*oneDiff, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	now, to, err := c.files(ctx, ns, in.To)
	if err != nil {
		return nil, err
	}
	if in.From == 0 {
		if in.From = to.Version - 1; in.From == 0 {
			return nil, sluice.Errorf(sluice.NotFound, "version 1 of the fleet of %s is the first: there is none before it", ns)
		}
	}
	was, from, err := c.files(ctx, ns, in.From)
	if err != nil {
		return nil, err
	}
	a, err := was.Load()
	if err != nil {
		return nil, err
	}
	b, err := now.Load()
	if err != nil {
		return nil, err
	}
	out := diffOf(fleet.Diff(a.Fleet(), b.Fleet()))
	out.From, out.To, out.Files = fleetOf(from), fleetOf(to), filesChanged(was, now)
	return &oneDiff{out}, nil
}

func (c caller) files(ctx context.Context, ns sluice.Namespace, version int) (fleet.Bundle, control.Applied, error) {
	return c.desk().FleetAt(ctx, ns, control.FleetAt{Version: version})
}

func diffOf(d fleet.Difference) api.FleetDiff {
	left := &room{most}
	out := api.FleetDiff{Settings: d.Settings, Added: some(d.Hosts.Added), Removed: some(d.Hosts.Removed), Reordered: d.Reordered}
	for _, s := range d.SSH {
		if left.take() {
			out.SSH = append(out.SSH, api.SSHChange{Hosts: some(s.Hosts), Now: fleet.SSHWords(s.Now), Was: fleet.SSHWords(s.Was)})
		}
	}
	out.Tags = left.changes(d.Tags)
	out.Constraints, out.Sequences = left.lists(d.Constraints), left.lists(d.Sequences)
	out.More = max(0, -left.n)
	return out
}

// room is how many changes may still be told; below 0, how many were left out.
type room struct{ n int }

func (r *room) take() bool {
	r.n--
	return r.n >= 0
}

func (r *room) changes(list []fleet.Change) (out []api.Change) {
	for _, c := range list {
		if !r.take() {
			continue
		}
		a := api.Change{Name: c.Name, Kind: string(c.Kind), Now: c.Now, Was: c.Was, Added: some(c.Hosts.Added), Removed: some(c.Hosts.Removed)}
		if c.Capacity != nil {
			a.Capacity, a.CapacityWas = c.Capacity.Now, c.Capacity.Was
		}
		out = append(out, a)
	}
	return out
}

func (r *room) lists(list []fleet.ListChange) (out []api.ListChange) {
	for _, l := range list {
		if parts := r.changes(l.Parts); len(parts) > 0 || r.take() {
			out = append(out, api.ListChange{Name: l.Name, Kind: string(l.Kind), Parts: parts, Now: l.Now, Was: l.Was})
		}
	}
	return out
}

// filesChanged are the files of which a fleet was made whose text is another.
func filesChanged(was, now fleet.Bundle) (out []api.FileChange) {
	had := map[string]string{}
	for _, f := range was.Files {
		had[f.Path] = string(f.Content)
	}
	for _, f := range now.Files {
		before, there := had[f.Path]
		delete(had, f.Path)
		kind := fleet.Changed
		if !there {
			kind = fleet.Added
		}
		if !there || before != string(f.Content) {
			out = append(out, fileChange(f.Path, kind, before, string(f.Content)))
		}
	}
	for _, f := range was.Files {
		if _, gone := had[f.Path]; gone {
			out = append(out, fileChange(f.Path, fleet.Removed, string(f.Content), ""))
		}
	}
	return out
}

func fileChange(path string, kind fleet.Kind, was, now string) api.FileChange {
	const around = 3
	out := api.FileChange{Path: path, Kind: string(kind), Runs: [][]api.LineDiff{}}
	n := 0
	for _, run := range linediff.Runs(linediff.Diff(linediff.Lines(was), linediff.Lines(now)), around) {
		var lines []api.LineDiff
		for _, l := range run {
			if n++; n > most {
				out.More++
				continue
			}
			lines = append(lines, api.LineDiff{Kind: string(l.Kind), Text: l.Text, Was: l.Was, Now: l.Now})
		}
		if len(lines) > 0 {
			out.Runs = append(out.Runs, lines)
		}
	}
	return out
}

package httpapi

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
	"sluice/internal/core/undo"
	"sluice/internal/run/control"
)

type oneWayBack struct{ Body api.WayBack }

func (a *API) addBack() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-way-back", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/back", Tags: []string{jobTag},
		Summary: "What a rollback of a deploy would do", Errors: []int{http.StatusNotFound},
		Description: "Each host goes back to what it had before the deploy, as it said then. Those that another job has touched since, and those of which " +
			"nobody knows what they have, are left out. It changes nothing: what it says to submit does it."}, getWayBack)
}

func getWayBack(ctx context.Context, c caller, in *ByID) (*oneWayBack, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, err := deploying(ctx, desk, id)
	if err != nil {
		return nil, err
	}
	out := &oneWayBack{api.WayBack{Job: id, Namespace: j.Namespace}}
	refuse := func(err error) (*oneWayBack, error) {
		p := problemOf(err).Problem
		out.Body.Refused = &p
		return out, nil
	}
	if j.Action.Kind != sluice.DeployTo {
		return refuse(sluice.Errorf(sluice.Usage, "job %s brings hosts back itself", id).WithHint("deploy a version again in its place"))
	}
	events, err := desk.Events(ctx, id)
	if err != nil {
		return nil, err
	}
	way := undo.WaysBack(events)
	out.Body.None, out.Body.Unknown = way.None, way.Unknown
	if out.Body.Later, err = c.leaveLater(ctx, id, j, way); err != nil {
		return nil, err
	}
	if len(way.To) == 0 {
		return refuse(noWay(id, out.Body))
	}
	out.Body.Moves = movesOf(way)
	return out, c.wayOf(ctx, desk, j, way, &out.Body)
}

// noWay says why no host can go back.
func noWay(id sluice.JobID, b api.WayBack) error {
	switch {
	case len(b.Unknown) > 0:
		return sluice.Errorf(sluice.Conflict, "it is not known what %s has now", fleet.Fold(b.Unknown)).WithHint("sluice status %s --refresh asks it", id)
	case len(b.Later) > 0:
		return sluice.Errorf(sluice.Conflict, "job %s has touched these hosts since", b.Later[0].Job).WithHint("roll that one back")
	case len(b.None) > 0:
		return sluice.Errorf(sluice.Conflict, "no host of job %s had a version before it", id)
	}
	return sluice.Errorf(sluice.Conflict, "job %s has changed no host", id)
}

// leaveLater takes hosts off the way that another job has touched since: what the deploy left there is not what they have.
func (c caller) leaveLater(ctx context.Context, id sluice.JobID, j *sluice.Job, way *undo.Ways) ([]api.LaterJob, error) {
	r := j.Action.Release
	list, lost, err := c.api.cfg.Lists.LiveIn(ctx, []control.Space{{Namespace: j.Namespace}}, control.LiveQuery{App: r.App, Env: r.Env})
	if err != nil {
		return nil, err
	}
	if len(lost) > 0 { // what came after the deploy would be undone unseen
		return nil, sluice.Errorf(sluice.Conflict, "namespace %s cannot be read now, so it is not known what came after job %s", j.Namespace, id).
			WithHint("the server's log says why it cannot be read")
	}
	by := map[sluice.JobID][]sluice.Host{}
	for _, l := range list {
		if _, ours := way.To[l.Host]; ours && l.Last != id {
			by[l.Last] = append(by[l.Last], l.Host)
			delete(way.To, l.Host)
			delete(way.From, l.Host)
		}
	}
	var out []api.LaterJob
	for _, job := range slices.Sorted(maps.Keys(by)) {
		out = append(out, api.LaterJob{Job: job, Hosts: by[job]})
	}
	return out, nil
}

func movesOf(way *undo.Ways) []api.Move {
	type move struct{ from, to sluice.Installed }
	by := map[move][]sluice.Host{}
	for _, h := range slices.Sorted(maps.Keys(way.To)) {
		m := move{way.From[h], way.To[h]}
		by[m] = append(by[m], h)
	}
	var out []api.Move
	for m, hosts := range by {
		out = append(out, api.Move{From: m.from, To: m.to, Hosts: hosts})
	}
	slices.SortFunc(out, func(a, b api.Move) int {
		return cmp.Or(cmp.Compare(len(b.Hosts), len(a.Hosts)), slices.Compare(a.Hosts, b.Hosts))
	})
	return out
}

// wayOf says what to submit: it goes as the deploy went. Where the deploy has its lock still, it is cancelled, and what
// waits behind it, too.
func (c caller) wayOf(ctx context.Context, desk *control.Service, j *sluice.Job, way *undo.Ways, out *api.WayBack) error {
	s := wantOf(j)
	loaded, _, err := desk.Fleet(ctx, j.Namespace)
	switch {
	case err == nil:
		s = unlessFleet(s, j, loaded.Fleet())
	case sluice.CodeOf(err) != sluice.NotFound:
		return err
	}
	rel := shownRelease(way.Release)
	rel.Version, rel.Artifact, rel.Manifest, rel.Config, rel.Commit = "", "", "", "", nil
	if moves := out.Moves; len(moves) > 0 && !slices.ContainsFunc(moves, func(m api.Move) bool { return m.To.Version != moves[0].To.Version }) {
		rel.Version = moves[0].To.Version
	}
	if s.Options.Lock == "" {
		s.Options.Lock = string(release.Lock(&rel))
	}
	there, err := desk.Locked(ctx, j.Namespace, sluice.Lock(s.Options.Lock))
	if err != nil {
		return err
	}
	others := &out.WaitsFor
	if slices.ContainsFunc(there, func(o *sluice.Job) bool { return o.ID == j.ID }) { // a deploy that is not over makes room
		others = &out.Supersedes
	}
	for _, other := range there {
		*others = append(*others, other.ID)
	}
	s.Targets, s.Release, s.Back = fleet.Fold(slices.Sorted(maps.Keys(way.To))), &rel, way.To
	s.Options.Supersede = len(out.Supersedes) > 0
	out.Submit = &s
	words := []string{"sluice", "rollback", string(j.ID), "-w", s.Targets}
	switch s.Options.Sudo {
	case "":
	case "root":
		words = append(words, "--sudo")
	default:
		words = append(words, "--sudo="+s.Options.Sudo)
	}
	out.CommandLine = target.Quote(words...)
	return nil
}

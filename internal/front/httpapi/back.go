package httpapi

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

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
		Description: "Each host goes back to what it had before the deploy, as it said then. Those that something has changed since, and those of which " +
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
	var until uint64
	if out.Body.Later, until, err = c.leaveChanged(ctx, id, j, way); err != nil {
		return nil, err
	}
	if len(way.To) == 0 {
		return refuse(noWay(id, way, out.Body.Later))
	}
	out.Body.Moves = movesOf(way)
	err = c.wayOf(ctx, desk, j, way, &out.Body)
	if out.Body.Submit != nil {
		out.Body.Submit.Look = undo.Look(id, until)
	}
	return out, err
}

// noWay says why no host can go back.
func noWay(id sluice.JobID, way *undo.Ways, later []api.LaterJob) *sluice.Error {
	if len(later) == 0 {
		err := sluice.Errorf(sluice.Conflict, "no host of job %s can go back: %s", id, way.Nothing())
		if len(way.Unknown) > 0 {
			return err.WithHint("sluice status %s --refresh asks what they have", id)
		}
		return err
	}
	var whys []string
	for _, l := range later {
		whys = append(whys, fleet.Fold(l.Hosts)+": "+l.Why)
	}
	return sluice.Errorf(sluice.Conflict, "hosts have changed since job %s: %s", id, strings.Join(whys, "; ")).
		WithHint("sluice rollback %s says what to do about it", id)
}

// leaveChanged takes hosts off the way that are not any more as the deploy left them, and says what was at work there.
func (c caller) leaveChanged(ctx context.Context, id sluice.JobID, j *sluice.Job, way *undo.Ways) (out []api.LaterJob, until uint64, err error) {
	r := j.Action.Release
	list, lost, err := c.api.cfg.Lists.LiveIn(ctx, []control.Space{{Namespace: j.Namespace}}, control.LiveQuery{App: r.App, Env: r.Env})
	if err != nil {
		return nil, 0, err
	}
	if len(lost) > 0 { // what came after the deploy would be undone unseen
		return nil, 0, sluice.Errorf(sluice.Conflict, "namespace %s cannot be read now, so it is not known what came after job %s", j.Namespace, id).
			WithHint("the server's log says why it cannot be read")
	}
	for _, l := range list {
		until = l.Until
		why := undo.ChangedSince(id, l.State, l.Origin)
		if _, ours := way.To[l.Host]; !ours || why == "" {
			continue
		}
		way.Leave(l.Host)
		by := l.Last // that came across it
		if l.Known && !l.Changed {
			by = cmp.Or(l.Job, by)
		}
		i := slices.IndexFunc(out, func(o api.LaterJob) bool { return o.Job == by && o.Why == why })
		if i < 0 {
			i, out = len(out), append(out, api.LaterJob{Job: by, Why: why})
		}
		out[i].Hosts = append(out[i].Hosts, l.Host)
	}
	return out, until, nil
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
	rel := undo.Release(shownRelease(way.Release), way.To)
	if s.Options.Lock == "" {
		s.Options.Lock = string(release.Lock(rel))
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
	s.Targets, s.Release, s.Back = fleet.Fold(slices.Sorted(maps.Keys(way.To))), rel, way.To
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

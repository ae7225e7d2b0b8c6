package cli

import (
	"context"
	"maps"
	"slices"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// theWayBack is what each host of a deploy goes back to.
type theWayBack struct {
	release *sluice.Release // that was deployed; nil: none was
	fleet   string          // file that it went by, "" for none
	to      map[sluice.Host]sluice.Installed
	none    []sluice.Host // had nothing before
	unknown []sluice.Host // nobody knows what they have now
}

// wayBack reads what the hosts of a deploy had before it. Where that is not known, nothing is made up; it keeps nobody from
// bringing other hosts back that are named.
func wayBack(ctx context.Context, svc control.Desk, prefix string, named bool) (*theWayBack, schedule.Info, error) {
	info, _, err := svc.Info(ctx, prefix)
	if err != nil {
		return nil, info, err
	}
	id := info.Spec.ID
	events, err := svc.Events(ctx, id)
	if err != nil {
		return nil, info, err
	}
	w := backOf(events)
	if w.release == nil {
		return nil, info, sluice.Errorf(sluice.Usage, "job %s deployed nothing", id).WithHint("sluice jobs")
	}
	switch {
	case !named && len(w.unknown) > 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "it is not known what %s has now", fleet.Fold(w.unknown)).
			WithHint("sluice status %s --refresh asks it; -w HOSTS brings others back without it", id)
	case len(w.to) == 0 && len(w.unknown) > 0:
		return nil, info, w.notKnown(w.unknown[0])
	case len(w.to) == 0 && len(w.none) > 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "no host of job %s had a version before it", id)
	case len(w.to) == 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "job %s has changed no host", id).WithHint("sluice status %s", id)
	}
	return w, info, nil
}

// backOf is the way back from what the events of a deploy say. What a host had is what the first attempt on it found; what it has is
// what the last one left.
func backOf(events []sluice.Event) *theWayBack {
	before, live, lost := map[sluice.Host]sluice.Installed{}, map[sluice.Host]sluice.Installed{}, map[sluice.Host]bool{}
	w := &theWayBack{to: map[sluice.Host]sluice.Installed{}}
	for _, e := range events {
		if b, is := e.Body.(sluice.JobSubmitted); is && b.Submitted.Action.Kind == sluice.DeployTo {
			w.release, w.fleet = b.Submitted.Action.Release, b.Submitted.Fleet
		}
		b, is := e.Body.(sluice.TaskFinished)
		switch {
		case !is || b.Attempt == "":
		case b.Release == nil:
			if !b.NotStarted {
				lost[b.Host] = true
			}
		default:
			if _, ok := before[b.Host]; !ok {
				before[b.Host] = b.Release.Before
			}
			live[b.Host] = b.Release.Live
			delete(lost, b.Host)
		}
	}
	w.unknown = slices.Sorted(maps.Keys(lost))
	for _, h := range slices.Sorted(maps.Keys(before)) {
		switch {
		case lost[h], live[h] == before[h]:
		case before[h].Version == "":
			w.none = append(w.none, h)
		default:
			w.to[h] = before[h]
		}
	}
	return w
}

func (w *theWayBack) notKnown(h sluice.Host) error {
	return sluice.Errorf(sluice.Conflict, "it is not known what %s has now", h).WithHint("sluice status JOB --refresh asks it")
}

// hosts are those that go back, as an expression.
func (w *theWayBack) hosts() string { return fleet.Fold(slices.Sorted(maps.Keys(w.to))) }

// fill makes a request one to go back.
func (w *theWayBack) fill(r *control.Request, info schedule.Info) error {
	rel := *w.release
	rel.Version, rel.Artifact, rel.Manifest, rel.Config = "", "", "", ""
	back := map[sluice.Host]sluice.Installed{}
	for _, h := range r.Targets {
		to, ok := w.to[h]
		if slices.Contains(w.unknown, h) {
			return w.notKnown(h)
		}
		if !ok {
			return sluice.Errorf(sluice.Usage, "job %s has nothing on %s that it could go back from", info.Spec.ID, h)
		}
		back[h] = to
		if len(back) == 1 {
			rel.Version = to.Version
		} else if rel.Version != to.Version {
			rel.Version = ""
		}
	}
	r.Action = sluice.Action{Kind: sluice.RollBack, Release: &rel, Back: back}
	r.Command = release.Told(sluice.RollBack, &rel)
	if r.Options.Lock == "" {
		r.Options.Lock = release.Lock(&rel)
	}
	r.Options.Supersede = r.Options.Supersede || !info.State.Over()
	return nil
}

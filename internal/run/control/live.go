package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
)

// LiveQuery says of which apps and environments is asked what is live; "" stands for all of them.
type LiveQuery struct {
	Namespace sluice.Namespace
	App, Env  string
	At        time.Time // zero: now
}

// Live is what is known of an app on one host.
type Live struct {
	Namespace sluice.Namespace
	live.State
	// Commit is what the version was built from, and Origin the last job that deployed it; nil and "" where that is not on record.
	Commit *sluice.Commit
	Origin sluice.JobID
	Until  uint64 // number of the last event of the namespace that is in this
}

// Released is a job that made a version live somewhere, or was to.
type Released struct {
	Namespace sluice.Namespace
	live.Release
	live.Latency
	State  schedule.JobState
	Ended  time.Time
	Failed int    // hosts whose last outcome counts against the budget
	On     int    // hosts on which it is live now, of those that may be seen
	Until  uint64 // number of the last event of the namespace that is in this
	// Validated says what its validation came to; nil where nobody asked for one.
	Validated *validate.Result
}

// Latencies is how long it took from commit to live in one period of an app in an environment.
type Latencies struct {
	Namespace sluice.Namespace
	live.Period
}

// Live lists what is live, by app, environment, namespace and host.
func (s *Service) Live(ctx context.Context, q LiveQuery) ([]Live, error) {
	spaces, err := s.spacesOf(ctx, q.Namespace)
	if err != nil {
		return nil, err
	}
	list, _, err := s.LiveIn(ctx, spaces, q)
	return list, err
}

// Releases lists deploys and rollbacks, newest first.
func (s *Service) Releases(ctx context.Context, q LiveQuery) ([]Released, error) {
	spaces, err := s.spacesOf(ctx, q.Namespace)
	if err != nil {
		return nil, err
	}
	list, _, err := s.ReleasesIn(ctx, spaces, q)
	return list, err
}

// Latencies says how long releases took over time.
func (s *Service) Latencies(ctx context.Context, q LiveQuery, most int) ([]Latencies, error) {
	spaces, err := s.spacesOf(ctx, q.Namespace)
	if err != nil {
		return nil, err
	}
	list, _, err := s.LatenciesIn(ctx, spaces, q, most)
	return list, err
}

// spacesOf are the namespaces that are meant, of which all may be seen.
func (s *Service) spacesOf(ctx context.Context, ns sluice.Namespace) (out []Space, err error) {
	list := []sluice.Namespace{ns}
	if ns == "" {
		if list, err = s.Spaces(ctx); err != nil {
			return nil, err
		}
	}
	for _, ns := range list {
		out = append(out, Space{Namespace: ns})
	}
	return out, nil
}

// LiveIn is Live of several namespaces, as far as whoever asks may see their hosts. Lost are those that cannot be read.
func (s *Service) LiveIn(ctx context.Context, spaces []Space, q LiveQuery) (list []Live, lost []sluice.Namespace, err error) {
	for _, sp := range spaces {
		err := s.places(ctx, sp.Namespace, q.At, func(m *live.Map) error {
			for _, state := range m.States(q.keep(sp.May)) {
				l := Live{Namespace: sp.Namespace, State: state, Until: m.Seq()}
				if r := m.Origin(&state); r != nil {
					l.Commit, l.Origin = r.Commit, r.Job
				}
				list = append(list, l)
			}
			return nil
		})
		if lost, err = s.passOver(ctx, sp.Namespace, lost, err); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b Live) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Env, b.Env), cmp.Compare(a.Namespace, b.Namespace))
	})
	return list, lost, nil
}

// ReleasesIn is Releases of several namespaces, as far as whoever asks may see the jobs. Lost are those that cannot be read.
func (s *Service) ReleasesIn(ctx context.Context, spaces []Space, q LiveQuery) (list []Released, lost []sluice.Namespace, err error) {
	for _, sp := range spaces {
		var ids []sluice.JobID
		known := map[sluice.JobID]Released{}
		err := s.places(ctx, sp.Namespace, time.Time{}, func(m *live.Map) error {
			on := live.On(m.States(q.keep(sp.May)))
			for _, r := range m.Releases(q.App, q.Env) {
				ids = append(ids, r.Job)
				known[r.Job] = Released{Namespace: sp.Namespace, Release: *r, Latency: m.Latency(r), On: on(r), Until: m.Seq()}
			}
			return nil
		})
		if err == nil {
			err = s.Listed(ctx, sp, ids, func(i schedule.Info, _ bool) {
				r := known[i.Spec.ID]
				r.State, r.Ended, r.Failed = i.State, i.Ended, i.Failures
				r.Validated = validated(i, r.Validation)
				list = append(list, r)
			})
		}
		if err == nil {
			err = s.unseen(ctx, sp, list)
		}
		if lost, err = s.passOver(ctx, sp.Namespace, lost, err); err != nil {
			return nil, nil, err
		}
	}
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b Released) int { return b.Submitted.Compare(a.Submitted) })
	return list, lost, nil
}

// LatenciesIn is Latencies of several namespaces, of the releases whose jobs whoever asks may see: by app, environment and namespace,
// newest first, of each so many periods at most. Lost are those that cannot be read.
func (s *Service) LatenciesIn(ctx context.Context, spaces []Space, q LiveQuery, most int) (list []Latencies, lost []sluice.Namespace, err error) {
	for _, sp := range spaces {
		var ids []sluice.JobID
		seen := map[sluice.JobID]bool{}
		err := s.places(ctx, sp.Namespace, time.Time{}, func(m *live.Map) error {
			for _, r := range m.Releases(q.App, q.Env) {
				ids = append(ids, r.Job)
			}
			return nil
		})
		if err == nil {
			err = s.Listed(ctx, sp, ids, func(i schedule.Info, _ bool) { seen[i.Spec.ID] = true })
		}
		if err == nil {
			err = s.places(ctx, sp.Namespace, time.Time{}, func(m *live.Map) error {
				releases := slices.DeleteFunc(m.Releases(q.App, q.Env), func(r *live.Release) bool { return !seen[r.Job] })
				for _, p := range m.OverTime(releases, most) {
					list = append(list, Latencies{sp.Namespace, p})
				}
				return nil
			})
		}
		if lost, err = s.passOver(ctx, sp.Namespace, lost, err); err != nil {
			return nil, nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b Latencies) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Env, b.Env), cmp.Compare(a.Namespace, b.Namespace))
	})
	return list, lost, nil
}

// unseen takes out of what validations came to what a job says that may not be seen: it may be on hosts of others.
func (s *Service) unseen(ctx context.Context, sp Space, list []Released) error {
	var ids []sluice.JobID
	seen := map[sluice.JobID]bool{}
	for _, r := range list {
		if v := r.Validated; r.Namespace == sp.Namespace && v != nil && v.Job != "" {
			ids = append(ids, v.Job)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := s.Listed(ctx, sp, ids, func(i schedule.Info, _ bool) { seen[i.Spec.ID] = true }); err != nil {
		return err
	}
	for _, r := range list {
		if v := r.Validated; r.Namespace == sp.Namespace && v != nil && v.Job != "" && !seen[v.Job] {
			v.Job, v.Reason = "", "by a job that you may not see"
		}
	}
	return nil
}

// validated is what is said of a deploy: by the job that validates it, or why there is none. nil is for what nobody validates.
func validated(i schedule.Info, r validate.Record) *validate.Result {
	_, why := validate.Due(i)
	switch {
	case i.Spec.Action.Validation() == nil:
		return nil
	case r.Job != "":
		out := r.Result()
		return &out
	case why == "":
		why = "its validation is not on record"
	}
	out := validate.Waits(why)
	return &out
}

// Validated is what the validation of a deploy came to; nil where nobody asked for one. events are those of the job that validates it.
func Validated(i schedule.Info, events []sluice.Event) *validate.Result {
	return validated(i, *validate.Of(events))
}

// keep says which places are meant, and may be seen.
func (q *LiveQuery) keep(may func(sluice.Host) bool) func(live.Place) bool {
	return func(p live.Place) bool {
		return (q.App == "" || p.App == q.App) && (q.Env == "" || p.Env == q.Env) && (may == nil || may(p.Host))
	}
}

// places calls f with what is live in a namespace, or was at a time.
func (s *Service) places(ctx context.Context, ns sluice.Namespace, at time.Time, f func(*live.Map) error) error {
	if err := ours(ns); err != nil {
		return err
	}
	if at.IsZero() {
		return s.begun().lives.Look(ctx, ns, f)
	}
	return s.begun().lives.Past(ctx, ns, at, f)
}

// passOver passes over a namespace that cannot be read, where somebody is told of it.
func (s *Service) passOver(ctx context.Context, ns sluice.Namespace, lost []sluice.Namespace, err error) ([]sluice.Namespace, error) {
	if err != nil && ctx.Err() == nil && s.Unreadable != nil {
		s.Unreadable(ns, err)
		return append(lost, ns), nil
	}
	return lost, err
}
